"""`sample`: the evaluations it spends, and that a start without a mean costs nothing."""

from itertools import pairwise

import pytest
import torch

from imder.diffusion import SOLVERS, KeyedNoise, Solver, VESchedule
from imder.diffusion.sample import sample
from imder.models.imder.recovery import RecoveryConfig
from imder.types import ImderError

SCHEDULE = VESchedule(25.0)
MEAN, DEVIATION = 3.0, 0.8


class Gaussian:
    """The exact denoiser of N(MEAN, deviation^2), counting."""

    def __init__(self, deviation=DEVIATION):
        self.calls, self.variance = 0, deviation**2

    def __call__(self, x, sigma):
        self.calls += 1
        return MEAN + self.variance / (self.variance + sigma**2) * (x - MEAN)


@pytest.mark.parametrize(
    ("solver", "evaluations"),
    [("dpmpp_2m", 1), ("dpmpp_2m", 2), ("dpmpp_2m", 8), ("heun", 1), ("heun", 8), ("euler_maruyama", 40)],
)
def test_evaluations_are_those_asked_for(solver, evaluations):
    denoise = Gaussian()
    noise = KeyedNoise(torch.arange(7), 0)
    assert sample(denoise, (7, 3, 2), noise, SCHEDULE, solver, evaluations).shape == (7, 3, 2)
    assert denoise.calls == evaluations


@pytest.mark.parametrize(("solver", "evaluations"), [("dpmpp_2m", 8), ("heun", 40), ("euler_maruyama", 500)])
def test_draws_have_the_law(solver, evaluations):
    noise = KeyedNoise(torch.arange(20_000), 1, torch.float64)
    x = sample(Gaussian(), (20_000, 1), noise, SCHEDULE, solver, evaluations)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(x.std()) == pytest.approx(DEVIATION, rel=0.04)


def test_one_evaluation_is_nearly_the_mean():
    x = sample(Gaussian(), (1000, 1), KeyedNoise(torch.arange(1000), 2), SCHEDULE, "dpmpp_2m", 1)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.05)
    assert float(x.std()) < 0.1 * DEVIATION + 0.05


@pytest.mark.parametrize("deviation", [1.0, 0.5, 0.3, 0.2])
def test_narrow_laws_keep_most_of_their_variance_in_eight_evaluations(deviation):
    noise = KeyedNoise(torch.arange(20_000), 3, torch.float64)
    x = sample(Gaussian(deviation), (20_000, 1), noise, SCHEDULE)
    assert 0.85 < float(x.var()) / deviation**2 < 1.15


def test_a_solver_is_a_function_and_a_row(monkeypatch):
    def euler(denoise, x, sigmas):
        for sigma, sigma_next in pairwise(sigmas.to(x)):
            x = x + (sigma_next - sigma) * (x - denoise(x, sigma)) / sigma
        return x

    monkeypatch.setitem(SOLVERS, "euler", Solver("euler", euler, "sigmas", least_evaluations=3))
    denoise = Gaussian()
    x = sample(denoise, (20_000, 1), KeyedNoise(torch.arange(20_000), 1, torch.float64), SCHEDULE, "euler", 100)
    assert denoise.calls == 100
    assert float(x.std()) == pytest.approx(DEVIATION, rel=0.04)
    with pytest.raises(ImderError, match="solver euler: needs 3 evaluations or more, got 2"):
        RecoveryConfig(solver="euler", evaluations=2)


def test_an_unknown_solver_is_refused():
    with pytest.raises(ImderError, match="there is no solver 'rk4'; choose from dpmpp_2m, heun, euler_maruyama"):
        RecoveryConfig(solver="rk4")
