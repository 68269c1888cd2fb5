"""Deterministic recovery: encodings that need no noise, under the contract of a recovery.

    zero         0
    train-mean   m_k, the mean of the training encodings of modality k, at each step
    regression   f_k(available), from the network of ``fast`` without noise:  min E || f_k(available) - e_k ||^2

Each is a denoiser D(x, sigma) that ignores x and sigma. The minimiser of squared error is E[e_k | available e], which the
kind ``mean`` estimates with a diffusion model: comparing the two measures the cost or gain of learning all noise levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from imder.diffusion import Denoiser, KeyedNoise
from imder.models.imder.config import RecoveryConfig
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.recovery import Encodings, RecoveryModel
from imder.models.imder.token_recovery import TokenRecovery
from imder.nn.module_dict import ModuleDict
from imder.nn.standardize import Standardizer, fit_together


class ZeroRecovery(RecoveryModel):
    """Zeros for every row."""

    def __init__(
        self, steps: Mapping[str, int], width: int, config: RecoveryConfig, offsets: Sequence[int] = ()
    ) -> None:
        super().__init__(steps, width, config, offsets)
        self.statistics = ModuleDict[Standardizer]({k: Standardizer(width * n) for k, n in steps.items()})

    def losses(self, target: str, clean: Tensor, observed: ObservedEncodings, keys: Tensor, seed: int) -> Tensor:
        """Zeros ``(R,)``: there is nothing to learn (see the base class)."""
        return clean.new_zeros(len(keys))

    def denoiser(self, target: str, observed: ObservedEncodings, noise: KeyedNoise) -> Denoiser:
        """The fitted mean, which stays 0 unless a subclass fits it."""
        mean = self.statistics[target].mean
        return lambda x, sigma: mean.reshape(x.shape[1:]).expand_as(x)


class TrainMeanRecovery(ZeroRecovery):
    """The training mean of each coordinate of an encoding, for every row."""

    def fit(self, encodings: Iterable[Encodings]) -> None:
        """Compute the means of the given rows for each modality (0 for one without rows)."""
        rows = ({k: e.flatten(1) for k, e in given.items()} for given in encodings)
        fit_together(dict(self.statistics.items()), rows)


class RegressionRecovery(TokenRecovery):
    """The networks of `TokenRecovery` as regressions: no noisy input, one evaluation is the result."""

    def losses(self, target: str, clean: Tensor, observed: ObservedEncodings, keys: Tensor, seed: int) -> Tensor:
        """Squared error of the standardised encoding, averaged over coordinates; no noise (see the base class)."""
        predicted = self._predicted(target, observed)
        return (predicted - self.scale(target, clean)).square().flatten(1).mean(1)

    def denoiser(self, target: str, observed: ObservedEncodings, noise: KeyedNoise) -> Denoiser:
        """The prediction, for any x and sigma."""
        predicted = self._predicted(target, observed)
        return lambda x, sigma: predicted

    def _predicted(self, target: str, observed: ObservedEncodings) -> Tensor:
        """``(R, width, steps)``, standardised; starts at the linear mean."""
        condition, mean = self.condition(target, observed)
        zeros = condition.mask.new_zeros(len(observed), self.width, self.steps[target], dtype=torch.float32)
        predicted: Tensor = self.networks[target](zeros, zeros.new_zeros(1), condition)
        return mean + predicted
