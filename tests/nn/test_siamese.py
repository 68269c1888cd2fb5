"""Attraction of two views: values by hand, the stopped gradient, and small batches."""

import math

import torch

from imder.nn.siamese import RowNorm, SiameseHead, Twin, attraction


def test_attraction_by_hand():
    first = Twin(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
    second = Twin(torch.tensor([[1.0, 1.0], [0.0, 5.0]]), torch.tensor([[0.0, 2.0], [0.0, -1.0]]))
    # Row 1: cos((1, 0), (1, 1)) = 1 / sqrt 2 and cos((0, 2), (3, 4)) = 4 / 5; row 2: 0 and -1.
    expected = torch.tensor([-(1 / math.sqrt(2) + 0.8) / 2, 0.5])
    torch.testing.assert_close(attraction(first, second), expected)
    torch.testing.assert_close(attraction(second, first), expected)


def test_projections_are_targets_without_gradient():
    leaves = [torch.randn(3, 4, requires_grad=True) for _ in range(4)]
    attraction(Twin(*leaves[:2]), Twin(*leaves[2:])).sum().backward()
    assert [leaf.grad is not None for leaf in leaves] == [False, True, False, True]


def test_a_view_learns_through_its_own_prediction():
    """With the other view's vectors held fixed, the gradient is the same: they are targets alone."""
    torch.manual_seed(0)
    head = SiameseHead(6, 3).eval()
    one, other = torch.randn(5, 6, requires_grad=True), torch.randn(5, 6, requires_grad=True)
    loss = attraction(head(one), head(other)).sum()
    fixed = head(other.detach()).projection
    term = -torch.nn.functional.cosine_similarity(head(one).prediction, fixed, dim=1).sum() / 2
    torch.testing.assert_close(torch.autograd.grad(loss, one)[0], torch.autograd.grad(term, one)[0])


def test_rows_too_few_for_statistics_use_the_running_ones():
    norm = RowNorm(3)
    with torch.no_grad():
        norm.running_mean.fill_(2.0)
    x = torch.randn(1, 3)
    torch.testing.assert_close(norm(x), norm.eval()(x))
    assert norm.train()(x[:0]).shape == (0, 3)
    assert torch.equal(norm.running_mean, torch.full((3,), 2.0))
    norm(torch.randn(4, 3))
    assert not torch.equal(norm.running_mean, torch.full((3,), 2.0))
