"""GCNet all the way from a corpus to tables: whole dialogues in training, evaluation and prediction."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.data.corpus import Corpus, Ragged, spec_of
from imder.data.dialogues import dialogue_numbers, whole_dialogues
from imder.data.loader import MaskedLoader, collate
from imder.evaluation.cells import sample_cells
from imder.evaluation.evaluate import evaluate, evaluate_predictor, evaluator
from imder.evaluation.predicting import model_predict, predict_cells
from imder.evaluation.protocol import EvaluationProtocol
from imder.evaluation.rendering import render_markdown
from imder.evaluation.results import summarise
from imder.evaluation.tables import make_table, rich_table
from imder.media.predictor import Predictor
from imder.models.base import Model
from imder.models.baselines.gcnet import GCNet, GCNetConfig
from imder.models.registry import system_note
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import PhaseConfig, TrainingConfig
from imder.training.masks import natural_loader, training_loader, validation_loader
from imder.training.train import train
from imder.types import ImderError

LENGTHS = {"language": (1, 3), "vision": (1, 3), "audio": (1, 2)}


def without(split, chance, seed):
    """The split with features taken away at random, so that modalities are naturally missing."""
    rng = np.random.default_rng(seed)
    gone = rng.random((len(split), 3)) < chance
    gone[np.arange(len(split)), rng.integers(0, 3, len(split))] = False
    features = {
        k: Ragged.from_list([r[i][: 0 if gone[i, j] else None] for i in range(len(split))], r.dim)
        for j, (k, r) in enumerate(split.features.items())
    }
    return replace(split, features=features)


def tiny(task="regression"):
    corpus = KnownTruth.standard(lengths=LENGTHS).corpus(60, 30, 25, task=task)
    splits = {k: without(s, 0.15, i) for i, (k, s) in enumerate(corpus.splits.items())}
    rng = np.random.default_rng(0)
    labels = splits["train"].labels.copy()
    labels[rng.random(60) < 0.3] = -1 if task == "classification" else np.nan
    splits["train"] = replace(splits["train"], labels=labels)
    shuffled = {k: s.take(rng.permutation(len(s))) for k, s in splits.items()}  # time isn't the order of rows
    return Corpus("tiny", spec_of(shuffled, task, corpus.spec.classes), shuffled)


def test_training_masks_hold_whole_dialogues():
    corpus = tiny()
    split, numbers = corpus["train"], dialogue_numbers(corpus["train"])
    labels = np.where(numbers == numbers[0], np.nan, split.labels)
    split = replace(split, labels=labels)
    phase = PhaseConfig(batch_size=12)
    for training in (
        TrainingConfig(),
        TrainingConfig(missing_rate=0.4),
        TrainingConfig(missing_rate=0.4, permanently_missing=True),
    ):
        made = training_loader(split, phase, training, 1, context=True)
        assert sorted(made.rows) == np.flatnonzero(numbers != numbers[0]).tolist()
        assert np.isnan(split.labels[made.rows]).any()  # unlabelled clips are neighbours
        for batch in made:
            assert len(batch.dialogue.unique()) <= 4
            assert batch.available.any(1).all()
        valid = validation_loader(split, phase, training, all_patterns=True, context=True)
        assert len(valid.rows) == (
            3 if not training.permanently_missing or training.missing_rate == "any" else 1
        ) * len(made.rows)
        assert len(set(zip(valid.dialogue // len(split), valid.rows, strict=True))) == len(valid.rows)
        assert sum(len(b) for b in natural_loader(split, training, 16, context=True)) == 60
    with pytest.raises(ImderError, match="'official'"):
        training_loader(split, PhaseConfig(), TrainingConfig(missing_rate="official"), 0, context=True)


@pytest.fixture(scope="module", params=["regression", "classification"])
def trained(request, tmp_path_factory):
    corpus, out = tiny(request.param), tmp_path_factory.mktemp("gcnet") / "run"
    overrides = {"model.hidden": 4, "training.stage1.max_epochs": 3, "training.stage1.batch_size": 12}
    model = train(corpus, out, preset="gcnet", overrides=overrides)
    return model, corpus, out


def by_hand(model, split, mask):
    """Predictions ``(N, ...)`` of every dialogue alone, under the masks of one cell."""
    numbers = dialogue_numbers(split)
    found = {}
    for d in np.unique(numbers):
        rows = np.flatnonzero(numbers == d)
        batch = collate(replace(split, labels=None), rows, mask[rows], mask[rows], numbers[rows])
        found |= dict(zip(rows.tolist(), model.predict(batch).prediction.numpy(), strict=True))
    return np.stack([found[i] for i in range(len(split))])


@pytest.mark.parametrize("protocol", ["random", "fixed", "natural"])
def test_evaluation_predicts_whole_cells(trained, protocol):
    model, corpus, _ = trained
    split = corpus["test"]
    cells = sample_cells(split.present, corpus.spec.names, protocol=protocol, rates=(0, 0.5), draws=2)
    calls = []
    predict = model_predict(model, batch_size=7, progress=lambda done, all_: calls.append((done, all_)))
    found = predict_cells(predict, split, cells, whole=True)
    for cell, values in zip(cells, found, strict=True):
        served = cell.mask.any(1)
        np.testing.assert_allclose(values[:, 0], by_hand(model, split, cell.mask)[served], rtol=1e-4, atol=1e-6)
    distinct = len({cell.mask.tobytes() for cell in cells})
    assert calls[-1] == (25 * distinct, 25 * distinct)
    assert calls == sorted(calls)
    small_batches, large = (evaluate(model, corpus, protocol=protocol, draws=2, batch_size=b) for b in (1, 500))
    for a, b in zip(small_batches, large, strict=True):
        assert a.keys() == b.keys()
        assert all(a[k] == b[k] or a[k] == pytest.approx(b[k], abs=1e-4, nan_ok=True) for k in a)


def test_pairs_are_refused(trained):
    model, corpus, _ = trained
    with pytest.raises(ImderError, match="whole cells"):
        evaluate_predictor("gcnet", model_predict(model), corpus, EvaluationProtocol("fixed"))


def test_several_protocols(trained):
    model, corpus, _ = trained
    several = evaluator(model, corpus, run="r", seed=3)
    for protocol in ("natural", "random", "fixed"):
        assert several(EvaluationProtocol(protocol, draws=2, seed=3)) == evaluate(
            model, corpus, run="r", protocol=protocol, draws=2, seed=3
        )


def test_prediction_and_the_saved_run(trained):
    model, corpus, out = trained
    split = corpus["test"]
    rows = Predictor(out).predict(corpus, "test", batch_size=5)
    assert [r["id"] for r in rows] == list(split.ids)
    expected = by_hand(model, split, split.present)
    if corpus.spec.task == "regression":
        assert [r["prediction"] for r in rows] == pytest.approx(expected.tolist(), abs=1e-5)
        assert {r["std"] for r in rows} == {0.0}
    else:
        found = [[r[f"p_{name}"] for name in corpus.spec.classes] for r in rows]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    order = np.random.default_rng(1).permutation(len(split))
    again = Predictor(out).predict(split.take(order))
    assert [r["id"] for r in again] == [split.ids[i] for i in order]
    key = "prediction" if corpus.spec.task == "regression" else "entropy"
    assert [r[key] for r in again] == pytest.approx([rows[i][key] for i in order], abs=1e-5)
    assert isinstance(Model.from_pretrained(out), GCNet)


def test_training_refuses_what_does_not_go_with_dialogues(tmp_path):
    for overrides, message in (
        ({"training.stage1.missing": "every"}, r"gcnet can't try every subset of a sample in one step"),
        ({"training.missing_rate": "official"}, "whole dialogues"),
    ):
        with pytest.raises(ImderError, match=message):
            train(tiny(), tmp_path / "run", preset="gcnet", overrides=overrides)
        assert not (tmp_path / "run").exists()


def test_an_unknown_order_is_refused_before_anything_is_written(tmp_path):
    """In either split, and only by systems that need the order."""
    corpus = tiny()
    for name in ("train", "valid"):
        split = corpus[name]
        same = replace(split, position=np.zeros_like(split.position))
        wrong = replace(corpus, splits={**corpus.splits, name: same})
        with pytest.raises(ImderError, match="both have position 0 of dialogue"):
            train(wrong, tmp_path / "run", preset="gcnet")
        assert not (tmp_path / "run").exists()


def test_another_runs_weights_come_with_its_statistics(trained, tmp_path):
    model, corpus, out = trained
    given = {"model.hidden": 4, "training.stage1.max_epochs": 3, "training.stage1.batch_size": 12}
    other = train(corpus, tmp_path / "run", preset="gcnet", overrides=given, stage1=out)
    assert model.standardizers["language"].mean.any()
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_training_learns(tmp_path):
    """A dialogue's labels, known from the language of its first clip alone, are learned from the neighbour."""
    rng = np.random.default_rng(0)

    def split_of(n):
        base = KnownTruth.standard(lengths=LENGTHS).sample(3 * n, seed=1)
        signs = rng.choice([-1.0, 1.0], n).astype(np.float32)
        first = np.arange(3 * n) % 3 == 0
        language = np.where(first[:, None], np.repeat(signs, 3)[:, None], 0.1 * rng.standard_normal((3 * n, 2)))
        values = {"language": language, "audio": rng.standard_normal((3 * n, 2))}
        features = {k: Ragged(v.astype(np.float32), np.arange(3 * n + 1)) for k, v in values.items()}
        labels = np.repeat(signs, 3)
        dialogue = tuple(str(i // 3) for i in range(3 * n))
        return replace(base, features=features, labels=labels, dialogue=dialogue, position=np.arange(3 * n) % 3)

    splits = {k: split_of(n) for k, n in (("train", 60), ("valid", 30), ("test", 30))}
    corpus = Corpus("signs", spec_of(splits, "regression"), splits)
    phase = {"training.stage1.max_epochs": 25, "training.stage1.learning_rate": 0.01, "training.missing_rate": 0.0}
    model = train(
        corpus, tmp_path / "run", preset="gcnet", overrides={"model.hidden": 8, "model.dropout": 0.0, **phase}
    )
    assert evaluate(model, corpus, protocol="natural")[0]["mae"] < 0.2
    alone = replace(corpus, splits={"test": replace(splits["test"], position=None)})
    assert evaluate(model, alone, protocol="natural")[0]["mae"] > 0.5


# ------------------------------------------------------------------------------------------------ tables
def test_tables_print_the_note_of_a_system(trained, monkeypatch):
    model, corpus, _ = trained
    monkeypatch.setattr(GCNet, "note", "reads whole dialogues")
    rows = evaluate(model, corpus, protocol="natural")
    table = make_table(summarise(rows), "natural")
    assert table.notes == (f"gcnet: {system_note('gcnet')}",)
    assert render_markdown(table).endswith(f" |\n\n{table.notes[0]}\n")
    assert str(rich_table(summarise(rows), "natural").renderables[-1]) == table.notes[0]
    renamed = [row | {"model": "zero-fill"} for row in rows]
    assert make_table(summarise(renamed), "natural").notes == ()
    assert len(rich_table(summarise(renamed), "natural").renderables) == 1


def test_a_whole_pass_is_what_the_model_needs():
    corpus = tiny()
    split = corpus["test"]
    model = GCNet(corpus.spec, GCNetConfig(hidden=4)).eval()
    whole = whole_dialogues(MaskedLoader(replace(split, labels=None), np.arange(25), split.present, 2))
    found = np.concatenate([model.predict(batch).prediction.numpy() for batch in whole])
    np.testing.assert_allclose(found, by_hand(model, split, split.present)[whole.rows], rtol=1e-4, atol=1e-6)
