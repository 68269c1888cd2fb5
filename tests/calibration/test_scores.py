from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imder.calibration.scores import crps, nll, quantile
from imder.synthetic.posterior import LabelPosterior, normal_cdf

points = st.lists(st.floats(-5, 5), min_size=1, max_size=9)


def normal_quantiles(n: int) -> np.ndarray:
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(n) + 0.5) / n))


@given(points, st.floats(-8, 8))
def test_crps_is_its_definition(x: list[float], y: float) -> None:
    """E|X - y| - E|X - X'| / 2, and the integral of the squared difference of the two step functions."""
    a = np.array(x)
    found = crps(a[None], np.array([y]))[0]
    pairs = np.abs(a - y).mean() - np.abs(a[:, None] - a).mean() / 2
    edges = np.unique([*a, y])
    below = (a[:, None] <= edges[:-1]).mean(0) - (y <= edges[:-1])
    assert found == pytest.approx(pairs, abs=1e-12)
    assert found == pytest.approx((below**2 * np.diff(edges)).sum(), abs=1e-12)


@pytest.mark.parametrize(("mean", "std", "y"), [(0, 1, 0.3), (1.5, 0.4, 3.0), (-2, 2, -2)])
def test_crps_of_a_gaussian(mean: float, std: float, y: float) -> None:
    """Gneiting and Raftery (2007), equation 21's example: sd (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))."""
    z = (y - mean) / std
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    exact = std * (z * (2 * normal_cdf(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    x = mean + std * normal_quantiles(20_001)
    assert crps(x[None], np.array([float(y)]))[0] == pytest.approx(exact, rel=1e-3)


def test_crps_of_a_clipped_mixture_agrees_with_the_integral() -> None:
    posterior = LabelPosterior(np.array([[0.3, 0.7]]), np.array([[-2.5, 1.5]]), np.array([[0.8, 1.2]]))
    x = np.concatenate([posterior.quantile(q) for q in (np.arange(400) + 0.5) / 400])
    for y in (-3.0, 0.2, 3.0):
        assert crps(x[None], np.array([y]))[0] == pytest.approx(posterior.crps(np.array([y]))[0], rel=5e-3)


@given(points, points)
def test_crps_is_proper(truth: list[float], other: list[float]) -> None:
    """On average over labels of a distribution, no distribution scores better than that one."""
    y = np.array(truth)
    own, others = (np.tile(np.array(x), (len(y), 1)) for x in (truth, other))
    assert crps(own, y).mean() <= crps(others, y).mean() + 1e-9


def test_large_numbers_lose_no_digits() -> None:
    x, y = np.array([[0.0, 1.0, 3.0]]), np.array([0.5])
    assert crps(x + 1e9, y + 1e9)[0] == pytest.approx(crps(x, y)[0], abs=1e-6)


def test_nll() -> None:
    p = np.array([[0.25, 0.75], [1.0, 0.0]])
    assert nll(p, np.array([1, 0])).tolist() == pytest.approx([-math.log(0.75), 0])
    assert np.isfinite(nll(p, np.array([1, 1]))).all()


@settings(max_examples=50)
@given(points, st.floats(0, 1))
def test_quantiles_are_numpys(x: list[float], q: float) -> None:
    a = np.sort(x)
    assert quantile(a[None], q)[0] == pytest.approx(np.quantile(a, q), abs=1e-12)
