"""Properties of the whole model, on small networks of every kind: `fast`, `paper` and `official`."""

import copy
import json
import logging
import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from batches import spoiled, take
from golden_rule import assert_parity
from imder.missingness.patterns import pattern_name
from imder.missingness.patterns import patterns as all_patterns
from imder.missingness.subsets import pattern_bits
from imder.models.configuration import from_mapping
from imder.models.imder.branch_weights import BRANCH_WEIGHTS, select_branch_weight
from imder.models.imder.conditions import TokenCondition
from imder.models.imder.config import IMDerConfig, NetworkConfig, RecoveryConfig
from imder.models.imder.paper import PaperRecovery
from imder.models.imder.recovery import TokenRecovery
from imder.models.imder.training import IMDer
from imder.models.presets import preset_names, read_preset
from imder.models.registry import build
from imder.nn.standardize import Standardizer
from imder.training.config import load_config
from imder.types import Batch, ImderError, Modality, Spec

KINDS = ("fast", "paper", "official")
SPEC = Spec((Modality("language", 6, 7), Modality("audio", 3, 1), Modality("vision", 4, 9)))
SMALL = {
    "encoder": {"width": 8},
    "recovery": {"network": {"widths": (8, 16), "heads": 2, "attention_layers": 1, "embedding": 8}},
    "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
    "fusion": {"heads": 2, "layers": 1},
}
SMALL_FAST = {
    "encoder": {"steps": 5},
    "recovery": {"evaluations": 3, "network": {"condition_width": 8}},
    "fusion": {"hidden": 16},
    "num_samples": 3,
    "cached_draws": 2,
}
SMALL_PUBLISHED = {"encoder": {"steps": 8}, "recovery": {"evaluations": 4}}


def merged(first, *others):
    out = dict(first)
    for other in others:
        for key, value in other.items():
            out[key] = merged(out.get(key, {}), value) if isinstance(value, dict) else value
    return out


def small_config(kind):
    """A preset with small networks; everything else is as the preset says."""
    preset = read_preset("fast" if kind == "fast" else f"{kind}-mosi")["model"]
    return from_mapping(IMDerConfig, merged(preset, SMALL, SMALL_FAST if kind == "fast" else SMALL_PUBLISHED))


