"""Properties of MMIN, on small networks; its numbers against the released code's are in tests/interop."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from batches import spoiled, take
from imder.data.corpus import Corpus, Ragged, spec_of
from imder.models.base import Model
from imder.models.baselines.mmin import MMIN, CascadeConfig, MMINConfig
from imder.models.configuration import from_mapping
from imder.models.parts.utterance_encoder import UtteranceEncoderConfig
from imder.models.presets import read_preset
from imder.models.registry import build
from imder.nn.perceptron import Perceptron
from imder.nn.sequence import MaxLSTM, MeanOverTime, TextCNN
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, load_config
from imder.training.train import train
from imder.types import Batch, ImderError, Modality, Spec

SPEC = Spec((Modality("language", 6, 7), Modality("audio", 3, 1), Modality("vision", 4, 9)))
SMALL = MMINConfig(UtteranceEncoderConfig(8, clip=3.0, hidden=(8,)), CascadeConfig((12, 5), 2), head=(8,))
SPECS = {
    2: Spec((Modality("text", 3, 1), Modality("video", 4, 12))),
    3: SPEC,
    4: Spec(tuple(Modality(f"m{i}", 2 + i, n) for i, n in enumerate((1, 12, 2, 1)))),
}


def small_model(spec=SPEC, config=SMALL):
    """With statistics unlike their start, as training leaves them; the teacher and its copies differ."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = MMIN(spec, config)
        for p in model.parameters():
            if p.ndim == 1:
                p.add_(0.2 * torch.randn(p.shape))
        for name, buffer in model.named_buffers():
            buffer.copy_(torch.randn(buffer.shape) if name.endswith("mean") else 0.5 + torch.rand(buffer.shape))
    return model.eval()


def make_batch(spec=SPEC, copies=2, seed=0):
    """Every pattern of availability ``copies`` times; everything is present, zeros beyond the lengths."""
    generator = torch.Generator().manual_seed(seed)
    count = len(spec.names)
    patterns = torch.tensor([[bool(bits >> k & 1) for k in range(count)] for bits in range(1, 2**count)])
    available = patterns.repeat(copies, 1)
    rows = len(available)
    features, lengths = {}, {}
    for m in spec.modalities:
        lengths[m.name] = torch.randint(1, m.length + 1, (rows,), generator=generator)
        valid = torch.arange(m.length)[None] < lengths[m.name][:, None]
        features[m.name] = torch.randn(rows, m.length, m.dim, generator=generator) * valid[..., None]
    if spec.task == "classification":
        labels = torch.randint(0, spec.outputs, (rows,), generator=generator)
    else:
        labels = torch.randn(rows, generator=generator)
    return Batch(features, lengths, torch.ones_like(available), available, torch.arange(rows), labels)


def objective(losses):
    return sum(loss.weight * loss.total / max(loss.count, 1.0) for loss in losses.values())


# ------------------------------------------------------------------------------------------------ prediction
@pytest.mark.parametrize("count", SPECS)
def test_what_may_not_be_read_changes_nothing(count):
    model, batch = small_model(SPECS[count]), make_batch(SPECS[count])
    ours, theirs = model.predict(batch), model.predict(spoiled(batch, batch.available))
    assert ours.prediction.shape == (len(batch),)
    assert ours.spread.shape == (1, len(batch))
    assert torch.isfinite(theirs.prediction).all()
    assert torch.equal(ours.prediction, theirs.prediction)
    assert ours.recovered == {}


def test_what_may_be_read_changes_the_prediction():
    """Every available modality of every row matters, and changes no other row."""
    model, batch = small_model(), make_batch(copies=1)
    before = model.predict(batch).prediction
    for i, name in enumerate(SPEC.names):
        changed = replace(batch, features=batch.features | {name: batch.features[name] + 0.5})
        moved = (model.predict(changed).prediction - before).abs() > 1e-7
        assert torch.equal(moved, batch.available[:, i])


@pytest.mark.parametrize("count", SPECS)
def test_a_prediction_belongs_to_its_sample(count):
    """Whatever batch, order, padding or batch size it comes in."""
    spec = SPECS[count]
    model, batch = small_model(spec), make_batch(spec)
    whole = model.predict(batch).prediction
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.predict(take(batch, order)).prediction, whole[order])
    for row in range(len(batch)):
        torch.testing.assert_close(model.predict(take(batch, [row])).prediction, whole[row : row + 1])


