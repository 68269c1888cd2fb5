"""The calibration of one system: a predictive distribution and conformal scores for each subset of available modalities.

Errors depend on the available modalities, so each subset is calibrated on validation rows of that subset alone: coverage
then holds for each subset, not only on average over subsets. A subset with fewer than `ENOUGH` samples uses the rows of all
subsets of the same size, or all rows if these are too few; coverage then holds on average over the pooled rows.
`Calibration.notes` lists the subsets that use pooled rows.

The validation rows also decided when training stopped, so the system may fit them slightly better than new data.
``benchmarks/uncertainty.py`` measures the loss of coverage on the known-truth corpus.
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

from imder.calibration.conformal import MAX_SCORES, Scores, class_scores, value_scores
from imder.calibration.predictive import ClassPredictive, ValuePredictive
from imder.calibration.scores import Array
from imder.jobs.documents import Entry, read_json
from imder.jobs.files import atomic_write
from imder.types import ImderError, Spec

log = logging.getLogger(__name__)

ENOUGH = 100
MOST_NAMES = 8
FILE = "calibration.json"
VERSION = 1
LEAST_TEMPERATURE = 1e-6

Labels = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Group:
    """The predictive distribution and the conformal scores of a set of calibration rows."""

    predictive: ValuePredictive | ClassPredictive
    scores: Scores


@dataclass(frozen=True)
class Calibration:
    """Predictive distributions and scores of a system; with its spread they give intervals and prediction sets.

    Attributes:
        spec: of the corpus.
        bounds: the smallest and the largest label; None for classification.
        recoveries: S of the predictions it was fitted on, members included; the spread depends on S.
        sample_counts: the number of calibration samples of each subset, by its name ("language+audio").
        subsets: groups of the subsets that have at least ``enough`` samples, by name.
        sizes: groups of all rows with a number of available modalities that have at least ``enough`` samples.
        all_rows: the group of all rows.
        enough: the samples that a group needs.
    """

    spec: Spec
    bounds: tuple[float, float] | None
    recoveries: int
    sample_counts: Mapping[str, int]
    subsets: Mapping[str, Group]
    sizes: Mapping[int, Group]
    all_rows: Group
    enough: int = ENOUGH

    def group(self, available: Sequence[bool] | NDArray[np.bool_]) -> Group:
        """The group that a subset (K,) uses."""
        own = self.subsets.get(_name(available, self.spec.names))
        return own or self.sizes.get(int(np.sum(available)), self.all_rows)

    def groups(self, available: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Group]]:
        """Row numbers of ``available`` (M, K), in chunks of at most 4096 that use the same group, with that group."""
        patterns, index = np.unique(available, axis=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            rows = np.flatnonzero(index.reshape(-1) == i)
            for chunk in np.array_split(rows, -(-len(rows) // 4096)):
                yield chunk, self.group(pattern)

    def notes(self, only: str | None = None) -> list[str]:
        """The subsets that use pooled rows because they have too few of their own, a line for each pool.

        Args:
            only: the subset to speak of, such as ``language+audio``; None for all.
        """
        pools: dict[int, list[str]] = {}  # 0: the rows of all subsets
        for name in self.sample_counts:
            if name not in self.subsets and only in (None, name):
                size = name.count("+") + 1
                pools.setdefault(size if size in self.sizes else 0, []).append(name)
        return [self._note(names, size) for size, names in pools.items()]

    def _note(self, names: Sequence[str], size: int) -> str:
        shown = [*names[:MOST_NAMES], *([f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else [])]
        counts = sorted({self.sample_counts[name] for name in names})
        count = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        pooled = f"any {size} {'modality' if size == 1 else 'modalities'}" if size else "any modalities"
        used = (self.sizes[size] if size else self.all_rows).scores.samples
        each, verb = (" each", "use") if len(names) > 1 else ("", "uses")
        return f"{', '.join(shown)}: {count} calibration samples{each}; {verb} those of {pooled} ({used})"

    def save(self, path: str | Path) -> None:
        """Write JSON, atomically; `load` restores every number exactly."""
        text = json.dumps(self.to_dict(), allow_nan=False) + "\n"
        with atomic_write(path) as part:
            part.write_text(text)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """The inverse of `save`.

        Raises:
            ImderError: the file can't be read or isn't a calibration.
        """
        try:
            return cls._of(Entry(read_json(path), str(path)))
        except ImderError as error:
            raise ImderError(f"{path}: not a calibration ({str(error).removeprefix(f'{path}: ')})") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return {
            "version": VERSION,
            "spec": self.spec.to_dict(),
            "bounds": self.bounds,
            "recoveries": self.recoveries,
            "enough": self.enough,
            "sample_counts": dict(self.sample_counts),
            "subsets": {k: asdict(g) for k, g in self.subsets.items()},
            "sizes": {str(k): asdict(g) for k, g in self.sizes.items()},
            "all_rows": asdict(self.all_rows),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`.

        Raises:
            ImderError: the version is not supported, or a value is missing, of another type or out of bounds.
        """
        return cls._of(Entry(data, FILE))

    @classmethod
    def _of(cls, data: Entry) -> Calibration:
        if (version := data["version"]).value != VERSION:
            raise version.fault(f"{version.value!r} is not supported; this imder reads version {VERSION}")
        try:
            spec = Spec.from_dict(data["spec"].value)
        except ImderError as error:
            raise ImderError(f"{data.file}: {error}") from None

        bounds = data.get("bounds")
        limits = None if bounds is None else bounds.reals()
        if (limits is None) != (spec.task != "regression") or (limits and (len(limits) != 2 or limits[0] > limits[1])):
            raise data["bounds"].fault("expected the smallest and the largest label, of regression only")
        sizes: dict[int, Group] = {}
        for size, entry in data["sizes"].mapping().items():
            if size not in map(str, range(1, len(spec.names) + 1)):
                raise entry.fault(f"expected a number of modalities, 1 to {len(spec.names)}, as the key")
            sizes[int(size)] = _group_of(entry, spec)
        return cls(
            spec,
            None if limits is None else (limits[0], limits[1]),
            data["recoveries"].whole(1),
            {name: entry.whole() for name, entry in data["sample_counts"].mapping().items()},
            {name: _group_of(entry, spec) for name, entry in data["subsets"].mapping().items()},
            sizes,
            _group_of(data["all_rows"], spec),
            data["enough"].whole(),
        )