def small_model(kind, spec=SPEC):
    """With weights, statistics and mixing weights as unlike their start as training leaves them."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = IMDer(spec, small_config(kind))
        for p in model.parameters():
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=generator) / math.sqrt(p[0].numel()))
            else:
                p.add_(0.2 * torch.randn(p.shape, generator=generator))
        model.branch_weight.copy_(
            torch.rand(model.branch_weight.shape, generator=generator)
            if model.config.two_branches
            else model.branch_weight
        )
        for module in model.modules():
            if isinstance(module, Standardizer):
                module.mean.copy_(torch.randn(module.mean.shape, generator=generator))
                module.std.copy_(0.5 + torch.rand(module.std.shape, generator=generator))
    return model.eval()


def patterns(count):
    """Every non-empty subset of ``count`` modalities."""
    return torch.tensor([[bool(bits >> k & 1) for k in range(count)] for bits in range(1, 2**count)])


def make_batch(spec=SPEC, copies=2, seed=0):
    """Every pattern of availability ``copies`` times; zeros wherever nothing may be read."""
    generator = torch.Generator().manual_seed(seed)
    available = patterns(len(spec.names)).repeat(copies, 1)
    rows = len(available)
    features, lengths = {}, {}
    for m in spec.modalities:
        lengths[m.name] = torch.randint(1, m.length + 1, (rows,), generator=generator)
        lengths[m.name][0] = m.length
        valid = torch.arange(m.length)[None] < lengths[m.name][:, None]
        features[m.name] = torch.randn(rows, m.length, m.dim, generator=generator) * valid[..., None]
    keys = torch.randint(-(2**63), 2**63 - 1, (rows,), generator=generator)
    if spec.task == "classification":
        labels = torch.randint(0, spec.outputs, (rows,), generator=generator)
    else:
        labels = torch.randn(rows, generator=generator)
    return Batch(features, lengths, torch.ones_like(available), available, keys, labels)


def assert_same(ours, theirs, rows=None):
    """Two outputs agree to 1e-4; ``rows``: the second is of these rows of the first."""
    rows = torch.arange(len(ours.prediction)) if rows is None else torch.as_tensor(rows)
    torch.testing.assert_close(theirs.prediction, ours.prediction[rows], rtol=1e-4, atol=1e-4)
    spread = theirs.spread.expand_as(ours.spread[:, rows])  # one, where a batch lacks nothing
    torch.testing.assert_close(spread, ours.spread[:, rows], rtol=1e-4, atol=1e-4)
    for name, recovery in theirs.recovered.items():
        place = {int(row): i for i, row in enumerate(ours.recovered[name].rows)}
        found = [place[int(rows[row])] for row in recovery.rows]
        for part in ("sampled", "refined"):
            assert_parity(getattr(recovery, part), getattr(ours.recovered[name], part)[:, found], f"{part} {name}")


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return small_model(request.param)


# ------------------------------------------------------------------------------------------------ prediction
def test_what_may_not_be_read_changes_nothing(model):
    batch = make_batch()
    ours, theirs = model.predict(batch), model.predict(spoiled(batch, batch.available))
    assert torch.isfinite(theirs.spread).all()
    torch.testing.assert_close(ours.prediction, theirs.prediction)
    assert_same(ours, theirs)


def test_what_may_be_read_changes_the_prediction(model):
    """The other half: every available modality of every row matters, and changes no other row."""
    batch = make_batch(copies=1)
    before = model.predict(batch).prediction
    for i, name in enumerate(SPEC.names):
        changed = replace(batch, features=batch.features | {name: batch.features[name] + 0.5})
        moved = (model.predict(changed).prediction - before).abs() > 1e-6
        assert torch.equal(moved, batch.available[:, i])


def test_the_seed_decides(model):
    batch = make_batch()
    first, again, other = (model.predict(batch, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.prediction, again.prediction)
    lacking = (~batch.available).any(1)
    assert (first.spread != other.spread).any(0)[lacking].all()
    torch.testing.assert_close(first.spread[:, ~lacking], other.spread[:, ~lacking])
    for name, recovery in first.recovered.items():
        assert torch.equal(recovery.sampled, again.recovered[name].sampled)
        assert (recovery.sampled != other.recovered[name].sampled).flatten(1).float().mean() > 0.99


def test_a_prediction_belongs_to_its_sample(model):
    """Whatever batch, order or batch size it comes in."""
    batch = make_batch()
    whole = model.predict(batch, seed=1)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    assert_same(whole, model.predict(take(batch, order), seed=1), order)
    for start in range(0, len(batch), 5):
        rows = list(range(start, min(start + 5, len(batch))))
        assert_same(whole, model.predict(take(batch, rows), seed=1), rows)
    for row in range(7):
        assert_same(whole, model.predict(take(batch, [row]), seed=1), [row])
    twice = [0, 0, 3, 3]
    assert_same(whole, model.predict(take(batch, twice), seed=1), twice)


def test_the_same_samples_differ_where_their_keys_do(model):
    batch = take(make_batch(), [0, 0])
    keys = torch.tensor([1, 2])
    sampled = model.recover(replace(batch, keys=keys))["vision"].sampled
    assert not torch.allclose(sampled[:, 0], sampled[:, 1], atol=0.01)


def test_recoveries(model):
    batch = make_batch()
    few, many = model.recover(batch, samples=2, seed=5), model.recover(batch, samples=4, seed=5)
    assert not model.training
    assert list(few) == list(SPEC.names)
    width = model.config.encoder.width
    for i, name in enumerate(SPEC.names):
        rows = (~batch.available[:, i]).nonzero().squeeze(1)
        steps = model.encoders[name].steps
        assert torch.equal(few[name].rows, rows)
        assert few[name].lengths.tolist() == [steps] * len(rows)
        assert few[name].sampled.shape == few[name].refined.shape == (2, len(rows), width, steps)
        assert_parity(many[name].sampled[:2], few[name].sampled, name)  # more draws leave the first as they were
        assert len(many[name].sampled[:, 0, 0, 0].unique()) == 4
        torch.testing.assert_close(few[name].refined[1], model.refine(name, few[name].sampled[1]))
        assert not few[name].sampled.requires_grad
    assert model.recover(batch.with_available(batch.present)) == {}


def test_every_modality_and_draw_has_noise_of_its_own(model, monkeypatch):
    """With a denoiser that changes nothing, what is sampled is the noise."""
    monkeypatch.setattr(model.recovery, "denoiser", lambda *args: lambda x, sigma: x)
    monkeypatch.setattr(model.recovery, "restore", lambda target, x: x[:, :, :1])
    keys = torch.arange(200)
    shown = torch.zeros(200, 3, dtype=torch.bool)
    draws = [model.recovery.sample(name, {}, shown, keys, draws=2, seed=seed) for name in SPEC.names for seed in (0, 1)]
    found = torch.corrcoef(torch.cat([draw.flatten(1) for draw in draws]))  # 12 sequences of 1600
    assert found.fill_diagonal_(0).abs().max() < 5 / 40


def test_recovery_reads_nothing_of_the_unavailable(model):
    """The target's own encoding and what is unavailable may hold anything."""
    batch = make_batch()
    encodings = model.encode(batch, batch.present)
    for i, name in enumerate(SPEC.names):
        rows = (~batch.available[:, i]).nonzero().squeeze(1)
        given = {k: e[rows] for k, e in encodings.items()}
        there = batch.available[rows]
        planted = {k: torch.where(there[:, j, None, None], given[k], torch.nan) for j, k in enumerate(SPEC.names)}
        ours, theirs = (
            model.recovery.sample(name, e, there, batch.keys[rows], draws=1, seed=0) for e in (given, planted)
        )
        assert_parity(theirs, ours, name)
        with torch.no_grad():
            ours, theirs = (
                model.recovery.losses(name, given[name], e, there, batch.keys[rows], 0) for e in (given, planted)
            )
        torch.testing.assert_close(theirs, ours)