def test_a_longer_sequence_than_any_in_training_can_be_read():
    model, batch = small_model(), make_batch()
    longer = {name: torch.cat([x, x], 1) for name, x in batch.features.items()}
    lengths = {name: 2 * n for name, n in batch.lengths.items()}
    assert torch.isfinite(model.predict(replace(batch, features=longer, lengths=lengths)).prediction).all()


def test_readers():
    encoders = small_model().encoders
    assert [type(e.reader) for e in encoders.values()] == [TextCNN, MeanOverTime, MaxLSTM]
    assert [type(e.head) for e in encoders.values()] == [nn.Sequential, Perceptron, nn.Identity]
    teacher = small_model().teacher.encoders
    dropouts = [[m.p for m in e["audio"].modules() if isinstance(m, nn.Dropout)] for e in (teacher, encoders)]
    assert dropouts == [[0.3], [0.5]]


def test_something_missing_is_zeros_as_long_as_the_longest_sequence():
    model, batch = small_model(), make_batch()
    given = model.imagine(batch).given
    for i, (m, encoder) in enumerate(zip(SPEC.modalities, model.encoders.values(), strict=True)):
        missing = ~batch.available[:, i]
        zeros = encoder.head(encoder.reader(torch.zeros(1, m.length, m.dim), torch.tensor([m.length])))
        torch.testing.assert_close(given[missing, i], zeros.expand(int(missing.sum()), -1))
        assert (given[~missing, i] != zeros).any(1).all()


def test_predicting_keeps_the_mode_and_needs_something_available():
    model, batch = small_model().train(), make_batch(copies=1)
    expected = model.predict(batch, samples=8, seed=1).prediction
    assert model.training
    assert model.encoders.training
    assert torch.equal(model.eval().predict(batch).prediction, expected)
    with pytest.raises(ImderError, match="no available modality"):
        model.predict(batch.with_available(torch.zeros_like(batch.available)))


def test_classification():
    spec = replace(SPEC, task="classification", classes=("calm", "happy", "sad", "angry"))
    model, batch = small_model(spec), make_batch(spec)
    output = model.predict(batch)
    assert output.spread.shape == (1, len(batch), 4)
    torch.testing.assert_close(output.prediction.sum(1), torch.ones(len(batch)))
    labelled = batch.keys % 3 > 0
    for phase in MMIN.phases(SMALL):
        loss = model.losses(replace(batch, labels=batch.labels.where(labelled, -1)), phase, 0)["task"]
        assert loss.count == int(labelled.sum())
    expected = -output.prediction.gather(1, batch.labels[:, None])[labelled].log().sum()
    torch.testing.assert_close(loss.total, expected)


def test_heads_begin_at_the_constant_floor():
    model = small_model()
    model.init_output_bias(torch.tensor([1.0, -1.0, 0.5]))
    assert model.head.out.bias.item() == model.teacher.head.out.bias.item() == 0.5


# ------------------------------------------------------------------------------------------------ training
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("phase", ["stage1", "joint"])
def test_gradients_reach_what_a_phase_trains_and_nothing_else(phase, shared):
    model = small_model(config=replace(SMALL, cascade=replace(SMALL.cascade, shared=shared))).train()
    losses = model.losses(make_batch(copies=3), phase, 0)
    assert all(torch.isfinite(loss.total) and loss.count > 0 for loss in losses.values())
    objective(losses).backward()
    inside = {p for module in model.trainable_modules(phase) for p in module.parameters()}
    teacher = set(model.teacher.parameters())
    assert inside == (teacher if phase == "stage1" else set(model.parameters()) - teacher)
    for name, p in model.named_parameters():
        assert (p.grad is not None) == (p in inside), name
        assert p not in inside or p.grad.abs().max() > 0, name


def test_the_teacher_never_drops_out_in_joint():
    model, batch = small_model(), make_batch()
    expected = model.complement(batch)
    model.train()
    assert torch.equal(model.complement(batch), expected)
    assert model.teacher.training
    assert not expected.requires_grad


def test_the_cycle_moves_no_code_towards_what_is_restored():
    """h'' is held against h as a constant: with h' cut off, nothing of h moves."""
    model, batch = small_model(), make_batch()
    found = model.imagine(batch)
    model.imagine = lambda _: found._replace(imagined=found.imagined.detach())
    model.losses(batch, "joint", 0)["cycle"].total.backward()
    assert all(p.grad is None for p in model.encoders.parameters())
    assert any(p.grad is not None for p in model.backwards.parameters())


