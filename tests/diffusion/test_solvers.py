"""Solvers against exact solutions: orders of convergence for a Gaussian, and distributions for a mixture."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from imder.diffusion import (
    SOLVERS,
    VESchedule,
    dpmpp_2m,
    euler_maruyama,
    heun,
    karras_sigmas,
    log_uniform_sigmas,
    score_denoiser,
    solvers,
    uniform_times,
)
from imder.training.config import load_config

F64 = torch.float64
SCHEDULE = VESchedule(25.0)
SIGMA_MAX, SIGMA_MIN = (float(SCHEDULE.std(torch.tensor(t))) for t in (1.0, 1e-3))


def tensor(*values):
    return torch.tensor(values, dtype=F64)


class Counting:
    """A denoiser that counts its evaluations and checks what it is handed."""

    def __init__(self, denoise):
        self.denoise, self.calls = denoise, 0

    def __call__(self, x, sigma):
        assert sigma.shape in ((), x.shape[:1])
        assert sigma.dtype == x.dtype
        self.calls += 1
        return self.denoise(x, sigma)


# ------------------------------------------------------------------------------------------------ a Gaussian
MEAN, DEVIATION = 0.7, 0.5


def gaussian(x, sigma):
    """E[x0 | x] for x0 ~ N(MEAN, DEVIATION^2)."""
    return MEAN + DEVIATION**2 / (DEVIATION**2 + sigma**2) * (x - MEAN)


def flow(x, start, end):
    """The probability flow's exact solution: deviations from the mean shrink with the marginal's deviation."""
    return MEAN + (x - MEAN) * math.sqrt((DEVIATION**2 + end**2) / (DEVIATION**2 + start**2))


@pytest.mark.parametrize("grid", [log_uniform_sigmas, karras_sigmas])
@pytest.mark.parametrize("solver", [heun, dpmpp_2m])
def test_order_two_on_the_probability_flow(solver, grid):
    x = tensor(-11.0, 0.0, 4.0, 15.0)[:, None]
    errors = []
    for steps in (20, 40, 80, 160):
        sigmas = grid(steps, 5.0, 0.05, end_in_zero=False).double()
        exact = flow(x, float(sigmas[0]), float(sigmas[-1]))
        errors.append(float((solver(gaussian, x, sigmas) - exact).abs().max()))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert orders[-1] == pytest.approx(2.0, abs=0.15), orders
    assert errors[-1] < 2e-3


def test_the_steps_by_hand():
    """One step and two of each, worked out from the published updates."""
    a, b, c = 4.0, 1.0, 0.5
    x, sigmas = tensor(3.0)[:, None], tensor(a, b, c)
    first = gaussian(x, a)
    slope = (x - first) / a
    euler = x + (b - a) * slope
    expected = x + (b - a) / 2 * (slope + (euler - gaussian(euler, b)) / b)
    torch.testing.assert_close(heun(gaussian, x, sigmas[:2]), expected)
    one = b / a * x + (1 - b / a) * first
    torch.testing.assert_close(dpmpp_2m(gaussian, x, sigmas[:2]), one)
    second, r = gaussian(one, b), math.log(a / b) / math.log(b / c)
    combined = (1 + 1 / (2 * r)) * second - first / (2 * r)
    torch.testing.assert_close(dpmpp_2m(gaussian, x, sigmas), c / b * one - math.expm1(-math.log(b / c)) * combined)


def test_a_constant_denoiser_is_solved_exactly():
    """Data at one point: x(sigma) = point + sigma z in any number of steps, by every solver."""
    z, point = tensor(-1.0, 2.0)[:, None], 0.3

    def denoise(x, sigma):
        return torch.full_like(x, point)

    for solver in (heun, dpmpp_2m):
        for grid in (log_uniform_sigmas(3, 9.0, 0.1, end_in_zero=False), karras_sigmas(2, 9.0, 0.1, end_in_zero=False)):
            torch.testing.assert_close(
                solver(denoise, point + 9 * z, grid.double()), point + grid[-1].double() * z, rtol=1e-6, atol=1e-6
            )
        assert (solver(denoise, point + 9 * z, log_uniform_sigmas(3, 9.0, 0.1)) == point).all()


def test_a_grid_that_ends_in_zero_ends_in_a_denoising_step():
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0), dtype=F64) * SIGMA_MAX
    for solver in (heun, dpmpp_2m):
        sigmas = log_uniform_sigmas(6, SIGMA_MAX, SIGMA_MIN)
        before = solver(gaussian, x, sigmas[:-1])
        torch.testing.assert_close(solver(gaussian, x, sigmas), gaussian(before, float(sigmas[-2])))


def test_evaluations():
    x = torch.ones(2, 3)
    for n in (1, 5):
        for end_in_zero in (False, True):
            sigmas = log_uniform_sigmas(n, 9.0, 0.1, end_in_zero=end_in_zero)
            for solver, expected in ((dpmpp_2m, n), (heun, 2 * n - end_in_zero)):
                denoise = Counting(gaussian)
                assert solver(denoise, x, sigmas).shape == x.shape
                assert denoise.calls == expected
    denoise = Counting(gaussian)
    euler_maruyama(denoise, x, uniform_times(7), SCHEDULE, torch.Generator().manual_seed(0))
    assert denoise.calls == 7


class Impulses:
    """Rows 1, 2, ... get a unit of noise at call 1, 2, ..., and the rest none: the response of a linear solver."""

    def __init__(self):
        self.calls = 0

    def normal(self, shape):
        self.calls += 1
        noise = torch.zeros(shape, dtype=F64)
        noise[self.calls] = 1
        return noise


def euler_maruyama_law(steps, start_at=1.0, end=0.05):
    """Mean and variance of its result from N(0, std(start)^2), without sampling: it is linear in all its noise."""
    h = (start_at - end) / steps
    times = start_at - h * torch.arange(steps, dtype=F64)  # the last step leads to ``end``
    x = torch.zeros(steps + 2, 1, dtype=F64)
    x[steps + 1] = SCHEDULE.std(tensor(start_at))
    out = euler_maruyama(gaussian, x, times, SCHEDULE, Impulses())[:, 0]
    responses = out[1:] - out[0]
    assert responses[steps - 1] == 0  # the last step's noise is left out
    return float(out[0]), float(responses.square().sum())


def reverse_law(start_at=1.0, end=0.05):
    """The same for the exact reverse process: given x(start), x(end) is Gaussian."""
    first, last = (float(SCHEDULE.std(tensor(t))) ** 2 for t in (start_at, end))
    shrink = (DEVIATION**2 + last) / (DEVIATION**2 + first)
    return MEAN - shrink * MEAN, shrink**2 * first + shrink * (first - last)


def test_euler_maruyama_has_weak_order_one():
    mean, variance = reverse_law()
    errors = []
    for steps in (125, 250, 500, 1000):
        ours = euler_maruyama_law(steps)
        errors.append((abs(ours[0] - mean), abs(ours[1] - variance)))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert orders[-1] == pytest.approx(1.0, abs=0.1), orders
    assert errors[-1][0] < 2e-3 * mean
    assert errors[-1][1] < 2e-2 * variance


def test_euler_maruyama_draws_from_a_generator_or_a_source():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) * SIGMA_MAX
    times = uniform_times(9)

    class Source:
        def __init__(self, seed):
            self.generator = torch.Generator().manual_seed(seed)

        def normal(self, shape):
            return torch.randn(shape, generator=self.generator)

    first = euler_maruyama(gaussian, x, times, SCHEDULE, torch.Generator().manual_seed(5))
    assert torch.equal(first, euler_maruyama(gaussian, x, times, SCHEDULE, Source(5)))
    assert not torch.equal(first, euler_maruyama(gaussian, x, times, SCHEDULE, Source(6)))


def test_the_denoiser_of_a_score():
    x, sigma = tensor(-2.0, 1.0, 3.0)[:, None], tensor(0.1, 1.0, 5.0)

    def score(x, sigma):
        assert sigma.shape == x.shape[:1]
        return (MEAN - x) / (DEVIATION**2 + sigma[:, None] ** 2)

    torch.testing.assert_close(score_denoiser(score)(x, sigma), gaussian(x, sigma[:, None]))
    torch.testing.assert_close(score_denoiser(score)(x, tensor(2.0)[0]), gaussian(x, 2.0))


# ------------------------------------------------------------------------------------------------ grids
@pytest.mark.parametrize("n", [1, 2, 8])
@pytest.mark.parametrize("grid", [log_uniform_sigmas, karras_sigmas])
def test_grids_of_noise_levels(grid, n):
    full, open_ended = grid(n, 9.845, 0.0317), grid(n, 9.845, 0.0317, end_in_zero=False)
    assert full.shape == open_ended.shape == (n + 1,)
    assert full[-1] == 0
    assert (full.diff() < 0).all()
    assert (open_ended.diff() < 0).all()
    assert float(full[0]) == pytest.approx(9.845)
    assert float(open_ended[0]) == pytest.approx(9.845)
    assert float(open_ended[-1]) == pytest.approx(0.0317, rel=1e-4)
    if n > 1:
        assert float(full[-2]) == pytest.approx(0.0317, rel=1e-4)
        even = full[:-1].log() if grid is log_uniform_sigmas else full[:-1] ** (1 / 7)
        torch.testing.assert_close(even.diff(), even.diff()[:1].expand(n - 1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("wrong", [(0, 9, 0.1), (3, 0.1, 9), (3, 9, 0), (3, 9, -1), (3, math.nan, 0.1)])
@pytest.mark.parametrize("grid", [log_uniform_sigmas, karras_sigmas])
def test_wrong_grids(grid, wrong):
    with pytest.raises(ValueError, match="need steps >= 1 and 0 < sigma_min < sigma_max"):
        grid(*wrong)


def test_grid_of_times():
    times = uniform_times(500)
    assert times.shape == (500,)
    assert float(times[0]) == 1
    assert float(times[-1]) == pytest.approx(1e-3)
    torch.testing.assert_close(times.diff(), torch.full((499,), -0.999 / 499), rtol=1e-3, atol=1e-7)
    with pytest.raises(ValueError, match="at least 2 steps"):
        uniform_times(1)


# ------------------------------------------------------------------------------------------------ a mixture
SHARES = tensor(0.5, 0.3, 0.2)
MEANS = tensor([-1.0, -0.6], [1.0, -0.4], [0.4, 1.3])
FACTORS = tensor([[0.35, 0], [0.1, 0.2]], [[0.25, 0], [-0.2, 0.2]], [[0.3, 0], [0.0, 0.15]])
COVARIANCES = FACTORS @ FACTORS.transpose(1, 2)
TOTAL_MEAN = SHARES @ MEANS
TOTAL_COVARIANCE = torch.einsum(
    "k,kij->ij", SHARES, COVARIANCES + MEANS[:, :, None] * MEANS[:, None]
) - TOTAL_MEAN.outer(TOTAL_MEAN)
COUNT = 4096


def posterior(x, sigma):
    """Of x = x0 + sigma z: the components' probabilities ``(n, 3)`` and E[x0 | x, component] ``(n, 3, 2)``."""
    logits, means = [], []
    for share, mean, own in zip(SHARES, MEANS, COVARIANCES):
        covariance, away = own + sigma**2 * torch.eye(2, dtype=F64), x - mean
        solved = away @ torch.linalg.inv(covariance)
        logits.append(share.log() - 0.5 * torch.logdet(covariance) - 0.5 * (solved * away).sum(1))
        means.append(mean + solved @ own)
    return torch.stack(logits, 1).softmax(1), torch.stack(means, 1)