def test_a_condition_marks_the_steps_of_what_is_available():
    condition = TokenCondition({"a": 3, "b": 2}, 4, 6, 8)
    available = {"a": torch.tensor([True, True, False, False]), "b": torch.tensor([True, False, True, False])}
    tokens, mask = condition({"a": torch.ones(4, 4, 3), "b": torch.ones(4, 4, 2)}, available)
    assert tokens.shape == (4, 6, 6)
    assert mask.int().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 0]]


def test_encodings_are_zero_where_unavailable(model):
    batch = make_batch()
    for i, encoding in enumerate(model.encode(batch).values()):
        there = batch.available[:, i]
        assert not encoding[~there].any()
        assert (encoding[there].flatten(1) != 0).any(1).all()


def test_predicting_keeps_the_mode_and_needs_something_available(model):
    batch = make_batch(copies=1)
    try:
        model.train()
        expected = model.predict(batch).prediction
        assert model.training
        assert model.fusion.training
        model.recover(batch)
        assert model.training
    finally:
        model.eval()
    assert torch.equal(model.predict(batch).prediction, expected)
    with pytest.raises(ImderError, match="no available modality"):
        model.predict(batch.with_available(torch.zeros_like(batch.available)))


def test_two_branches_are_mixed_by_pattern():
    model, batch = small_model("fast"), make_batch()
    model.branch_weight.fill_(1.0)
    recovered = model.predict(batch, seed=1)
    torch.testing.assert_close(recovered.prediction, recovered.spread.mean(0))
    model.branch_weight.zero_()
    token = model.predict(batch, seed=1).prediction
    torch.testing.assert_close(token, model.predict(batch, seed=2, samples=1).prediction)  # recovery is turned off
    weights = torch.linspace(0, 1, 8)
    model.branch_weight.copy_(weights)
    bits = (batch.available.long() * torch.tensor([1, 2, 4])).sum(1)
    expected = weights[bits] * recovered.prediction + (1 - weights[bits]) * token
    torch.testing.assert_close(model.predict(batch, seed=1).prediction, expected)


