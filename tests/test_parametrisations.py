"""Parametrisations and students of `benchmarks/variants.py` against closed forms for Gaussian encodings."""

import numpy as np
import pytest
import torch
from exact_parametrisation import clean, draw, independent, shared
from exact_parametrisation import end_of_flow as end
from torch import nn
from variants import COEFFICIENTS, Parametrisation, Student, Variant, euler_flow, student_draw

from imder.diffusion import KeyedNoise, VESchedule
from imder.diffusion.denoiser import per_row
from imder.diffusion.sample import SIGMA_MIN, sample
from imder.models.imder.config import NetworkConfig, RecoveryConfig
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.token_recovery import TokenRecovery

MEAN, VARIANCE, ROWS = 0.7, 0.49, 512
SHAPE = (ROWS, 2, 3)
STEPS = {"target": 3, "given": 2}
CONFIG = RecoveryConfig(
    network=NetworkConfig(widths=(8,), heads=2, attention_layers=1, embedding=8, condition_width=8, tokens=2)
)


def noise(seed=0):
    return KeyedNoise(torch.arange(ROWS), seed)


def exact(x, sigma):
    """E[x0 | x] for x0 ~ N(MEAN, VARIANCE)."""
    return MEAN + per_row(VARIANCE / (VARIANCE + sigma.square()), x) * (x - MEAN)


def end_of_flow(x, sigma):
    """Where the probability flow from x at ``sigma`` arrives when it is denoised at SIGMA_MIN."""
    gain = ((VARIANCE + SIGMA_MIN**2) / (VARIANCE + sigma.square())).sqrt() * VARIANCE / (VARIANCE + SIGMA_MIN**2)
    return MEAN + per_row(gain, x) * (x - MEAN)


class Linear(nn.Module):
    """The network F of which c_skip x + c_out F(c_in x) is a given function of (x, sigma), here with a clean condition."""

    def __init__(self, name, denoise, level):
        super().__init__()
        self.name, self.denoise, self.level = name, denoise, level

    def prepare(self, tokens, mask):
        return tokens, mask

    def forward(self, scaled, c_noise, condition):
        sigma = self.level(c_noise)
        c_skip, c_out, c_in, _ = (per_row(c, scaled) for c in COEFFICIENTS[self.name](sigma))
        x = scaled / c_in
        return (self.denoise(x, sigma) - c_skip * x) / c_out


def level_of(name):
    """Sigma from c_noise."""
    if name == "flow":
        return lambda c: (c + 0.5) / (0.5 - c)
    return lambda c: (4 * c).exp()


def rows(seed=0):
    """Encodings of which the target is Gaussian; all of the other modality is available."""
    clean = MEAN + VARIANCE**0.5 * noise(seed).normal(SHAPE)
    encodings = {"target": clean, "given": torch.zeros(ROWS, 2, 2)}
    return clean, ObservedEncodings(encodings, torch.tensor([[False, True]] * ROWS))


def variant(name, denoise=exact, **options):
    recovery = Variant(STEPS, 2, CONFIG, parametrisation=Parametrisation(name, **options))
    recovery.networks["target"] = Linear(name, denoise, level_of(name))
    return recovery


def test_edm_is_the_recovery_of_fast():
    torch.manual_seed(0)
    recovery, fast = Variant(STEPS, 2, CONFIG), TokenRecovery(STEPS, 2, CONFIG)
    for parameter in recovery.parameters():
        nn.init.normal_(parameter, std=0.2)
    fast.load_state_dict(recovery.state_dict())
    fast.config = recovery.config = RecoveryConfig(network=CONFIG.network, noise_levels_per_sample=1)
    clean, observed = rows()
    clean, observed, keys = clean[:16], observed.take(slice(16)), torch.arange(16)
    arguments = ("target", clean, observed, keys, 3)
    torch.testing.assert_close(recovery.losses(*arguments), fast.losses(*arguments))
    drawn = [x.sample("target", observed, keys, draws=2, seed=1) for x in (recovery, fast)]
    torch.testing.assert_close(*drawn)


@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize("levels", ["log-normal", "time", "flow"])
def test_the_conditional_mean_has_the_least_loss(name, levels):
    """Its loss is the conditional variance over c_out^2; any other denoiser adds the squared difference."""
    recovery = variant(name, levels=levels)
    clean, observed = rows()
    arguments = ("target", clean, observed, torch.arange(ROWS), 3)
    sigma = recovery.noise_levels(KeyedNoise(torch.arange(ROWS), 3), ROWS)
    weight = COEFFICIENTS[name](sigma)[1].square()
    least = recovery.losses(*arguments)
    expected = VARIANCE * sigma.square() / (VARIANCE + sigma.square()) / weight
    assert float((least / expected).mean()) == pytest.approx(1, abs=0.06)
    recovery.networks["target"].denoise = lambda x, s: exact(x, s) + 0.5
    more = recovery.losses(*arguments) - least
    assert float((more * weight).mean()) == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("evaluations", [1, 2, 8, 64])
def test_euler_along_a_flow_is_the_velocitys(evaluations):
    """x_t -> x_t - v / n with v = (x_t - D) / t, whose end for a Gaussian is known; with one step it is the mean."""
    drawn = euler_flow(exact, SHAPE, noise(), evaluations)
    x = noise().normal(SHAPE).double()
    for i in range(evaluations, 0, -1):
        t = i / evaluations
        regression = (1 - t) * VARIANCE / ((1 - t) ** 2 * VARIANCE + t**2)  # of x0 on x_t
        denoised = MEAN + regression * (x - (1 - t) * MEAN)
        x = x - (x - denoised) / t / evaluations
    torch.testing.assert_close(drawn.double(), x, atol=4e-3, rtol=0)
    if evaluations == 1:
        torch.testing.assert_close(drawn, torch.full(SHAPE, MEAN), atol=4e-3, rtol=0)


