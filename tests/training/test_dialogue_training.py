"""Members and context from a corpus to a table: training, files, predictions, evaluation, resuming."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from imder.data.corpus import Corpus
from imder.data.dialogues import dialogue_numbers, has_neighbours
from imder.data.loader import collate
from imder.evaluation.cells import sample_cells
from imder.evaluation.evaluate import evaluate
from imder.evaluation.predicting import model_predict, predict_cells
from imder.inference.predict import predict
from imder.models.base import Model
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig
from imder.training.train import train
from imder.types import ImderError
from small_dialogues import config_of
from small_training import Stop, assert_same_end, weights

CPU = EngineConfig(accelerator="cpu", checkpoint_seconds=0)
LENGTHS = {"language": (1, 3), "vision": (2, 4), "audio": (1, 1)}
PHASE = {"max_epochs": 2, "batch_size": 16}
TRAINING = {
    "late-fusion": {"stage1": PHASE},
    "zero-fill": {"stage1": PHASE},
    "fast": {"stage1": PHASE, "score": PHASE | {"validate_every": 1, "warmup": 2}, "recovery": PHASE},
}
CASES = [
    ("late-fusion", "classification"),
    ("zero-fill", "regression"),
    ("fast", "regression"),
    ("fast", "classification"),
]


def corpus_of(task):
    corpus = KnownTruth.standard(lengths=LENGTHS).corpus(60, 40, 30, task=task)
    splits = dict(corpus.splits)
    labels = splits["train"].labels.copy()
    labels[::5] = -1 if task == "classification" else np.nan  # unlabelled clips are neighbours
    splits["train"] = replace(splits["train"], labels=labels)
    order = np.random.default_rng(0).permutation(30)
    splits["test"] = splits["test"].take(order)  # time isn't the order of rows
    return Corpus("clips", corpus.spec, splits)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model with two members and context, its corpus and its run; trained when first asked for."""
    made = {}

    def get(preset, task):
        if (preset, task) not in made:
            out, corpus = tmp_path_factory.mktemp(preset) / task, corpus_of(task)
            config = config_of(preset, 2, training=TRAINING[preset])
            made[preset, task] = train(corpus, out, config=config, engine=CPU), corpus, out
        return made[preset, task]

    return get


def by_hand(model, split, mask):
    """Spread ``(N, S, ...)`` of every dialogue alone, under the masks of one cell."""
    numbers, found = dialogue_numbers(split), {}
    for d in np.unique(numbers):
        rows = np.flatnonzero(numbers == d)
        batch = collate(replace(split, labels=None), rows, mask[rows], mask[rows], numbers[rows])
        found |= dict(zip(rows.tolist(), model.predict(batch).spread.transpose(0, 1).numpy(), strict=True))
    return np.stack([found[i] for i in range(len(split))])


@pytest.mark.parametrize(("preset", "task"), CASES)
def test_a_run_is_complete_and_loads_as_it_was_saved(preset, task, trained):
    model, corpus, out = trained(preset, task)
    assert has_neighbours(corpus["test"])
    assert (model.members, model.uses_context) == (2, True)
    data = json.loads((out / "metrics.json").read_text())
    assert list(data["phases"]) == list(model.phases(model.config))
    assert all(phase["epochs"] == 2 for phase in data["phases"].values())
    again = Model.from_pretrained(out)
    assert again.config == model.config
    ours, theirs = predict(model, corpus), predict(again, corpus)
    assert list(ours) == list(theirs)
    assert [row["id"] for row in ours] == list(corpus["test"].ids)
    shuffled = predict(again, corpus["test"].take(np.arange(30)[::-1].copy()), batch_size=3)
    column = "prediction" if task == "regression" else "entropy"
    assert [row[column] for row in shuffled] == pytest.approx([row[column] for row in ours][::-1], abs=1e-4)


@pytest.mark.parametrize("protocol", ["random", "fixed", "natural"])
@pytest.mark.parametrize(
    ("preset", "task", "recovering"),
    [(*case, recovering) for case in CASES for recovering in (False, True) if case[0] == "fast" or not recovering],
)
def test_evaluation_predicts_whole_dialogues(preset, task, protocol, recovering, trained):
    """With cached states of clips, and where recoveries depend on the neighbours, without: each dialogue alone gives the same."""
    model, corpus, _ = trained(preset, task)
    before = model.branch_weight.clone() if preset == "fast" else None
    try:
        if before is not None:
            model.branch_weight.fill_(0.5 if recovering else 0.0)
        split = corpus["test"]
        cells = sample_cells(split.present, corpus.spec.names, protocol=protocol, rates=(0, 0.6), draws=2)
        found = predict_cells(model_predict(model, batch_size=7), split, cells, whole=True)
        for cell, values in zip(cells, found, strict=True):
            np.testing.assert_allclose(values, by_hand(model, split, cell.mask), rtol=1e-4, atol=1e-4)
        rows = evaluate(model, corpus, protocol=protocol, rates=(0, 0.6), draws=2)
        metric = "mae" if task == "regression" else "accuracy"
        assert rows
        assert all(np.isfinite(row[metric]) for row in rows)
    finally:
        if before is not None:
            model.branch_weight.copy_(before)


