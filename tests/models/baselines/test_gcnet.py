"""GCNet: what a prediction may depend on, and its loss by hand."""

from dataclasses import replace

import pytest
import torch

from batches import spoiled, take
from imder.missingness.protocols import AnySubset
from imder.models.baselines.gcnet import GCNet, GCNetConfig
from imder.models.presets import read_preset
from imder.models.registry import build
from imder.training.config import load_config
from imder.types import Batch, ImderError, Modality, Spec

SPEC = Spec((Modality("language", 4, 5), Modality("vision", 3, 6), Modality("audio", 2, 1)))
SIZES = (5, 1, 3, 4)


def make_batch(spec=SPEC, sizes=SIZES, seed=0):
    """Dialogues of these sizes, shuffled positions with gaps, random masks; one modality naturally missing in places."""
    rng = torch.Generator().manual_seed(seed)
    n, k = sum(sizes), len(spec.names)
    present = torch.rand(n, k, generator=rng) < 0.85
    present[torch.arange(n), torch.randint(0, k, (n,), generator=rng)] = True
    available = torch.from_numpy(AnySubset().sample(present.numpy(), seed))
    features, lengths = {}, {}
    for i, m in enumerate(spec.modalities):
        lengths[m.name] = torch.randint(1, m.length + 1, (n,), generator=rng) * present[:, i]
        features[m.name] = torch.randn(n, m.length, m.dim, generator=rng)
    labels = torch.randn(n, generator=rng)
    if spec.task == "classification":
        labels = torch.randint(0, spec.outputs, (n,), generator=rng)
    dialogue = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    position = torch.cat([3 * torch.randperm(s, generator=rng) for s in sizes])
    speaker = torch.randint(0, 3, (n,), generator=rng)
    return Batch(features, lengths, present, available, torch.arange(n), labels, dialogue, position, speaker)


def small(spec=SPEC, **config):
    torch.manual_seed(0)
    model = GCNet(spec, GCNetConfig(**{"hidden": 6, **config}))
    batch = make_batch(spec, (20, 30), seed=9)
    model.on_phase_start("stage1", [spoiled(batch, batch.present).with_available(batch.present)], 0)
    return model.eval()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "attention"])
def model(request):
    return small(attention=request.param)


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------ what is read
def test_nothing_unavailable_is_read(model):
    batch = make_batch()
    expected = model.predict(batch).prediction
    assert torch.isfinite(expected).all()
    same(model.predict(spoiled(batch, batch.available)).prediction, expected)
    hidden = replace(spoiled(batch, batch.available), present=batch.available)
    assert torch.isfinite(model.losses(hidden, "stage1", 0)["task"].total)
    ours, theirs = (model.losses(b, "stage1", 0) for b in (batch, spoiled(batch, batch.present)))
    for name, loss in ours.items():
        same(loss.total, theirs[name].total)


def test_predictions_do_not_depend_on_the_batch(model):
    batch = make_batch()
    whole = model.predict(batch).prediction
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(3))
    same(model.predict(take(batch, order)).prediction, whole[order])
    renamed = replace(batch, dialogue=torch.tensor([70, -3, 5, 11])[batch.dialogue])
    same(model.predict(renamed).prediction, whole)
    same(model.predict(replace(batch, speaker=50 - batch.speaker)).prediction, whole)
    for chosen in ((0,), (1,), (2,), (3,), (1, 3), (2, 0)):
        rows = torch.isin(batch.dialogue, torch.tensor(chosen)).nonzero().squeeze(1)
        same(model.predict(take(batch, rows)).prediction, whole[rows])


def test_predictions_depend_on_the_dialogue_and_on_nothing_else(model):
    batch, row = make_batch(), 1  # of dialogue 0
    batch.available[row] = batch.present[row]
    whole = model.predict(batch).prediction
    name = SPEC.names[int(batch.present[row].nonzero()[0])]
    features = {**batch.features, name: batch.features[name] + (batch.keys == row)[:, None, None]}
    for changed in (
        replace(batch, features=features),
        replace(batch, available=batch.available.clone().index_fill_(0, torch.tensor([row]), False)),
        replace(batch, position=torch.where(batch.keys == row, 100, batch.position)),
    ):
        moved = (model.predict(changed).prediction - whole).abs() > 1e-6
        assert moved[batch.dialogue == 0].all()
        assert not moved[batch.dialogue != 0].any()


def test_speakers_matter_by_order_of_appearance():
    batch = make_batch(sizes=(9,))
    model = small()
    first = model.predict(batch).prediction
    alike = replace(batch, speaker=torch.full_like(batch.speaker, -1))
    assert not torch.allclose(model.predict(alike).prediction, first)
    one = small(speakers=1)
    same(one.predict(alike).prediction, one.predict(batch).prediction)


def test_a_clip_without_a_dialogue_is_alone(model):
    batch = replace(make_batch(), dialogue=torch.arange(13), position=torch.zeros(13, dtype=torch.int64))
    whole = model.predict(batch).prediction
    for row in range(13):
        same(model.predict(take(batch, [row])).prediction, whole[row : row + 1])
    with pytest.raises(ImderError, match="gcnet reads whole dialogues, and this batch names none"):
        model.predict(replace(batch, dialogue=None))