def test_the_weight_of_recovery_is_chosen_by_validation_loss():
    """Labels that one branch predicts exactly turn the other off, pattern by pattern."""
    model, batch = small_model("fast"), make_batch()
    model.branch_weight.fill_(1.0)
    recovered = model.predict(batch, seed=0).prediction
    model.branch_weight.zero_()
    token = model.predict(batch, seed=0).prediction
    by_token = batch.available[:, 0]
    labels = torch.where(by_token, token, recovered)
    model.branch_weight.fill_(0.5)
    model.on_phase_end("recovery", [take(replace(batch, labels=labels), range(i, i + 7)) for i in (0, 7)], seed=0)
    bits = (batch.available.long() * torch.tensor([1, 2, 4])).sum(1)
    assert torch.equal(model.branch_weight[bits], (~by_token).float())


def test_a_sample_met_several_times_is_one_witness():
    """Validation of a numeric rate draws patterns again and again: that makes no gain surer."""
    model, batch = small_model("fast"), make_batch()
    batch = replace(batch, labels=torch.randn(len(batch), generator=torch.Generator().manual_seed(3)))
    weights = []
    for times in (1, 30):
        model.on_phase_end("recovery", [batch] * times, seed=0)
        weights.append(model.branch_weight.clone())
    assert torch.equal(*weights)
    assert (weights[0] == 0).any()  # what 30 true samples might have shown


def test_recovery_is_trusted_where_validation_speaks_for_it():
    """A gain within a standard error is none; the same gain over more samples is one."""
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0))
    noise = (noise - noise.mean()) / noise.std()
    gain = (0.07 + noise)[:, None] * torch.tensor(BRANCH_WEIGHTS)  # of which a standard error is 1 / 20
    assert select_branch_weight(2 - gain) == 1.0
    assert select_branch_weight(2 - gain + 0.03 * torch.tensor(BRANCH_WEIGHTS)) == 0.0
    assert select_branch_weight(torch.full((9, 5), 1.0)) == 0.0
    middle = 1 + (torch.tensor(BRANCH_WEIGHTS) - 0.25).square()
    assert select_branch_weight(middle.repeat(9, 1)) == 0.25
    assert select_branch_weight(torch.tensor([[5.0, 4.0, 3.0, 3.0, 4.0]] * 3)) == 0.625


# ------------------------------------------------------------------------------------------------ any corpus
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_modalities_and_lengths(kind, count):
    lengths = {2: (1, 12), 4: (1, 12, 2, 1)}[count]
    spec = Spec(tuple(Modality(f"m{i}", 2 + i, n) for i, n in enumerate(lengths)))
    model, batch = small_model(kind, spec), make_batch(spec, copies=1)
    output = model.predict(batch, samples=2)
    assert output.prediction.shape == (len(batch),)
    assert output.spread.shape == (2, len(batch))
    assert torch.isfinite(output.spread).all()
    assert list(output.recovered) == list(spec.names)
    rows = list(range(0, len(batch), 2))
    assert_same(output, model.predict(take(batch, rows), samples=2), rows)
    assert_same(output, model.predict(spoiled(batch, batch.available), samples=2))
    if kind == "fast":
        assert output.recovered["m0"].sampled.shape[-1] == 1  # a clock of its own


def test_recovery_weights_are_those_of_the_predictions(model):
    """By pattern; of a row that lacks nothing, none enters, and of a pattern with weight 0 nothing is recovered."""
    names, batch = model.spec.names, make_batch()
    incomplete = [pattern for pattern in all_patterns(len(names)) if not all(pattern)]
    model.branch_weight[pattern_bits(torch.tensor(incomplete[:1]))] = 0.0
    weights = model.recovery_weights()
    assert list(weights) == [pattern_name(pattern, names) for pattern in incomplete]
    assert weights[pattern_name(incomplete[0], names)] == 0
    output = model.predict(batch, samples=2)
    entered = [weights.get(pattern_name(a, names), 0.0) for a in batch.available.tolist()]
    assert output.recovery_weight.tolist() == entered
    assert {0.0} < set(entered)
    for i, name in enumerate(names):
        rows = [row for row, a in enumerate(batch.available.tolist()) if not a[i] and entered[row]]
        assert output.recovered[name].rows.tolist() == rows


