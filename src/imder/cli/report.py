"""``imder report``: a run or a benchmark as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imder.cli.console import counted, say, say_all
from imder.cli.outputs import check_output
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser


def add_options(parser: Parser) -> None:
    """Options of ``imder report``."""
    parser.add_argument("source", metavar="BENCHMARK", help="folder of a benchmark")
    parser.add_argument("--out", default="report.html", help="the HTML file")
    parser.add_argument("--figures", metavar="DIR", help="folder for every figure as SVG and PDF, 3.4 inches wide")
    parser.add_argument("--force", action="store_true", help="replace whatever --out names")


def run(options: Namespace) -> int:
    """Make the report."""
    from imder.report.page import is_page
    from imder.report.report import report

    check_output(options.out, is_page, (options.source,), options.force)
    if options.figures is not None and not options.force:
        check_figures(options.figures)
    content = report(options.source, options.out, figures=options.figures)
    say_all(content.remarks)
    exhibits = content.exhibits()
    if options.figures is not None:
        say(f"{counted(len(exhibits), 'figure')} as SVG and PDF saved in {options.figures}")
    say(f"saved in {options.out}")
    return 0


def check_figures(folder: str) -> None:
    """Check that a folder is new, or holds figures alone.

    Raises:
        ImderError: it is a file, or holds something else.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ImderError(f"--figures {folder}: is a file; name a folder")
    strangers = [x.name for x in path.iterdir() if x.suffix not in (".svg", ".pdf")] if path.is_dir() else []
    if strangers:
        raise ImderError(
            f"--figures {folder}: holds {min(strangers)!r}, which is no figure; choose another folder, or write there with --force"
        )
