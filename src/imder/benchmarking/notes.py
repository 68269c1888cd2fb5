"""Notes below a benchmark's tables: how they were made, which cells are missing, what is special about a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

from imder.benchmarking.folder import BenchmarkFolder
from imder.benchmarking.folds import rotation_note
from imder.benchmarking.model_specs import spec_note
from imder.benchmarking.plan import GridCell, Plan
from imder.data.corpus import Corpus
from imder.data.dialogues import has_neighbours
from imder.data.speaker_norm import speaker_norm_note
from imder.missingness.protocols import frame_protocols
from imder.models.baselines.closed_form import ClosedForm
from imder.models.imder.config import KINDS, RecoveryConfig
from imder.models.nested import differences
from imder.models.presets import read_preset
from imder.models.registry import system_class, system_note
from imder.training.config import RunConfig
from imder.training.explained import MOST_SAMPLES

MOST_CHANGES = 12
"""Changes of a preset that a note lists at most."""


def plan_notes(
    corpus: Corpus, plan: Plan, finished: Sequence[GridCell], ensembled: Sequence[str], *, paper: bool = False
) -> tuple[str, ...]:
    """How the tables were made.

    Args:
        corpus: of the benchmark.
        plan: the whole plan.
        finished: the finished cells.
        ensembled: names of seed ensembles.
        paper: whether it is a table of the paper.
    """
    notes = []
    if ensembled:
        notes.append(f"{', '.join(ensembled)}: the seeds' predictions averaged, {plan.seeds} times the compute.")
    shares = label_shares(plan)
    if shares != {1.0}:
        notes.append(f"Share of training labels used: {', '.join(f'{100 * s:g} %' for s in sorted(shares))}.")
    presets = {name: str(model["preset"]) for name, model in plan.models.items()}
    if tuned := [name for name, preset in presets.items() if "@" in preset]:
        others = ", ".join(name for name in presets if name not in tuned) or "none"
        corpora = ", ".join(sorted({presets[name].partition("@")[2] for name in tuned}))
        notes.append(f"Tuned for {corpora}: {', '.join(tuned)}; not tuned: {others}.")
    if short := _cut_short(plan):
        notes.append(f"Trained for fewer epochs than their presets: {', '.join(short)}.")
    notes += evaluations_note(plan)
    if plan.shared.per_rate:
        notes.append(
            f"A model of its own for each missing rate, trained under the {plan.shared.training_protocol} protocol."
        )
    elif plan.shared.training_protocol in frame_protocols():
        notes.append(
            f"One model for all rates, trained under the {plan.shared.training_protocol} protocol at a rate of its own for "
            f"each sample, uniform in [0, 1]{_fixed_rates(plan)}, and selected on validation."
        )
    elif paper:
        notes.append("One model for all missing rates, where the paper trains one for each.")
    if named := plan.shared.modality_rates:
        notes.append(f"Independent protocol: rates {', '.join(f'{name} {rate:g}' for name, rate in named.items())}.")
    draws = f"{plan.shared.draws} draw{'s' * (plan.shared.draws > 1)}"
    notes.append(f"Mean and deviation over {_seeds(plan, finished)} and {draws} of the masks.")
    if plan.shared.folds:
        notes.append(rotation_note(corpus, plan.shared.folds))
    return tuple(notes)


def _fixed_rates(plan: Plan) -> str:
    """The models whose configuration names a missing rate, which is that of their training."""
    rates = {name: model["training"]["missing_rate"] for name, model in plan.models.items()}
    fixed = [f"{name} at {rate:g}" for name, rate in rates.items() if not isinstance(rate, str)]
    return f" ({', '.join(fixed)})" if fixed else ""


def evaluations_note(plan: Plan) -> tuple[str, ...]:
    """Models that sample recoveries with other numbers of evaluations than their preset, and both numbers."""
    models: dict[tuple[int, int, int], list[str]] = {}
    distilled = [name for name, model in plan.models.items() if model["model"].get("recovery", {}).get("distilled")]
    for name, model in plan.models.items():
        preset = str(model["preset"]) if name not in distilled else ""
        if model["system"] != "imder" or not preset or not KINDS[model["model"]["recovery"]["kind"]].sampled:
            continue
        numbers, usual = _evaluations(model), _evaluations(read_preset(preset))
        if numbers != usual:
            models.setdefault((*numbers, usual[0]), []).append(name)
    student = f"Recoveries of {', '.join(distilled)} are drawn in one evaluation, learned from draws of a solver."
    return (student,) * bool(distilled) + tuple(
        f"Evaluations of the score network for each recovery of {', '.join(names)}: {evaluating} in evaluation, {training} in "
        f"training; the recipe has {usual}."
        for (evaluating, training, usual), names in models.items()
    )


def _evaluations(model: Mapping[str, Any]) -> tuple[int, int]:
    """The evaluations of a recovery in evaluation and in training, from a configuration or preset."""
    recovery = model["model"].get("recovery", {})
    evaluating = int(recovery.get("evaluations", RecoveryConfig.evaluations))
    return evaluating, int(recovery.get("training_evaluations") or evaluating)


def changes_note(plan: Plan, name: str) -> tuple[str, ...]:
    """What a model changes in its preset, evaluations apart (`evaluations_note`); nothing where it is the preset."""
    model = plan.models[name]
    preset = str(model["preset"])
    changed = differences(_usual(model).to_dict(), model) if preset else ()
    changes = [f"{key} {new} ({old})" for key, old, new in changed if "evaluations" not in key.rpartition(".")[2]]
    if not changes:
        return ()
    more = f", and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
    return (
        f"{name}: {preset} with other settings (in brackets the preset's): {', '.join(changes[:MOST_CHANGES])}{more}.",
    )


def _usual(model: Mapping[str, Any]) -> RunConfig:
    """The preset of a model, with the model's settings of phases that the model doesn't have."""
    preset = str(model["preset"])
    config, usual = RunConfig.from_dict(model), RunConfig.from_dict({**read_preset(preset), "preset": preset})
    kind = system_class(config.system)
    idle: dict[str, Any] = {
        phase: config.training.phase(phase) for phase in set(kind.configured_phases()) - set(kind.phases(config.model))
    }
    return replace(usual, training=replace(usual.training, **idle))


def system_notes(corpus: Corpus, plan: Plan, finished: Sequence[GridCell]) -> tuple[str, ...]:
    """Notes on the models of any table and on the preprocessing of the features."""
    finished_models = [model for model in plan.models if any(cell.model == model for cell in finished)]
    notes = {model: system_note(model) or spec_note(model, plan.models[model]["system"]) for model in finished_models}
    sentences = tuple(f"{model}: {note}" for model, note in notes.items() if note) + context_note(
        corpus, plan, finished
    )
    return sentences + ((note,) if (note := speaker_norm_note(corpus.recipe)) else ())


def context_note(corpus: Corpus, plan: Plan, finished: Sequence[GridCell]) -> tuple[str, ...]:
    """Which models see neighbouring clips; nothing where none does."""
    directions: dict[str, list[str]] = {}
    for model in plan.models:
        if cells := [cell for cell in finished if cell.model == model]:
            config = plan.config(cells[0])
            if system_class(config.system).reads_context(config.model):
                context = getattr(config.model, "context", None)
                directions.setdefault("both" if context is None else context.direction, []).append(model)
    if not directions:
        return ()
    if not any(has_neighbours(split) for split in corpus.splits.values()):
        return ("No clip of this corpus has neighbours.",)
    both, past = directions.get("both", []), directions.get("past", [])
    readers = [*both, *(f"{name} (earlier ones only)" for name in past)]
    return (f"See neighbouring clips: {', '.join(readers)}; the others see the clip alone.",)


def recovery_note(folder: BenchmarkFolder, finished: Sequence[GridCell]) -> tuple[str, ...]:
    """Recovery R^2 on the test split, mean over seeds: for each model and modality; nothing where none recovers."""
    values: dict[str, dict[str, list[float]]] = {}
    limits: dict[str, str] = {}
    for cell in finished:
        about = folder.about(cell) or {}
        if (most := about.get("recovery_r2_samples", MOST_SAMPLES)) < MOST_SAMPLES:
            limits[cell.model] = f" (at most {most} samples)"
        for name, value in (about.get("recovery_r2") or {}).items():
            if "|" not in name:
                values.setdefault(cell.model, {}).setdefault(name, []).append(float(value))
    texts = [
        f"{model}{limits.get(model, '')} "
        + ", ".join(f"{name} {sum(each) / len(each):.2f}" for name, each in by_modality.items())
        for model, by_modality in values.items()
    ]
    return (f"Recovery R^2 on test (1: exact, 0: no better than the mean): {'; '.join(texts)}.",) if texts else ()


def weight_note(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Models that recover and never use it, from tidy rows: their columns are the same for every kind of recovery.

    >>> about = {"effective_rate": 0.3}
    >>> weight_note([about | {"model": "a", "recovery_weight": 0.0}, about | {"model": "b", "recovery_weight": 0.5}])
    ('The weight of recoveries, chosen on validation, is 0 under every pattern in a: they change none of its predictions.',)
    """
    weights: dict[str, float] = {}
    for row in rows:
        weight = row.get("recovery_weight")
        if weight is not None and not isnan(weight) and row["effective_rate"] > 0:
            weights[row["model"]] = max(weights.get(row["model"], 0.0), float(weight))
    unused = [model for model, weight in weights.items() if weight == 0]
    whose = "its" if len(unused) == 1 else "their"
    text = f"is 0 under every pattern in {', '.join(unused)}: they change none of {whose} predictions."
    return (f"The weight of recoveries, chosen on validation, {text}",) if unused else ()


