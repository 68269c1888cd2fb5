"""A prediction for other programs: the columns of `imder.predict` as nested values, for JSON."""

from __future__ import annotations

from typing import Any

from imder.inference.predict import Row
from imder.types import Spec


def answer(row: Row, spec: Spec) -> dict[str, Any]:
    """A row of `imder.predict` or of windows, nested.

    Args:
        row: columns of a prediction; of a window also ``start``, ``end`` and ``share_<modality>``.
        spec: of the system.

    Returns:
        ``start`` and ``end`` (seconds; None for a clip); ``prediction``: a number or a class, None without any modality;
        ``low`` and ``high``, or ``set``, a list of classes, with a calibration; ``probabilities`` by class; ``available``: for
        each modality whether it was; ``coverage``: the share of the window that its data cover; ``recovered``: for each
        missing modality the ``weight`` of recovery in the prediction, for systems that recover; ``text``: the words.

    >>> from imder.types import Modality
    >>> spec = Spec((Modality("language", 768, 50), Modality("audio", 5, 50)))
    >>> columns = {"start": 0.0, "end": 4.0, "available": "audio", "missing": "language", "prediction": 0.5}
    >>> answer(columns, spec)["available"]
    {'language': False, 'audio': True}
    """
    is_classification = spec.task == "classification"
    available = [name for name in (row.get("available") or "").split("+") if name]
    out: dict[str, Any] = {
        "start": row.get("start"),
        "end": row.get("end"),
        "prediction": row.get("label" if is_classification else "prediction"),
    }
    if is_classification:
        if row.get("set") is not None:
            out["set"] = [name for name in row["set"].split("|") if name]
        if row.get(f"p_{spec.classes[0]}") is not None:
            out["probabilities"] = {name: row[f"p_{name}"] for name in spec.classes}
    elif row.get("low") is not None:
        out |= {"low": row["low"], "high": row["high"]}
    out["available"] = {name: name in available for name in spec.names}
    coverage = {name: row[f"share_{name}"] for name in spec.names if f"share_{name}" in row}
    if coverage:
        out["coverage"] = coverage
    weight = row.get("recovery_weight")
    missing = [name for name in spec.names if name not in available]
    out["recovered"] = {} if weight is None else {name: {"weight": weight} for name in missing}
    if row.get("text"):
        out["text"] = row["text"]
    return out