def mixture(x, sigma):
    weights, means = posterior(x, sigma)
    return (weights[..., None] * means).sum(1)


def energy_distance(x, y):
    """2 E|x - y| - E|x - x'| - E|y - y'|, unbiased: 0 on average for draws from one distribution."""

    def within(z):
        return torch.cdist(z, z).sum() / (len(z) * (len(z) - 1))

    return float(2 * torch.cdist(x, y).mean() - within(x) - within(y))


@pytest.fixture(scope="module")
def distances_of():
    """How far draws are from the mixture: (energy distance to exact draws, mean, covariance, shares)."""
    generator = torch.Generator().manual_seed(1)
    component = torch.multinomial(SHARES, COUNT, True, generator=generator)
    noise = torch.randn(COUNT, 2, 1, generator=generator, dtype=F64)
    exact = MEANS[component] + (FACTORS[component] @ noise).squeeze(-1)

    def distances(x):
        shares = posterior(x, 0.0)[0].mean(0)
        return np.array(
            [
                energy_distance(x, exact),
                float((x.mean(0) - TOTAL_MEAN).abs().max()),
                float((torch.cov(x.T) - TOTAL_COVARIANCE).abs().max()),
                float((shares - SHARES).abs().max()),
            ]
        )

    return distances


CLOSE = np.array([1e-3, 0.03, 0.06, 0.015])  # what counts as no difference, for data of deviation about one


