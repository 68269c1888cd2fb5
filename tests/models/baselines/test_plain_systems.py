"""What every plain system keeps to, from a corpus to predictions, on a corpus whose distribution is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from batches import take
from imder.data.corpus import Corpus, Ragged, constant_baseline, spec_of
from imder.data.loader import collate
from imder.models.base import Model
from imder.models.registry import build
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, load_config
from imder.training.train import train
from imder.types import ImderError

LENGTHS = {"language": (1, 3), "vision": (2, 4), "audio": (1, 1)}
TASKS = ("regression", "classification")
EPOCHS = {"training.stage1.max_epochs": 4, "training.stage1.batch_size": 16}
ALONE = {"model.members": 1, "model.context.direction": "none"}
TINY = {
    "late-fusion": {"model.encoder": {"width": 4, "steps": 3}, "model.fusion.hidden": 8, **ALONE, **EPOCHS},
    "zero-fill": {"model.encoder": {"width": 4, "steps": 3}, "model.fusion.hidden": 8, **ALONE, **EPOCHS},
    "language-only": {"model.encoder": {"width": 4, "steps": 3}, "model.fusion.hidden": 8, **EPOCHS},
    "mult": {"model.encoder": {"width": 4, "steps": 3}, "model.fusion": {"heads": 2, "layers": 1}, **EPOCHS},
    "lnln": {
        "model": {"width": 4, "tokens": 2, "heads": 1, "head_width": 4, "depth": 1, "fusion_depth": 1, "steps": 3},
        "training.stage1.max_epochs": 1,
        "training.stage1.batch_size": 64,
    },
    "emt-dlfr": {
        "model.encoder": {"hidden": 4, "width": 4, "steps": 3},
        "model.fusion": {"width": 8, "heads": 2, "layers": 1},
        "model.head": 8,
        "training.stage1.max_epochs": 1,
        "training.stage1.batch_size": 64,
    },
    "ridge": {},
    "constant": {},
}
HEADS = ("late-fusion", "zero-fill", "mult")
CPU = EngineConfig(accelerator="cpu")
CASES = [(name, task) for name in TINY for task in TASKS]


def incomplete(split, seed):
    """Without a modality here and there, so that some are naturally missing."""
    rng = np.random.default_rng(seed)
    gone = rng.random((len(split), 3)) < 0.15
    gone[np.arange(len(split)), rng.integers(0, 3, len(split))] = False
    features = {
        k: Ragged.from_list([r[i][: 0 if gone[i, j] else None] for i in range(len(split))], r.dim)
        for j, (k, r) in enumerate(split.features.items())
    }
    return replace(split, features=features)


def corpus_of(task):
    """Some samples lack a modality, some a label."""
    splits = KnownTruth.standard(lengths=LENGTHS).corpus(90, 40, 35, task=task).splits
    splits = {k: incomplete(s, i) for i, (k, s) in enumerate(splits.items())}
    labels = splits["train"].labels.copy()
    labels[::7] = -1 if task == "classification" else np.nan
    splits["train"] = replace(splits["train"], labels=labels)
    classes = ("negative", "neutral", "positive") if task == "classification" else ()
    return Corpus("tiny", spec_of(splits, task, classes), splits)


CORPORA = {task: corpus_of(task) for task in TASKS}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained model by system and task, and its run; trained when first asked for."""
    made = {}

    def get(name, task):
        if (name, task) not in made:
            out = tmp_path_factory.mktemp(name) / task
            config = load_config(name, overrides=TINY[name])
            made[name, task] = train(CORPORA[task], out, config=config, engine=CPU), out
        return made[name, task]

    return get


def batch_of(task, split="test"):
    """Every sample under a random pattern of what it holds."""
    data = CORPORA[task][split]
    rng = np.random.default_rng(3)
    mask = data.present & (rng.random(data.present.shape) < 0.6)
    mask = np.where(mask.any(1, keepdims=True), mask, data.present)
    return collate(data, np.arange(len(data)), mask)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_predictions_have_their_shape_and_are_repeated(name, task, trained):
    model, _ = trained(name, task)
    batch = batch_of(task)
    output = model.predict(batch, samples=3, seed=1)
    shape = (len(batch),) if task == "regression" else (len(batch), 3)
    assert output.prediction.shape == shape
    assert output.spread.shape == (1, *shape)
    assert torch.isfinite(output.prediction).all()
    assert torch.equal(model.predict(batch).prediction, output.prediction)
    assert output.recovered == {}
    if task == "classification":
        torch.testing.assert_close(output.prediction.sum(1), torch.ones(len(batch)))