def _group_of(entry: Entry, spec: Spec) -> Group:
    """A group of a file."""
    fitted, scores = entry["predictive"], entry["scores"]
    predictive: ValuePredictive | ClassPredictive
    if spec.task == "classification":
        predictive = ClassPredictive(fitted["temperature"].real(LEAST_TEMPERATURE))
    else:
        residuals = fitted["residuals"].reals()
        if not 1 <= len(residuals) <= MAX_SCORES:
            raise fitted["residuals"].fault(f"expected 1 to {MAX_SCORES} numbers, got {len(residuals)}")
        predictive = ValuePredictive(fitted["recovery"].real(0), fitted["noise"].real(0), residuals)
    values = scores["values"].reals()
    if not 1 <= len(values) <= MAX_SCORES or list(values) != sorted(values):
        raise scores["values"].fault(f"expected 1 to {MAX_SCORES} numbers in increasing order")
    return Group(predictive, Scores(scores["samples"].whole(1), values))


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
        spread: S predictions of each row (recoveries, members): ``(M, S)`` values or ``(M, S, C)`` probabilities.
        available: ``(M, K)`` bool. Rows without any available modality count only among all rows.
        labels: ``(M,)``, none missing.
        samples: ``(M,)``, the sample of each row; a sample may have rows under several subsets.
        bounds: the smallest and the largest possible label, for regression.
        enough: the samples that a subset needs for a group of its own.

    Raises:
        ImderError: there are no rows, or regression lacks bounds.
    """
    if not len(labels):
        raise ImderError("nothing to calibrate on: there are no labelled rows")
    if bounds is None and spec.task == "regression":
        raise ImderError("calibrating regression needs the bounds of the labels")
    values: Array = np.asarray(spread, dtype=np.float64)

    def group(rows: NDArray[np.bool_]) -> Group:
        return _group(values[rows], labels[rows], samples[rows], bounds)

    sample_counts: dict[str, int] = {}
    subsets: dict[str, Group] = {}
    for pattern in sorted(np.unique(available, axis=0).tolist(), key=lambda p: (sum(p), [not x for x in p])):
        rows = (available == np.array(pattern)).all(axis=1)
        name = _name(pattern, spec.names)
        if not name:
            continue
        sample_counts[name] = len(np.unique(samples[rows]))
        if sample_counts[name] >= enough:
            subsets[name] = group(rows)
    sizes: dict[int, Group] = {}
    count = available.sum(axis=1)
    for size in np.unique(count).tolist():
        if size and len(np.unique(samples[count == size])) >= enough:
            sizes[size] = group(count == size)
    all_rows = group(np.ones(len(labels), dtype=bool))
    calibration = Calibration(spec, bounds, spread.shape[1], sample_counts, subsets, sizes, all_rows, enough)
    for line in calibration.notes():
        log.info("calibration of %s", line)
    return calibration


def _group(spread: Array, labels: Labels, samples: NDArray[np.int64], bounds: tuple[float, float] | None) -> Group:
    num_samples = len(np.unique(samples))
    if bounds is None:
        classes = labels.astype(np.int64)
        chosen = ClassPredictive.fit(spread, classes)
        return Group(chosen, Scores.of(class_scores(chosen.probabilities(spread), classes), num_samples))
    values = labels.astype(np.float64)
    predictive = ValuePredictive.fit(spread, values, bounds)
    points = predictive.held_out(spread, values, samples)
    return Group(predictive, Scores.of(value_scores(points, values), num_samples))


def _name(available: Sequence[bool] | NDArray[np.bool_], names: Sequence[str]) -> str:
    return "+".join(name for name, flag in zip(names, available, strict=True) if flag)
