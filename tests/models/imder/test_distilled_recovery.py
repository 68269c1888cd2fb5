"""Draws in one evaluation: against the closed form for Gaussian encodings."""

import math

import pytest
import torch
from torch import nn

from imder.diffusion.denoiser import edm_coefficients, per_row
from imder.diffusion.sample import SIGMA_MIN
from imder.models.imder.config import IMDerConfig, NetworkConfig, RecoveryConfig
from imder.models.imder.distilled_recovery import DistilledRecovery
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.recoveries import build_recovery
from imder.types import ImderError

MEAN, VARIANCE, ROWS = 0.7, 0.49, 256
STEPS = {"target": 3, "given": 2}
NETWORK = NetworkConfig(widths=(8,), heads=2, attention_layers=1, embedding=8, condition_width=8, tokens=2)


class Answering(nn.Module):
    """The network F of which c_skip x + c_out F(c_in x) is a function of (x, sigma); counts its calls."""

    def __init__(self, denoise):
        super().__init__()
        self.denoise, self.calls = denoise, 0

    def prepare(self, tokens, mask):
        return tokens, mask

    def forward(self, scaled, c_noise, condition):
        self.calls += 1
        sigma = (4 * c_noise).exp()
        c_skip, c_out, c_in, _ = (per_row(c, scaled) for c in edm_coefficients(sigma))
        x = scaled / c_in
        return (self.denoise(x, sigma) - c_skip * x) / c_out


def conditional_mean(x, sigma):
    """E[x0 | x] for x0 ~ N(MEAN, VARIANCE)."""
    return MEAN + per_row(VARIANCE / (VARIANCE + sigma.square()), x) * (x - MEAN)


def end_of_flow(x, sigma):
    """Where the probability flow takes pure noise, which has no mean, when it is denoised at SIGMA_MIN."""
    gain = ((VARIANCE + SIGMA_MIN**2) / (VARIANCE + sigma.square())).sqrt() * VARIANCE / (VARIANCE + SIGMA_MIN**2)
    return MEAN + per_row(gain, x) * x


def recovery_of(denoise, evaluations):
    recovery = build_recovery(STEPS, 2, RecoveryConfig(evaluations=evaluations, network=NETWORK, distilled=True))
    assert isinstance(recovery, DistilledRecovery)
    recovery.networks["target"] = Answering(denoise)
    return recovery.eval()


def drawn(recovery):
    encodings = {"target": torch.zeros(ROWS, 2, 3), "given": torch.zeros(ROWS, 2, 2)}
    available = torch.tensor([[False, True]] * ROWS)
    return recovery.sample("target", ObservedEncodings(encodings, available), torch.arange(ROWS), draws=2, seed=0)


def loss_of(recovery):
    clean = torch.zeros(ROWS, 2, 3)
    encodings = {"target": clean, "given": torch.zeros(ROWS, 2, 2)}
    available = torch.tensor([[False, True]] * ROWS)
    return recovery.losses("target", clean, ObservedEncodings(encodings, available), torch.arange(ROWS), 3)


def test_a_perfect_student_draws_what_the_solver_draws_in_one_evaluation():
    recovery = recovery_of(conditional_mean, evaluations=64)
    recovery.start_distillation()
    untaught = loss_of(recovery)
    recovery.networks["target"] = Answering(end_of_flow)
    assert float(loss_of(recovery).max()) < 2e-3  # what 64 evaluations leave of the solver's error
    top = torch.tensor([25.0**2 - 1]).div(2 * math.log(25)).sqrt()
    far = end_of_flow(top[:, None, None], top) - conditional_mean(top[:, None, None], top)
    assert float(untaught.mean()) == pytest.approx(
        float(far) ** 2, rel=0.06
    )  # it begins as the denoiser, near the mean
    recovery.end_distillation()
    recovery.networks["target"].calls = 0
    x = drawn(recovery)
    assert recovery.networks["target"].calls == 1
    assert recovery.evaluations == 1
    assert float(x.mean()) == pytest.approx(MEAN, abs=1e-2)
    assert float(x.var()) == pytest.approx(VARIANCE, rel=0.12)
    torch.testing.assert_close(x.mean(0), torch.full_like(x[0], MEAN), atol=1e-3, rtol=0)  # antithetic


def test_only_the_student_learns_and_only_it_is_kept():
    torch.manual_seed(0)
    recovery = build_recovery(STEPS, 2, RecoveryConfig(network=NETWORK, distilled=True))
    plain = build_recovery(STEPS, 2, RecoveryConfig(network=NETWORK))
    recovery.start_distillation()
    assert recovery.state_dict().keys() == plain.state_dict().keys()
    assert len(list(recovery.parameters())) == len(list(plain.parameters()))
    loss_of(recovery).sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in recovery.networks["target"].parameters())
    assert all(p.grad is None for p in recovery._teacher[0].parameters())
    recovery.double()
    assert {p.dtype for p in recovery._teacher[0].parameters()} == {torch.float64}  # it moves along


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "mean"}, "kind 'conditional' or 'unconditional', not 'tokens' and 'mean'"),
        ({"condition": "channels", "preconditioning": "score"}, "not 'channels' and 'conditional'"),
        ({"inpaint": True}, "exclude each other"),
        ({"solver": "euler_maruyama", "evaluations": 50}, "adds noise in every step"),
        ({"evaluations": 1}, "teaches nothing"),
        ({"training_evaluations": 2}, "leave training_evaluations out"),
    ],
)
def test_what_a_student_cannot_learn_is_refused(settings, message):
    with pytest.raises(ImderError, match=message):
        RecoveryConfig(**settings, distilled=True)


def test_one_branch_has_no_phase_for_it():
    with pytest.raises(ImderError, match="needs two_branches"):
        IMDerConfig(recovery=RecoveryConfig(distilled=True), two_branches=False)
