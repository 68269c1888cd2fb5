"""Residual noise: exact variance and steps over time, rho by moments, and covariances of noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imder.diffusion.noise import KeyedNoise
from imder.models.imputer.correlated_noise import CorrelatedNoise
from imder.models.imputer.curve import curve_weights
from imder.models.imputer.residual import autocorrelation, autoregressive, shaped, time_moments, variance_share


@pytest.mark.parametrize("rho", [-0.8, 0.0, 0.5, 0.95])
@pytest.mark.parametrize("frames", [3, 7, 100])
def test_the_expected_variance_about_the_mean_is_that_of_the_covariance_matrix(rho: float, frames: int) -> None:
    time = np.arange(frames)
    covariance = rho ** np.abs(time[:, None] - time)
    share = variance_share(torch.tensor([rho]), torch.tensor([frames]))
    assert float(share) == pytest.approx(1 - covariance.mean(), abs=1e-4)
    ratio = 2 * (1 - rho) / (1 - covariance.mean())
    assert float(autocorrelation(torch.tensor([ratio]), torch.tensor([frames]))) == pytest.approx(rho, abs=2e-3)


def test_autoregressive_noise_has_deviation_1_and_its_autocorrelation() -> None:
    rho = torch.tensor([[0.0, 0.7, -0.5]]).expand(4000, -1)
    e = autoregressive(torch.randn(4000, 12, 3, generator=torch.Generator().manual_seed(0)), rho)
    torch.testing.assert_close(e.square().mean((0, 1)), torch.ones(3), rtol=0.03, atol=0)
    lagged = (e[:, 1:] * e[:, :-1]).mean((0, 1))
    torch.testing.assert_close(lagged, rho[0], rtol=0, atol=0.02)


@pytest.mark.parametrize(("frames", "exact"), [(12, 0.85), (60, 0.99)])
def test_shaped_noise_adds_its_variance_and_steps_to_those_of_the_curve(frames: int, exact: float) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(frames // 2, frames + 1, (100,), generator=generator)
    knots = torch.randn(100, 4, 5, generator=generator)
    curve = curve_weights(lengths, frames, 4) @ (knots - knots.mean(1, keepdim=True))
    variance, rho = torch.rand(100, 5, generator=generator), 0.8 * torch.rand(100, 5, generator=generator)
    roughness = 2 * (1 - rho) / variance_share(rho, lengths[:, None]) * variance
    noise = autoregressive(torch.randn(100, frames, 5, generator=generator), rho)
    e = shaped(noise, curve, lengths, variance, roughness)
    assert not e[torch.arange(frames)[None] >= lengths[:, None]].any()
    assert e.sum(1).abs().max() < 1e-3
    own = time_moments(curve, lengths)
    total = time_moments(curve + e, lengths)
    torch.testing.assert_close(total[0], own[0] + variance, rtol=1e-3, atol=1e-4)
    error = (total[1] / (own[1] + roughness) - 1).abs()
    assert error.quantile(exact) < 1e-3


def test_noise_in_two_frames_has_its_variance() -> None:
    e = shaped(
        torch.randn(6, 2, 3), torch.zeros(6, 2, 3), torch.full((6,), 2), torch.full((6, 3), 0.5), torch.ones(6, 3)
    )
    torch.testing.assert_close(time_moments(e, torch.full((6,), 2))[0], torch.full((6, 3), 0.5))


def test_one_frame_has_no_noise() -> None:
    assert not shaped(
        torch.randn(6, 1, 3), torch.zeros(6, 1, 3), torch.ones(6), torch.ones(6, 3), torch.ones(6, 3)
    ).any()


@pytest.mark.parametrize("rank", [2, 6])
def test_correlated_noise_has_the_covariance_of_its_rows(rank: int) -> None:
    rng = np.random.default_rng(0)
    loadings = rng.standard_normal((6, 2))
    rows = rng.standard_normal((4000, 2)) @ loadings.T + 0.5 * rng.standard_normal((4000, 6))
    source = CorrelatedNoise(6, rank)
    source.fit(torch.from_numpy(rows).float())
    draws = source.sample(KeyedNoise(torch.arange(20000), 0), 20000).numpy()
    np.testing.assert_allclose(np.cov(draws.T), np.cov(rows.T), atol=0.15)


def test_noise_of_one_row_or_of_rows_of_zeros_is_finite() -> None:
    for rows in (torch.ones(1, 3), torch.zeros(5, 3), torch.zeros(0, 3)):
        source = CorrelatedNoise(3, 2)
        source.fit(rows)
        assert source.sample(KeyedNoise(torch.arange(4), 0), 4).isfinite().all()


@pytest.mark.parametrize("frames", [1, 2, 4, 8, 50])
def test_the_curve_has_the_mean_of_its_knots(frames: int) -> None:
    knots = torch.randn(3, 8, 2)
    curve = curve_weights(torch.full((3,), frames), frames, 8) @ knots
    torch.testing.assert_close(curve.mean(1), knots.mean(1), rtol=1e-4, atol=1e-5)