@pytest.mark.parametrize(
    ("preset", "phase"), [("late-fusion", "stage1"), ("fast", "stage1"), ("fast", "recovery"), ("fast", "control")]
)
def test_an_interrupted_run_reaches_the_same_end(preset, phase, trained, tmp_path):
    task = "classification"
    _, corpus, whole = trained(preset, task)
    config = config_of(preset, 2, training=TRAINING[preset])
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[Stop(phase, 1)])
    torch.rand(3)
    train(corpus, tmp_path / "run", resume=True, engine=CPU)
    assert_same_end(whole, tmp_path / "run")


@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill"])
@pytest.mark.parametrize("members", [1, 2])
def test_without_dialogues_training_is_that_without_context(preset, members, tmp_path):
    """To the last bit; the attention to neighbours is never trained."""
    corpus = corpus_of("regression")
    alone = {k: replace(s, dialogue=None, position=None) for k, s in corpus.splits.items()}
    singles = {k: replace(s, dialogue=tuple(f"{k} {i}" for i in range(len(s)))) for k, s in corpus.splits.items()}
    runs = {}
    for name, splits, direction in (
        ("none", alone, "none"),
        ("both", alone, "both"),
        ("single clips", singles, "both"),
        ("dialogues", corpus.splits, "both"),
        ("ignored dialogues", corpus.splits, "none"),
    ):
        config = config_of(preset, members, direction, training=TRAINING[preset])
        train(Corpus("clips", corpus.spec, splits), tmp_path / name, config=config, engine=CPU)
        runs[name] = weights(tmp_path / name)
    for name, value in runs["none"].items():
        for other in ("both", "single clips", "ignored dialogues"):
            assert torch.equal(runs[other][name], value), (other, name)
    assert not torch.equal(runs["dialogues"]["fusion.head.weight"], runs["none"]["fusion.head.weight"])
    assert any(name.startswith("context.") for name in runs["both"])


@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill", "fast"])
def test_trained_without_dialogues_it_predicts_without_neighbours(preset, tmp_path):
    """Context whose weights nothing has trained adds nothing, to a recording's windows for instance."""
    corpus = corpus_of("regression")
    alone = {k: replace(s, dialogue=None, position=None) for k, s in corpus.splits.items()}
    config = config_of(preset, 2, training=TRAINING[preset])
    train(Corpus("clips", corpus.spec, alone), tmp_path / "run", config=config, engine=CPU)
    model = Model.from_pretrained(tmp_path / "run")
    if preset == "fast":
        model.branch_weight.fill_(0.5)
    assert model.context.is_off
    assert not model.needs_dialogues(corpus["test"])
    ours, theirs = (predict(model, split)["prediction"] for split in (corpus["test"], alone["test"]))
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_context_that_was_trained_is_on(trained):
    for preset in ("late-fusion", "fast"):
        model, corpus, _ = trained(preset, "classification")
        assert not model.context.is_off
        assert model.needs_dialogues(corpus["test"])


def test_late_fusion_with_context_is_the_first_stage_of_fast(trained, tmp_path):
    """With members and context, too: of one seed and configuration, to the last bit."""
    _, corpus, fast = trained("fast", "classification")
    training = {"stage1": PHASE | {"self_distillation": "auto"}}
    config = config_of("late-fusion", 2, training=training, fusion__dropout=config_of("fast").model.fusion.dropout)
    train(corpus, tmp_path / "late", config=config, engine=CPU)
    ours = load_file(fast / "phases" / "stage1.safetensors")
    for name, value in weights(tmp_path / "late").items():
        assert torch.equal(ours[name], value), name


def test_stage_1_that_reads_other_offsets_is_refused(trained, tmp_path):
    """Two clips on each side and four past ones have weights of one shape."""
    _, corpus, run = trained("late-fusion", "classification")
    config = config_of("late-fusion", 2, "past", 4, training=TRAINING["late-fusion"])
    with pytest.raises(ImderError, match=r"its context reads offsets \(-2, -1, 1, 2\), not \(-4, -3, -2, -1\)"):
        train(corpus, tmp_path / "past", config=config, engine=CPU, stage1=run)
    assert not (tmp_path / "past").exists()
