"""The report of a benchmark, from its folder alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from imder.benchmarking.additions import addition_table
from imder.missingness.patterns import pattern_name, patterns
from imder.report.benchmark_files import BenchmarkFiles
from imder.report.benchmark_predictions import WORDS, benchmark_predictions
from imder.report.benchmark_recovery import benchmark_recoveries
from imder.report.benchmark_settings import benchmark_summary, settings_section
from imder.report.content import Content, DataTable, Section
from imder.report.glossary import glossary_section
from imder.report.missing_sections import missing_sections
from imder.report.prediction_section import prediction_section
from imder.report.recovery_section import recovery_section
from imder.report.results import short_names
from imder.report.style import drawing
from imder.report.uncertainty_section import uncertainty_section


def benchmark_report(path: str | Path, *, samples: bool = True) -> Content:
    """The report of a benchmark's folder; ``samples``: whether figures have a dot for each sample.

    Raises:
        ImderError: it is no benchmark, has no finished cell, or a file is damaged.
    """
    files = BenchmarkFiles.read(path)
    with drawing():
        recovery = _recovery(files)
        sections = [
            *missing_sections(files.results),
            _additions(files),
            uncertainty_section(files.results),
            _predictions(files, samples),
            recovery,
            settings_section(files),
            glossary_section(files.results.convention, recovery is not None),
        ]
    return Content(
        f"{files.plan.shared.corpus}: systems compared", benchmark_summary(files), tuple(s for s in sections if s)
    )


def _predictions(files: BenchmarkFiles, dots: bool) -> Section | None:
    classes = files.results.spec.classes if files.results.spec is not None else ()
    if files.results.convention == "classification" and not classes:
        return None
    predicted = list(benchmark_predictions(files))
    return prediction_section(predicted, files.results.convention, classes, WORDS, dots=dots)


def _recovery(files: BenchmarkFiles) -> Section | None:
    spec = files.results.spec
    if spec is None:
        return None
    named = [pattern_name(pattern, spec.names) for pattern in patterns(len(spec.names))]
    return recovery_section(benchmark_recoveries(files), spec.names, short_names(named), "test")


def _additions(files: BenchmarkFiles) -> Section | None:
    """What an added modality costs (`imder.benchmarking.additions`)."""
    tables = addition_table(files.additions, "test samples resampled", files.results.convention)
    words = (
        "A system that uses its modalities well is never worse for having one more: for each system the worst addition."
    )
    how = "A loss above 0 means that the addition makes the metric worse; brackets hold its 95 % interval."
    shown = tuple(DataTable(how, replace(t, headers=_flat(t.headers))) for t in tables)
    return Section("What an added modality costs", (words,), tables=shown) if shown else None


def _flat(headers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(head.replace("\n", ": ") for head in headers)
