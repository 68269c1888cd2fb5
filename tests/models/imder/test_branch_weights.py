"""The weight of the recovery branch: chosen on validation, by pattern, against a control, and reported."""

from dataclasses import replace

import pytest
import torch

from batches import take
from imder.missingness.patterns import pattern_name
from imder.missingness.patterns import patterns as all_patterns
from imder.missingness.subsets import pattern_bits
from imder.models.imder.branch_weights import BRANCH_WEIGHTS, LEAST_SAMPLES, BranchLosses, select_branch_weight
from imder.models.imder.training import SELECTION_DRAWS, IMDer
from small_imder import SPEC, make_batch, small_config, small_model

RISING = torch.tensor(BRANCH_WEIGHTS)


@pytest.fixture(params=["fast", "members"])
def model(request):
    return small_model(request.param)


def test_two_branches_are_mixed_by_pattern(model):
    batch = make_batch()
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


def test_recovery_starts_turned_off():
    """An untrained model relies on no recovery, and computes one prediction for each row."""
    model, batch = IMDer(SPEC, small_config("fast")).eval(), make_batch()
    assert not model.branch_weight.any()
    assert model.num_samples(5) == 1
    output = model.predict(batch, samples=5)
    assert output.spread.shape == (1, len(batch))
    assert output.recovered == {}
    assert set(model.recovery_weights().values()) == {0.0}
    model.branch_weight[3] = 0.25
    assert model.num_samples(5) == 5


def test_the_weight_of_recovery_is_chosen_by_validation_loss(model):
    """Labels that one branch predicts exactly turn the other off, pattern by pattern."""
    batch = make_batch(copies=LEAST_SAMPLES)
    model.branch_weight.fill_(1.0)
    recovered = model.predict(batch, seed=0, samples=SELECTION_DRAWS).prediction
    model.branch_weight.zero_()
    token = model.predict(batch, seed=0).prediction
    by_token = batch.available[:, 0]
    labels = torch.where(by_token, token, recovered)
    model.branch_weight.fill_(0.5)
    batches = [take(replace(batch, labels=labels), range(i, i + 70)) for i in (0, 70, 140)]
    model.on_phase_end("recovery", batches, seed=0)
    assert (model.branch_weight == 0.5).all()  # the control hasn't been trained yet
    model.on_phase_end("control", batches, seed=0)
    bits = (batch.available.long() * torch.tensor([1, 2, 4])).sum(1)
    assert torch.equal(model.branch_weight[bits], (~by_token).float())


def test_recovery_that_is_no_better_than_its_control_is_turned_off(model):
    """Labels between what both predict, nearer to the control, though far from the missing-token branch."""
    batch = make_batch(copies=LEAST_SAMPLES)
    model.branch_weight.fill_(1.0)
    recovered = model.predict(batch, seed=0, samples=SELECTION_DRAWS).prediction
    mask = batch.available
    with torch.no_grad():
        encodings = model.encode(batch)
        clips = model.fuse(encodings, mask)
        control = model.control_branch(encodings, mask, model._zeros(mask), 1, clips, None)[0, :, :, 0].mean(0)
        model.fusion.head.bias.sub_(100.0)  # the missing-token branch predicts nonsense
    for share, weight in ((0.9, 0.0), (0.1, 1.0)):
        labels = share * control + (1 - share) * recovered
        model.branch_weight.fill_(0.5)
        model.on_phase_end("control", [replace(batch, labels=labels)], seed=0)
        incomplete = pattern_bits(mask[(~mask).any(1)])
        assert (model.branch_weight[incomplete] == weight).all()


def test_a_sample_met_several_times_is_one_witness(model):
    """Validation of a numeric rate draws patterns again and again: that makes no gain surer."""
    few = make_batch(copies=2)
    model.branch_weight.fill_(1.0)
    batch = replace(few, labels=model.predict(few, seed=0, samples=SELECTION_DRAWS).prediction)
    model.branch_weight.fill_(0.5)
    model.on_phase_end("control", [batch] * 30, seed=0)
    assert not model.branch_weight[pattern_bits(batch.available)].any()  # of two samples, however often they are met
    noise = torch.randn(LEAST_SAMPLES, generator=torch.Generator().manual_seed(3))
    noise = (noise - noise.mean()) / noise.std()
    losses = 2 - (0.15 + noise)[:, None] * RISING  # a gain within a standard error, which is .18
    weights = []
    for keys_of in (lambda time: torch.arange(30), lambda time: torch.arange(30) + 30 * time):
        branch_losses = BranchLosses()
        for time in range(10):
            branch_losses.add(torch.full((30,), 5), keys_of(time), losses, torch.full_like(losses, 3.0))
        weights.append(branch_losses.select())
    assert weights == [{5: 0.0}, {5: 1.0}]  # what 300 true samples would have shown


