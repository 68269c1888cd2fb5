"""Compare systems: train and evaluate every model and seed of a grid, then make tables, plots and comparisons.

This is what ``imder benchmark`` runs. Everything is kept in a folder: the same call goes on with what is finished, and
processes on several machines share the work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imder.benchmarking.cell import Source
from imder.benchmarking.conflicts import check_conflicts
from imder.benchmarking.folder import BenchmarkFolder, store_once
from imder.benchmarking.folds import fold_of
from imder.benchmarking.model_specs import default_models, model_specs
from imder.benchmarking.p_values import Correction, check_correction
from imder.benchmarking.paper_tables import PROTOCOL, paper_table
from imder.benchmarking.planning import Rates, make_plan
from imder.benchmarking.report import Report, write_report
from imder.benchmarking.runner import Status, run_cells
from imder.benchmarking.significance import RESAMPLES
from imder.data.corpus import Corpus
from imder.data.formats.load import NEEDED
from imder.evaluation.cells import FRAME_RATES, default_rates
from imder.evaluation.evaluate import convention_of
from imder.evaluation.rendering import Table
from imder.jobs.backends import BackendName
from imder.metrics import metrics_of
from imder.rows import Rows
from imder.training.prepare import check_modalities
from imder.types import ImderError, Task

log = logging.getLogger(__name__)

EXAMPLES = {"models": "['imder', 'late-fusion']", "protocols": "['random', 'fixed']"}
Names = str | Sequence[str]
"""Names in a sequence, or in one string with commas."""


@dataclass(frozen=True)
class BenchmarkResult:
    """A benchmark's results.

    Attributes:
        out: its folder.
        rows: tidy rows of all finished cells and of the constant baseline, as in ``results.csv``.
        failed: for each cell that failed, why.
        files: names of the files written in the folder.
        remarks: what was left out, and why.
    """

    out: Path
    rows: Rows
    failed: dict[str, str]
    files: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    _report: Report | None = None

    def tables(self, width: int | None = None) -> list[Table]:
        """For each protocol the layout of the papers, in blocks of columns that fit ``width`` characters."""
        return [] if self._report is None else self._report.fitting(width)

    def comparisons(self, width: int | None = None) -> list[Table]:
        """The differences from the reference system on average, and losses from adding a modality, in blocks that fit."""
        return [] if self._report is None else self._report.comparing(width)


def benchmark(
    corpus: Corpus | str | Path,
    out: str | Path = "benchmark",
    *,
    models: Names | None = None,
    protocols: Names | None = None,
    table: int | None = None,
    recipe: str | Path | None = None,
    one_model: bool = False,
    seeds: int = 3,
    rates: Rates | None = None,
    draws: int = 10,
    per_rate: bool = False,
    folds: int = 0,
    label_share: float = 1.0,
    tuned: str | None = None,
    max_epochs: int | None = None,
    metrics: str | None = None,
    official_batch_size: int = 32,
    resamples: int = RESAMPLES,
    correction: Correction = "holm",
    jobs: int = 1,
    threads: int = 1,
    backend: BackendName = "loky",
    address: str | None = None,
    device: str = "auto",
    task: Task | None = None,
    drop_empty: bool = False,
    progress: Callable[[Status], None] | None = None,
) -> BenchmarkResult:
    """Train and evaluate systems on a corpus, under the same masks, and compare them.

    Args:
        corpus: a path, or a `Corpus`, which is then stored in ``out/corpus``.
        out: the benchmark's folder; the same call goes on with what is finished.
        models: presets, YAML files, or variants of both such as ``imder:mean`` (`imder.benchmarking.model_specs`); None
            for the systems compared by default.
        protocols: names of protocols; None for random and fixed, for random alone with ``per_rate``, or for independent with
            a rate for each modality.
        table: 2 or 3: the systems of that table of the paper, under the random protocol, with a model for each missing
            rate (`imder.benchmarking.paper_tables`).
        recipe: with ``table``: the preset of IMDer, or a YAML file over one; None for the published one that fits the corpus.
        one_model: with ``table``: one model for all missing rates.
        seeds: trainings of each model.
        rates: missing rates, or one for each modality by name, for the independent protocol alone. None for
            0 to 0.7 or, where frames are erased, 0 to 1 (0 to 0.5 with ``per_rate`` on CH-SIMS, as published).
        draws: of the masks of each rate.
        per_rate: train a model for each missing rate, as the paper does. Where frames are erased, training masks are
            those of the protocol, at the model's rate or, for one model, at a rate of its own for each sample.
        folds: rotate over speakers, or dialogues where some have several speakers or speakers are unknown, in this many
            folds; 0 for the corpus' own splits.
        label_share: share of the training labels used.
        tuned: a corpus whose tuned settings presets take.
        max_epochs: no phase of training runs longer.
        metrics: a convention of `imder.metrics.CONVENTIONS`; None for the one that fits the corpus.
        official_batch_size: rows in a batch of the official schedule.
        resamples: number of bootstrap resamples.
        correction: of p-values for the many comparisons of a table: ``holm`` or ``none``.
        jobs: cells trained at once.
        threads: of each job; 0 for an equal share of the processors.
        backend: joblib's backend: ``loky``, ``ray`` or ``dask``.
        address: of a running cluster (``ray``, ``dask``).
        device: ``auto``, ``cpu`` or ``cuda``.
        task: which labels to take from a corpus on disk that has both kinds.
        drop_empty: leave out samples without any modality instead of raising, for a corpus on disk.
        progress: called with the `Status` about every second, from a thread.

    Returns:
        Rows, tables and comparisons of everything that is finished. Failed cells are listed, not raised.

    Raises:
        ImderError: settings that don't fit the corpus, each other, or what the folder was started with.
        KeyboardInterrupt: the same call goes on with what is finished.
    """
    chosen_models = _listed("models", models) if models is not None else None
    chosen_protocols = _listed("protocols", protocols) if protocols is not None else None
    if metrics is not None:
        metrics_of(metrics)
    check_correction(correction)
    check_conflicts(
        table=table,
        models=models,
        protocols=protocols,
        recipe=recipe,
        one_model=one_model,
        per_rate=per_rate,
        tuned=tuned,
        folds=folds,
    )
    out = Path(out)
    source = _source(corpus, out, task, drop_empty)
    loaded = corpus if isinstance(corpus, Corpus) else source.load()
    check_modalities(loaded)
    _check_labels(loaded, folds)
    paper = None if table is None else paper_table(table, loaded, None if recipe is None else str(recipe))
    if paper is not None:
        if paper.remark:
            log.warning("%s: %s", loaded.name, paper.remark)
        chosen_models, chosen_protocols, per_rate = paper.models, (PROTOCOL,), not one_model
    if chosen_models is None:
        chosen_models = default_models(loaded.spec.names)
    specs = model_specs(chosen_models, max_epochs, label_share, tuned)
    convention = convention_of(loaded, metrics)
    chosen = _protocols(per_rate, rates) if chosen_protocols is None else chosen_protocols
    plan = make_plan(
        specs,
        loaded,
        seeds=seeds,
        draws=draws,
        rates=_default_rates(chosen, per_rate, convention) if rates is None else rates,
        protocols=chosen,
        per_rate=per_rate,
        convention=convention,
        official_batch_size=official_batch_size,
        folds=folds,
    )
    whole = BenchmarkFolder(out).join(plan)
    if isinstance(corpus, Corpus):
        store_once(corpus, Path(source.path), out / "cells" / "corpus.lock")
    cells = plan.cells()
    failed = run_cells(
        out,
        source,
        whole,
        cells,
        jobs=jobs,
        threads=threads,
        backend=backend,
        address=address,
        device=device,
        report=progress,
    )
    reasons = {cell.name: reason for cell, reason in failed.items()}
    if len(failed) == len(cells):
        return BenchmarkResult(out, Rows(), reasons)
    report = write_report(out, loaded, whole, resamples=resamples, correction=correction, paper=paper)
    return BenchmarkResult(out, Rows(report.rows), reasons, report.files, report.remarks, report)


def _source(corpus: Corpus | str | Path, out: Path, task: Task | None, drop_empty: bool) -> Source:
    """Where the workers read the corpus."""
    if isinstance(corpus, Corpus):
        if task not in (None, corpus.spec.task):
            raise ImderError(f"{corpus.name}: is a corpus for {corpus.spec.task}, not for {task}")
        return Source(str((out / "corpus").absolute()))
    if not isinstance(corpus, str | Path):
        raise ImderError(f"{NEEDED}, got {type(corpus).__name__}; see imder.Corpus.from_arrays")
    return Source(str(Path(corpus).absolute()), task, drop_empty)


def _default_rates(protocols: Sequence[str], per_rate: bool, convention: str) -> tuple[float, ...]:
    """The published rates of some protocols."""
    rates = default_rates(protocols)
    sims = rates == FRAME_RATES and per_rate and convention == "sims"
    return tuple(rate for rate in rates if rate <= 0.5) if sims else rates


def _protocols(per_rate: bool, rates: Rates | None) -> tuple[str, ...]:
    if isinstance(rates, Mapping):
        return ("independent",)
    return ("random",) if per_rate else ("random", "fixed")


def _listed(name: str, names: Names) -> tuple[str, ...]:
    """The names in a sequence or a string; ``name`` is the argument that messages mention."""
    if not isinstance(names, str) and not (
        isinstance(names, Sequence) and all(isinstance(entry, str) for entry in names)
    ):
        raise ImderError(f"{name} are names, such as {name}={EXAMPLES[name]}, got {names!r}")
    return tuple(name.strip() for name in (names.split(",") if isinstance(names, str) else names) if name.strip())


def _check_labels(corpus: Corpus, folds: int) -> None:
    """Raise `ImderError` unless training, validation and test have samples and labels, or folds can be made."""
    if folds:
        fold_of(corpus, 0, folds)
        return
    for split in ("train", "valid", "test"):
        if not len(corpus[split]):
            raise ImderError(f"{corpus.name}: split {split!r} has no samples")
        if corpus[split].labels is None:
            raise ImderError(f"{corpus.name}: split {split!r} has no labels")
