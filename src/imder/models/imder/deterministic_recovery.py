"""Recovery without sampling: an encoding that needs no noise, in the same place and with the same contract.

    zero         0
    train-mean   m_k, the mean of the training encodings of modality k, at each step
    regression   f_k(available), from the network of ``fast`` without noise:  min E || f_k(available) - e_k ||^2

Each is a denoiser D(x, sigma) that ignores x and sigma. The optimum of squared error is E[e_k | available], which ``mean``
reads off a diffusion model: their distance says what learning all noise levels costs or helps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from imder.diffusion import Denoiser, KeyedNoise
from imder.models.imder.recovery import Encodings, RecoveryConfig, RecoveryModel, TokenRecovery
from imder.nn.standardize import Standardizer, fit_together


class FixedRecovery(RecoveryModel):
    """The same for every row: zeros, or the training mean of each coordinate of an encoding."""

    def __init__(self, steps: Mapping[str, int], width: int, config: RecoveryConfig) -> None:
        super().__init__(steps, width, config)
        self.statistics = nn.ModuleDict({k: Standardizer(width * n) for k, n in steps.items()})

    def fit(self, encodings: Iterable[Encodings]) -> None:
        """Means of the rows given for each modality (0 for one that gets none); nothing where the kind is ``zero``."""
        if self.config.kind == "train-mean":
            rows = ({k: e.flatten(1) for k, e in given.items()} for given in encodings)
            fit_together(dict(self.statistics.items()), rows)  # type: ignore[arg-type]

    def losses(
        self, target: str, clean: Tensor, encodings: Encodings, available: Tensor, keys: Tensor, seed: int
    ) -> Tensor:
        """Zeros ``(R,)``: nothing is learned (see the base class)."""
        return clean.new_zeros(len(keys))

    def denoiser(self, target: str, encodings: Encodings, available: Tensor, noise: KeyedNoise) -> Denoiser:
        """The training mean, which is 0 before `fit`."""
        mean: Tensor = self.statistics[target].mean  # type: ignore[assignment]
        return lambda x, sigma: mean.reshape(x.shape[1:]).expand_as(x)


class RegressionRecovery(TokenRecovery):
    """The networks of `TokenRecovery` as regressions: nothing noisy enters, one evaluation is the answer."""

    def losses(
        self, target: str, clean: Tensor, encodings: Encodings, available: Tensor, keys: Tensor, seed: int
    ) -> Tensor:
        """Squared error of the standardised encoding, the mean of its coordinates; no noise (see the base class)."""
        predicted = self._predicted(target, encodings, available)
        return (predicted - self._scale(target, clean)).square().flatten(1).mean(1)

    def denoiser(self, target: str, encodings: Encodings, available: Tensor, noise: KeyedNoise) -> Denoiser:
        """The prediction, whatever x and sigma are."""
        predicted = self._predicted(target, encodings, available)
        return lambda x, sigma: predicted

    def _predicted(self, target: str, encodings: Encodings, available: Tensor) -> Tensor:
        """``(R, width, steps)``, standardised; begins at 0, the training mean."""
        network = self.networks[target]
        condition = network.prepare(*self._condition(target, encodings, available))  # type: ignore[operator]
        nothing = condition.mask.new_zeros(len(available), self.width, self.steps[target], dtype=torch.float32)
        predicted: Tensor = network(nothing, nothing.new_zeros(1), condition)
        return predicted
