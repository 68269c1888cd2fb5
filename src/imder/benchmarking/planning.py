"""Checking the settings of a benchmark, and making its plan.

What is undefined on the test samples is refused before anything is trained, since every cell would fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from imder import metrics
from imder.benchmarking.folds import fold_of
from imder.benchmarking.model_specs import ModelSpec
from imder.benchmarking.plan import MASK_SEED, GridSettings, Plan
from imder.data.corpus import Corpus
from imder.data.dialogues import has_neighbours
from imder.data.fingerprint import fingerprint
from imder.data.split import Split
from imder.evaluation.cells import sample_cells
from imder.missingness.masks import is_rate
from imder.missingness.protocols import (
    PROTOCOLS,
    IndependentMissing,
    MissingByBatch,
    MissingProtocol,
    frame_protocols,
    protocol_named,
)
from imder.models.registry import system_class
from imder.training.prepare import check_phases
from imder.types import ImderError

Rates = Sequence[float] | Mapping[str, float]
"""Missing rates, or one rate for each modality (independent protocol)."""


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
    if bad := [r for r in rates if not is_rate(r)]:
        raise ImderError(f"rates (--rates): a missing rate lies in [0, 1], got {bad[0]!r}")
    if per_rate and (without := [p for p, row in rows.items() if not row.has_rates]):
        raise ImderError(
            f"per_rate (--per-rate): the {without[0]} protocol has no rates to train a model for; leave it out"
        )
    if per_rate and (fixed := [entry.name for entry in entries if _has_own_rate(entry)]):
        raise ImderError(
            f"per_rate (--per-rate): {fixed[0]} trains at a missing rate of its own (training.missing_rate); leave it out, "
            "or set that to any"
        )
    metrics.metrics_of(convention)
    training_protocol = _training_protocol(entries, tuple(dict.fromkeys(protocols)), per_rate)
    first = fold_of(corpus, 0, folds) if folds else corpus
    samples = first["test"]
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
    plan = Plan(shared, models, seeds, tuple(sorted(set(map(float, rates)))), distinct)
    _check_training(plan, first["train"])
    return plan


def _check_training(plan: Plan, train: Split) -> None:
    """Raise `ImderError` for a model that can't be trained on its masks: each of its cells would fail."""
    related = has_neighbours(train)
    for cell in plan.cells():
        if cell.seed > 0 or cell.fold:
            continue
        config = plan.config(cell)
        system = system_class(config.system)
        context = system.reads_context(config.model) and related
        try:
            check_phases(system, config, train, context=context)
        except ImderError as error:
            raise ImderError(f"model {cell.model}: {error}") from None


def _has_own_rate(entry: ModelSpec) -> bool:
    """Whether a model trains at one fixed missing rate, whatever rate is tested."""
    training = entry.config.training
    return not isinstance(training.missing_rate, str) and not training.permanently_missing


def _modality_rates(
    rates: Mapping[str, float], rows: Mapping[str, MissingProtocol], corpus: Corpus, per_rate: bool
) -> dict[str, float]:
    """A missing rate for each modality, in the order of the corpus.

    Raises:
        ImderError: a protocol with one rate for all modalities, unknown or missing names, or a rate outside [0, 1].
    """
    name, names = IndependentMissing.protocol, corpus.spec.names
    if per_rate or (others := [p for p, row in rows.items() if row.has_rates and p != name]) or name not in rows:
        given = "per_rate (--per-rate)" if per_rate else f"protocol {others[0]}" if others else "these protocols"
        raise ImderError(f"rates (--rates): rates for single modalities are for protocol {name}, not for {given}")
    if bad := [k for k, rate in rates.items() if not is_rate(rate)]:
        raise ImderError(f"rates (--rates): a missing rate lies in [0, 1], got {rates[bad[0]]!r} for {bad[0]}")
    IndependentMissing.by_name(rates, names)
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
