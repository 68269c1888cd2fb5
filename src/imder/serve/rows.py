"""Predictions as the service answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imder.types import Spec


def answer_row(row: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    """A row of `imder.predict` or of windows, in the form of the service's answers.

    Returns:
        ``start`` and ``end`` in seconds (None for a clip); ``prediction``, a number or the name of a class, None where
        nothing was available; ``low`` and ``high``, or ``set``, with a calibration; ``probabilities`` of classes;
        ``available`` and, where frames have times, ``coverage`` of each modality; ``recovered``, for each missing modality
        the weight of the recovery branch; ``text``.

    >>> from imder.types import Modality
    >>> spec = Spec((Modality("language", 8, 1), Modality("audio", 5, 1)))
    >>> answer_row({"available": "language", "missing": "audio", "recovery_weight": 0.5, "prediction": 1.25}, spec)
    {'start': None, 'end': None, 'prediction': 1.25, 'available': {'language': True, 'audio': False},
     'recovered': {'audio': {'weight': 0.5}}}
    """
    available = set(row["available"].split("+")) - {""}
    answer: dict[str, Any] = {"start": row.get("start"), "end": row.get("end")}
    if spec.task == "classification":
        answer["prediction"] = row.get("label")
        if row.get("set") is not None:
            answer["set"] = _members(row["set"], spec.classes)
        if row.get("label") is not None:
            answer["probabilities"] = {name: row[f"p_{name}"] for name in spec.classes}
    else:
        answer["prediction"] = row.get("prediction")
        answer |= {name: row[name] for name in ("low", "high") if row.get(name) is not None}
    answer["available"] = {name: name in available for name in spec.names}
    coverage = {name: row[f"share_{name}"] for name in spec.names if f"share_{name}" in row}
    if coverage:
        answer["coverage"] = coverage
    weight = row.get("recovery_weight")
    missing = [name for name in spec.names if name not in available] if available else []
    answer["recovered"] = {} if weight is None else {name: {"weight": weight} for name in missing}
    if row.get("text"):
        answer["text"] = row["text"]
    return answer


def _members(joined: str, classes: tuple[str, ...]) -> list[str]:
    """The classes of a set whose names are joined by ``|``, in the order of ``classes``; names may hold a ``|``."""
    members = []
    for name in classes:
        if joined == name or joined.startswith(f"{name}|"):
            members.append(name)
            joined = joined[len(name) + 1 :]
    return members
