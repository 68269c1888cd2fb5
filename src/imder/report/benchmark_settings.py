"""What a benchmark trained on what: corpus, systems, settings, versions and command."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import yaml

from imder.evaluation.rendering import Table
from imder.report.benchmark_files import BenchmarkFiles
from imder.report.content import DataTable, Listing, Section
from imder.report.missing_sections import best_sentence
from imder.report.recorded import recorded_facts, spec_facts


def benchmark_summary(files: BenchmarkFiles) -> tuple[str, ...]:
    """The sentences below the title."""
    shared = files.plan.shared
    n = max((row["n"] for row in files.rows), default=0)
    seeds = _counted(len({cell.seed for cell in files.finished}), "seed")
    tested = f"{shared.folds} rotations, up to {n} test samples in each" if shared.folds else f"{n} test samples"
    first = f"{_counted(len(files.models), 'system')} on {shared.corpus}, {seeds}, {tested}."
    unfinished = (
        f"{_counted(len(files.unfinished), 'cell')} of the grid unfinished; see the settings."
        if files.unfinished
        else ""
    )
    return tuple(s for s in (first, *(best_sentence(files.results, p) for p in files.plan.protocols), unfinished) if s)


def settings_section(files: BenchmarkFiles) -> Section:
    """Corpus, protocols, systems and environment."""
    shared = files.plan.shared
    runs = [run for model in files.models for run in files.runs(model)]
    facts = [("corpus", shared.corpus), ("fingerprint of the corpus", shared.fingerprint)]
    if files.results.spec is not None:
        facts += spec_facts(files.results.spec)
    facts += [
        ("metrics", shared.convention),
        ("protocols", ", ".join(files.plan.protocols)),
        ("missing rates", ", ".join(f"{rate:g}" for rate in files.plan.rates)),
        ("draws of the masks", str(shared.draws)),
        ("trainings", f"{files.plan.seeds} seeds" + (f", {shared.folds} rotations" if shared.folds else "")),
        ("models for single rates", "yes" if shared.per_rate else "no, one for all"),
    ]
    facts += recorded_facts(runs)
    words = "What was trained, on what, and how to repeat it. The folder of the benchmark holds every run."
    if files.unfinished:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in files.unfinished.items())
        words += f" Unfinished: {reasons}."
    configurations = yaml.safe_dump({k: dict(v) for k, v in files.plan.models.items()}, sort_keys=False)
    return Section(
        "What was trained on what",
        (words,),
        tuple(facts),
        tables=(DataTable("Time is that of one training, on average.", _systems(files)),),
        listings=(Listing("Complete configuration of every system", configurations),),
    )


def _systems(files: BenchmarkFiles) -> Table:
    """A line for each system."""
    lines = []
    for model in files.models:
        config = files.plan.models[model]
        cells = [cell for cell in files.finished if cell.model == model]
        times = [
            float(about["training_seconds"])
            for cell in cells
            if "training_seconds" in (about := files.folder.about(cell) or {})
        ]
        settings: dict[str, Any] = dict(config.get("model", {}))
        texts = (
            model,
            str(config["system"]),
            str(config["preset"]),
            str(len({cell.seed for cell in cells})),
            str(settings.get("members", 1)),
            f"{fmean(times):.0f}" if times else "–",
        )
        lines.append(tuple((text, False) for text in texts))
    return Table("Systems", ("name", "system", "preset", "seeds", "members", "training (s)"), tuple(lines))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