def test_encoders_of_joint_begin_as_the_teachers():
    model, batch = small_model(), make_batch()
    model.on_phase_start("stage1", [batch.with_available(batch.present)], 0)
    mean = model.teacher.encoders["vision"].standardize.mean
    valid = torch.arange(9)[None] < batch.lengths["vision"][:, None]
    torch.testing.assert_close(mean, batch.features["vision"][valid].mean(0))
    assert not torch.equal(model.encoders["vision"].standardize.mean, mean)
    model.on_phase_start("joint", [], 0)
    for name, value in model.teacher.encoders.state_dict().items():
        assert torch.equal(model.encoders.state_dict()[name], value)


def test_losses_are_what_the_module_says():
    model, batch = small_model(), make_batch()
    losses = model.losses(batch, "joint", 0)
    given, imagined, latent = model.imagine(batch)
    target = []
    for i, (m, encoder) in enumerate(zip(SPEC.modalities, model.teacher.encoders.values(), strict=True)):
        for row, available in enumerate(batch.available[:, i].tolist()):
            n = m.length if available else int(batch.lengths[m.name][row])
            x = batch.features[m.name][row : row + 1, :n]
            x = torch.zeros_like(x) if available else encoder.standardize(x).clamp(-3, 3)
            target.append(encoder.head(encoder.reader(x, torch.tensor([n])))[0])
    target = torch.stack(target).view(3, len(batch), -1).transpose(0, 1)
    imagination = [losses[f"imagination/{name}"] for name in SPEC.names]
    expected = 4.0 * (imagined - target).square().mean()
    torch.testing.assert_close(sum(term.weight * term.total / term.count for term in imagination), expected)
    cycle = losses["cycle"]
    expected = 2.0 * (model.restore(imagined) - given).square().mean()
    torch.testing.assert_close(cycle.weight * cycle.total / cycle.count, expected)
    expected = (model.head(latent)[:, 0] - batch.labels).abs().mean()
    torch.testing.assert_close(losses["task"].total / losses["task"].count, expected)


@pytest.mark.parametrize("phase", ["stage1", "joint"])
def test_losses_read_nothing_that_is_not_there(phase):
    """Naturally missing modalities hold NaN and their lengths mean nothing; they are no target either."""
    model, batch = small_model(), make_batch(copies=4)
    present = batch.available | (torch.arange(len(batch)) % 2 == 0)[:, None]
    batch = replace(batch, present=present, labels=batch.labels.where(batch.keys % 4 > 0, torch.nan))
    ours, theirs = (model.losses(b, phase, 0) for b in (batch, spoiled(batch, present)))
    for name, loss in ours.items():
        assert torch.isfinite(loss.total), name
        assert torch.equal(loss.total, theirs[name].total)
        assert loss.count == theirs[name].count
    assert ours["task"].count == int((batch.keys % 4 > 0).sum())
    if phase == "joint":
        for i, name in enumerate(SPEC.names):
            assert ours[f"imagination/{name}"].count == int(present[:, i].sum()) < len(batch)
            changed = replace(batch, features=batch.features | {name: batch.features[name] + 0.5})
            lost = (present & ~batch.available)[:, i].any()
            moved = model.losses(changed.with_available(batch.available), phase, 0)[f"imagination/{name}"].total
            assert lost == (moved != ours[f"imagination/{name}"].total)


def test_a_batch_in_which_a_modality_is_nowhere():
    model, batch = small_model().train(), make_batch(copies=1)
    present = batch.present.clone()
    present[:, 2] = False
    batch = take(replace(batch, present=present, available=batch.available & present), range(3))
    losses = model.losses(batch, "joint", 0)
    assert losses["imagination/vision"].count == 0
    assert losses["imagination/vision"].total.item() == 0
    objective(losses).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_stage_1_on_every_subset():
    """Each subset of each row, as if it had come as a batch by itself."""
    model, batch = small_model(), make_batch(copies=1)
    found = model.losses(batch, "stage1", 0, all_subsets=True)["task"]
    total, count = 0.0, 0
    for row in range(len(batch)):
        for mask in torch.unique(batch.available & batch.available[row], dim=0):
            if mask.any():
                alone = take(batch, [row]).with_available(mask[None])
                total, count = total + model.losses(alone, "stage1", 0)["task"].total, count + 1
    assert found.count == count
    torch.testing.assert_close(found.total, total)


