"""The losses have the minima they should, and what each condition noise teaches shows in samples.

A linear score network is the whole truth for Gaussian data, so its optimum is found by least squares, without training.
"""

import math

import pytest
import torch

from imder.diffusion import (
    KeyedNoise,
    VESchedule,
    condition_noise,
    dpmpp_2m,
    edm_denoiser,
    edm_loss,
    euler_maruyama,
    log_uniform_sigmas,
    score_denoiser,
    score_matching_loss,
    uniform_times,
)
from imder.diffusion.denoiser import edm_coefficients

F64 = torch.float64
SCHEDULE = VESchedule(25.0)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def white(count, columns, seed=0):
    """``(count, columns)`` normal draws made to have mean 0, variance 1 and no correlation, exactly."""
    x = random(count, columns, seed=seed)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / count)).T


# ------------------------------------------------------------------------------------------------ EDM
@pytest.mark.parametrize("sigma", [0.03, 0.5, 3.0, 9.8])
@pytest.mark.parametrize(("deviation", "sigma_data"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.7)])
def test_edm_loss_is_least_at_the_conditional_mean(sigma, deviation, sigma_data):
    """Data N(0, v): the best F is linear, its loss is the conditional variance over c_out^2, and no other does better."""
    x0, z = (deviation * white(2000, 2)[:, :1], white(2000, 2)[:, 1:])
    level = torch.full((2000,), sigma, dtype=F64)
    c_skip, c_out, c_in, _ = (float(c) for c in edm_coefficients(level[0], sigma_data))
    variance = deviation**2
    best = (variance / (variance + sigma**2) - c_skip) / (c_out * c_in)

    def loss(gain):
        return float(edm_loss(lambda x, c: gain * x, x0, level, z, sigma_data=sigma_data).mean())

    least = variance * sigma**2 / (variance + sigma**2) / c_out**2
    assert loss(best) == pytest.approx(least, rel=1e-9)
    power = c_in**2 * (variance + sigma**2)  # of the network's input
    for change in (-0.5, 0.01, 1.0):
        assert loss(best + change) == pytest.approx(least + change**2 * power, rel=1e-9)
    if deviation == sigma_data:  # then doing nothing is best, and input and target have variance one
        assert best == pytest.approx(0)
        assert least == pytest.approx(1)
        assert power == pytest.approx(1)


def test_edm_loss_is_the_weighted_denoising_error():
    x0, z, level = random(6, 3, 4), random(6, 3, 4, seed=1), torch.linspace(0.1, 5, 6, dtype=F64)

    def network(x, c_noise):
        torch.testing.assert_close(c_noise, level.log() / 4)
        return torch.tanh(x) + c_noise[:, None, None]

    s = 0.8
    denoised = edm_denoiser(network, s)(x0 + level[:, None, None] * z, level)
    weight = (level**2 + s**2) / (level * s) ** 2
    expected = weight * (denoised - x0).square().mean((1, 2))
    torch.testing.assert_close(edm_loss(network, x0, level, z, sigma_data=s), expected)


def test_edm_denoiser_takes_one_level_for_all_rows():
    x = random(5, 2)
    shapes = []

    def network(x, c):
        shapes.append(c.shape)
        return x.sin() * c[:, None]

    denoise = edm_denoiser(network)
    torch.testing.assert_close(denoise(x, torch.tensor(2.0, dtype=F64)), denoise(x, torch.full((5,), 2.0, dtype=F64)))
    assert shapes == [(1,), (5,)]


def test_padding_never_reaches_the_edm_loss():
    """Each row's loss is what its valid part alone gives, and NaN in padding reaches neither it nor a gradient."""
    x0, z, level = random(3, 2, 5), random(3, 2, 5, seed=1), torch.tensor([0.2, 1.0, 4.0], dtype=F64)
    lengths = [5, 3, 1]
    mask = (torch.arange(5)[None] < torch.tensor(lengths)[:, None])[:, None]
    gain = torch.tensor(0.3, dtype=F64, requires_grad=True)

    def network(x, c):
        assert torch.isfinite(x).all()
        return gain * x + x.sum(2, keepdim=True) * 0.1  # padding would be heard through the sum

    padded, noise = (torch.where(mask, values, torch.nan) for values in (x0, z))
    losses = edm_loss(network, padded, level, noise, mask)
    for i, n in enumerate(lengths):
        alone = edm_loss(network, x0[i : i + 1, :, :n], level[i : i + 1], z[i : i + 1, :, :n])
        torch.testing.assert_close(losses[i : i + 1], alone)
    losses.sum().backward()
    assert torch.isfinite(gain.grad)
    everything = torch.ones(3, 1, 5, dtype=torch.bool)
    torch.testing.assert_close(edm_loss(network, x0, level, z, everything), edm_loss(network, x0, level, z))


# ------------------------------------------------------------------------------------------------ score matching
def test_score_matching_loss_by_hand():
    score, noise, std = random(4, 2, 3), random(4, 2, 3, seed=1), torch.tensor([0.1, 1.0, 2.0, 5.0], dtype=F64)
    expected = [((std[i] * score[i] + noise[i]) ** 2).sum() for i in range(4)]
    torch.testing.assert_close(score_matching_loss(score, noise, std), torch.stack(expected))
    exact = -noise / std[:, None, None]
    torch.testing.assert_close(score_matching_loss(exact, noise, std), torch.zeros(4, dtype=F64))