def test_recovery_is_trusted_where_validation_speaks_for_it():
    """A gain within a standard error is none; the same gain over more samples is one."""
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0))
    noise = (noise - noise.mean()) / noise.std()
    gain = (0.07 + noise)[:, None] * RISING  # of which a standard error is 1 / 20
    worse = torch.full((400, 5), 9.0)
    assert select_branch_weight(2 - gain, worse) == 1.0
    assert select_branch_weight(2 - gain + 0.03 * RISING, worse) == 0.0
    assert select_branch_weight(torch.full((40, 5), 1.0), worse[:40]) == 0.0
    middle = 1 + (RISING - 0.25).square()
    assert select_branch_weight(middle.repeat(40, 1), worse[:40]) == 0.25
    assert select_branch_weight(torch.tensor([[5.0, 4.0, 3.0, 3.0, 4.0]] * 30), worse[:30]) == 0.625


def test_recovery_is_trusted_only_beyond_its_control():
    """The control counts at its own best weight; a gain over it must exceed two standard errors and a share of its loss."""
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0))
    noise = (noise - noise.mean()) / noise.std()
    losses = 2 - 0.5 * RISING.repeat(400, 1)  # 1.5 at weight 1
    flat = torch.full((400, 5), 2.0)
    assert select_branch_weight(losses, flat) == 1.0
    for at in range(5):  # the control reaches 1.4 at one weight, which is less
        control = flat.clone()
        control[:, at] = 1.4
        assert select_branch_weight(losses, control) == 0.0
    for margin, weight in ((0.12, 1.0), (0.08, 0.0)):  # of which a standard error is 1 / 20
        control = flat.clone()
        control[:, 2] = 1.5 + margin + noise
        assert select_branch_weight(losses, control) == weight
    for margin, weight in ((0.016, 1.0), (0.014, 0.0)):  # without noise, 1 % of 1.5 decides
        assert select_branch_weight(losses, torch.full((400, 5), 1.5 + margin)) == weight
    assert select_branch_weight(flat - 0.1 * RISING, flat - 0.1 * RISING) == 0.0
    assert select_branch_weight(flat + 0.1 * RISING, flat + 1.0) == 0.0  # better than the control, not than nothing


@pytest.mark.parametrize(("count", "weight"), [(1, 0.0), (29, 0.0), (30, 1.0)])
def test_a_pattern_of_few_samples_is_not_judged(count, weight):
    losses = (2 - RISING).repeat(count, 1)
    assert select_branch_weight(losses, torch.full((count, 5), 2.0)) == weight


@pytest.mark.parametrize("kind", ["fast", "members", "paper", "official"])
def test_recovery_weights_are_those_of_the_predictions(kind):
    """By pattern: with weight 0 nothing is recovered; of a row that lacks nothing, the weight of a second fusion, if any."""
    model = small_model(kind)
    names, batch = model.spec.names, make_batch()
    subsets = all_patterns(len(names))
    model.branch_weight[pattern_bits(torch.tensor(subsets[:1]))] = 0.0
    weights = model.recovery_weights()
    assert list(weights) == [pattern_name(pattern, names) for pattern in subsets]
    assert weights[pattern_name(subsets[0], names)] == 0
    assert (weights["+".join(names)] > 0) == model.config.two_branches
    output = model.predict(batch, samples=2)
    entered = [weights[pattern_name(a, names)] for a in batch.available.tolist()]
    assert output.recovery_weight.tolist() == entered
    assert {0.0} < set(entered)
    for i, name in enumerate(names):
        rows = [row for row, a in enumerate(batch.available.tolist()) if not a[i] and entered[row]]
        assert output.recovered[name].rows.tolist() == rows