def test_statistics_are_those_of_available_utterances():
    batch = make_batch(sizes=(30,))
    model = small()
    model.on_phase_start("stage1", [spoiled(batch, batch.available)], 0)
    for i, name in enumerate(SPEC.names):
        rows = batch.available[:, i].nonzero().squeeze(1).tolist()
        means = torch.stack([batch.features[name][r, : batch.lengths[name][r]].mean(0) for r in rows])
        torch.testing.assert_close(model.standardizers[name].mean, means.mean(0))
        torch.testing.assert_close(model.standardizers[name].std, means.std(0, correction=0))
        vectors = model.utterances(batch, batch.available)[name]
        torch.testing.assert_close(vectors[rows], (means - means.mean(0)) / means.std(0, correction=0))
        assert not vectors[~batch.available[:, i]].any()
    assert small(clip=0.5).utterances(batch, batch.available)["vision"].abs().max() == 0.5
    raw = small(standardize=False)
    assert not raw.standardizers["audio"].mean.any()


# ------------------------------------------------------------------------------------------------ losses
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_losses_by_hand(task):
    spec = SPEC if task == "regression" else replace(SPEC, task=task, classes=("a", "b", "c"))
    model, batch = small(spec, reconstruction=0.5), make_batch(spec)
    batch.labels[[0, 7]] = torch.nan if task == "regression" else -1
    batch.available[4] = False  # holds a place: nothing is asked of it
    losses = model.losses(batch, "stage1", 0)
    assert set(losses) == {"task", "reconstruction"}
    outputs, rebuilt = model(batch)
    truth = torch.cat(list(model.utterances(batch, batch.present).values()), 1)
    rows = [r for r in range(len(batch)) if r not in (0, 4, 7)]
    if task == "regression":
        expected = sum((outputs[r, 0] - batch.labels[r]) ** 2 for r in rows)
    else:
        expected = -sum(outputs[r].log_softmax(0)[batch.labels[r]] for r in rows)
    same(losses["task"].total, expected)
    assert losses["task"].count == 10
    expected = torch.zeros(())
    for r in range(len(batch)):
        start = 0
        for i, m in enumerate(SPEC.modalities):
            part = slice(start, start + m.dim)
            start += m.dim
            if batch.present[r, i] and not batch.available[r, i] and r != 4:
                expected = expected + ((rebuilt[r, part] - truth[r, part]) ** 2).sum() / m.dim
    same(losses["reconstruction"].total, expected)
    assert (losses["reconstruction"].count, losses["reconstruction"].weight) == (12, 0.5)
    if task == "regression":
        absolute = small(regression="l1").losses(batch, "stage1", 0)["task"].total
        same(absolute, sum((outputs[r, 0] - batch.labels[r]).abs() for r in rows))


@pytest.mark.parametrize("attention", [False, True])
def test_every_parameter_learns(attention):
    model, batch = small(attention=attention, speakers=3).train(), make_batch()
    total = sum(loss.weight * loss.total / loss.count for loss in model.losses(batch, "stage1", 0).values())
    total.backward()
    assert {id(p) for part in model.trainable_modules("stage1") for p in part.parameters()} == {
        id(p) for p in model.parameters()
    }
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_nothing_missing_has_no_reconstruction():
    model, batch = small(), make_batch()
    losses = model.losses(batch.with_available(batch.present), "stage1", 0)
    assert losses["reconstruction"].total == 0
    unlabelled = model.losses(replace(batch, labels=torch.full((13,), torch.nan)), "stage1", 0)
    assert (unlabelled["task"].total, unlabelled["task"].count) == (0, 0)
    with pytest.raises(ImderError, match="can't train on every pattern"):
        model.losses(batch, "stage1", 0, all_subsets=True)


# ------------------------------------------------------------------------------------------------ any corpus, files
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_any_number_of_modalities(count, task, tmp_path):
    classes = ("a", "b", "c") if task == "classification" else ()
    spec = Spec(tuple(Modality(f"m{i}", 2 + i, 1 + 3 * i) for i in range(count)), task, classes)
    model, batch = small(spec, window=1), make_batch(spec)
    output = model.predict(batch, samples=4, seed=2)
    assert output.spread.shape[0] == 1
    assert output.prediction.shape == ((13,) if task == "regression" else (13, 3))
    if task == "classification":
        torch.testing.assert_close(output.prediction.sum(1), torch.ones(13))
    assert model.train().predict(batch).prediction.equal(output.prediction)
    assert model.training
    model.save_pretrained(tmp_path)
    loaded = GCNet.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(loaded.predict(batch).prediction, output.prediction)


def test_the_preset():
    preset = read_preset("gcnet")
    config = load_config("gcnet")
    assert config.system == preset["system"] == "gcnet"
    assert config.model == GCNetConfig(clip=5.0)
    model = build("gcnet", preset["model"], SPEC)
    assert model.phases(config.model) == ("stage1",)
    model.init_output_bias(torch.tensor([1.0, 2.0, 9.0]))
    assert model.network.head.bias.item() == 2.0
    with pytest.raises(ImderError, match="hidden must be even"):
        load_config("gcnet", overrides={"model.hidden": 5})
    with pytest.raises(ImderError, match=r"at least 1"):
        load_config("gcnet", overrides={"model.speakers": 0})
    with pytest.raises(ImderError, match="dropout"):
        load_config("gcnet", overrides={"model.dropout": 1.0})
