"""The labels of training clips: the corpus' own or, where it has none, the distribution that the late fusion predicts.

An expected label isn't a label: taken for one, it makes the effect of labels on features too large and the covariance within
labels too small. So the Gaussian is fitted to the moments E[d] and E[d^2] (a step of expectation and maximisation), and
denoisers learn with a draw of the label, a new one in each epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from imder.diffusion import KeyedNoise
from imder.models.imputer.labels import LabelDesign
from imder.models.parts.losses import is_labelled
from imder.types import Batch

LABEL_STREAM = 0x5851F42D4C957F2D
"""Added to keys: training labels are drawn independently of the noise that is seeded by the same number."""


class TrainingLabels:
    """d(y) of training clips.

    Args:
        design: of labels.
        predict: predictions of a batch from everything present; None without a task.
    """

    def __init__(self, design: LabelDesign, predict: Callable[[Batch], Tensor] | None) -> None:
        self._design, self._predict = design, predict

    def expected(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """E[d(y)] ``(B, L)``, and which clips have a label, ``(B,)`` bool."""
        if self._predict is None:
            nothing = torch.zeros(len(batch), 0, device=batch.keys.device)
            return nothing, torch.ones_like(batch.keys, dtype=torch.bool)
        if batch.labels is None:
            return self._design.of_prediction(self._predict(batch)), torch.zeros_like(batch.keys, dtype=torch.bool)
        labelled = is_labelled(batch.labels, self._design.spec)
        if bool(labelled.all()):
            return self._design.of_labels(batch.labels), labelled
        out = self._design.of_prediction(self._predict(batch))
        out[labelled] = self._design.of_labels(batch.labels[labelled])
        return out, labelled

    def squares(self, expected: Tensor, labelled: Tensor) -> Tensor:
        """E[d(y)^2] ``(N, L)`` of all training clips, from the results of `expected`.

        An indicator is its own square. For a value the variance that predictions lack is that of labels, 1, less theirs.
        """
        if self._design.spec.task == "classification":
            return expected
        if not bool(labelled.all()):
            variance = (1 - expected[~labelled].square().mean()).clamp(min=0)
            self._design.unexplained.copy_(variance)
        return expected.square() + ~labelled[:, None] * self._design.unexplained

    def draw(self, batch: Batch, seed: int) -> Tensor:
        """Label vectors ``(B, L)``: of the label, or of a draw from its distribution."""
        expected, labelled = self.expected(batch)
        if bool(labelled.all()):
            return expected
        noise = KeyedNoise(batch.keys + LABEL_STREAM, seed)
        if self._design.spec.task == "classification":
            position = noise.uniform((len(batch), 1))
            number = (position > expected.cumsum(1)[:, :-1]).sum(1)
            drawn = torch.nn.functional.one_hot(number, expected.shape[1]).to(expected.dtype)
        else:
            drawn = expected + self._design.unexplained.sqrt() * noise.normal((len(batch), 1))
        return torch.where(labelled[:, None], expected, drawn)