@pytest.fixture(scope="module")
def start():
    """Evenly spread noise, the same for every solver."""
    spread = stats.qmc.Sobol(2, seed=0).random(COUNT)
    return torch.from_numpy(stats.norm.ppf(np.clip(spread, 1e-9, 1 - 1e-9))) * SIGMA_MAX


@pytest.fixture(scope="module")
def slow(distances_of, start):
    """Of 500 steps of Euler and Maruyama's method."""
    return distances_of(euler_maruyama(mixture, start, uniform_times(500), SCHEDULE, torch.Generator().manual_seed(2)))


def test_exact_draws_and_500_steps_pass_the_test(distances_of, slow):
    generator = torch.Generator().manual_seed(7)
    component = torch.multinomial(SHARES, COUNT, True, generator=generator)
    noise = torch.randn(COUNT, 2, 1, generator=generator, dtype=F64)
    assert (distances_of(MEANS[component] + (FACTORS[component] @ noise).squeeze(-1)) < CLOSE).all()
    assert (slow < CLOSE).all()


@pytest.mark.parametrize("evaluations", [8, 9, 10])
def test_few_evaluations_of_dpmpp_2m_are_as_close_as_500_steps(distances_of, start, slow, evaluations):
    fast = distances_of(dpmpp_2m(mixture, start, log_uniform_sigmas(evaluations, SIGMA_MAX, SIGMA_MIN)))
    assert (fast < slow + CLOSE).all(), (fast, slow)


