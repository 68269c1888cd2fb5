"""Ridge against scikit-learn, and phases in which nothing learns by gradient."""

import json
import logging
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge

from imder.cli import main
from imder.data.corpus import Corpus, Ragged, constant_baseline, spec_of
from imder.data.loader import collate
from imder.data.store import write_store
from imder.evaluation.evaluate import evaluate
from imder.missingness.patterns import patterns
from imder.missingness.subsets import pattern_bits
from imder.models.base import Model
from imder.models.baselines.ridge import Ridge, RidgeConfig, logistic_path, pool_frames, ridge_path
from imder.models.registry import build
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, load_config
from imder.training.masks import permanent_mask
from imder.training.train import train
from imder.types import ImderError, Modality, Spec

LENGTHS = {"language": (1, 3), "vision": (2, 4), "audio": (1, 1)}
NAMES = ("language", "vision", "audio")
CPU = EngineConfig(accelerator="cpu")
TRUTH = KnownTruth.standard(lengths=LENGTHS)


def without(split, rows, modality):
    """The split with one modality taken away from some rows."""
    keep = [i not in rows for i in range(len(split))]
    ragged = split.features[modality]
    changed = Ragged.from_list([ragged[i][: None if keep[i] else 0] for i in range(len(split))], ragged.dim)
    return replace(split, features={**split.features, modality: changed})


def corpus_of(task="regression"):
    splits = dict(TRUTH.corpus(80, 60, 200, task=task).splits)
    splits["train"] = without(without(splits["train"], range(15), "vision"), range(15, 25), "language")
    classes = ("negative", "neutral", "positive") if task == "classification" else ()
    return Corpus("tiny", spec_of(splits, task, classes), splits)


def pooled(split, training):
    """Standardised pooled features in numpy, by modality: rows that lack one hold NaN."""
    out = {}
    for name in NAMES:
        raw = []
        for data in (training, split):
            rows = [data.features[name][i].astype(np.float64) for i in range(len(data))]
            parts = [[np.full(r.shape[1], np.nan)] * 2 if not len(r) else [r.mean(0), r.std(0)] for r in rows]
            raw.append(np.stack([np.concatenate(p[: 1 if name == "audio" else 2]) for p in parts]))
        out[name] = ((raw[1] - np.nanmean(raw[0], 0)) / np.nanstd(raw[0], 0)).clip(-5, 5)
    return out


@pytest.fixture(scope="module", params=["regression", "classification"])
def solved(request, tmp_path_factory):
    corpus, out = corpus_of(request.param), tmp_path_factory.mktemp("ridge") / "run"
    return corpus, train(corpus, out, preset="ridge", engine=CPU), out


def test_every_pattern_is_what_scikit_learn_says(solved):
    corpus, model, _ = solved
    split, test = corpus["train"], corpus["test"]
    known, asked = pooled(split, split), pooled(test, split)
    for chosen in patterns(3):
        names = [k for k, there in zip(NAMES, chosen, strict=True) if there]
        rows = split.present[:, list(chosen)].all(1)
        x, y = np.concatenate([known[k][rows] for k in names], 1), split.labels[rows]
        new = np.concatenate([asked[k] for k in names], 1)
        penalty = model.penalty[pattern_bits(torch.tensor([chosen]))].item()
        batch = collate(test, np.arange(len(test)), np.tile(chosen, (len(test), 1)))
        found = model.predict(batch).prediction.numpy()
        if corpus.spec.task == "regression":
            np.testing.assert_allclose(found, SklearnRidge(alpha=penalty).fit(x, y).predict(new), atol=1e-4)
        else:
            oracle = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-8).fit(x, y)
            np.testing.assert_allclose(found, oracle.predict_proba(new), atol=0.02)


