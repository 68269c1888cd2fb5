"""The calibration of one system: for each subset of available modalities, its noise and its conformal scores.

How wrong a system is depends on what it sees, so each subset is calibrated on validation rows of that subset alone: what
an interval promises then holds for each subset, not merely on average over them. Fewer than `ENOUGH` samples of a subset
say too little. It then uses the rows of all subsets of as many modalities, and if these are too few, all rows: coverage
then holds on average over what was pooled. Which subsets do, `Calibration.notes` says.

The validation rows also decided when training stopped, so the system may fit them slightly better than new data.
``benchmarks/uncertainty.py`` measures what that costs on a corpus whose truth is known.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.calibration.conformal import Scores, class_scores, value_scores
from imder.calibration.predictive import ClassPredictive, ValuePredictive
from imder.calibration.scores import Array
from imder.jobs.files import atomic_write
from imder.types import ImderError, Spec

log = logging.getLogger(__name__)

ENOUGH = 100
FILE = "calibration.json"
VERSION = 1

Labels = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Group:
    """Calibration rows taken together: their predictive distribution and their scores."""

    predictive: ValuePredictive | ClassPredictive
    scores: Scores


@dataclass(frozen=True)
class Calibration:
    """What intervals and prediction sets need, beside a system's spread.

    Attributes:
        spec: of the corpus.
        bounds: the least and the greatest label; None for classification.
        recoveries: S of the predictions it was fitted on: with another number the spread is another.
        seen: for each subset that was seen, by its name, how many samples.
        subsets: groups of the subsets that have enough, by name; ``sizes``: of as many modalities; ``everything``.
    """

    spec: Spec
    bounds: tuple[float, float] | None
    recoveries: int
    seen: Mapping[str, int]
    subsets: Mapping[str, Group]
    sizes: Mapping[int, Group]
    everything: Group
    enough: int = ENOUGH

    def group(self, available: Sequence[bool] | NDArray[np.bool_]) -> Group:
        """What a subset, K flags, uses."""
        named = self.subsets.get(_name(available, self.spec.names))
        return named or self.sizes.get(int(np.sum(available)), self.everything)

    def groups(self, available: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Group]]:
        """Rows of ``available`` (M, K), in parts that use the same group, at most some thousands each."""
        different, which = np.unique(available, axis=0, return_inverse=True)
        for i, pattern in enumerate(different):
            rows = np.flatnonzero(which.reshape(-1) == i)
            for part in np.array_split(rows, -(-len(rows) // 4096)):
                yield part, self.group(pattern)

    def notes(self) -> list[str]:
        """A line for each subset that was seen and isn't calibrated on rows of its own."""
        lines = []
        for name, count in self.seen.items():
            if name not in self.subsets:
                size = name.count("+") + 1
                used = (self.sizes.get(size) or self.everything).scores.samples
                whose = f"any {size} modalities" if size in self.sizes else "any modalities"
                lines.append(f"{name}: {count} calibration samples; uses those of {whose} ({used})")
        return lines

    def save(self, path: str | Path) -> None:
        """Write JSON that reads back exactly; under its name only when complete."""
        text = json.dumps(self.to_dict(), allow_nan=False) + "\n"
        with atomic_write(path) as part:
            part.write_text(text)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """The inverse of `save`.

        Raises:
            ImderError: the file can't be read, or isn't one.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ImderError(f"{path}: not a calibration ({reason})") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return {
            "version": VERSION,
            "spec": self.spec.to_dict(),
            "bounds": self.bounds,
            "recoveries": self.recoveries,
            "enough": self.enough,
            "seen": dict(self.seen),
            "subsets": {k: asdict(g) for k, g in self.subsets.items()},
            "sizes": {str(k): asdict(g) for k, g in self.sizes.items()},
            "everything": asdict(self.everything),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`.

        Raises:
            ImderError: of a version that isn't known here.
        """
        if data["version"] != VERSION:
            raise ImderError(f"version {data['version']} of calibrations isn't known here, {VERSION} is")
        spec = Spec.from_dict(data["spec"])

        def group(entry: Mapping[str, Any]) -> Group:
            given, scores = entry["predictive"], entry["scores"]
            predictive = (
                ClassPredictive(float(given["temperature"]))
                if spec.task == "classification"
                else ValuePredictive(float(given["recovery"]), float(given["noise"]), tuple(given["residuals"]))
            )
            return Group(predictive, Scores(int(scores["samples"]), tuple(scores["values"])))

        return cls(
            spec,
            None if data["bounds"] is None else (float(data["bounds"][0]), float(data["bounds"][1])),
            int(data["recoveries"]),
            {str(k): int(v) for k, v in data["seen"].items()},
            {str(k): group(v) for k, v in data["subsets"].items()},
            {int(k): group(v) for k, v in data["sizes"].items()},
            group(data["everything"]),
            int(data["enough"]),
        )