def test_the_test_sees_a_poor_sampler(distances_of, start):
    few_steps = euler_maruyama(mixture, start, uniform_times(10), SCHEDULE, torch.Generator().manual_seed(2))
    collapsed = mixture(start, SIGMA_MAX)
    half = heun(mixture, start, log_uniform_sigmas(4, SIGMA_MAX, SIGMA_MIN))
    for poor in (few_steps, collapsed, half):
        assert distances_of(poor)[0] > 10 * CLOSE[0]


# ------------------------------------------------------------------------------------------------ few evaluations
@pytest.mark.parametrize(("name", "advised"), [("dpmpp_2m", 5), ("heun", 20)])
def test_few_evaluations_warn_once(name, advised, caplog):
    solvers._warn_of_few.cache_clear()
    for _ in range(2):
        load_config("fast", overrides={"model.recovery.solver": name, "model.recovery.evaluations": advised - 1})
        load_config("fast", overrides={"model.recovery.solver": name, "model.recovery.evaluations": advised})
    (message,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert f"solver {name}: " in message
    assert f"with {advised - 1} evaluations (--model.recovery.evaluations); use {advised} or more" in message


@pytest.mark.parametrize("name", [name for name, solver in SOLVERS.items() if solver.advised_evaluations > 1])
def test_advised_evaluations_are_those_that_were_measured_to_suffice(name):
    table = Path(__file__).parents[2] / "docs" / "results" / "quality-solvers.csv"
    with table.open() as file:
        energies = {
            int(row["evaluations"]): float(row["energy unbiased"])
            for row in csv.DictReader(file)
            if (row["model"], row["solver"]) == ("fast", name)
        }
    good = {n: abs(energy - energies[500]) < 0.01 for n, energy in energies.items()}
    assert good == {n: n >= SOLVERS[name].advised_evaluations for n in energies}
