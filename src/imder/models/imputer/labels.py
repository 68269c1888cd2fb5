r"""The label of a clip, for systems that draw it before the features.

A label enters as a vector d(y): the indicator of a class, or the standardised value. Where it is unknown it is drawn from the
predicted distribution, by systematic sampling: draw i of S takes the quantile (i / S + v) mod 1, with one uniform v for each
clip. Each draw alone has the predicted distribution; all S together hold every class in its share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from imder.calibration.calibration import Calibration
from imder.calibration.predictive import ClassPredictive
from imder.diffusion import KeyedNoise
from imder.models.parts.losses import is_labelled
from imder.nn.standardize import FARTHEST, NEGLIGIBLE
from imder.types import Output, Spec

POINTS = 257
"""Quantiles of a predicted value from which labels are drawn."""


class LabelDesign(nn.Module):
    """d(y) of labels and of predictions.

    Args:
        spec: of the corpus; with task ``none``, d(y) has width 0.
    """

    mean: Tensor
    scale: Tensor
    prior: Tensor
    unexplained: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.width = 0 if spec.task == "none" else spec.outputs
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        # variance of a value about its prediction, in training alone (`imder.models.imputer.training_labels`)
        self.register_buffer("unexplained", torch.zeros(()), persistent=False)
        classes = spec.task == "classification"
        self.register_buffer(
            "prior", torch.full((spec.outputs,), 1.0 / spec.outputs) if classes else torch.zeros(POINTS)
        )

    def fit(self, labels: Sequence[Tensor]) -> None:
        """Fit the standardisation, and the distribution of labels where nothing is available, to training labels."""
        values = torch.cat([x[is_labelled(x, self.spec)] for x in labels]) if labels and self.width else torch.zeros(0)
        if not len(values):
            return
        if self.spec.task == "classification":
            self.prior.copy_(torch.bincount(values, minlength=self.spec.outputs) / len(values))
        else:
            values = values.double()
            self.prior.copy_(_spaced(values.sort().values[None])[0])
            self.mean.fill_(float(values.mean()))
            size, deviation = max(1.0, abs(float(values.mean()))), float(values.std(correction=0))
            self.scale.fill_(
                deviation if deviation > NEGLIGIBLE * size else size
            )  # one label says nothing of the scale

    def of_labels(self, labels: Tensor) -> Tensor:
        """``(B, L)`` of labels ``(B,)``, all known."""
        if self.spec.task == "classification":
            return torch.nn.functional.one_hot(labels, self.spec.outputs).to(self.mean.dtype)
        return self._standardized(labels)[:, None]

    def _standardized(self, values: Tensor) -> Tensor:
        return ((values - self.mean) / self.scale).clamp(-FARTHEST, FARTHEST)

    def of_prediction(self, prediction: Tensor) -> Tensor:
        """The expected d(y) ``(B, L)`` of predictions: probabilities ``(B, C)``, or values ``(B,)``."""
        return prediction if self.spec.task == "classification" else self.of_labels(prediction)

    def draw(
        self, output: Output, available: Tensor, keys: Tensor, draws: int, seed: int, calibration: Calibration | None
    ) -> Tensor:
        """Draws ``(S, B, L)`` of d(y) from the predicted distributions, or that of training where nothing is available.

        Args:
            output: predictions of B rows.
            available: ``(B, K)`` bool, the patterns by which predictions are calibrated.
            keys: ``(B,)``.
            draws: S.
            seed: of the draws.
            calibration: of the predictor; None to take its probabilities, or its spread, as they are.
        """
        share = KeyedNoise(keys, seed).uniform((len(keys), 1))[:, 0]
        step = torch.arange(draws, device=keys.device)[:, None] / draws
        position = (step + share) % 1.0  # (S, B)
        nothing = ~available.any(1)
        if self.spec.task == "classification":
            probabilities = (
                output.prediction if calibration is None else self._calibrated(output, available, calibration)
            )
            probabilities = torch.where(nothing[:, None], self.prior, probabilities)
            edges = probabilities.cumsum(1).clamp(max=1.0)
            drawn = (position[..., None] >= edges[None, :, :-1]).sum(2)
            return torch.nn.functional.one_hot(drawn, self.spec.outputs).to(self.mean.dtype)
        if calibration is None:
            points = _spaced(output.spread.transpose(0, 1).sort(1).values)
        else:
            points = self._calibrated(output, available, calibration)
        points = torch.where(nothing[:, None], self.prior, points)
        index = (position.T * points.shape[1]).long().clamp(max=points.shape[1] - 1)  # (B, S)
        drawn = points.gather(1, index).T
        return self._standardized(drawn)[..., None]

    def _calibrated(self, output: Output, available: Tensor, calibration: Calibration) -> Tensor:
        """Calibrated probabilities ``(B, C)``, or points ``(B, n)`` in increasing order."""
        spread = output.spread.transpose(0, 1).double().cpu().numpy()
        joined: np.ndarray | None = None
        for rows, group in calibration.groups(available.cpu().numpy()):
            fitted = group.predictive
            if isinstance(fitted, ClassPredictive):
                values = fitted.probabilities(spread[rows])
            else:
                assert calibration.bounds is not None
                points = np.clip(fitted.points(spread[rows]), *calibration.bounds)
                values = _spaced(torch.from_numpy(points)).numpy()
            joined = np.empty((len(spread), values.shape[1])) if joined is None else joined
            joined[rows] = values
        return torch.as_tensor(joined, dtype=self.mean.dtype, device=self.mean.device)


def _spaced(points: Tensor) -> Tensor:
    """`POINTS` of n points ``(B, n)`` in increasing order, each in its share."""
    index = (torch.arange(POINTS, device=points.device) + 0.5) * points.shape[1] / POINTS
    return points[:, index.long()]