def fit_calibration(
    spec: Spec,
    spread: NDArray[np.floating[Any]],
    available: NDArray[np.bool_],
    labels: Labels,
    samples: NDArray[np.int64],
    bounds: tuple[float, float] | None = None,
    enough: int = ENOUGH,
) -> Calibration:
    """Calibrate on validation rows.

    Args:
        spec: of the corpus.
        spread: ``(M, S)`` values or ``(M, S, C)`` probabilities: what was predicted under each of S recoveries.
        available: ``(M, K)``. Rows without any (what predicts looked at nothing) are in no subset.
        labels: ``(M,)``, all of them known.
        samples: ``(M,)``: which sample each row is; one may be there under several subsets.
        bounds: the least and the greatest label that there can be, for regression.
        enough: samples that a subset needs to stand alone.

    Raises:
        ImderError: no rows, or no bounds where they are needed.
    """
    if not len(labels):
        raise ImderError("nothing to calibrate on: there are no labelled rows")
    if bounds is None and spec.task == "regression":
        raise ImderError("a calibration of numbers needs their bounds")
    values: Array = np.asarray(spread, dtype=np.float64)

    def group(rows: NDArray[np.bool_]) -> Group:
        return _group(values[rows], labels[rows], samples[rows], bounds)

    seen: dict[str, int] = {}
    subsets: dict[str, Group] = {}
    for pattern in sorted(np.unique(available, axis=0).tolist(), key=lambda p: (sum(p), [not x for x in p])):
        rows = (available == np.array(pattern)).all(axis=1)
        name = _name(pattern, spec.names)
        if not name:
            continue
        seen[name] = len(np.unique(samples[rows]))
        if seen[name] >= enough:
            subsets[name] = group(rows)
    sizes: dict[int, Group] = {}
    count = available.sum(axis=1)
    for size in np.unique(count).tolist():
        if size and len(np.unique(samples[count == size])) >= enough:
            sizes[size] = group(count == size)
    everything = group(np.ones(len(labels), dtype=bool))
    made = Calibration(spec, bounds, spread.shape[1], seen, subsets, sizes, everything, enough)
    for line in made.notes():
        log.info("calibration of %s", line)
    return made


def _group(spread: Array, labels: Labels, samples: NDArray[np.int64], bounds: tuple[float, float] | None) -> Group:
    different = len(np.unique(samples))
    if bounds is None:
        classes = labels.astype(np.int64)
        chosen = ClassPredictive.fit(spread, classes)
        return Group(chosen, Scores.of(class_scores(chosen.probabilities(spread), classes), different))
    values = labels.astype(np.float64)
    predictive = ValuePredictive.fit(spread, values, bounds)
    points = predictive.held_out(spread, values, samples)
    return Group(predictive, Scores.of(value_scores(points, values), different))


def _name(available: Sequence[bool] | NDArray[np.bool_], names: Sequence[str]) -> str:
    return "+".join(name for name, there in zip(names, available, strict=True) if there)
