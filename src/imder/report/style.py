"""Figures in the style of a report: a paper's column width, small type, colours that colour-blind readers tell apart.

On the page figures are inline SVG whose text is text and whose colours follow the page, light or dark. As files they are SVG
with text as paths, and PDF with embedded TrueType fonts (type 42), as publishers ask for.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from imder.evaluation.plots import COLOURS
from imder.jobs.files import atomic_write

WIDTH = 3.4
"""Inches: a column of a two-column paper."""

ACROSS = 2
"""Panels side by side."""

INK = "#1b1d21"
GREY = "#8a8f98"
PAPER = "#ffffff"
BETTER, WORSE = COLOURS[:2]

_SETTINGS: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.2,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GREY,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "imder",
}
_ON_PAGE = {INK: "currentColor", PAPER: "var(--paper)", GREY: "var(--grey)"} | {
    colour.lower(): f"var(--c{i})" for i, colour in enumerate(COLOURS)
}
_LOCK = threading.RLock()


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save figures in this style; one thread at a time, since the plotting library's settings are global."""
    with _LOCK, mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the page's own font has it
        yield


def new_figure(height: float) -> Figure:
    """An empty figure of a column's width; ``height`` in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def panels(titles: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """A figure with a panel of ``height`` inches for each title."""
    across = min(ACROSS, len(titles))
    down = -(-len(titles) // across)
    figure = new_figure(height * down + 0.35 if down > 1 else height + 0.75)
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    each = list(grid.flat)[: len(titles)]
    for axes, title in zip(each, titles, strict=True):
        axes.set_title(title)
    for column, axes in enumerate(list(grid.flat)[len(titles) :], start=len(titles) % across):
        axes.set_visible(False)
        grid[down - 2, column].xaxis.set_tick_params(labelbottom=True)
    return figure, each


def grid_lines(axes: Axes, axis: str = "y") -> None:
    """Faint lines at the ticks of an axis, below the data."""
    axes.grid(visible=True, axis=axis)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """A figure as an element of a page, with ids that begin with ``name`` and ``label`` for screen readers."""
    svg = _svg(figure, "none")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>", "", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: _on_page(tag[0], name), svg)
    svg = re.sub(r"<g([^>]*)>\s*((?:<use [^>]*/>\s*)+)</g>", _with_one_style, svg)
    width, height = re.findall(r"viewBox=\"0 0 (\S+) (\S+)\"", svg)[0]
    head = f'<svg class="figure" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">'
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"^<svg[^>]*>", lambda _: head, svg)).strip()


def _on_page(tag: str, name: str) -> str:
    """A tag with ids of its own, the page's type and the page's colours."""
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', tag)
    tag = re.sub(r'(xlink:)?href="#([^"]+)"', rf'href="#{name}-\2"', tag)
    tag = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", tag)
    tag = re.sub(r"'DejaVu Sans'(, [^;\"]+)?", "system-ui, sans-serif", tag)
    tag = re.sub(r"\b(\d+\.\d\d)\d+", r"\1", tag)  # of points: hundredths are enough
    for colour, variable in _ON_PAGE.items():
        tag = re.sub(re.escape(colour), variable, tag, flags=re.IGNORECASE)
    return tag


def _with_one_style(group: re.Match[str]) -> str:
    """A group of markers that have their style once, where it is the same for all: a scatter becomes half as long."""
    styles = set(re.findall(r' style="[^"]*"', group[2]))
    if len(styles) != 1 or "style=" in group[1]:
        return group[0]
    (style,) = styles
    return f"<g{group[1]}{style}>{group[2].replace(style, '')}</g>"


def save_files(figure: Figure, name: str, folder: Path) -> list[str]:
    """Write ``<name>.svg`` and ``<name>.pdf`` into a folder, atomically; returns their names."""
    with atomic_write(folder / f"{name}.svg") as part:
        part.write_text(_svg(figure, "path"), encoding="utf-8")
    with atomic_write(folder / f"{name}.pdf") as part, part.open("wb") as file:
        FigureCanvasPdf(figure).print_pdf(file, metadata={"CreationDate": None})  # type: ignore[no-untyped-call]
    return [f"{name}.svg", f"{name}.pdf"]


def _svg(figure: Figure, fonttype: str) -> str:
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": fonttype}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return text.getvalue()
