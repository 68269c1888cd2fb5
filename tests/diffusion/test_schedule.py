"""The schedule: its integral, its inverse, and the released code's numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from golden_rule import arrays, assert_parity
from imder.diffusion import VESchedule

SIGMAS = st.floats(1.05, 1000.0)


@pytest.mark.parametrize("name", ["mosi", "mosei"])
def test_the_released_numbers(name):
    recorded, schedule = arrays(name), VESchedule(25.0)
    assert_parity(schedule.std(recorded["score_t"]), recorded["marginal_std"], "std")
    assert_parity(schedule.diffusion(recorded["score_t"]), recorded["diffusion"], "diffusion")


@given(SIGMAS, st.floats(1e-6, 1.0))
@settings(deadline=None)
def test_variance_is_the_integral_of_the_squared_diffusion(sigma, t):
    schedule = VESchedule(sigma)

    def rate(s):
        return float(schedule.diffusion(torch.tensor(s, dtype=torch.float64))) ** 2

    expected, _ = quad(rate, 0, t)
    assert float(schedule.std(torch.tensor(t, dtype=torch.float64))) ** 2 == pytest.approx(expected, rel=1e-7)


@given(SIGMAS, st.floats(-12.0, 0.0))
@settings(deadline=None)
def test_times_round_trip(sigma, exponent):
    """Relative precision down to 1e-12, where sigma^2t - 1 has lost every digit."""
    schedule, t = VESchedule(sigma), torch.tensor(10.0**exponent, dtype=torch.float64)
    assert float(schedule.time(schedule.std(t))) == pytest.approx(float(t), rel=1e-11)


@given(SIGMAS, st.floats(-5.0, 0.0))
@settings(deadline=None)
def test_times_round_trip_in_single_precision(sigma, exponent):
    schedule, t = VESchedule(sigma), torch.tensor(10.0**exponent)
    assert float(schedule.time(schedule.std(t))) == pytest.approx(float(t), rel=2e-6)


@given(SIGMAS, st.floats(0.0, 1.0))
@settings(deadline=None)
def test_deviations_round_trip(sigma, share):
    schedule = VESchedule(sigma)
    std = share * schedule.std(torch.tensor(1.0, dtype=torch.float64))
    assert float(schedule.std(schedule.time(std))) == pytest.approx(float(std), rel=1e-11)


def test_ends():
    schedule = VESchedule(25.0)
    assert schedule.std(torch.zeros(3)).tolist() == [0, 0, 0]
    assert schedule.time(torch.zeros(2)).tolist() == [0, 0]
    assert schedule.diffusion(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([1, 25])
    small = torch.tensor(1e-9, dtype=torch.float64)  # a Brownian motion of rate one, to first order
    assert float(schedule.std(small)) == pytest.approx(math.sqrt(1e-9), rel=1e-8)


@pytest.mark.parametrize("sigma", [1.0, 0.5, 0.0, math.nan])
def test_sigma_must_exceed_one(sigma):
    with pytest.raises(ValueError, match="sigma must exceed 1"):
        VESchedule(sigma)