@pytest.mark.parametrize("kind", KINDS)
def test_classification(kind):
    spec = replace(SPEC, task="classification", classes=("calm", "happy", "sad", "angry"))
    model, batch = small_model(kind, spec), make_batch(spec)
    output = model.predict(batch, samples=2)
    assert output.prediction.shape == (len(batch), 4)
    assert output.spread.shape == (2, len(batch), 4)
    for probabilities in (output.prediction, output.spread):
        assert (probabilities >= 0).all()
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:-1]))
    assert_same(output, model.predict(take(batch, [9, 4]), samples=2), [9, 4])
    every = model(replace(batch, labels=batch.labels.where(batch.keys > 0, -1)), samples=2)
    chosen = every.prediction.gather(1, batch.labels[:, None])[:, 0]
    torch.testing.assert_close(every.losses["task"], -chosen[batch.keys > 0].log().mean())


def test_regression_loss_counts_labelled_rows_only(model):
    batch = make_batch()
    labelled = batch.keys > 0
    output = model(replace(batch, labels=batch.labels.where(labelled, torch.nan)))
    error = (output.prediction - batch.labels).abs()[labelled]
    torch.testing.assert_close(output.losses["task"], error.mean())
    assert "task" not in model(replace(batch, labels=None)).losses


# ------------------------------------------------------------------------------------------------ training
def every_phase(kind):
    return IMDer.phases(small_config(kind))


def terms(model, batch, phase, seed=0):
    """A phase's losses as (objective, their names)."""
    losses = model.losses(batch, phase, seed)
    return sum(loss.weight * loss.total / max(loss.count, 1.0) for loss in losses.values()), losses


CASES = [(kind, phase) for kind in KINDS for phase in every_phase(kind)]


def ready(kind, phase, batch):
    model = small_model(kind)
    if phase != "stage1":
        batches = [batch.with_available(batch.present)]
        model.on_phase_start("joint" if phase == "joint" else "score", batches, seed=0)
    return model


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_gradients_reach_what_a_phase_trains_and_nothing_else(kind, phase):
    batch = make_batch(copies=3)
    model = ready(kind, phase, batch).train()
    objective, losses = terms(model, batch, phase)
    assert all(torch.isfinite(loss.total) for loss in losses.values())
    assert all(loss.count > 0 for loss in losses.values())
    objective.backward()
    inside = {p for module in model.trainable_modules(phase) for p in module.parameters()}
    for name, p in model.named_parameters():
        if p in inside:
            assert p.grad is not None, name
            assert torch.isfinite(p.grad).all(), name
        else:
            assert p.grad is None, name
    for module in model.trainable_modules(phase):
        parts = [part for child in module.children() if isinstance(child, nn.ModuleDict) for part in child.values()]
        for part in parts or module.children():  # each network of each modality learns
            gradients = [p.grad.abs().max() for p in part.parameters()]
            assert not gradients or max(gradients) > 0, part


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_losses_read_nothing_that_is_not_there(kind, phase):
    """Naturally missing modalities hold NaN and their lengths mean nothing; they are no target either."""
    batch = make_batch(copies=2)
    present = batch.available | (torch.arange(len(batch)) % 2 == 0)[:, None]
    batch = replace(batch, present=present)
    _, ours = terms(ready(kind, phase, batch), batch, phase)
    _, theirs = terms(ready(kind, phase, spoiled(batch, present)), spoiled(batch, present), phase)
    assert ours.keys() == theirs.keys()
    for name, loss in ours.items():
        assert torch.isfinite(loss.total), name
        torch.testing.assert_close(loss.total, theirs[name].total)
        assert loss.count == theirs[name].count
    lost = (present & ~batch.available).sum(0).tolist()
    for i, name in enumerate(SPEC.names):
        if phase in ("recovery", "joint"):
            assert ours[f"reconstruction/{name}"].count == lost[i]
        if phase == "joint":
            assert ours[f"score/{name}"].count == lost[i]
        if phase == "score":
            assert ours[f"score/{name}"].count == int(present[:, i].sum())


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_a_batch_that_holds_only_what_is_available(kind, phase):
    """Strict training: nothing dropped is there to learn from, and every term is still defined."""
    batch = make_batch(copies=2)
    strict = spoiled(replace(batch, present=batch.available), batch.available)
    model = ready(kind, phase, strict).train()
    objective, losses = terms(model, strict, phase)
    assert torch.isfinite(objective)
    objective.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    for name, loss in losses.items():
        if name.startswith("reconstruction"):
            assert loss.count == 0
            assert loss.total == 0