def test_penalties_are_those_of_least_validation_loss(solved):
    corpus, model, out = solved
    valid = corpus["valid"]
    batch = collate(valid, np.arange(len(valid)), np.ones((len(valid), 3), bool))
    best = float(model.losses(batch, "stage1", 0)["task"].total)
    for penalty in (0.1, 1e5):
        config = load_config("ridge", overrides={"model.penalties": [penalty]})
        other = train(corpus, out.parent / f"only-{penalty}", config=config, engine=CPU)
        assert (other.penalty[1:] == penalty).all()
        assert float(other.losses(batch, "stage1", 0)["task"].total) >= best


def test_it_is_better_than_the_constant_whatever_is_available(solved, tmp_path):
    corpus, model, _ = solved
    baseline = train(corpus, tmp_path / "constant_baseline", preset="constant", engine=CPU)
    np.testing.assert_allclose(
        baseline.baseline.numpy(), np.atleast_1d(constant_baseline(corpus["train"], corpus.spec)), atol=1e-6
    )
    loss = "mae" if corpus.spec.task == "regression" else "nll"
    rows = {}
    for each in (model, baseline):
        rows[each.system] = evaluate(each, corpus, protocol="fixed")
    for ours, theirs in zip(rows["ridge"], rows["constant"], strict=True):
        assert ours["available"] == theirs["available"]
        assert ours[loss] < theirs[loss]


def test_a_run_without_gradients_is_a_run(solved):
    corpus, model, out = solved
    reached = json.loads((out / "metrics.json").read_text())
    assert list(reached["phases"]) == ["stage1"]
    assert 0 < reached["phases"]["stage1"]["valid"] < 1.5
    assert not list(model.parameters())
    assert model.device == torch.device("cpu")
    (out / "model.safetensors").unlink()  # as if killed before the end: the phase is taken from disk
    again = train(corpus, out, resume=True, engine=CPU)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


@pytest.mark.parametrize("preset", ["ridge", "constant"])
def test_there_is_no_stage_1_to_take_over(preset, solved, tmp_path):
    corpus, _, out = solved
    with pytest.raises(ImderError, match="learns nothing in a stage 1"):
        train(corpus, tmp_path / "run", preset=preset, stage1=out, engine=CPU)
    assert not (tmp_path / "run").exists()


def test_the_command_line_trains_and_evaluates_it(tmp_path, capsys):
    write_store(corpus_of(), tmp_path / "corpus")
    for preset in ("ridge", "constant"):
        run = tmp_path / preset
        assert main(["train", str(tmp_path / "corpus"), "--out", str(run), "--preset", preset]) == 0
        words = ["evaluate", str(run), str(tmp_path / "corpus"), "--rates", "0.5", "--draws", "2"]
        assert main([*words, "--out", str(run / "rows.csv")]) == 0
        assert (run / "rows.csv").read_text().count("\nconstant,") == 2  # its own, or beside another


def test_strict_training_never_sees_what_it_dropped(tmp_path):
    """The solution is that of a corpus which truly lacks it."""
    corpus = corpus_of()
    strict = {"training.missing_rate": 0.4, "training.permanently_missing": True, "training.stage1.missing": "rate"}
    config = load_config("ridge", overrides=strict)
    model = train(corpus, tmp_path / "run", config=config, engine=CPU)
    changed = {}
    for name in ("train", "valid"):
        split = corpus[name]
        seen = permanent_mask(split, config.training)
        for k, modality in enumerate(NAMES):
            split = without(split, set(np.flatnonzero(~seen[:, k])), modality)
        changed[name] = split
    fitting = Corpus("cut", corpus.spec, changed | {"test": corpus["test"]})
    other = train(fitting, tmp_path / "other", preset="ridge", engine=CPU)
    torch.testing.assert_close(other.weights, model.weights)


