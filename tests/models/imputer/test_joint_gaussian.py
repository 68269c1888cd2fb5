"""The joint Gaussian against scikit-learn's factor analysis and the dense formulas of conditioning."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import FactorAnalysis

from imder.models.imputer.joint_gaussian import JITTER, JointGaussian, factor_analysis


def sample(n: int, p: int, seed: int = 0) -> torch.Tensor:
    """Correlated values ``(n, p)`` of mean 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, p, generator=generator) @ torch.randn(p, p, generator=generator) / p**0.5
    return values - values.mean(0)


def test_factors_are_those_of_scikit_learn() -> None:
    values = sample(300, 12)
    expected = (
        FactorAnalysis(3, tol=1e-7, max_iter=20000, svd_method="lapack").fit(values.double().numpy()).get_covariance()
    )
    values = values.double()
    loadings, psi = factor_analysis(values.T @ values / len(values), 3)
    found = (loadings @ loadings.T + psi.diag()).numpy()
    assert np.allclose(found, expected, atol=0.01 * np.abs(expected).max())


def test_a_covariance_of_few_factors_is_found() -> None:
    generator = torch.Generator().manual_seed(8)
    true = torch.randn(10, 2, generator=generator, dtype=torch.float64)
    covariance = true @ true.T + torch.rand(10, generator=generator, dtype=torch.float64).add(0.2).diag()
    loadings, psi = factor_analysis(covariance, 2)
    assert torch.allclose(loadings @ loadings.T + psi.diag(), covariance, atol=1e-3)


def test_constant_columns_have_next_to_no_variance() -> None:
    covariance = sample(50, 6).double()
    covariance = covariance.T @ covariance / 50
    covariance[2], covariance[:, 2] = 0, 0
    loadings, psi = factor_analysis(covariance, 3)
    assert float(loadings[2].abs().max()) < 1e-6
    assert float(psi[2]) == pytest.approx(1e-4)


def test_conditioning_follows_the_dense_formula() -> None:
    values = sample(80, 9, seed=1)
    gaussian = JointGaussian({"a": 2, "b": 3, "c": 4}, labels=0, context=False, factors=3)
    gaussian.fit(values, torch.ones(80, 3, dtype=torch.bool), torch.zeros(80, 0))
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
    gaussian = JointGaussian({"a": 2, "b": 3}, labels=0, context=False, factors=3)
    gaussian.fit(values, torch.ones(80, 2, dtype=torch.bool), torch.zeros(80, 0))
    conditional = gaussian.conditional(0, 0)
    assert torch.allclose(conditional.root @ conditional.root.T, gaussian.covariance[:2, :2].float(), atol=1e-4)
    assert torch.equal(gaussian.mean(0, 0, values, torch.zeros(80, 0)), torch.zeros(80, 2))


def test_a_modality_that_most_clips_lack_still_gives_a_covariance() -> None:
    values = sample(60, 12, seed=3)
    known = torch.ones(60, 3, dtype=torch.bool)
    known[:40, 2] = False
    known[40:55, 1] = False
    gaussian = JointGaussian({"a": 4, "b": 4, "c": 4}, labels=0, context=False, factors=3)
    gaussian.fit(torch.where(known.repeat_interleave(4, dim=1), values, torch.nan), known, torch.zeros(60, 0))
    assert bool(torch.isfinite(gaussian.covariance).all())
    assert float(torch.linalg.eigvalsh(gaussian.covariance.double()).min()) > 0


def test_labels_shift_the_mean_and_leave_the_covariance_within_them() -> None:
    generator = torch.Generator().manual_seed(4)
    label = torch.randint(0, 2, (4000,), generator=generator)
    values = torch.randn(4000, 4, generator=generator)
    values[:, :2] += 3.0 * label[:, None] - 1.5
    design = torch.nn.functional.one_hot(label, 2).float()
    gaussian = JointGaussian({"a": 2, "b": 2}, labels=2, context=False, factors=3)
    gaussian.fit(values, torch.ones(4000, 2, dtype=torch.bool), design)
    assert torch.allclose(gaussian.effect[:, :2], torch.tensor([[-1.5, -1.5], [1.5, 1.5]]), atol=0.1)
    assert torch.allclose(gaussian.covariance.float(), torch.eye(4), atol=0.1)
    assert torch.allclose(
        gaussian.mean(0, 0b10, values, design)[label == 1].mean(0), torch.tensor([1.5, 1.5]), atol=0.1
    )


@pytest.mark.parametrize("labelled", [1.0, 0.25, 0.0])
def test_clips_of_unknown_labels_count_by_their_exact_distribution(labelled: float) -> None:
    generator = torch.Generator().manual_seed(4)
    label = torch.randint(0, 2, (40_000,), generator=generator)
    shift = torch.tensor([0.5, 0.25, 0.0, 0.0])
    values = torch.randn(len(label), 4, generator=generator) + shift * (2 * label - 1)[:, None]
    probability = torch.sigmoid(2 * values @ shift)
    known = torch.rand(len(label), generator=generator) < labelled
    expected = torch.where(known, label.float(), probability)
    design = torch.stack([1 - expected, expected], dim=1)
    gaussian = JointGaussian({"a": 2, "b": 2}, labels=2, context=False, factors=3)
    gaussian.fit(values, torch.ones(len(label), 2, dtype=torch.bool), design, squares=design)
    assert torch.allclose(gaussian.effect, torch.stack([-shift, shift]), atol=0.02)
    assert torch.allclose(gaussian.covariance.float(), torch.eye(4), atol=0.03)


def test_values_of_unknown_labels_count_with_their_variance() -> None:
    generator = torch.Generator().manual_seed(5)
    label = torch.randn(40_000, generator=generator)
    values = torch.randn(len(label), 4, generator=generator)
    values[:, :2] += label[:, None]
    known = torch.rand(len(label), generator=generator) < 0.25
    expected = torch.where(known, label, values[:, :2].sum(1) / 3)[:, None]  # exact: variance 1/3 is left
    gaussian = JointGaussian({"a": 2, "b": 2}, labels=1, context=False, factors=3)
    gaussian.fit(values, torch.ones(len(label), 2, dtype=torch.bool), expected, expected.square() + ~known[:, None] / 3)
    assert torch.allclose(gaussian.effect, torch.tensor([[1.0, 1.0, 0.0, 0.0]]), atol=0.02)
    assert torch.allclose(gaussian.covariance.float(), torch.eye(4), atol=0.03)


def test_loaded_moments_replace_cached_conditionals() -> None:
    one, other = (JointGaussian({"a": 2, "b": 3}, labels=0, context=False, factors=3) for _ in range(2))
    one.fit(sample(80, 5, seed=6), torch.ones(80, 2, dtype=torch.bool), torch.zeros(80, 0))
    other.conditional(0, 0b10)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.conditional(0, 0b10).root, one.conditional(0, 0b10).root)
