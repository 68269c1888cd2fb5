"""Kinds of features: round trips, shares of atoms, and draws that training could hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imder.diffusion.noise import KeyedNoise
from imder.models.imputer.feature_kinds import FeatureMarginals

SETTINGS = settings(max_examples=60, deadline=None)
DRAWS = 4000


def fitted(x: np.ndarray, *, frames: bool = False) -> FeatureMarginals:
    marginals = FeatureMarginals(x.shape[1], 16, 0.05, frames=frames)
    marginals.fit(x.astype(np.float32))
    return marginals


def decoded(marginals: FeatureMarginals, codes: torch.Tensor) -> torch.Tensor:
    return marginals.decode(codes, marginals.gap_noise(KeyedNoise(torch.arange(len(codes)), 0), len(codes)))


def round_trip(x: np.ndarray) -> np.ndarray:
    marginals = fitted(x)
    return decoded(marginals, marginals.encode(torch.from_numpy(x.astype(np.float32)))).numpy()


def normal_draws(x: np.ndarray, seed: int = 0) -> np.ndarray:
    codes = torch.randn(DRAWS, x.shape[1], generator=torch.Generator().manual_seed(seed))
    return decoded(fitted(x), codes).numpy()


def inflated(share: float, n: int = 2000) -> np.ndarray:
    """A zero-inflated intensity: 0 with probability ``share``, else .3 plus an exponential."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(n) < share, 0, 0.3 + rng.exponential(1, n))[:, None].astype(np.float32)


@SETTINGS
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(-3, 3)))
def test_whole_numbers_come_back_and_draws_are_training_values(x: np.ndarray) -> None:
    np.testing.assert_array_equal(round_trip(x), x)
    draws = normal_draws(x)
    for column, values in zip(draws.T, x.T, strict=True):
        assert np.isin(column, values).all()


@SETTINGS
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=60),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0]),
    )
)
def test_any_values_come_back_and_draws_are_within_their_range(x: np.ndarray) -> None:
    scale = np.abs(x).max(0) + 1e-6
    np.testing.assert_allclose(round_trip(x) / scale, x / scale, atol=1e-5)
    draws = normal_draws(x)
    assert (draws >= x.min(0)).all()
    assert (draws <= x.max(0)).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.97])
def test_normal_codes_keep_the_mass_of_an_atom_and_the_distribution_beside_it(share: float) -> None:
    x = inflated(share)
    np.testing.assert_allclose(round_trip(x), x, atol=1e-5)
    draws = normal_draws(x)
    assert (draws == 0).mean() == pytest.approx((x == 0).mean(), abs=0.02)
    positive, expected = draws[draws != 0], x[x != 0]
    assert positive.min() >= 0.3
    assert positive.mean() == pytest.approx(expected.mean(), rel=0.15)


def test_codes_of_features_with_steps_are_standardised() -> None:
    x = np.concatenate([inflated(0.6), inflated(0.05), (inflated(0.3) > 0).astype(np.float32)], axis=1)
    codes = fitted(x).encode(torch.from_numpy(x)).double()
    torch.testing.assert_close(codes.mean(0), torch.zeros(3).double(), rtol=0, atol=2e-3)
    torch.testing.assert_close(codes.std(0, unbiased=False), torch.ones(3).double(), rtol=2e-3, atol=0)


def test_discrete_values_have_their_shares() -> None:
    x = np.random.default_rng(0).choice([0.0, 0.5, 2.0, 7.0], p=[0.2, 0.5, 0.2, 0.1], size=(3000, 1)).astype(np.float32)
    draws = normal_draws(x)
    for value in np.unique(x):
        assert (draws == value).mean() == pytest.approx((x == value).mean(), abs=0.04)


def test_rounding_errors_of_a_constant_are_no_variation() -> None:
    x = np.float32(0.1) + np.array([0, 1e-8, 0, 1e-8], np.float32)[:, None]
    assert not fitted(x).encode(torch.from_numpy(x)).any()
    assert np.unique(normal_draws(x)).size == 1


def test_large_whole_numbers_stay_whole() -> None:
    x = np.random.default_rng(0).integers(0, 5000, (400, 1)).astype(np.float32)
    draws = normal_draws(x)
    np.testing.assert_array_equal(draws, draws.round())
    np.testing.assert_array_equal(round_trip(x), x)


def clip_statistics(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    clips = [clip[:n] for clip, n in zip(x, lengths, strict=True)]
    return torch.stack([torch.cat([clip.mean(0), clip.std(0, unbiased=False)]) for clip in clips])


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_frames_with_atoms_keep_the_statistics_of_their_clip(share: float) -> None:
    """Codes that are smooth, as decoded curves are: atoms come back, mean and deviation over time are the codes'."""
    marginals = fitted(inflated(share), frames=True)
    generator = torch.Generator().manual_seed(0)
    codes = 0.8 * torch.randn(50, 40, 1, generator=generator) + 0.5 * torch.randn(50, 1, 1, generator=generator)
    lengths = torch.randint(20, 41, (50,), generator=generator)
    values = marginals.decode_frames(codes, lengths)
    assert bool(((values == 0) | (values >= 0.3)).all())
    assert (values == 0).float().mean() > share / 2
    wanted = clip_statistics(codes, lengths)
    reached = clip_statistics((values - marginals.center) / marginals.spread, lengths)
    reachable = wanted[:, 0] > -0.3  # the atom is the lowest value
    assert (wanted - reached)[reachable].abs().mean() < 0.03


def test_frames_of_flags_are_flags() -> None:
    marginals = fitted((inflated(0.3) > 0).astype(np.float32), frames=True)
    values = marginals.decode_frames(torch.randn(20, 30, 1), torch.full((20,), 30))
    assert set(values.unique().tolist()) == {0.0, 1.0}


def test_a_constant_clip_of_an_atom_comes_back() -> None:
    marginals = fitted(inflated(0.5), frames=True)
    clip = torch.zeros(1, 9, 1)
    assert torch.equal(marginals.decode_frames(marginals.encode(clip), torch.tensor([9])), clip)