@pytest.mark.parametrize(("name", "task"), CASES)
def test_what_was_saved_predicts_the_same(name, task, trained):
    model, out = trained(name, task)
    again = Model.from_pretrained(out)
    assert again.system == name
    assert torch.equal(again.predict(batch_of(task)).prediction, model.predict(batch_of(task)).prediction)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_what_is_not_available_is_never_read(name, task, trained):
    model, _ = trained(name, task)
    batch = batch_of(task)
    features = {}
    for i, (k, x) in enumerate(batch.features.items()):
        valid = torch.arange(x.shape[1])[None] < (batch.lengths[k] * batch.available[:, i])[:, None]
        features[k] = torch.where(valid[..., None], x, torch.nan)
    spoiled = replace(batch, features=features)
    assert torch.equal(model.predict(spoiled).prediction, model.predict(batch).prediction)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_prediction_belongs_to_its_sample(name, task, trained):
    model, _ = trained(name, task)
    batch = batch_of(task)
    whole = model.predict(batch).prediction
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.predict(take(batch, order)).prediction, whole[order])
    for row in range(0, len(batch), 5):
        torch.testing.assert_close(model.predict(take(batch, [row])).prediction, whole[row : row + 1])


@pytest.mark.parametrize("name", TINY)
def test_something_must_be_available(name, trained):
    batch = batch_of("regression")
    with pytest.raises(ImderError, match="no available modality"):
        trained(name, "regression")[0].predict(batch.with_available(torch.zeros_like(batch.available)))


@pytest.mark.parametrize("name", HEADS)
def test_learning_begins_at_the_constant(name):
    """Heads begin at the training median: with the weights of a head at 0 that is what is predicted."""
    corpus = CORPORA["regression"]
    labels = torch.from_numpy(corpus["train"].labels)
    model = build(name, load_config(name, overrides=TINY[name]).model, corpus.spec)
    model.init_output_bias(labels[~labels.isnan()])
    assert model.fusion.head.bias.item() == pytest.approx(constant_baseline(corpus["train"], corpus.spec), abs=1e-2)


def test_late_fusion_is_the_first_stage_of_fast(trained, tmp_path):
    """A run of one is the other's first stage, and is its missing-token branch."""
    model, out = trained("late-fusion", "regression")
    overrides = TINY["late-fusion"] | {
        "model.recovery.network": {"widths": [8], "heads": 2, "condition_width": 8, "embedding": 8},
        "model.refinement": {"channels": 8, "blocks": 1, "reduction": 4},
    }
    config = load_config("fast", overrides=overrides)
    whole = train(CORPORA["regression"], tmp_path / "fast", config=config, stage1=out, max_epochs=1, engine=CPU)
    whole.branch_weight.zero_()
    batch = batch_of("regression")
    torch.testing.assert_close(whole.predict(batch).prediction, model.predict(batch).prediction)


def test_late_fusion_and_the_first_stage_of_fast_are_one_training(trained, tmp_path):
    """Of one seed, to the last bit: what parts the two systems are the later phases."""
    _, out = trained("late-fusion", "regression")
    overrides = TINY["late-fusion"] | {
        "model.fusion.dropout": load_config("late-fusion").model.fusion.dropout,
        "model.recovery.network": {"widths": [8], "heads": 2, "condition_width": 8, "embedding": 8},
        "model.refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "training.score.max_epochs": 1,
        "training.recovery.max_epochs": 1,
    }
    train(CORPORA["regression"], tmp_path / "fast", config=load_config("fast", overrides=overrides), engine=CPU)
    late, fast = (load_file(run / "model.safetensors") for run in (out, tmp_path / "fast"))
    for name, value in late.items():
        assert torch.equal(fast[name], value), name


def test_settings_are_those_of_fast():
    fast, late = load_config("fast"), load_config("late-fusion")
    assert late.model.encoder == fast.model.encoder
    assert late.model.fusion == replace(fast.model.fusion, dropout=0.3)  # one member needs less
    assert late.training.stage1 == replace(fast.training.stage1, self_distillation=0.0)
    assert (late.model.members, late.model.context.direction) == (1, "none")


