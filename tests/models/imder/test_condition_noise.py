"""How the noise of a condition changes the correlation of recoveries with it."""

import math

import pytest
import torch
from torch import nn

from imder.models.imder.config import NetworkConfig, RecoveryConfig
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.paper import PaperRecovery
from imder.models.imder.token_recovery import TokenRecovery

RHO, ROWS = 0.8, 3000
ONE = {"target": 1, "given": 1}
NETWORK = NetworkConfig(widths=(2,), heads=1, attention_layers=1, embedding=2, condition_width=2)
PAPER_NETWORK = NetworkConfig(widths=(2,), heads=1, attention_layers=1, embedding=2)


def linear_optimum(mode, std):
    """Coefficients (of x, of the condition as seen) of the best linear score, from the second moments at ``std``."""
    variance = 1 + std**2
    seen = 1.0 if mode == "clean" else variance
    both = RHO + (std**2 if mode == "shared" else 0.0)
    pull = std if mode == "shared" else torch.zeros_like(std)  # covariance of the condition as seen with z
    determinant = variance * seen - both**2
    return -(std * seen - both * pull) / determinant / std, -(variance * pull - both * std) / determinant / std


class ExactScore(nn.Module):
    """In place of a score network: the optimum of the loss under one kind of condition noise."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def forward(self, x, t, std, condition):
        a, b = linear_optimum(self.mode, std)
        return a[:, None, None] * x + b[:, None, None] * condition


def drawn(recovery, draws):
    """(draws, condition): two channels, each correlated with the same channel of the condition only."""
    condition = torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(0))
    condition = condition - condition.mean(0)
    condition = (condition @ torch.linalg.inv(torch.linalg.cholesky(condition.T @ condition / ROWS)).T)[:, :, None]
    given = {"target": torch.full((ROWS, 2, 1), torch.nan), "given": condition}
    observed = ObservedEncodings(given, torch.tensor([[False, True]] * ROWS))
    with torch.no_grad():
        return recovery.sample("target", observed, torch.arange(ROWS), draws=draws, seed=0), condition


def correlations(x, condition):
    return torch.corrcoef(torch.cat([x[:, :, 0], condition[:, :, 0]], dim=1).T)[:2, 2:]


@pytest.mark.parametrize("mode", ["clean", "independent", "shared"])
def test_correlation_under_each_condition_noise(mode):
    """With each loss's own optimum as the network: true, weaker, and turned around."""
    config = RecoveryConfig("channels", mode, "score", solver="euler_maruyama", evaluations=200, network=PAPER_NETWORK)
    recovery = PaperRecovery(ONE, 2, config)
    recovery.scores["target"] = ExactScore(mode)
    (x,), condition = drawn(recovery, 1)
    found = correlations(x, condition)
    for own in found.diag().tolist():
        if mode == "clean":
            assert own == pytest.approx(RHO, abs=0.03)
        elif mode == "independent":
            assert 0.4 < own < RHO - 0.1
        else:
            assert own < -0.2
    assert max(abs(found[0, 1]), abs(found[1, 0])) < 0.07

    # The loss indeed has its minimum there: no other mode's optimum does better.
    generator = torch.Generator().manual_seed(1)
    target = RHO * condition + math.sqrt(1 - RHO**2) * torch.randn(ROWS, 2, 1, generator=generator)
    observed = ObservedEncodings({"target": target, "given": condition}, torch.tensor([[False, True]] * ROWS))
    losses = {}
    for other in ("clean", "independent", "shared"):
        recovery.scores["target"] = ExactScore(other)
        losses[other] = float(recovery.losses("target", target, observed, torch.arange(ROWS), 3).mean())
    assert min(losses, key=losses.get) == mode


class GivenTokens(nn.Module):
    def forward(self, encodings, available, near=None):
        assert near is None
        return encodings["given"].transpose(1, 2), available["given"][:, None]


class ExactDenoiser(nn.Module):
    """In place of the network of `fast`: F of the conditional mean, from c_in x, ln(sigma) / 4 and the condition."""

    def prepare(self, tokens, mask):
        assert mask.all()
        return RHO * tokens.transpose(1, 2)

    def forward(self, x, c_noise, mean):
        sigma = (4 * c_noise).exp()[:, None, None]
        total = (1 + sigma**2).sqrt()
        mean = mean.repeat_interleave(len(x) // len(mean), dim=0)  # draws of a row stand side by side
        noisy, variance = total * x, 1 - RHO**2
        denoised = mean + variance / (variance + sigma**2) * (noisy - mean)
        return (denoised - noisy / total**2) / (sigma / total)


@pytest.mark.parametrize(("solver", "evaluations"), [("dpmpp_2m", 8), ("heun", 30), ("euler_maruyama", 200)])
def test_correlation_of_fast(solver, evaluations):
    """Also a deterministic solver's: its start must know the conditional mean."""
    recovery = TokenRecovery(ONE, 2, RecoveryConfig(solver=solver, evaluations=evaluations, network=NETWORK))
    recovery.conditions["target"], recovery.networks["target"] = GivenTokens(), ExactDenoiser()
    x, condition = drawn(recovery, 3)
    found = correlations(x.flatten(0, 1), condition.repeat(3, 1, 1))
    assert found.diag().tolist() == pytest.approx([RHO, RHO], abs=0.02)
    assert max(abs(found[0, 1]), abs(found[1, 0])) < 0.05
    for draw in x:
        assert correlations(draw, condition).diag().tolist() == pytest.approx([RHO, RHO], abs=0.05)
        assert float(draw.std()) == pytest.approx(1, abs=0.05)
    apart = torch.corrcoef((x - RHO * condition)[:, :, 0, 0])
    assert float(apart[0, 1]) == pytest.approx(-1, abs=1e-3)  # antithetic
    assert apart[:2, 2].abs().max() < 0.08  # pairs are independent given the condition
