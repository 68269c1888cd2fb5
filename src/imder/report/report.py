"""Write the report of a run or a benchmark."""

from __future__ import annotations

from pathlib import Path

import torch

from imder.data.corpus import Corpus
from imder.evaluation.predicting import Progress
from imder.report.benchmark_files import is_benchmark
from imder.report.benchmark_report import benchmark_report
from imder.report.content import Content
from imder.report.page import write_figures, write_page
from imder.report.run_evaluation import RunSettings
from imder.report.run_report import run_report
from imder.training.trained import TrainedModel


def report(
    source: str | Path,
    out: str | Path = "report.html",
    corpus: Corpus | str | Path | None = None,
    *,
    settings: RunSettings | None = None,
    samples: bool = True,
    figures: str | Path | None = None,
    drop_empty: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Content:
    """Write a self-contained HTML report.

    Args:
        source: the folder of a benchmark or a run, or a model's folder or hub id.
        out: the file.
        corpus: for a run: a labelled corpus or its path; None for what the folder tells alone.
        settings: of the evaluation on the corpus.
        samples: whether samples are shown with their ids and texts.
        figures: a folder for every figure as SVG and PDF; None for none.
        drop_empty: leave out samples without any modality instead of raising, when reading a path.
        device: where to compute, as in `imder.predict`.
        progress: called with predictions made and predictions in all.

    Returns:
        What the report holds.

    Raises:
        ImderError: ``source`` is none of these or is damaged, the corpus doesn't fit, or a file can't be written.
    """
    if is_benchmark(source):
        content = benchmark_report(source)
    else:
        trained = TrainedModel.load(source, device)
        data = None if corpus is None else trained.read(corpus, drop_empty=drop_empty)
        content = run_report(source, trained.model, data, settings, samples=samples, progress=progress)
    write_page(content, out)
    if figures is not None:
        write_figures(content, figures)
    return content
