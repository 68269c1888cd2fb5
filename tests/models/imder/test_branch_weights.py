"""The weight of the recovery branch: chosen on validation, by pattern, and reported."""

from dataclasses import replace

import torch

from batches import take
from imder.missingness.patterns import pattern_name
from imder.missingness.patterns import patterns as all_patterns
from imder.missingness.subsets import pattern_bits
from imder.models.imder.branch_weights import BRANCH_WEIGHTS, select_branch_weight
from small_imder import make_batch, small_model


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


def test_recovery_weights_are_those_of_the_predictions(model):
    """By pattern: with weight 0 nothing is recovered; of a row that lacks nothing, the weight of a second fusion, if any."""
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
