"""Systems that sample nothing."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from imder.missingness.subsets import check_available
from imder.models.base import Model
from imder.nn.mode import evaluating
from imder.types import Batch, Output, check_batch


class DeterministicModel(Model):
    """A system that samples nothing: one prediction for each row, a function of the row alone."""

    @abstractmethod
    def predict_batch(self, batch: Batch) -> Tensor:
        """Predictions ``(B,)``, or probabilities ``(B, C)``, in evaluation mode."""

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """The predictions of `predict_batch`; ``samples`` and ``seed`` have no effect.

        Raises:
            ImderError: a row has nothing available.
        """
        del samples, seed
        check_batch(batch)
        check_available(batch.available)
        with evaluating(self):
            prediction = self.predict_batch(batch)
        return Output(prediction, prediction[None])
