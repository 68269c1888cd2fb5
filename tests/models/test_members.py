"""Members side by side in the same tensors, against networks of one member with slices of their weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from imder.models.baselines.late_fusion import LateFusion
from imder.models.parts.encoder import Encoder, EncoderConfig
from imder.models.parts.fusions.base import AVAILABLE, MISSING, RECOVERED, FusionConfig
from imder.models.parts.fusions.pooled import PooledFusion
from imder.training.config import load_config
from imder.types import ImderError, Modality
from small_dialogues import CLASSES, SPEC, batch_of, config_of, random, scrambled, system_of

MEMBERS = 3
GRIDS = {
    "native": EncoderConfig("native", width=4, steps=5, clip=1.0),
    "resampled": EncoderConfig("resampled", width=4, steps=5),
    "truncated": EncoderConfig("truncated", width=4, steps=5, bias=False, standardize=False),
}


def sliced(state, member):
    """The state of one member, from that of several."""
    out = {}
    for name, value in state.items():
        last = name.split(".")[-1]
        if "standardize" in name:
            out[name] = value
        elif "conv." in name or name.startswith("conv."):
            out[name] = value.chunk(MEMBERS)[member]
        elif last == "missing_token":
            out[name] = value[:, member : member + 1]
        elif last == "state_embedding":
            out[name] = value[:, :, member : member + 1]
        else:
            out[name] = value[member : member + 1]
    return out


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------ encoders
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("length", [1, 9])
def test_encoders_of_members_are_encoders_with_their_weights(grid, length):
    config, modality = GRIDS[grid], Modality("audio", 6, length)
    encoder = scrambled(Encoder(modality, config, MEMBERS))
    features, lengths = random(5, length, 6), torch.tensor([length, 1, max(1, length - 3), length, 0])
    out = encoder(features, lengths)
    assert out.shape == (5, MEMBERS * 4, encoder.steps)
    for member in range(MEMBERS):
        single = Encoder(modality, config).eval()
        single.load_state_dict(sliced(encoder.state_dict(), member))
        same(out[:4].chunk(MEMBERS, dim=1)[member], single(features, lengths)[:4])


@pytest.mark.parametrize("members", [1, MEMBERS])
@pytest.mark.parametrize("grid", GRIDS)
def test_frames_beyond_the_lengths_have_no_effect(grid, members):
    """Neither what they hold, nor how many there are; except that `truncated` counts zeros beyond the frames as frames."""
    encoder = scrambled(Encoder(Modality("audio", 6, 9), GRIDS[grid], members))
    features, lengths = random(4, 9, 6), torch.tensor([9, 1, 4, 6])
    out = encoder(features, lengths)
    valid = torch.arange(9)[None] < lengths[:, None]
    same(encoder(torch.where(valid[..., None], features, torch.nan), lengths), out)
    padded = torch.cat([features, torch.full((4, 3, 6), torch.nan)], dim=1)
    same(encoder(padded, lengths), out)
    for row, n in enumerate(lengths.tolist()):
        same(encoder(features[row : row + 1, :n], lengths[row : row + 1])[0], out[row])


def test_gradients_of_encoders_are_those_of_the_members():
    encoder = scrambled(Encoder(Modality("audio", 6, 9), GRIDS["native"], MEMBERS))
    features, lengths, weights = random(4, 9, 6), torch.tensor([9, 1, 4, 6]), random(4, MEMBERS * 4, 5, seed=2)
    (encoder(features, lengths) * weights).sum().backward()
    for member in range(MEMBERS):
        single = Encoder(Modality("audio", 6, 9), GRIDS["native"])
        single.load_state_dict(sliced(encoder.state_dict(), member))
        (single(features, lengths) * weights.chunk(MEMBERS, dim=1)[member]).sum().backward()
        same(encoder.conv.weight.grad.chunk(MEMBERS)[member], single.conv.weight.grad)
        same(encoder.conv.bias.grad.chunk(MEMBERS)[member], single.conv.bias.grad)


@pytest.mark.parametrize("grid", GRIDS)
def test_each_member_drops_features_of_its_own(grid):
    config = replace(GRIDS[grid], feature_dropout=0.5, standardize=False, clip=0.0)
    encoder = scrambled(Encoder(Modality("audio", 6, 9), config, MEMBERS)).train()
    features, lengths = random(4, 9, 6), torch.tensor([9, 1, 4, 6])
    torch.manual_seed(5)
    out = encoder(features, lengths)
    torch.manual_seed(5)
    keep = (torch.rand(MEMBERS, 4, 6) >= 0.5) * 2.0
    assert not torch.equal(keep[0], keep[1])
    for member in range(MEMBERS):
        single = Encoder(Modality("audio", 6, 9), config).eval()
        single.load_state_dict(sliced(encoder.state_dict(), member))
        same(out.chunk(MEMBERS, dim=1)[member], single(features * keep[member][:, None], lengths))
    encoder.eval()
    assert torch.equal(encoder(features, lengths), encoder(features, lengths))


# ------------------------------------------------------------------------------------------------ fusion
STEPS = {"language": 4, "audio": 1, "vision": 3}
STATES = torch.tensor(
    [
        [AVAILABLE, MISSING, AVAILABLE],
        [RECOVERED, AVAILABLE, RECOVERED],
        [MISSING, RECOVERED, AVAILABLE],
        [AVAILABLE] * 3,
    ]
)


@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("reads_recoveries", [False, True])
def test_fusions_of_members_are_fusions_with_their_weights(by_rows, reads_recoveries):
    config = FusionConfig(hidden=8)
    fusion = scrambled(PooledFusion(STEPS, 4, 2, config, MEMBERS, reads_recoveries=reads_recoveries))
    encodings = {k: random(4, MEMBERS * 4, n, seed=i) for i, (k, n) in enumerate(STEPS.items())}
    rows = torch.tensor([[0, 1, 3], [2, 2, 0], [1, 0, 3], [0, 3, 3]]) if by_rows else None
    recovered = None
    if reads_recoveries:  # of one width, for all members
        where = {k: (STATES[:, i] == RECOVERED).nonzero().squeeze(1) for i, k in enumerate(STEPS)}
        recovered = {k: (r, random(len(r), 4, STEPS[k], seed=7)) for k, r in where.items()}
    out = fusion.vectors(encodings, STATES, rows, recovered)
    assert out.fused.shape == (MEMBERS, 4, 8)
    assert out.output.shape == (MEMBERS, 4, 2)
    for member in range(MEMBERS):
        single = PooledFusion(STEPS, 4, 2, config, reads_recoveries=reads_recoveries).eval()
        single.load_state_dict(sliced(fusion.state_dict(), member))
        own = {k: e.chunk(MEMBERS, dim=1)[member] for k, e in encodings.items()}
        expected = single.vectors(own, STATES, rows, recovered)
        same(out.fused[member], expected.fused[0])
        same(out.output[member], expected.output[0])
    if not reads_recoveries:
        same(fusion(encodings, STATES, rows), out.output.mean(0))


def test_a_fusion_that_is_to_read_recoveries_starts_as_its_model():
    """Whatever the recoveries are: what is recovered starts as missing."""
    fusion = scrambled(PooledFusion(STEPS, 4, 2, FusionConfig(hidden=8), MEMBERS))
    copy = PooledFusion(STEPS, 4, 2, FusionConfig(hidden=8), MEMBERS, reads_recoveries=True).eval()
    copy.start_from(fusion)
    encodings = {k: random(4, MEMBERS * 4, n, seed=i) for i, (k, n) in enumerate(STEPS.items())}
    where = {k: (STATES[:, i] == RECOVERED).nonzero().squeeze(1) for i, k in enumerate(STEPS)}
    recovered = {k: (r, 100 * random(len(r), 4, STEPS[k], seed=7)) for k, r in where.items()}
    ours = copy.vectors(encodings, STATES, None, recovered)
    theirs = fusion.vectors(encodings, torch.where(STATES == RECOVERED, MISSING, STATES))
    assert torch.equal(ours.output, theirs.output)
    assert torch.equal(ours.fused, theirs.fused)


# ------------------------------------------------------------------------------------------------ systems
@pytest.mark.parametrize("direction", ["none", "both"])
@pytest.mark.parametrize("spec", [SPEC, CLASSES], ids=["regression", "classification"])
@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill"])
def test_a_system_of_members_averages_systems_of_one(preset, spec, direction):
    """Predictions, their spread, and the losses of training and validation."""
    model = system_of(preset, MEMBERS, direction, spec=spec, encoder__feature_dropout=0.0, context__dropout=0.0,
                      fusion__input_dropout=0.0, fusion__dropout=0.0)  # fmt: skip
    batch = batch_of(spec=spec)
    output = model.predict(batch)
    singles = []
    for member in range(MEMBERS):
        config = replace(model.config, members=1)
        singles.append(type(model)(spec, config).eval())
        singles[-1].load_state_dict(sliced(model.state_dict(), member))
        same(output.spread[member], singles[-1].predict(batch).prediction)
    same(output.prediction, output.spread.mean(0))
    assert output.spread.std(0).min() > 0
    model.train()
    for options in ({"all_subsets": False}, {"all_subsets": True}):
        loss = model.losses(batch, "stage1", 0, **options)["task"]
        each = [single.train().losses(batch, "stage1", 0, **options)["task"] for single in singles]
        same(loss.total, torch.stack([one.total for one in each]).mean())
        assert loss.count == each[0].count
    model.eval()
    visible = batch.available.any(1)
    if spec.task == "regression":
        error = (output.prediction - batch.labels).abs()
    else:
        error = -output.prediction.gather(1, batch.labels[:, None])[:, 0].log()
    loss = model.losses(batch, "stage1", 0)["task"]
    same(loss.total, error[visible].sum())  # of the averaged prediction: by it training stops
    assert loss.count == int(visible.sum())


def test_one_member_starts_as_the_layers_that_it_is_made_of():
    """In this order, under the same seed: convolutions, readers, tokens, states, gate, experts, head."""
    config = config_of("late-fusion", 1, "none").model
    torch.manual_seed(4)
    model = LateFusion(SPEC, config)
    torch.manual_seed(4)
    width, hidden, count = config.encoder.width, config.fusion.hidden, len(SPEC.names)
    for m in SPEC.modalities:
        conv = nn.Conv1d(m.dim, width, config.encoder.kernel)
        if m.length == 1:
            nn.init.normal_(conv.weight, std=m.dim**-0.5)
        assert torch.equal(model.encoders[m.name].conv.weight, conv.weight)
        assert torch.equal(model.encoders[m.name].conv.bias, conv.bias)
    fusion = model.fusion
    for m in SPEC.modalities:
        layer = nn.Linear(width if m.length == 1 else 3 * width, hidden)
        assert torch.equal(fusion.readers[m.name].hidden.weight[0], layer.weight)
        assert torch.equal(fusion.readers[m.name].hidden.bias[0], layer.bias)
    assert torch.equal(fusion.missing_token[:, 0], torch.randn(count, hidden) * 0.02)
    assert torch.equal(fusion.state_embedding[:, :, 0], torch.randn(3, count, hidden) * 0.02)
    gate = nn.Linear(count * (hidden + 3), hidden), nn.Linear(hidden, count)
    experts = [nn.Linear(hidden, 1, bias=False) for _ in SPEC.names]
    for ours, theirs in zip(
        (fusion.gate[0], fusion.gate[2], *fusion.experts.values(), fusion.head),
        (*gate, *experts, nn.Linear(hidden, 1)),
        strict=True,
    ):
        assert torch.equal(ours.weight[0], theirs.weight)
        assert (ours.bias is None) == (theirs.bias is None)
        assert ours.bias is None or torch.equal(ours.bias[0], theirs.bias)


def test_every_member_starts_at_the_constant_with_weights_of_its_own():
    model = LateFusion(SPEC, config_of("late-fusion", MEMBERS, "none").model)
    model.init_output_bias(torch.tensor([1.0, 2.0, 9.0]))
    assert model.fusion.head.bias.flatten().tolist() == [2.0] * MEMBERS
    first, second, _ = model.encoders["language"].conv.weight.chunk(MEMBERS)
    assert not torch.equal(first, second)
    classes = LateFusion(CLASSES, config_of("late-fusion", MEMBERS, "none").model)
    classes.init_output_bias(torch.tensor([0, 0, 1]))
    torch.testing.assert_close(classes.fusion.head.bias.exp(), torch.tensor([[3.0, 2.0, 1.0]] * MEMBERS) / 6)


# ------------------------------------------------------------------------------------------------ settings
@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill", "fast", "regression"])
@pytest.mark.parametrize("members", [0, 33, 1.5])
def test_members_are_1_to_32(preset, members):
    with pytest.raises(ImderError, match=r"members") as caught:
        load_config(preset, overrides={"model.members": members})
    assert "\n" not in str(caught.value)
    assert load_config(preset, overrides={"model.members": 32}).model.members == 32


@pytest.mark.parametrize("preset", ["late-fusion", "zero-fill"])
def test_members_need_a_fusion_that_has_them(preset):
    mult = {"fusion": {"kind": "mult", "heads": 2, "layers": 1, "hidden": 8}}
    with pytest.raises(ImderError, match=r"model\.members.*'mult'") as caught:
        system_of(preset, 2, "none", **mult)
    assert "\n" not in str(caught.value)
    system_of(preset, 1, "none", **mult)


@pytest.mark.parametrize("preset", ["paper-mosi", "official-mosi"])
@pytest.mark.parametrize("option", [{"model.members": 2}, {"model.context.direction": "past"}])
def test_members_and_context_need_two_branches(preset, option):
    with pytest.raises(ImderError, match=r"model\.members and model\.context need two_branches") as caught:
        load_config(preset, overrides=option)
    assert "\n" not in str(caught.value)