@pytest.mark.parametrize(("kind", "phase"), CASES)
@pytest.mark.parametrize("rows", [[0], [6], [2, 3]])
def test_small_batches_train(kind, phase, rows):
    """One row of a pattern, one row that lacks nothing, a modality that one row only has."""
    batch = make_batch()
    model = ready(kind, phase, batch).train()
    objective, _ = terms(model, take(batch, rows), phase)
    assert torch.isfinite(objective)
    objective.backward()


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_loss_terms_belong_to_their_samples(kind, phase):
    """Sums over a batch are the sums over its parts, with the same seed: what several processes add up."""
    batch = make_batch()
    model = ready(kind, phase, batch)
    _, whole = terms(model, batch, phase, seed=2)
    parts = [terms(model, take(batch, rows), phase, seed=2)[1] for rows in (range(5), range(5, 14))]
    for name, loss in whole.items():
        torch.testing.assert_close(sum(p[name].total for p in parts), loss.total, rtol=1e-4, atol=1e-4)
        assert sum(p[name].count for p in parts) == loss.count
        assert all(p[name].weight == loss.weight for p in parts)


@pytest.mark.parametrize(("kind", "phase"), CASES)
def test_the_seed_decides_the_noise_of_the_losses(kind, phase):
    batch = make_batch()
    model = ready(kind, phase, batch)
    first, again, other = (terms(model, batch, phase, seed)[0].item() for seed in (4, 4, 5))
    assert first == again
    assert (first != other) == (phase != "stage1")


def test_begin_takes_the_statistics_of_what_is_there():
    batch = make_batch(copies=8)
    present = batch.available
    model = IMDer(SPEC, small_config("fast"))
    chunks = [spoiled(take(replace(batch, present=present), range(i, i + 28)), present[i : i + 28]) for i in (0, 28)]
    model.on_phase_start("stage1", chunks, seed=0)
    frames = torch.cat([x[0, :n] for x, n in zip(batch.features["vision"][present[:, 2]].split(1),
                                                 batch.lengths["vision"][present[:, 2]])])  # fmt: skip
    torch.testing.assert_close(model.encoders["vision"].standardize.mean, frames.mean(0))
    torch.testing.assert_close(model.encoders["vision"].standardize.std, frames.std(0, correction=0))
    model.on_phase_start("score", chunks, seed=0)
    with torch.no_grad():
        encoding = model.eval().encode(replace(batch, available=present))["audio"][present[:, 1]]
    torch.testing.assert_close(model.recovery.standardize["audio"].mean, encoding.mean((0, 2)))
    model.on_phase_start("recovery", chunks, seed=0)
    for a, b in zip(model.fusion.state_dict().values(), model.recovered_fusion.state_dict().values()):
        assert torch.equal(a, b)
    official = IMDer(SPEC, small_config("official"))
    official.on_phase_start("stage1", chunks, seed=0)
    assert official.encoders["vision"].standardize.mean.tolist() == [0] * 4


# ------------------------------------------------------------------------------------------------ correlation
RHO, ROWS = 0.8, 3000
ONE = {"target": 1, "given": 1}
NETWORK = NetworkConfig(widths=(2,), heads=1, attention_layers=1, embedding=2, condition_width=2)


def linear_optimum(mode, std):
    """Coefficients (of x, of the condition as seen) of the best linear score, from the second moments at ``std``."""
    variance = 1 + std**2
    seen = 1.0 if mode == "clean" else variance
    both = RHO + (std**2 if mode == "shared" else 0.0)
    pull = std if mode == "shared" else torch.zeros_like(std)  # covariance of the condition as seen with z
    determinant = variance * seen - both**2
    return -(std * seen - both * pull) / determinant / std, -(variance * pull - both * std) / determinant / std


