"""The joint Gaussian against scikit-learn's shrinkage and the dense formulas of conditioning."""

import numpy as np
import torch
from sklearn.covariance import LedoitWolf

from imder.models.imputer.joint_gaussian import JITTER, JointGaussian


def sample(n: int, p: int, seed: int = 0) -> torch.Tensor:
    """Correlated values ``(n, p)`` of mean 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, p, generator=generator) @ torch.randn(p, p, generator=generator) / p**0.5
    return values - values.mean(0)


def test_complete_clips_give_the_covariance_of_scikit_learn() -> None:
    values = sample(60, 7)
    gaussian = JointGaussian({"a": 3, "b": 4}, labels=0, context=False)
    gaussian.fit(values, torch.ones(60, 2, dtype=torch.bool), torch.zeros(60, 0), torch.arange(60))
    expected = LedoitWolf(assume_centered=True).fit(values.double().numpy()).covariance_
    assert np.allclose(gaussian.covariance.numpy(), expected, atol=1e-5)


def test_repeated_clips_shrink_as_the_clips_do() -> None:
    values, known, group = sample(60, 7), torch.ones(60, 2, dtype=torch.bool), torch.arange(60)
    once, copied = (JointGaussian({"a": 3, "b": 4}, labels=0, context=False) for _ in range(2))
    once.fit(values, known, torch.zeros(60, 0), group)
    copied.fit(values.repeat(4, 1), known.repeat(4, 1), torch.zeros(240, 0), group.repeat(4))
    assert torch.allclose(once.covariance, copied.covariance, atol=1e-5)


def test_speakers_that_differ_shrink_more_than_independent_clips() -> None:
    generator = torch.Generator().manual_seed(7)
    group = torch.arange(120) // 20
    values = torch.randn(120, 6, generator=generator) + 2 * torch.randn(6, 6, generator=generator)[group]
    known = torch.ones(120, 2, dtype=torch.bool)
    alone, grouped = (JointGaussian({"a": 3, "b": 3}, labels=0, context=False) for _ in range(2))
    alone.fit(values, known, torch.zeros(120, 0), torch.arange(120))
    grouped.fit(values, known, torch.zeros(120, 0), group)
    across = [float(g.covariance.fill_diagonal_(0).square().sum()) for g in (alone, grouped)]
    assert across[1] < 0.8 * across[0]


def test_conditioning_follows_the_dense_formula() -> None:
    values = sample(80, 9, seed=1)
    gaussian = JointGaussian({"a": 2, "b": 3, "c": 4}, labels=0, context=False)
    gaussian.fit(values, torch.ones(80, 3, dtype=torch.bool), torch.zeros(80, 0), torch.arange(80))
    c = gaussian.covariance.double()
    given, own = [0, 1, 5, 6, 7, 8], [2, 3, 4]
    coef = torch.linalg.solve(c[given][:, given] + JITTER * torch.eye(6), c[given][:, own])
    rest = c[own][:, own] - c[own][:, given] @ coef
    conditional = gaussian.conditional(1, 0b101)
    assert conditional.columns.tolist() == given
    assert torch.allclose(conditional.root @ conditional.root.T, rest.float(), atol=1e-4)
    mean = gaussian.mean(1, 0b101, values, torch.zeros(80, 0))
    assert torch.allclose(mean, (values.double()[:, given] @ coef).float(), atol=1e-4)


def test_nothing_given_is_the_marginal() -> None:
    values = sample(80, 5, seed=2)
    gaussian = JointGaussian({"a": 2, "b": 3}, labels=0, context=False)
    gaussian.fit(values, torch.ones(80, 2, dtype=torch.bool), torch.zeros(80, 0), torch.arange(80))
    conditional = gaussian.conditional(0, 0)
    assert torch.allclose(conditional.root @ conditional.root.T, gaussian.covariance[:2, :2], atol=1e-4)
    assert torch.equal(gaussian.mean(0, 0, values, torch.zeros(80, 0)), torch.zeros(80, 2))


def test_a_modality_that_most_clips_lack_still_gives_a_covariance() -> None:
    values = sample(60, 12, seed=3)
    known = torch.ones(60, 3, dtype=torch.bool)
    known[:40, 2] = False
    known[40:55, 1] = False
    gaussian = JointGaussian({"a": 4, "b": 4, "c": 4}, labels=0, context=False)
    gaussian.fit(
        torch.where(known.repeat_interleave(4, dim=1), values, torch.nan), known, torch.zeros(60, 0), torch.arange(60)
    )
    assert bool(torch.isfinite(gaussian.covariance).all())
    assert float(torch.linalg.eigvalsh(gaussian.covariance.double()).min()) > 0


def test_labels_shift_the_mean_and_leave_the_covariance_within_them() -> None:
    generator = torch.Generator().manual_seed(4)
    label = torch.randint(0, 2, (4000,), generator=generator)
    values = torch.randn(4000, 4, generator=generator)
    values[:, :2] += 3.0 * label[:, None] - 1.5
    design = torch.nn.functional.one_hot(label, 2).float()
    gaussian = JointGaussian({"a": 2, "b": 2}, labels=2, context=False)
    gaussian.fit(values, torch.ones(4000, 2, dtype=torch.bool), design, torch.arange(4000))
    assert torch.allclose(gaussian.effect[:, :2], torch.tensor([[-1.5, -1.5], [1.5, 1.5]]), atol=0.1)
    assert torch.allclose(gaussian.covariance, torch.eye(4), atol=0.1)
    assert torch.allclose(
        gaussian.mean(0, 0b10, values, design)[label == 1].mean(0), torch.tensor([1.5, 1.5]), atol=0.1
    )


def test_inflation_scales_the_covariance_of_one_pattern_alone() -> None:
    values = sample(80, 5, seed=5)
    gaussian = JointGaussian({"a": 2, "b": 3}, labels=0, context=False)
    gaussian.fit(values, torch.ones(80, 2, dtype=torch.bool), torch.zeros(80, 0), torch.arange(80))
    before, other = gaussian.conditional(0, 0b10).root, gaussian.conditional(0, 0).root
    gaussian.set_inflation(0, 0b10, 4.0)
    assert torch.allclose(gaussian.conditional(0, 0b10).root, 2 * before)
    assert torch.equal(gaussian.conditional(0, 0).root, other)


def test_loaded_moments_replace_cached_conditionals() -> None:
    one, other = (JointGaussian({"a": 2, "b": 3}, labels=0, context=False) for _ in range(2))
    one.fit(sample(80, 5, seed=6), torch.ones(80, 2, dtype=torch.bool), torch.zeros(80, 0), torch.arange(80))
    other.conditional(0, 0b10)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.conditional(0, 0b10).root, one.conditional(0, 0b10).root)
