"""The types that all models share: `Batch` in, `Output` out, and the `Spec` that describes a corpus.

Shape conventions, used everywhere:

* ``B`` samples, ``K`` modalities, ``T_k`` frames and ``D_k`` features of modality k, ``C`` classes;
* raw features are ``(B, T_k, D_k)``, time before features, as in the field's files;
* encodings are ``(B, width, length)``, channels before time, as convolutions want them;
* masks over modalities are bool ``(B, K)``, in the order of ``Spec.names``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from imder.one_line import one_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Task = Literal["regression", "classification", "none"]

LARGEST_DIM = 1 << 24
"""Bound of features per frame and of frames per sequence in descriptions that are read from files."""


class ImderError(ValueError):
    """A user's mistake, in one line: what is wrong, where, what to do.

    The command line prints it and exits with code 2.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


@dataclass(frozen=True)
class Modality:
    """One modality of a corpus: its name, features per frame and longest sequence."""

    name: str
    dim: int
    length: int


@dataclass(frozen=True)
class Spec:
    """The modalities, task and class names of a corpus.

    Task ``none`` is for models that predict nothing, such as recoveries of raw features: they learn from unlabelled corpora.

    >>> spec = Spec((Modality("language", 768, 50), Modality("audio", 5, 50)))
    >>> spec.names, spec.outputs
    (('language', 'audio'), 1)
    >>> Spec.from_dict(spec.to_dict()) == spec
    True
    """

    modalities: tuple[Modality, ...]
    task: Task = "regression"
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ImderError("a corpus needs at least one modality, and two for training")
        if len(set(self.names)) != len(self.names):
            raise ImderError(f"modality names repeat: {list(self.names)}")
        for name in self.names:
            if not name or "." in name or "+" in name or name in ("type", "train", "names"):
                raise ImderError(
                    f"{name!r} can't be a modality's name: choose one without '.' and '+' that is no reserved word"
                )
        if self.task not in ("regression", "classification", "none"):
            raise ImderError(f"unknown task {self.task!r}; use 'regression', 'classification' or 'none'")
        if self.task == "classification" and len(self.classes) < 2:
            raise ImderError(f"classification needs at least two classes, got {list(self.classes)}; name them all")

    @property
    def names(self) -> tuple[str, ...]:
        """Modality names, in the order of every ``(B, K)`` mask."""
        return tuple(m.name for m in self.modalities)

    @property
    def outputs(self) -> int:
        """Width of a model's output: 1 for regression, the number of classes, or 0 without a task."""
        return {"regression": 1, "classification": len(self.classes), "none": 0}[self.task]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return {
            "modalities": [{"name": m.name, "dim": m.dim, "length": m.length} for m in self.modalities],
            "task": self.task,
            "classes": list(self.classes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spec:
        """The inverse of `to_dict`, of data that may be damaged.

        Raises:
            ImderError: a value is missing, of another type or out of bounds; the message names its key.
        """
        modalities = _listed(data, "modalities")
        for i, m in enumerate(modalities):
            where = f"modalities[{i}]"
            if not isinstance(m, Mapping) or not isinstance(m.get("name"), str):
                raise ImderError(f"spec: {where}.name: expected a text")
            for key, least in (("dim", 1), ("length", 0)):
                if type(m.get(key)) is not int or not least <= m[key] <= LARGEST_DIM:
                    raise ImderError(f"spec: {where}.{key}: expected a whole number, {least} to {LARGEST_DIM}")
        classes = _listed(data, "classes")
        if not all(isinstance(name, str) for name in classes):
            raise ImderError("spec: classes: expected texts")
        return cls(
            tuple(Modality(m["name"], m["dim"], m["length"]) for m in modalities), data.get("task", ""), tuple(classes)
        )


def _listed(data: Mapping[str, Any], key: str) -> list[Any]:
    if not isinstance(data, Mapping) or not isinstance(data.get(key), list | tuple):
        raise ImderError(f"spec: {key}: expected a list")
    return list(data[key])


@dataclass(frozen=True)
class Batch:
    """B samples, padded. Frames at or beyond ``lengths`` and features of unavailable modalities carry no information.

    Attributes:
        features: for each modality ``(B, T_k, D_k)`` float; T_k is the longest of this batch (at least 1).
        lengths: for each modality ``(B,)`` int64, the valid frames; 0 where the modality is absent.
        present: ``(B, K)`` bool, the modalities that the corpus holds.
        available: ``(B, K)`` bool, the modalities that a method may use; a subset of ``present``.
        keys: ``(B,)`` int64, a hash of each sample's id: noise depends on (seed, key), never on the row.
        labels: ``(B,)`` float (regression; NaN where unlabelled) or int64 (classification; -1 where unlabelled).
        dialogue: ``(B,)`` int64; rows of one number are a whole dialogue under one set of masks. Like the next two it is
            None for systems without context.
        position: ``(B,)`` int64, the order in time within the dialogue, without ties.
        speaker: ``(B,)`` int64, equal for rows of one speaker in a dialogue; -1 where unknown.
        erased: for each modality ``(B, T_k)`` bool, the valid steps of available modalities that a frame protocol erased:
            ``features`` hold 0 there, or what a text encoder makes of the unknown token. None where nothing is ever erased.
        complete: for each modality ``(B, T_k, D_k)``, the features before erasure, in training alone: for losses, never
            read by a prediction. None where nothing is ever erased.
    """

    features: dict[str, Tensor]
    lengths: dict[str, Tensor]
    present: Tensor
    available: Tensor
    keys: Tensor
    labels: Tensor | None = None
    dialogue: Tensor | None = None
    position: Tensor | None = None
    speaker: Tensor | None = None
    erased: dict[str, Tensor] | None = None
    complete: dict[str, Tensor] | None = None

    def __len__(self) -> int:
        return int(self.keys.shape[0])

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self._map(lambda x: x.to(device, non_blocking=True))

    def take(self, rows: Tensor) -> Batch:
        """Some rows ``(M,)`` int64 of the batch, in that order; a row may be taken several times."""
        return self._map(lambda x: x[rows])

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The batch of the results of a function of every tensor."""
        optional = (self.labels, self.dialogue, self.position, self.speaker)
        labels, dialogue, position, speaker = (None if x is None else function(x) for x in optional)
        return Batch(
            {k: function(v) for k, v in self.features.items()},
            {k: function(v) for k, v in self.lengths.items()},
            function(self.present),
            function(self.available),
            function(self.keys),
            labels,
            dialogue,
            position,
            speaker,
            None if self.erased is None else {k: function(v) for k, v in self.erased.items()},
            None if self.complete is None else {k: function(v) for k, v in self.complete.items()},
        )

    def with_available(self, available: Tensor) -> Batch:
        """The same samples under another mask ``(B, K)``, cut down to what is present."""
        return replace(self, available=available & self.present)

    def whole(self) -> Batch:
        """The batch as the corpus holds it: everything present available, nothing erased.

        For losses that compare with the complete sample, under masks of modalities too.

        Raises:
            ImderError: frames were erased, and ``complete`` isn't known: the batch is one to predict.
        """
        if self.erased is not None and self.complete is None:
            raise ImderError("a batch to predict holds no features of erased frames; only batches of training do")
        features = self.features if self.complete is None else self.complete
        return replace(self, features=features, available=self.present, erased=None, complete=None)


@dataclass(frozen=True)
class RecoveredEncoding:
    """Recovered encodings of one modality.

    Attributes:
        rows: ``(R,)`` int64, the rows of the batch that lacked the modality.
        sampled: ``(S, R, width, length)``, S draws of the diffusion model from the conditional distribution.
        refined: ``(S, R, width, length)``, each draw after the refinement network: closer on average, and narrower.
        lengths: ``(R,)`` int64, the valid steps; both are zero beyond them.
    """

    rows: Tensor
    sampled: Tensor
    refined: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class ImputedFeatures:
    """Raw features drawn for one modality, as a system's ``impute(batch, draws, seed)`` returns them by modality.

    Attributes:
        rows: ``(R,)`` int64, the rows of the batch that lacked the modality.
        features: ``(S, R, T, D)``, S draws in the units of the corpus; 0 beyond lengths.
        lengths: ``(S, R)`` int64, the valid frames of each draw, at least 1.
    """

    rows: Tensor
    features: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Output:
    """The predictions of a model for a batch.

    Attributes:
        prediction: ``(B,)`` for regression, ``(B, C)`` class probabilities (summing to 1) for classification.
        spread: ``(S, B)`` or ``(S, B, C)``: the prediction of every member under every recovery (S = 1 for one member where
            nothing is sampled).
        recovery_weight: ``(B,)``, the weight of the recovery branch in each prediction (for a row that lacks nothing: of
            its fusion, since nothing is recovered); None for a system that recovers nothing.
        recovered: for each modality that some row lacks, its `RecoveredEncoding`.
        losses: named scalar losses (training only).
    """

    prediction: Tensor
    spread: Tensor
    recovery_weight: Tensor | None = None
    recovered: dict[str, RecoveredEncoding] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)


def check_batch(batch: Batch, method: str = "predict") -> None:
    """Raise `ImderError` for anything but a `Batch`, such as a corpus, which `imder.predict` and `imder.recover` take."""
    if not isinstance(batch, Batch):
        raise ImderError(
            f"Model.{method} takes a Batch, got {type(batch).__name__}; for a corpus, call imder.{method}(model, corpus)"
        )