def test_a_flow_and_the_other_coefficients_draw_the_same():
    """With exact networks a parametrisation changes nothing: the denoiser is the same function."""
    clean, observed = rows()
    drawn = {
        name: variant(name).sample("target", observed, torch.arange(ROWS), draws=1, seed=0) for name in COEFFICIENTS
    }
    torch.testing.assert_close(drawn["flow"], drawn["edm"], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(drawn["score"], drawn["edm"], atol=1e-3, rtol=1e-3)
    assert drawn["edm"].shape == (1, *clean.shape)


def test_one_evaluation_of_a_perfect_student_is_exact():
    top = float(VESchedule(25.0).std(torch.tensor(1.0)))
    drawn = student_draw(end_of_flow, SHAPE, noise(), 1, top)
    torch.testing.assert_close(drawn, end_of_flow(noise().normal(SHAPE) * top, torch.tensor(top)))
    many = sample(exact, SHAPE, noise(), VESchedule(25.0), "dpmpp_2m", 300)
    started_at_the_mean = end_of_flow(exact(x := noise().normal(SHAPE) * top, torch.tensor(top)) + x, torch.tensor(top))
    torch.testing.assert_close(many, started_at_the_mean, atol=2e-3, rtol=0)
    again = student_draw(end_of_flow, SHAPE, noise(), 2, top)
    assert float(again.std()) == pytest.approx(VARIANCE**0.5, rel=0.03)


@pytest.mark.parametrize("method", ["consistency", "regression"])
def test_a_perfect_student_has_no_loss(method):
    """But for the error of the teacher's solver; the teacher's own answers, means, aren't the end of the flow."""
    teacher = Variant(STEPS, 2, CONFIG)
    student = Student(teacher, CONFIG, method).train()
    teacher.networks["target"] = Linear("edm", exact, level_of("edm"))
    clean, observed = rows()
    arguments = ("target", clean, observed, torch.arange(ROWS), 3)
    student.networks["target"] = Linear("edm", exact, level_of("edm"))
    assert float(student.losses(*arguments).mean()) > 1e-3

    def perfect(x, sigma):  # a draw starts at noise without the mean
        start = per_row(sigma > 0.999 * student.sigma_max, x)
        return end_of_flow(torch.where(start, x + exact(x, sigma), x), sigma)

    student.networks["target"] = Linear("edm", perfect, level_of("edm"))
    assert float(student.losses(*arguments).mean()) < (1e-4 if method == "consistency" else 1e-3)


def test_a_noised_condition_gets_new_noise_for_each_draw_and_evaluation():
    seen = []

    def spy(tokens, mask):
        seen.append(tokens)
        return tokens, mask

    recovery = Variant(STEPS, 2, CONFIG, parametrisation=Parametrisation(condition="noised"))
    recovery.networks["target"] = network = Linear("edm", exact, level_of("edm"))
    network.prepare = spy
    recovery.conditions["target"].forward = lambda encodings, *rest: (encodings["given"], None)
    _, observed = rows()
    recovery.sample("target", observed, torch.arange(ROWS), draws=1, seed=0)
    deviations = [float(x.std()) for x in seen]
    sigmas = [VESchedule(25.0).std(torch.tensor(1.0)).item()] * 2
    assert deviations[:2] == pytest.approx(sigmas, rel=0.05)
    assert deviations[-1] == pytest.approx(SIGMA_MIN, rel=0.05)
    assert not np.allclose(seen[0], seen[1])


def test_the_exact_table_against_drawn_numbers():
    """The paper's noised condition, simulated: a weaker dependence and too much variance."""
    rho, rows = 0.7, 20_000
    row = draw(independent, "euler_maruyama", 60, rho)
    c = torch.randn(rows, 1, generator=torch.Generator().manual_seed(0))
    source = KeyedNoise(torch.arange(rows), 0)

    def denoise(x, sigma):
        a, b = independent(rho, float(sigma))
        return a * x + b * (c + sigma * source.normal((rows, 1)))

    x = sample(denoise, (rows, 1), source, VESchedule(25.0), "euler_maruyama", 60)
    gain = float((x * c).mean() / c.square().mean())
    assert row["gain"] * rho == pytest.approx(gain, abs=0.03)
    assert row["variance ratio"] * (1 - rho**2) == pytest.approx(float((x - gain * c).var()), rel=0.04)


def test_what_a_perfect_network_draws():
    fine, one_step, student = (
        draw(*x, 0.7) for x in ((clean, "dpmpp_2m", 400), (clean, "flow", 1), (end, "student", 1))
    )
    assert fine["gain"] == pytest.approx(1, abs=1e-3)
    assert fine["variance ratio"] == pytest.approx(1, abs=0.01)
    assert (one_step["gain"], one_step["variance ratio"]) == pytest.approx((1, 0), abs=1e-3)
    assert student["gain"] == pytest.approx(1)
    assert student["variance ratio"] == pytest.approx(1, abs=0.01)
    assert draw(shared, "euler_maruyama", 100, 0.7)["gain"] < 0
    edm, score = (draw(clean, "dpmpp_2m", 8, 0.7, name, "constant")["deviation"] for name in ("edm", "score"))
    assert score > 1.5 * edm
