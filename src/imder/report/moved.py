"""The samples whose prediction recovery moved most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.inference.options import PredictOptions
from imder.inference.predict import predict_split
from imder.missingness.masks import Mask
from imder.models.imder.fixed_weight import fixed_recovery_weight
from imder.models.imder.network import IMDerNetwork
from imder.report.content import Passage, Section
from imder.rows import Rows
from imder.types import Spec

SHOWN = 10
Row = Mapping[str, Any]


def moved_section(model: IMDerNetwork, split: Split, mask: Mask, options: PredictOptions, setting: str) -> Section:
    """The `SHOWN` samples, each with its predictions with and without recovery, and its text.

    Where no recovery enters a prediction, recovery gets weight 1 to show what it would change.

    Args:
        model: trained.
        split: as the model reads it.
        mask: ``(N, K)`` bool, what the model may use.
        options: how to predict.
        setting: of the mask, in words.
    """
    lacking: NDArray[np.bool_] = np.asarray(mask.any(1) & ~mask.all(1))
    used = any(
        weight > 0 for pattern, weight in model.recovery_weights().items() if pattern.count("+") + 1 < mask.shape[1]
    )
    without = _predictions(model, split, mask, options, 0.0)
    with_recovery = _predictions(model, split, mask, options, None if used else 1.0)
    moves = np.array([_move(a, b, model.spec) for a, b in zip(without, with_recovery, strict=True)]) * lacking
    order = [int(i) for i in np.argsort(-moves, kind="stable")[:SHOWN] if moves[i] > 0]
    if used:
        words = (
            f"{setting}: predictions from the available modalities alone, and with recoveries as the system uses them."
        )
    else:
        words = (
            f"No recovery enters a prediction of this system: its weight is 0 for every pattern. {setting}, this is what the "
            "predictions would be with weight 1."
        )
    moved = (
        f" {int((moves > 0).sum())} of {int(lacking.sum())} incomplete samples move, by {_median(moves)} in the median."
    )
    passages = tuple(_passage(i, split, without[i], with_recovery[i], model.spec) for i in order)
    title = "Samples that recovery moved most" if used else "Samples that recovery would move most"
    return Section(title, (words + moved,), passages=passages)


def _predictions(model: IMDerNetwork, split: Split, mask: Mask, options: PredictOptions, weight: float | None) -> Rows:
    if weight is None:
        return predict_split(model, split, options, mask=mask)[0]
    with fixed_recovery_weight(model, weight):
        return predict_split(model, split, options, mask=mask)[0]


def _move(before: Row, after: Row, spec: Spec) -> float:
    """How far a prediction moved: the difference of values, or the total variation between probabilities; 0 for none."""
    if before["available"] == "":
        return 0.0
    if spec.task == "classification":
        return 0.5 * sum(abs(float(after[f"p_{name}"]) - float(before[f"p_{name}"])) for name in spec.classes)
    return float(abs(after["prediction"] - before["prediction"]))


def _median(moves: NDArray[np.float64]) -> str:
    return f"{np.median(moves[moves > 0]) if (moves > 0).any() else 0.0:.3f}"


def _passage(i: int, split: Split, before: Row, after: Row, spec: Spec) -> Passage:
    if spec.task == "classification":
        first, second = (f"{row['label']} ({row['p_' + row['label']]:.2f})" for row in (before, after))
        label = spec.classes[int(split.labels[i])] if split.labels is not None and split.labelled[i] else "unknown"
    else:
        first, second = (f"{row['prediction']:.2f}" for row in (before, after))
        label = f"{split.labels[i]:.2f}" if split.labels is not None and split.labelled[i] else "unknown"
    head = f"{split.ids[i]}: {first} without recovery, {second} with; label {label}. Available {before['available']}"
    text = "" if split.texts is None else str(split.texts[i])
    return Passage(f"{head}; missing {before['missing']}.", text)