class ExactScore(nn.Module):
    """In place of a score network: the optimum of the loss under one kind of condition noise."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def forward(self, x, t, std, condition):
        a, b = linear_optimum(self.mode, std)
        return a[:, None, None] * x + b[:, None, None] * condition


def drawn(recovery, draws):
    """(draws, condition): two channels, each correlated with the same channel of the condition only."""
    condition = torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(0))
    condition = condition - condition.mean(0)
    condition = (condition @ torch.linalg.inv(torch.linalg.cholesky(condition.T @ condition / ROWS)).T)[:, :, None]
    given = {"target": torch.full((ROWS, 2, 1), torch.nan), "given": condition}
    available = torch.tensor([[False, True]] * ROWS)
    with torch.no_grad():
        return recovery.sample("target", given, available, torch.arange(ROWS), draws=draws, seed=0), condition


def correlations(x, condition):
    return torch.corrcoef(torch.cat([x[:, :, 0], condition[:, :, 0]], dim=1).T)[:2, 2:]


@pytest.mark.parametrize("mode", ["clean", "independent", "shared"])
def test_correlation_under_each_condition_noise(mode):
    """With each loss's own optimum as the network: true, weaker, and turned around."""
    config = RecoveryConfig("channels", mode, "score", solver="euler_maruyama", evaluations=200, network=NETWORK)
    recovery = PaperRecovery(ONE, 2, config)
    recovery.scores["target"] = ExactScore(mode)
    (x,), condition = drawn(recovery, 1)
    found = correlations(x, condition)
    for own in found.diag().tolist():
        if mode == "clean":
            assert own == pytest.approx(RHO, abs=0.03)
        elif mode == "independent":
            assert 0.4 < own < RHO - 0.1
        else:
            assert own < -0.2
    assert max(abs(found[0, 1]), abs(found[1, 0])) < 0.07

    # The loss indeed has its minimum there: no other mode's optimum does better.
    generator = torch.Generator().manual_seed(1)
    target = RHO * condition + math.sqrt(1 - RHO**2) * torch.randn(ROWS, 2, 1, generator=generator)
    available = torch.tensor([[False, True]] * ROWS)
    losses = {}
    for other in ("clean", "independent", "shared"):
        recovery.scores["target"] = ExactScore(other)
        encodings = {"target": target, "given": condition}
        losses[other] = float(recovery.losses("target", target, encodings, available, torch.arange(ROWS), 3).mean())
    assert min(losses, key=losses.get) == mode


class GivenTokens(nn.Module):
    def forward(self, encodings, available):
        return encodings["given"].transpose(1, 2), available["given"][:, None]


