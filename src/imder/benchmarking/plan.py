"""The plan of a benchmark: its cells and the settings that they share.

A *cell* of the grid is one training and its evaluation: (model, training rate, seed). The rate is None where one model
serves all rates. Masks of the evaluation depend on the corpus, the rate and `MASK_SEED` alone, never on the cell.

A plan can grow by models, seeds, rates and protocols, which leaves finished cells as they are. Any other change would
compare numbers that were made under different settings, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from imder import metrics
from imder.benchmarking.folds import fold_of
from imder.benchmarking.model_specs import ModelSpec, file_name
from imder.data.corpus import Corpus
from imder.data.fingerprint import fingerprint
from imder.evaluation.cells import sample_cells
from imder.evaluation.protocol import EvaluationProtocol
from imder.missingness.protocols import (
    PROTOCOLS,
    IndependentMissing,
    MissingByBatch,
    MissingProtocol,
    frame_protocols,
    protocol_named,
)
from imder.models.registry import system_class
from imder.training.config import with_defaults
from imder.types import ImderError

MASK_SEED = 0
"""Of the masks of every evaluation."""

Rates = Sequence[float] | Mapping[str, float]
"""Missing rates, or one rate for each modality (independent protocol)."""


@dataclass(frozen=True)
class GridCell:
    """One training and its evaluation.

    Attributes:
        model: its name in tables.
        rate: the missing rate that it is trained and evaluated for; None for all rates.
        seed: of the training and of the noise in recoveries.
        fold: which rotation over speakers or dialogues; None for the corpus' own splits.
    """

    model: str
    rate: float | None
    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """Its name in file names and messages.

        >>> GridCell("imder:mean", 0.3, 1).name, GridCell("mmin", None, 0, fold=2).name
        ('imder+mean-0.3-1', 'mmin-any-0-fold2')
        """
        rate = "any" if self.rate is None else f"{self.rate:g}"
        return f"{file_name(self.model)}-{rate}-{self.seed}{self._fold}"

    @property
    def run(self) -> str:
        """Its name in the ``run`` column: models of one seed for several rates are one run.

        Each rotation is a run of its own, so that deviations include the variation over test speakers (or dialogues).
        """
        return f"{file_name(self.model)}-{self.seed}{self._fold}"

    @property
    def _fold(self) -> str:
        return "" if self.fold is None else f"-fold{self.fold}"


@dataclass(frozen=True)
class GridSettings:
    """Settings that all cells of a benchmark share.

    Attributes:
        corpus: its name.
        fingerprint: of its samples and labels.
        draws: of the masks of each rate.
        per_rate: whether each rate has a model of its own.
        convention: of the metrics.
        official_batch_size: of the released schedule.
        folds: rotations over speakers, else dialogues; 0 for the corpus' own splits.
        training_protocol: whose masks the models for single rates are trained on; all models, if it erases frames.
        modality_rates: of the independent protocol, where each modality has a missing rate of its own.
    """

    corpus: str
    fingerprint: str
    draws: int
    per_rate: bool
    convention: str
    official_batch_size: int
    folds: int = 0
    training_protocol: str = "random"
    modality_rates: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Plan:
    """A grid.

    Attributes:
        shared: see `GridSettings`.
        models: for each model its complete configuration, as plain containers.
        seeds: how many.
        rates: missing rates.
        protocols: in the order of the tables.
    """

    shared: GridSettings
    models: Mapping[str, Mapping[str, Any]]
    seeds: int
    rates: tuple[float, ...]
    protocols: tuple[str, ...]

    def cells(self) -> list[GridCell]:
        """All cells, seed by seed, so that tables of few seeds are complete early."""
        rates = self.rates if self.shared.per_rate else (None,)
        folds = range(self.shared.folds) if self.shared.folds else (None,)
        return [GridCell(m, r, s, f) for s in range(self.seeds) for f in folds for m in self.models for r in rates]

    def rates_of(self, cell: GridCell) -> tuple[float, ...]:
        """The rates at which a cell is evaluated."""
        return self.rates if cell.rate is None else (cell.rate,)

    def evaluation(self, protocol: str, rates: Sequence[float] | None = None) -> EvaluationProtocol:
        """The evaluation of every cell under a protocol, at ``rates`` or all of the plan's."""
        return EvaluationProtocol(
            protocol,
            rates=self.rates if rates is None else rates,
            draws=self.shared.draws,
            seed=MASK_SEED,
            official_batch_size=self.shared.official_batch_size,
            convention=self.shared.convention,
            missing=self._modality_rates if protocol == IndependentMissing.protocol else None,
        )

    @property
    def _modality_rates(self) -> IndependentMissing | None:
        named = self.shared.modality_rates
        return None if named is None else IndependentMissing(list(named.values()))

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return asdict(self) | {
            "rates": list(self.rates),
            "protocols": list(self.protocols),
            "models": dict(self.models),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`."""
        shared = GridSettings(**data["shared"])
        return cls(shared, data["models"], data["seeds"], tuple(data["rates"]), tuple(data["protocols"]))

    def merge(self, other: Plan, where: str) -> Plan:
        """The union of two plans; the order of this one comes first.

        Raises:
            ImderError: they differ in settings that must be the same.
        """
        advice = "choose another out (--out), or repeat the settings that it was started with"
        mine, theirs = asdict(self.shared), asdict(other.shared)
        if mine["fingerprint"] != theirs["fingerprint"]:
            raise ImderError(f"{where}: was started on another corpus ({self.shared.corpus}); {advice}")
        for key in mine.keys() - {"corpus", "fingerprint"}:
            if mine[key] != theirs[key]:
                raise ImderError(f"{where}: was started with {key} {mine[key]}, not {theirs[key]}; {advice}")
        for name in self.models.keys() & other.models.keys():
            if change := _difference(with_defaults(self.models[name]), other.models[name]):
                raise ImderError(f"{where}: was started with {name}'s {change}; {advice}")
        return replace(
            self,
            models=dict(self.models) | dict(other.models),
            seeds=max(self.seeds, other.seeds),
            rates=tuple(sorted({*self.rates, *other.rates})),
            protocols=tuple(dict.fromkeys([*self.protocols, *other.protocols])),
        )


def make_plan(
    entries: Sequence[ModelSpec],
    corpus: Corpus,
    *,
    seeds: int,
    draws: int,
    rates: Rates,
    protocols: Sequence[str],
    per_rate: bool,
    convention: str,
    official_batch_size: int,
    folds: int = 0,
) -> Plan:
    """A checked plan.

    Raises:
        ImderError: numbers out of range, unknown protocols or metrics, protocols or rates that are undefined on the test
            samples, or models for single rates where a protocol has none.
    """
    if min(seeds, draws, official_batch_size) < 1:
        raise ImderError("benchmark: seeds, draws and the official batch size must be at least 1")
    rows = {name: protocol_named(name) for name in protocols}
    named = None
    if isinstance(rates, Mapping):
        named = _modality_rates(rates, rows, corpus, per_rate)
        rates = (float(np.mean([*named.values()])),)
    if not protocols or not rates:
        raise ImderError("benchmark: at least one protocol and one missing rate are needed")
    if bad := [r for r in rates if not 0 <= r <= 1]:
        raise ImderError(f"rates (--rates): a missing rate lies in [0, 1], got {bad[0]:g}")
    if per_rate and (without := [p for p, row in rows.items() if not row.has_rates]):
        raise ImderError(
            f"per_rate (--per-rate): the {without[0]} protocol has no rates to train a model for; leave it out"
        )
    metrics.metrics_of(convention)
    training_protocol = _training_protocol(entries, tuple(dict.fromkeys(protocols)), per_rate)
    samples = (fold_of(corpus, 0, folds) if folds else corpus)["test"]
    for protocol in protocols:  # before anything is trained: every cell would fail
        sample_cells(
            samples.present,
            corpus.spec.names,
            protocol=protocol,
            rates=rates,
            draws=1,
            seed=MASK_SEED,
            official_batch_size=official_batch_size,
            split=samples,
        )
    shared = GridSettings(
        corpus.name,
        fingerprint(corpus),
        draws,
        per_rate,
        convention,
        official_batch_size,
        folds,
        training_protocol,
        named,
    )
    models = {entry.name: entry.config.to_dict() for entry in entries}
    distinct = tuple(dict.fromkeys(protocols))
    return Plan(shared, models, seeds, tuple(sorted(set(map(float, rates)))), distinct)


def _modality_rates(
    rates: Mapping[str, float], rows: Mapping[str, MissingProtocol], corpus: Corpus, per_rate: bool
) -> dict[str, float]:
    """A missing rate for each modality, in the order of the corpus.

    Raises:
        ImderError: a protocol with one rate for all modalities, or unknown or missing names.
    """
    name, names = IndependentMissing.protocol, corpus.spec.names
    if per_rate or (others := [p for p, row in rows.items() if row.has_rates and p != name]) or name not in rows:
        given = "per_rate (--per-rate)" if per_rate else f"protocol {others[0]}" if others else "these protocols"
        raise ImderError(f"rates (--rates): rates for single modalities are for protocol {name}, not for {given}")
    if set(rates) != set(names):
        raise ImderError(f"rates (--rates): give a rate for each of {', '.join(names)}, got {', '.join(rates)}")
    return {k: float(rates[k]) for k in names}


def _training_protocol(entries: Sequence[ModelSpec], protocols: tuple[str, ...], per_rate: bool) -> str:
    """The protocol that models for single rates train on: the one that is evaluated, or random where there are several.

    If any protocol erases frames, models for all rates train on it too: on the one that is evaluated, or on ``mixed`` where
    there are several.

    Raises:
        ImderError: a model cannot train on its masks.
    """
    if {*protocols} & {*frame_protocols()}:
        for entry in entries:
            if entry.config.training.permanently_missing:
                raise ImderError(f"protocols (--protocols): {entry.name} is permanently missing modalities, not frames")
        return protocols[0] if len(protocols) == 1 else "mixed"
    if (
        not per_rate
        or len(protocols) > 1
        or protocols[0] == "random"
        or (masks := PROTOCOLS[protocols[0]].training) is None
    ):
        return "random"
    name = protocols[0]
    for entry in entries:
        if entry.config.training.permanently_missing:
            raise ImderError(
                f"per_rate (--per-rate): under the {name} protocol alone models train on its masks, which cannot be "
                f"permanently missing; leave {entry.name} out, or evaluate random too"
            )
        reads_context = system_class(entry.config.system).reads_context(entry.config.model)
        if reads_context and isinstance(masks(0.0, 1), MissingByBatch):
            raise ImderError(
                f"per_rate (--per-rate): under the {name} protocol alone models train on its masks, which are not made for "
                f"whole dialogues; leave {entry.name} out, or evaluate random too"
            )
    return name


def _difference(old: Any, new: Any, where: str = "") -> str:
    """The first key in which configurations differ; empty where they don't."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            if difference := _difference(old.get(key), new.get(key), f"{where}.{key}".lstrip(".")):
                return difference
        return ""
    return "" if old == new else f"{where} {old}, not {new}"
