"""The report of a benchmark, from its folder alone."""

from __future__ import annotations

from pathlib import Path

from imder.evaluation.results import averages, summarise
from imder.missingness.protocols import PROTOCOLS
from imder.report.benchmark_files import BenchmarkFiles
from imder.report.benchmark_results import rate_section, subset_section
from imder.report.benchmark_settings import benchmark_summary, settings_section
from imder.report.content import Content
from imder.report.style import drawing


def benchmark_report(path: str | Path) -> Content:
    """The report of a benchmark's folder.

    Raises:
        ImderError: it is no benchmark, has no finished cell, or a file is damaged.
    """
    files = BenchmarkFiles.read(path)
    summary, means = summarise(files.rows), averages(files.rows)
    sections = []
    with drawing():
        for protocol in files.plan.protocols:
            make = rate_section if PROTOCOLS[protocol].has_rates else subset_section
            sections.append(make(files, summary, means, protocol))
    sections.append(settings_section(files))
    return Content(f"{files.plan.shared.corpus}: systems compared", benchmark_summary(files), tuple(sections))