def test_score_matching_is_least_at_the_true_score():
    """Data N(0, 1): the score is -x / (1 + std^2), its loss what z keeps hidden: 1 / (1 + std^2)."""
    x0, z = white(2000, 2).T[:, :, None]
    for level in (0.03, 1.0, 9.8):
        std = torch.full((2000,), level, dtype=F64)

        def loss(gain, std=std, level=level):
            return float(score_matching_loss(gain * (x0 + level * z), z, std).mean())

        best = -1 / (1 + level**2)
        assert loss(best) == pytest.approx(1 / (1 + level**2), rel=1e-9)
        assert min(loss(best * 0.9), loss(best * 1.1)) > loss(best)


# ------------------------------------------------------------------------------------------------ condition noise
class Fixed:
    def __init__(self, noise):
        self.noise, self.calls = noise, 0

    def normal(self, shape):
        assert shape == tuple(self.noise.shape)
        self.calls += 1
        return self.noise


def test_condition_noise_modes():
    c, z, std = random(3, 2, 4), random(3, 2, 4, seed=1), torch.tensor([0.5, 1.0, 2.0], dtype=F64)
    fresh = random(3, 2, 4, seed=2)
    scaled = std[:, None, None]
    expected = {
        ("clean", True): (c, 0),
        ("clean", False): (c, 0),
        ("independent", True): (c + scaled * fresh, 1),
        ("independent", False): (c + scaled * fresh, 1),
        ("shared", True): (c + scaled * z, 0),
        ("shared", False): (c + scaled * fresh, 1),  # sampling: there is no z to share
    }
    for (mode, training), (noisy, calls) in expected.items():
        source = Fixed(fresh)
        out = condition_noise(mode, c, std, target_noise=z if training else None, source=source)
        torch.testing.assert_close(out, noisy)
        assert source.calls == calls


class LinearScore:
    """The best linear score s(x, c', std) for unit-variance target and condition of correlation rho, for one noise mode.

    At every level the two coefficients are fitted to what the loss regresses on, -z / std, over a few points whose
    second moments are those of the population, exactly: all that least squares sees.
    """

    def __init__(self, mode, rho):
        basis = white(8, 4)
        self.mode, self.z = mode, basis[:, 2:3]
        self.target = basis[:, :1]
        self.condition = rho * basis[:, :1] + math.sqrt(1 - rho**2) * basis[:, 1:2]
        self.fresh = Fixed(basis[:, 3:])

    def inputs(self, level):
        std = torch.full((len(self.z),), level, dtype=F64)
        noisy = condition_noise(self.mode, self.condition, std, target_noise=self.z, source=self.fresh)
        return torch.cat([self.target + level * self.z, noisy], dim=1), std

    def coefficients(self, level):
        inputs, _ = self.inputs(level)
        return torch.linalg.solve(inputs.T @ inputs, inputs.T @ (-self.z / level))[:, 0]

    def loss(self, coefficients, level):
        inputs, std = self.inputs(level)
        return float(score_matching_loss((inputs @ coefficients)[:, None], self.z, std).mean())

    def denoiser(self, condition, noise):
        """As a sampler uses it: the condition gets new noise at every evaluation, unless it is clean."""

        def score(x, std):
            noisy = condition_noise(self.mode, condition, std, target_noise=None, source=noise)
            a, b = self.coefficients(float(std[0]))
            return a * x + b * noisy

        return score_denoiser(score)


def correlation(x, y):
    return float(torch.corrcoef(torch.cat([x, y], dim=1).T)[0, 1])


@pytest.mark.parametrize("mode", ["clean", "independent", "shared"])
def test_the_fit_is_the_minimum_of_the_loss(mode):
    model = LinearScore(mode, 0.5)
    for level in (0.05, 1.0, 9.0):
        best = model.coefficients(level)
        least = model.loss(best, level)
        for direction in torch.eye(2, dtype=F64):
            assert model.loss(best + 0.01 * direction, level) > least
            assert model.loss(best - 0.01 * direction, level) > least
    if mode == "clean":  # the exact conditional score
        a, b = model.coefficients(1.0)
        assert float(a) == pytest.approx(-1 / (1 + 0.75))
        assert float(b) == pytest.approx(0.5 / (1 + 0.75))
    if mode == "shared":  # the noise is read off the condition: its coefficient has the wrong sign
        assert model.coefficients(1.0)[1] < 0


COUNT = 4000


def sample(mode, rho, solver):
    """Draw targets for given conditions, both of unit variance and correlation rho in truth."""
    model, condition = LinearScore(mode, rho), white(COUNT, 1, seed=5)
    noise = KeyedNoise(torch.arange(COUNT), seed=1, dtype=F64)
    start = float(SCHEDULE.std(torch.tensor(1.0)))
    x = noise.normal((COUNT, 1)) * start
    denoise = model.denoiser(condition, noise)
    if solver == "euler_maruyama":
        return euler_maruyama(denoise, x, uniform_times(500), SCHEDULE, noise), condition
    end = float(SCHEDULE.std(torch.tensor(1e-3)))
    return dpmpp_2m(denoise, x, log_uniform_sigmas(10, start, end)), condition


@pytest.mark.parametrize("solver", ["euler_maruyama", "dpmpp_2m"])
@pytest.mark.parametrize("rho", [0.5, 0.9, -0.7])
def test_a_clean_condition_gives_the_true_correlation(rho, solver):
    x, condition = sample("clean", rho, solver)
    assert correlation(x, condition) == pytest.approx(rho, abs=0.035)
    assert float(x.std()) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(("rho", "weaker"), [(0.5, 0.29), (0.9, 0.75)])
def test_independent_noise_weakens_the_correlation(rho, weaker):
    x, condition = sample("independent", rho, "euler_maruyama")
    assert correlation(x, condition) == pytest.approx(weaker, abs=0.05)


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_shared_noise_turns_the_correlation_around(rho):
    """The released loss with the released sampler: what is recovered contradicts what is there."""
    x, condition = sample("shared", rho, "euler_maruyama")
    assert correlation(x, condition) < -0.2