class ExactDenoiser(nn.Module):
    """In place of the network of `fast`: F of the conditional mean, from c_in x, ln(sigma) / 4 and the condition."""

    def prepare(self, tokens, mask):
        assert mask.all()
        return RHO * tokens.transpose(1, 2)

    def forward(self, x, c_noise, mean):
        sigma = (4 * c_noise).exp()[:, None, None]
        total = (1 + sigma**2).sqrt()
        mean = mean.repeat_interleave(len(x) // len(mean), dim=0)  # draws of a row stand side by side
        noisy, variance = total * x, 1 - RHO**2
        denoised = mean + variance / (variance + sigma**2) * (noisy - mean)
        return (denoised - noisy / total**2) / (sigma / total)


@pytest.mark.parametrize(("solver", "evaluations"), [("dpmpp_2m", 8), ("heun", 30), ("euler_maruyama", 200)])
def test_correlation_of_fast(solver, evaluations):
    """Also a deterministic solver's: its start must know the conditional mean."""
    recovery = TokenRecovery(ONE, 2, RecoveryConfig(solver=solver, evaluations=evaluations, network=NETWORK))
    recovery.conditions["target"], recovery.networks["target"] = GivenTokens(), ExactDenoiser()
    x, condition = drawn(recovery, 3)
    found = correlations(x.flatten(0, 1), condition.repeat(3, 1, 1))
    assert found.diag().tolist() == pytest.approx([RHO, RHO], abs=0.02)
    assert max(abs(found[0, 1]), abs(found[1, 0])) < 0.05
    for draw in x:
        assert correlations(draw, condition).diag().tolist() == pytest.approx([RHO, RHO], abs=0.05)
        assert float(draw.std()) == pytest.approx(1, abs=0.05)
    apart = torch.corrcoef((x - RHO * condition)[:, :, 0, 0])
    assert apart.fill_diagonal_(0).abs().max() < 0.08  # draws are independent given the condition


# ------------------------------------------------------------------------------------------------ files and presets
def test_save_and_load(model, tmp_path):
    batch = make_batch()
    model.save_pretrained(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
    loaded = IMDer.from_pretrained(tmp_path / "model")
    assert loaded.config == model.config
    assert loaded.spec == model.spec
    assert not loaded.training
    ours, theirs = (m.predict(batch, seed=2) for m in (model, loaded))
    assert torch.equal(ours.prediction, theirs.prediction)
    assert torch.equal(ours.spread, theirs.spread)


def test_a_wrong_configuration_is_one_line(tmp_path):
    for wrong in ({"encoder": {"widht": 8}}, {"recovry": {"sigma": 25.0}}, {"recovery": {"network": {"head": 2}}}):
        with pytest.raises(ImderError, match=r"widht|recovry|head") as caught:
            build("imder", wrong, SPEC)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImderError, match=r"two_branches needs fusion\.kind 'pooled'"):
        build("imder", {"two_branches": False}, SPEC)
    with pytest.raises(ImderError, match=r"condition 'tokens' goes with 'edm'"):
        build("imder", {"recovery": {"preconditioning": "score"}}, SPEC)
    with pytest.raises(ImderError, match="no system 'imdr'"):
        build("imdr", {}, SPEC)
    small_model("fast").save_pretrained(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    description["model"]["encoder"]["widht"] = 8
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(ImderError, match="widht"):
        IMDer.from_pretrained(tmp_path)


def test_the_presets_there_are():
    expected = {"fast", "paper-mosi", "paper-mosei", "paper-sims", "official-mosi", "official-mosei"}
    assert expected <= set(preset_names())


@pytest.mark.parametrize("name", [n for n in preset_names() if read_preset(n)["system"] == "imder"])
def test_every_preset_builds_and_round_trips(name):
    preset = read_preset(name)
    assert set(preset) == {"system", "model", "training"}
    spec = Spec((Modality("language", 768, 50), Modality("audio", 5, 50), Modality("vision", 20, 50)))
    model = IMDer.from_preset(name, spec)
    assert from_mapping(IMDerConfig, json.loads(json.dumps(asdict(model.config)))) == model.config
    assert load_config(name).model == model.config
    if name != "fast":
        assert [e.steps for e in model.encoders.values()] == [48] * 3
        phases = [key for key, value in preset["training"].items() if isinstance(value, dict)]
        assert tuple(phases) == IMDer.phases(model.config)
        released = model.config.fusion.causal
        encoders = [m for m in model.modules() if hasattr(m, "zero_is_padding")]
        assert {m.causal for m in encoders} == {m.zero_is_padding for m in encoders} == {released}
        assert released == name.startswith("official")


def test_modalities_never_seen_together_are_not_conditions(model, caplog):
    model, batch = copy.deepcopy(model), make_batch()
    available = torch.zeros_like(batch.available)
    available[torch.arange(len(batch)), torch.arange(len(batch)) % available.shape[1]] = True
    alone = replace(batch, present=available, available=available)
    with caplog.at_level(logging.WARNING):
        model.on_phase_start("score", [alone], 0, permanently_missing=True)
    assert caplog.text.count("never seen together") == available.shape[1]
    name = model.spec.names[0]
    before = model.recover(alone, seed=3)[name]
    other = model.spec.names[1]
    changed = replace(alone, features={**alone.features, other: alone.features[other] + 1.0})
    assert torch.equal(before.sampled, model.recover(changed, seed=3)[name].sampled)
