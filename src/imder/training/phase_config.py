"""The training settings of one phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imder.models.configuration import AMOUNT, COUNT, POSITIVE_COUNT, Number, check_numbers
from imder.types import ImderError, Task

_PHASE_NUMBERS = {
    **dict.fromkeys(("max_epochs", "batch_size", "validate_every"), POSITIVE_COUNT),
    **dict.fromkeys(("patience", "plateau_patience", "warmup"), COUNT),
    **dict.fromkeys(("learning_rate", "weight_decay", "clip_norm", "clip_value"), AMOUNT),
    "plateau_factor": Number(above=0, below=1),
    "ema": Number(least=0, below=1),
}


_SHARE = Number(least=0, below=1)


@dataclass(frozen=True)
class PhaseConfig:
    """How one phase learns.

    Attributes:
        max_epochs: the most epochs of the phase; those after the last validation are left out (`epochs`).
        batch_size: samples of each process; approximate for a system that reads whole dialogues.
        learning_rate: learning rate of AdamW (Adam if ``weight_decay`` is 0); 0 leaves the weights as they are.
        weight_decay: weight decay of AdamW.
        missing: training masks: ``every`` (every non-empty subset of each sample in every step; first phase only), ``any``
            (a random subset), ``none`` (everything present is available) or ``rate`` (as ``missing_rate`` says).
        validate_every: number of epochs between validations.
        patience: number of validations without improvement before the phase stops; 0 to train all epochs.
        plateau_patience: number of validations without improvement before the learning rate is multiplied by
            ``plateau_factor``; 0 for a constant rate.
        plateau_factor: see ``plateau_patience``.
        warmup: number of steps in which the learning rate rises from 0.
        cosine: whether the learning rate falls to 0 along a cosine over all epochs.
        clip_norm: largest norm of the gradient; 0 for no clipping.
        clip_value: largest absolute value of a gradient's element; 0 for no clipping. At most one of the two is above 0.
        self_distillation: weight, in the loss of every subset, of the averaged prediction from everything available as its
            teacher, instead of the label (``missing: every``); ``auto`` for .5 in classification with ``missing: every``, else
            0.
        ema: decay of the exponential moving average of the weights that is validated and kept; 0 for none.
    """

    max_epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    missing: Literal["every", "any", "none", "rate"] = "rate"
    validate_every: int = 1
    patience: int = 20
    plateau_patience: int = 0
    plateau_factor: float = 0.5
    warmup: int = 0
    cosine: bool = False
    clip_norm: float = 1.0
    clip_value: float = 0.0
    ema: float = 0.0
    self_distillation: float | Literal["auto"] = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, _PHASE_NUMBERS, "training.<phase>")
        if self.self_distillation != "auto":
            _SHARE.check("training.<phase>.self_distillation", self.self_distillation)
        if self.clip_norm and self.clip_value:
            raise ImderError("training: gradients are clipped by norm or by value, not both; set one of them to 0")
        if self.cosine and self.plateau_patience:
            raise ImderError("training: cosine and plateau_patience are two schedules; choose one")

    @property
    def epochs(self) -> int:
        """The most epochs that are trained: up to the last validation, as later weights can't be kept.

        >>> PhaseConfig(max_epochs=26, validate_every=4).epochs, PhaseConfig(max_epochs=3, validate_every=4).epochs
        (24, 3)
        """
        return self.max_epochs - self.max_epochs % min(self.validate_every, self.max_epochs)

    def distillation_weight(self, task: Task) -> float:
        """``self_distillation`` for a task."""
        if self.self_distillation != "auto":
            return self.self_distillation
        return 0.5 if task == "classification" else 0.0
