"""Write the report of a run or a benchmark."""

from __future__ import annotations

from pathlib import Path

from imder.report.benchmark_files import is_benchmark
from imder.report.benchmark_report import benchmark_report
from imder.report.content import Content
from imder.report.page import write_figures, write_page
from imder.types import ImderError


def report(source: str | Path, out: str | Path = "report.html", *, figures: str | Path | None = None) -> Content:
    """Write a self-contained HTML report.

    Args:
        source: the folder of a benchmark.
        out: the file.
        figures: a folder for every figure as SVG and PDF; None for none.

    Returns:
        What the report holds.

    Raises:
        ImderError: ``source`` is no such folder or is damaged, or a file can't be written.
    """
    if not is_benchmark(source):
        raise ImderError(f"{source}: is no benchmark (there is no benchmark.json)")
    content = benchmark_report(source)
    write_page(content, out)
    if figures is not None:
        write_figures(content, figures)
    return content