# ------------------------------------------------------------------------------------------------ files and presets
@pytest.mark.parametrize("shared", [False, True])
def test_save_and_load(shared, tmp_path):
    model, batch = small_model(config=replace(SMALL, cascade=replace(SMALL.cascade, shared=shared))), make_batch()
    model.save_pretrained(tmp_path)
    loaded = Model.from_pretrained(tmp_path)
    assert isinstance(loaded, MMIN)
    assert (loaded.config, loaded.spec) == (model.config, SPEC)
    assert torch.equal(loaded.predict(batch).prediction, model.predict(batch).prediction)
    assert torch.equal(loaded.complement(batch), model.complement(batch))  # the teacher is part of it


def test_the_preset():
    preset = read_preset("mmin")
    config = load_config("mmin")
    assert isinstance(config.model, MMINConfig)
    assert tuple(k for k, v in preset["training"].items() if isinstance(v, dict)) == MMIN.phases(config.model)
    spec = Spec((Modality("language", 24, 20), Modality("vision", 12, 1), Modality("audio", 10, 24)))
    model = build("mmin", preset["model"], spec)
    assert from_mapping(MMINConfig, json.loads(json.dumps(asdict(model.config)))) == model.config == config.model
    with pytest.raises(ImderError, match="kernel"):
        build("mmin", {"encoder": {"kernel": 3}}, spec)
    for wrong in ("encoder.kernels=[]", "encoder.width=0", "cascade.layers=[]", "cascade.blocks=0", "dropout=1.0"):
        key, value = wrong.split("=")
        with pytest.raises(ImderError, match=key.split(".")[-1]):
            load_config("mmin", overrides={f"model.{key}": json.loads(value)})


def tiny(**overrides):
    model = {"encoder": {"width": 8, "hidden": [8]}, "cascade": {"layers": [16, 8], "blocks": 2}, "head": [8]}
    phase = {"max_epochs": 8, "batch_size": 32, "learning_rate": 5.0e-3}
    return load_config("mmin", overrides={"model": model, "training": {"stage1": phase, "joint": phase} | overrides})


@pytest.fixture(scope="module")
def corpus():
    return KnownTruth.standard().corpus(160, 60, 40)


def test_training_from_end_to_end(corpus, tmp_path):
    """Both phases, every pattern validated; better than the constant, and the saved model predicts the same."""
    model = train(corpus, tmp_path / "run", config=tiny(), engine=EngineConfig(accelerator="cpu"))
    assert isinstance(model, MMIN)
    data = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(data["phases"]) == {"stage1", "joint"}
    labels = corpus["valid"].labels
    assert data["phases"]["joint"]["valid"] < np.abs(labels - np.median(corpus["train"].labels)).mean()
    loaded = Model.from_pretrained(tmp_path / "run")
    batch = take(make_batch(corpus.spec), range(7))
    assert torch.equal(loaded.predict(batch).prediction, model.predict(batch).prediction)
    teacher = Model.from_pretrained(tmp_path / "run").teacher.state_dict()
    (stage1,) = (tmp_path / "run").rglob("stage1*.safetensors")
    found = load_file(stage1)
    assert all(torch.equal(found[f"teacher.{name}"], value) for name, value in teacher.items())
    settings = {"config": tiny(), "max_epochs": 1, "stage1": tmp_path / "run"}
    other = train(corpus, tmp_path / "other", engine=EngineConfig(accelerator="cpu"), **settings)
    assert all(torch.equal(other.teacher.state_dict()[name], value) for name, value in teacher.items())


def test_training_where_modalities_are_naturally_missing(corpus, tmp_path):
    """Some samples lack one; another modality is a single vector; and a rate may be asked for."""
    splits = {}
    for name, split in corpus.splits.items():
        rows = range(len(split))
        vision = [split.features["vision"][i].mean(0, keepdims=True) for i in rows]
        audio = [split.features["audio"][i] if i % 3 else np.zeros((0, 10), np.float32) for i in rows]
        features = {
            "language": split.features["language"],
            "vision": Ragged.from_list(vision, 12),
            "audio": Ragged.from_list(audio, 10),
        }
        splits[name] = replace(split, features=features)
    spec = spec_of(splits, "regression")
    assert [m.length for m in spec.modalities] == [20, 1, 24]
    sparse = Corpus("sparse", spec, splits)
    config = tiny(missing_rate=0.3, permanently_missing=True)
    model = train(sparse, tmp_path / "run", config=config, max_epochs=2, engine=EngineConfig(accelerator="cpu"))
    assert torch.isfinite(model.predict(take(make_batch(spec), range(7))).prediction).all()
