"""Compare ways to fill in missing modalities for fixed models: what ``imder benchmark --fixed-model`` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib

from imder.benchmarking.cell import Source
from imder.benchmarking.fixed.builtin import MODELS
from imder.benchmarking.fixed.experiment import missing_cells, run_rotation
from imder.benchmarking.fixed.fillers import DEFAULT_FILLERS, FILLERS
from imder.benchmarking.fixed.folder import FixedFolder
from imder.benchmarking.fixed.model import fixed_model
from imder.benchmarking.fixed.plan import FixedPlan, FixedSettings, Outage, incomplete_patterns
from imder.benchmarking.fixed.report import FixedReport, write_report
from imder.benchmarking.fixed.trained_systems import SYSTEM
from imder.benchmarking.folder import store_once
from imder.benchmarking.folds import Order, fold_of
from imder.benchmarking.model_specs import model_specs
from imder.benchmarking.significance import RESAMPLES
from imder.data.corpus import Corpus
from imder.data.fingerprint import fingerprint
from imder.evaluation.evaluate import convention_of
from imder.jobs.backends import BackendName, WorkerFunction, backend_of
from imder.jobs.background import poll
from imder.jobs.threads import threads_per_job
from imder.training.prepare import check_modalities
from imder.types import ImderError, Task

DRAWS = (1, 4, 16)


@dataclass(frozen=True)
class FixedComparison:
    """The results of a comparison.

    Attributes:
        out: its folder.
        report: rows, differences and tables.
        elsewhere: whether another process works on a part of it.
    """

    out: Path
    report: FixedReport
    elsewhere: bool = False


def compare_fillers(
    corpus: Corpus | str | Path,
    out: str | Path = "fixed",
    *,
    models: Sequence[str] = ("linear",),
    fillers: Sequence[str] = DEFAULT_FILLERS,
    draws: Sequence[int] = DRAWS,
    systems: Sequence[str] = (),
    folds: int = 0,
    seeds: int = 1,
    label_share: float = 1.0,
    outage: Outage = "dialogue",
    modalities: Sequence[str] = (),
    pooled: bool = False,
    order: Order = "drawn",
    refit: bool = False,
    max_epochs: int | None = None,
    metrics: str | None = None,
    reference: str | None = None,
    resamples: int = RESAMPLES,
    jobs: int = 1,
    threads: int = 1,
    backend: BackendName = "loky",
    address: str | None = None,
    task: Task | None = None,
    drop_empty: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FixedComparison:
    """Compare fillers of missing modalities for models that were trained on complete clips.

    Args:
        corpus: a path, or a `Corpus`, which is then stored in ``out/corpus``.
        out: the folder; the same call goes on with what is finished.
        models: Python files with a function ``fit`` (`imder.benchmarking.fixed.model`), or names of built-in models.
        fillers: names (`imder.benchmarking.fixed.fillers.FILLERS`).
        draws: over how many draws of a filler predictions are averaged, a line of the table for each.
        systems: presets or variants of `imder.benchmark` that are trained for missing modalities, as further lines.
        folds: rotate over speakers, else dialogues, in this many folds; 0 for the corpus' own splits.
        seeds: trainings of everything.
        label_share: share of the training and validation labels used; fillers see the other clips without labels.
        outage: ``dialogue``: a modality is missing in all test clips; ``half``: in a random half of them at a time, so that
            neighbours may hold it.
        modalities: those that the comparison is about, where the corpus has more.
        pooled: pool sequences to single vectors first.
        order: how speakers or dialogues are dealt to folds: in a drawn order, or as consecutive blocks of their names.
        refit: fit models and fillers on train and validation together, for classification; what chooses settings does that
            on validation before.
        max_epochs: the most epochs of any phase of training.
        metrics: a convention of `imder.metrics.CONVENTIONS`; None for the one that fits the corpus.
        reference: the filler that others are compared with; None for the last one that draws.
        resamples: number of bootstrap resamples.
        jobs: rotations at once.
        threads: of each job; 0 for an equal share of the processors.
        backend: joblib's backend: ``loky``, ``ray`` or ``dask``.
        address: of a running cluster (``ray``, ``dask``).
        task: which labels to take from a corpus on disk that has both kinds.
        drop_empty: leave out samples without any modality instead of raising, for a corpus on disk.
        progress: called with the number of finished cells and of all, about every second, from a thread.

    Raises:
        ImderError: settings that don't fit the corpus, each other, or what the folder was started with; or nothing could be
            finished.
        KeyboardInterrupt: the same call goes on with what is finished.
    """
    out = Path(out)
    if isinstance(corpus, Corpus):
        source, loaded = Source(str((out / "corpus").absolute())), corpus
    else:
        source = Source(str(Path(corpus).absolute()), task, drop_empty)
        loaded = source.load()
    settings = FixedSettings(
        loaded.name,
        fingerprint(loaded),
        convention_of(loaded, metrics),
        folds,
        label_share,
        outage,
        pooled,
        order,
        refit,
        max_epochs,
        tuple(dict.fromkeys(modalities)),
    )
    loaded = settings.chosen(loaded)
    plan = _plan(loaded, settings, models, fillers, draws, seeds, systems)
    if reference is not None and reference not in FILLERS:
        raise ImderError(
            f"reference (--reference): there is no filler {reference!r}; choose one of {', '.join(FILLERS)}"
        )
    folder = FixedFolder(out)
    others = folder.plan().fillers if folder.has_plan() else ()
    if reference is not None and reference not in (*others, *plan.fillers):
        raise ImderError(
            f"reference (--reference): {reference!r} isn't among the fillers {', '.join(plan.fillers)}; add it (--fillers)"
        )
    whole = folder.join(plan)
    if isinstance(corpus, Corpus):
        store_once(corpus, Path(source.path), out / "locks" / "corpus.lock")
    rotations = plan.rotations()
    count = len(rotations) * (len(plan.models) * (2 + len(plan.fillers)) + len(plan.systems))
    free = [True] * len(rotations)

    def look() -> None:
        if progress is not None:
            progress(count - sum(len(missing_cells(folder, plan, rotation)) for rotation in rotations), count)

    with poll(look, 1.0), backend_of(backend, jobs, threads_per_job(threads, jobs), address):
        calls = (
            joblib.delayed(WorkerFunction(run_rotation, backend))(
                out.absolute(), source, plan, rotation, threads_per_job(threads, jobs)
            )
            for rotation in rotations
        )
        free = joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(calls)
    return FixedComparison(
        out, write_report(folder, loaded, whole, resamples=resamples, reference=reference), not all(free)
    )


def _plan(
    corpus: Corpus,
    settings: FixedSettings,
    models: Sequence[str],
    fillers: Sequence[str],
    draws: Sequence[int],
    seeds: int,
    systems: Sequence[str],
) -> FixedPlan:
    """A checked plan."""
    check_modalities(corpus)
    incomplete_patterns(corpus.spec)
    if not models or not fillers or not draws:
        raise ImderError("a comparison of fillers needs at least one fixed model, filler and number of draws")
    if unknown := [name for name in fillers if name not in FILLERS]:
        raise ImderError(f"fillers (--fillers): there is no {unknown[0]!r}; choose from {', '.join(FILLERS)}")
    if min(*draws, seeds) < 1:
        raise ImderError("a comparison of fillers needs at least one seed and one draw")
    if not 0 < settings.label_share <= 1:
        raise ImderError(f"label_share (--label-share): a share above 0, at most 1, got {settings.label_share:g}")
    if settings.refit and corpus.spec.task == "regression":
        raise ImderError("refit (--refit): CRPS needs residuals on validation clips that models haven't seen")
    if settings.folds:
        fold_of(corpus, 0, settings.folds, settings.order)
    elif lacking := [name for name in ("train", "valid", "test") if name not in corpus.splits]:
        raise ImderError(
            f"{corpus.name}: has no split {lacking[0]!r}; rotate over speakers or dialogues with folds (--folds)"
        )
    if systems:
        for entry in model_specs(systems):
            if entry.name not in systems:
                raise ImderError(f"models (--models): {entry.name}: name a preset or a variant, not a file")
    sources = {}
    for name in models:
        path = str(Path(name).absolute()) if name.endswith(".py") else name
        model = fixed_model(path, MODELS)
        if model.name == SYSTEM:
            raise ImderError(f"fixed model: {SYSTEM!r} has another meaning here; rename {name}")
        if model.name in sources:
            raise ImderError(f"fixed model: {model.name} is named twice; results are filed by name, so rename one")
        sources[model.name] = path
    fingerprints = {name: fixed_model(path, MODELS).fingerprint for name, path in sources.items()}
    return FixedPlan(
        settings,
        fingerprints,
        sources,
        tuple(dict.fromkeys(fillers)),
        tuple(sorted(set(draws))),
        seeds,
        tuple(dict.fromkeys(systems)),
    )
