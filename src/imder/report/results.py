"""What a report shows of an evaluation, of a benchmark's systems or of one run beside the constant baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imder.evaluation.results import averages, summarise
from imder.types import Spec

Row = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """Metrics of systems under missing-modality protocols, and their differences from a baseline.

    Attributes:
        spec: of the corpus; None where no run recorded it.
        convention: of the metrics.
        protocols: in order.
        draws: of the masks of each rate.
        rows: tidy rows of all systems.
        differences: rows of `imder.benchmarking.significance.compare` with one reference, the baseline; empty where there is
            nothing to compare with.
        references: systems that are shown and don't compete.
        ensembled: seed ensembles among them.
        resampling: what the bootstrap resampled, in words; empty where that isn't recorded.
    """

    spec: Spec | None
    convention: str
    protocols: tuple[str, ...]
    draws: int
    rows: list[Row]
    differences: list[Row]
    references: tuple[str, ...]
    ensembled: tuple[str, ...] = ()
    resampling: str = ""

    @property
    def baseline(self) -> str:
        """The system that others are compared with; empty where there is none."""
        return str(self.differences[0]["reference"]) if self.differences else ""

    @cached_property
    def summary(self) -> list[Row]:
        """Means and deviations of every system and setting."""
        return summarise(self.rows)

    @cached_property
    def means(self) -> list[Row]:
        """Averages over settings."""
        return averages(self.rows)

    @cached_property
    def short(self) -> dict[str, str]:
        """For each subset of the modalities that is evaluated alone its short label."""
        return short_names([row["available"] for row in self.summary if row["available"]])


def of_protocol(rows: Sequence[Row], protocol: str) -> list[Row]:
    """The rows of one protocol."""
    return [row for row in rows if row["protocol"] == protocol]


def averages_of(rows: Sequence[Row]) -> list[Row]:
    """The rows of a protocol's average; where it has one setting, its rows."""
    return [row for row in rows if row["available"].startswith("average")] or list(rows)


def short_names(subsets: Sequence[str]) -> dict[str, str]:
    """For each subset a short label: initials where they differ.

    >>> short_names(["language", "language+audio", "language"])
    {'language': 'L', 'language+audio': 'L+A'}
    """
    names = list(dict.fromkeys(name for subset in subsets for name in subset.split("+")))
    initials = {name: name[:1].upper() for name in names}
    if len(set(initials.values())) < len(names):
        return {subset: subset for subset in subsets}
    return {subset: "+".join(initials[name] for name in subset.split("+")) for subset in subsets}


def legend(short: Mapping[str, str]) -> str:
    """What short labels mean.

    >>> legend({"language": "L", "language+audio": "L+A"})
    'L language, A audio'
    """
    pairs = {s: n for subset, label in short.items() for s, n in zip(label.split("+"), subset.split("+"), strict=True)}
    return ", ".join(f"{label} {name}" if label != name else name for label, name in pairs.items())
