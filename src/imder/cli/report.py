"""``imder report``: a run or a benchmark as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imder.cli.console import counted, say, say_all
from imder.cli.info import is_run
from imder.cli.options import CORPUS, RATES, add_metrics, add_prediction
from imder.cli.outputs import check_output
from imder.cli.parser import listed, numbers, whole
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser


def add_options(parser: Parser) -> None:
    """Options of ``imder report``."""
    from imder.missingness.protocols import evaluation_protocols

    parser.add_argument("run", metavar="RUN|BENCHMARK", help="run directory, model's folder or hub id, or benchmark")
    parser.add_argument("corpus", nargs="?", help=f"for a run: labelled {CORPUS} (without it: what the run recorded)")
    parser.add_argument("--out", default="report.html", help="the HTML file")
    parser.add_argument("--figures", metavar="DIR", help="folder for every figure as SVG and PDF, 3.4 inches wide")
    parser.add_argument(
        "--no-samples", action="store_true", help="leave out ids, texts and single predictions of samples"
    )
    parser.add_argument("--force", action="store_true", help="replace whatever --out and --figures name")
    parser.add_argument("--rates", type=numbers, help=RATES)
    parser.add_argument(
        "--protocols",
        type=listed,
        help=f"for a run, besides random and fixed: any of {', '.join(evaluation_protocols())}, with commas (default: frames "
        "or mixed, where it was trained on them)",
    )
    parser.add_argument("--draws", type=whole(1), default=5, help="masks drawn for each rate")
    parser.add_argument("--resamples", type=whole(1), default=1000, help="number of bootstrap resamples")
    add_metrics(parser)
    add_prediction(parser, samples=None, split=None)


def run(options: Namespace) -> int:
    """Make the report."""
    from imder.cli.trained import load_model
    from imder.evaluation.cells import RATES as DEFAULT_RATES
    from imder.inference.options import PredictOptions
    from imder.jobs.progress import counting
    from imder.report.benchmark_files import is_benchmark
    from imder.report.benchmark_report import benchmark_report
    from imder.report.page import is_page, write_figures, write_page
    from imder.report.run_evaluation import RunSettings
    from imder.report.run_report import run_report

    check_output(options.out, is_page, (options.run, options.corpus), options.force)
    if options.figures is not None and not options.force:
        check_figures(options.figures)
    if is_benchmark(options.run):
        if options.corpus is not None:
            raise ImderError(f"{options.run} is a benchmark, whose folder says everything: leave {options.corpus} out")
        content = benchmark_report(options.run, samples=not options.no_samples)
    else:
        check_run(options.run)
        trained = load_model(options)
        corpus = None if options.corpus is None else trained.read(options.corpus, drop_empty=options.drop_empty)
        settings = RunSettings(
            PredictOptions(options.samples, options.seed, options.batch_size),
            options.split,
            options.rates or DEFAULT_RATES,
            options.draws,
            options.resamples,
            options.metrics,
            tuple(options.protocols or ()),
        )
        with counting("predicting") as progress:
            content = run_report(
                options.run, trained.model, corpus, settings, samples=not options.no_samples, progress=progress
            )
    write_page(content, options.out)
    if options.figures is not None:
        write_figures(content, options.figures)
        say(f"{counted(len(content.exhibits()), 'figure')} as SVG and PDF saved in {options.figures}")
    say_all(content.remarks)
    say(f"saved in {options.out}")
    return 0


def check_run(path: str) -> None:
    """Check that a folder that exists may hold a trained model.

    Raises:
        ImderError: it holds something else.
    """
    if (Path(path) / "fixed.json").is_file():
        raise ImderError(
            f"{path}: compares ways to fill in for a fixed model, which has no report; its tables.md is written for readers"
        )
    if Path(path).exists() and not is_run(path):
        raise ImderError(
            f"{path}: is neither a run nor a benchmark: it has no config.yaml, config.json or benchmark.json"
        )


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
            f"--figures {folder}: holds {min(strangers)!r}, which is no figure; choose another folder, or write there "
            "with --force"
        )