def test_a_pattern_never_seen_uses_a_part_of_it(tmp_path, caplog):
    corpus = corpus_of()
    split = without(without(corpus["train"], range(40), "vision"), range(40, 80), "language")
    with caplog.at_level(logging.WARNING):
        model = train(
            replace(corpus, splits={**corpus.splits, "train": split}), tmp_path / "run", preset="ridge", engine=CPU
        )
    assert caplog.text.count("no training samples have it") == 2  # language + vision, with or without audio
    bits = {chosen: int(pattern_bits(torch.tensor([chosen]))) for chosen in patterns(3)}
    pairs = [bits[True, False, True], bits[False, True, True]]
    assert any(torch.equal(model.weights[bits[True, True, True]], model.weights[pair]) for pair in pairs)


def test_a_modality_that_training_never_holds_leaves_the_constant(tmp_path, caplog):
    corpus = corpus_of()
    split = without(corpus["train"], range(80), "vision")
    with caplog.at_level(logging.WARNING):
        model = train(
            replace(corpus, splits={**corpus.splits, "train": split}), tmp_path / "run", preset="ridge", engine=CPU
        )
    assert "vision: no training sample has it; the constant is predicted" in caplog.text
    batch = collate(corpus["test"], np.arange(5), np.tile([False, True, False], (5, 1)))
    torch.testing.assert_close(model.predict(batch).prediction, torch.full((5,), constant_baseline(split, corpus.spec)))


@pytest.mark.parametrize("unit", [1.0, 1e30, 1e-30])
def test_pooling_is_exact_in_every_unit(unit):
    x = unit * torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([7, 1, 0, 4, 3])
    pooled = pool_frames(x, lengths, Modality("audio", 3, 7))
    for row, length in enumerate(lengths.tolist()):
        valid = x[row, :length].double()
        expected = torch.cat([valid.mean(0), valid.std(0, correction=0)]) if length else torch.zeros(6)
        torch.testing.assert_close(pooled[row].double() / unit, expected.double() / unit, rtol=1e-5, atol=1e-6)


def test_too_many_modalities_and_bad_penalties_are_refused():
    spec = Spec(tuple(Modality(f"m{i}", 2, 1) for i in range(7)))
    with pytest.raises(ImderError, match="7 modalities are too many"):
        Ridge(spec, RidgeConfig())
    assert build("ridge", {}, replace(spec, modalities=spec.modalities[:6])).weights.shape == (64, 12, 1)
    for penalties in ((), (1.0, 0.0)):
        with pytest.raises(ImderError, match="positive"):
            RidgeConfig(penalties)


@pytest.mark.parametrize("size", [(30, 8), (8, 30)])
def test_a_ridge_path_is_scikit_learns(size):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(size) + 2, rng.standard_normal(size[0]) + 5
    for penalty, weight, bias in ridge_path(torch.from_numpy(x), torch.from_numpy(y), (10.0, 0.1)):
        oracle = SklearnRidge(alpha=penalty).fit(x, y)
        np.testing.assert_allclose(weight[:, 0], oracle.coef_, atol=1e-9)
        np.testing.assert_allclose(bias[0], oracle.intercept_, atol=1e-9)


@pytest.mark.parametrize("seen", [(0, 1, 2), (0, 2), (1,)])
def test_a_logistic_path_gives_every_class_a_probability(seen):
    """Classes without a sample are as rare as one among all."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 5)), np.array(seen)[rng.integers(0, len(seen), 40)]
    for penalty, weight, bias in logistic_path(torch.from_numpy(x), torch.from_numpy(y), 3, (10.0, 1.0)):
        found = (torch.from_numpy(x) @ weight + bias).softmax(1)
        assert (found > 0).all()
        missing = [c for c in range(3) if c not in seen]
        assert (found[:, missing].mean(0) < 2 / 40).all()
        if len(seen) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                oracle = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=2000).fit(x, y).predict_proba(x)
            shares = found[:, list(seen)] / found[:, list(seen)].sum(1, keepdim=True)
            np.testing.assert_allclose(shares, oracle, atol=2e-3)


def test_a_saved_solution_is_loaded(solved):
    _, model, out = solved
    model.save_pretrained(out.parent / "copy")
    again = Model.from_pretrained(out.parent / "copy")
    assert torch.equal(again.weights, model.weights)