def missing_note(missing: Mapping[str, str]) -> tuple[str, ...]:
    """Which cells aren't finished, and why."""
    reasons = "; ".join(f"{name} ({reason})" for name, reason in missing.items())
    return (f"Missing: {reasons}.",) if missing else ()


def label_shares(plan: Plan) -> set[float]:
    """The shares of the training labels that the plan's models use."""
    return {float(model["training"]["label_share"]) for model in plan.models.values()}


def _seeds(plan: Plan, finished: Sequence[GridCell]) -> str:
    """The number of seeds behind a table; models are named where it differs."""
    models: dict[int, list[str]] = {}
    for model in plan.models:
        if count := len({cell.seed for cell in finished if cell.model == model}):
            models.setdefault(count, []).append(model)
    sentences = {count: f"{count} {'seed' if count == 1 else 'seeds'}" for count in sorted(models, reverse=True)}
    if len(sentences) == 1:
        return next(iter(sentences.values()))
    return ", ".join(f"{text} ({', '.join(models[count])})" for count, text in sentences.items())


def _cut_short(plan: Plan) -> list[str]:
    """Models that have a phase with fewer epochs than their preset."""
    short = []
    for name, model in plan.models.items():
        if not model["preset"] or issubclass(system_class(str(model["system"])), ClosedForm):
            continue
        usual, own = _usual(model).training, RunConfig.from_dict(model).training
        if any(own.phase(phase).max_epochs < usual.phase(phase).max_epochs for phase in own.phase_names):
            short.append(name)
    return short