@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill"])
def test_another_fusion_is_a_row_of_the_table(preset):
    """With the multimodal transformer both are the system mult: it isn't told what is missing, and reads zeros."""
    overrides = TINY[preset] | {"model.fusion": {"kind": "mult", "heads": 2, "layers": 1, "hidden": 8}}
    spec, batch = CORPORA["regression"].spec, batch_of("regression")
    torch.manual_seed(0)
    model = build(preset, load_config(preset, overrides=overrides).model, spec).eval()
    torch.manual_seed(0)
    mult = build("late-fusion", load_config("late-fusion", overrides=overrides).model, spec).eval()
    assert torch.equal(model.predict(batch).prediction, mult.predict(batch).prediction)
    losses = model.losses(batch, "stage1", 0, all_subsets=True)
    losses["task"].total.backward()
    assert all(p.grad is not None for p in model.fusion.parameters())


def test_one_modality_alone_has_no_other_fusion():
    with pytest.raises(ImderError, match="pooled"):
        load_config("language-only", overrides={"model.fusion.kind": "mult"})


@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill", "mult", "language-only"])
def test_predicting_leaves_every_part_in_its_mode(trained, preset):
    """A part that a phase keeps in evaluation mode stays there."""
    model, _ = trained(preset, "regression")
    parts = list(model.children())
    model.train()
    parts[0].eval()
    before = [m.training for m in model.modules()]
    model.predict(batch_of("regression"))
    assert [m.training for m in model.modules()] == before
    model.eval()


# One modality alone.


@pytest.mark.parametrize("task", TASKS)
def test_one_modality_alone_reads_nothing_else(task, trained):
    """The constant where it is missing; where it is there, whatever else is there."""
    model, _ = trained("language-only", task)
    batch = batch_of(task)
    rows = batch.available[:, 0]
    found = model.predict(batch).prediction
    baseline = torch.tensor(constant_baseline(CORPORA[task]["train"], CORPORA[task].spec))
    torch.testing.assert_close(found[~rows], baseline.expand_as(found[~rows]))
    assert not torch.isclose(found[rows], baseline, atol=1e-6).all()
    alone = batch.with_available(torch.tensor([True, False, False]).expand(len(batch), 3))
    kept = rows.nonzero().squeeze(1)
    torch.testing.assert_close(model.predict(take(alone, kept)).prediction, found[kept])


def test_any_modality_may_be_the_only_one(tmp_path):
    corpus = CORPORA["regression"]
    config = load_config("language-only", overrides=TINY["language-only"] | {"model.modality": "audio"})
    model = train(corpus, tmp_path / "audio", config=config, engine=CPU)
    baseline = torch.tensor(constant_baseline(corpus["train"], corpus.spec))
    batch = batch_of("regression")
    assert torch.equal(model.predict(batch).prediction == baseline, ~batch.available[:, 2])
    wrong = load_config("language-only", overrides={"model.modality": "text"})
    with pytest.raises(ImderError, match=r"no modality 'text'; set model\.modality to one of language, vision, audio"):
        train(corpus, tmp_path / "text", config=wrong, engine=CPU)


def test_batches_without_the_modality_teach_nothing():
    corpus = CORPORA["regression"]
    model = build("language-only", load_config("language-only", overrides=TINY["language-only"]).model, corpus.spec)
    batch = batch_of("regression")
    without = batch.with_available(torch.tensor([False, True, True]).expand(len(batch), 3))
    loss = model.losses(without, "stage1", 0)["task"]
    assert (float(loss.total.detach()), loss.count) == (0.0, 0.0)


# The multimodal transformer.


def test_the_multimodal_transformer_is_not_told_what_is_missing(trained):
    """A missing encoding is zeros, and so is the same prediction when zeros are what is available."""
    model, _ = trained("mult", "regression")
    batch = batch_of("regression")
    encodings = {k: torch.randn(len(batch), 4, n) for k, n in model.steps.items()}
    zeros = {k: e * batch.available[:, i, None, None] for i, (k, e) in enumerate(encodings.items())}
    everything = torch.ones_like(batch.available)
    rows = torch.arange(len(batch))
    assert torch.equal(model.fuse(encodings, batch.available, rows).output, model.fuse(zeros, everything, rows).output)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"model.fusion.kind": "pooled"}, "late-fusion"), ({"model.encoder.time_grid": "native"}, "one time grid")],
)
def test_the_multimodal_transformer_needs_one_clock(overrides, message):
    with pytest.raises(ImderError, match=message):
        load_config("mult", overrides=overrides)
