"""Extraction of all clips, in parallel and resumable.

Each clip is extracted by itself into a file (`imder.extract.folder`), so progress is read from the folder, whichever process
or machine made it. A clip that fails, or whose process is killed even when it runs alone, is recorded and the others
continue. At the end all clips become one store, whole or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from imder.data.corpus import Corpus
from imder.data.store import is_store
from imder.extract.assemble import check_splits, read_labels, table, write_corpus
from imder.extract.clip import Extracted, extract_clip
from imder.extract.folder import ExtractionFolder
from imder.extract.manifest import Clip, read_source
from imder.extract.recipe import Recipe
from imder.jobs.backends import BackendName, backend_of
from imder.jobs.background import poll
from imder.jobs.interrupts import interrupt_check
from imder.jobs.locks import Lock
from imder.jobs.threads import limited_threads, threads_per_job
from imder.types import ImderError, Task

Row = tuple[str, str, str]

_EVERY = 0.5


@dataclass(frozen=True)
class Outcome:
    """The result of an extraction.

    Attributes:
        corpus: as written.
        failures: (id, modality, reason) of what a clip should have and can't be used; modality ``all`` where nothing is left.
        remarks: (id, modality, remark).
        untracked: frames of faces that were left out.
        resumed: clips that an earlier run had finished.
        seconds: duration of the work.
    """

    corpus: Corpus
    failures: tuple[Row, ...]
    remarks: tuple[Row, ...]
    untracked: int
    resumed: int
    seconds: float


def extract(
    source: str | Path,
    out: str | Path,
    recipe_of: Callable[[Sequence[Clip]], Recipe],
    *,
    openface: str | None = None,
    task: Task | None = None,
    jobs: int = 1,
    threads: int = 0,
    backend: BackendName = "loky",
    address: str | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Make a store from raw clips.

    Args:
        source: a manifest or a folder of media.
        out: the store to write; beside it, ``<out>.partial`` holds finished clips until the store is there.
        recipe_of: the recipe for these clips (`imder.extract.choose.choose_recipe`).
        openface: OpenFace's program.
        task: kind of labels.
        jobs: clips extracted at once.
        threads: of each job; 0 for an equal share of the processors.
        backend: joblib's backend.
        address: of a running cluster.
        report: called with clips finished and clips in all, every half second, in a thread.

    Raises:
        ImderError: the source is wrong, another process extracts to the same folder, or nothing can be written. Finished
            clips stay, and the same call continues with them.
    """
    clips = read_source(source)
    check_splits(clips, str(source))
    read_labels(clips, task, str(source))
    recipe = recipe_of(clips)
    folder = ExtractionFolder(out)
    if Path(out).exists() and not is_store(out):
        raise ImderError(f"{out}: exists and is no store; it is not overwritten, choose another path")
    if Path(out).exists() and not folder.path.exists():
        raise ImderError(f"{out}: exists already; choose another path, or remove it to extract again")
    folder.open(recipe)
    lock = Lock(folder.path / "lock")
    if not lock.acquire():
        raise ImderError(f"{folder.path}: another process extracts to it; if none does, remove {lock.path}")
    with lock.heartbeat():
        started = time.monotonic()
        keys = {clip.id: folder.key(clip, openface) for clip in clips}
        todo = [clip for clip in clips if not _sound(folder, keys[clip.id])]
        look = None if report is None else _looking(folder, list(keys.values()), report)
        with interrupt_check() as check, nullcontext() if look is None else poll(look, _EVERY):
            _work(folder, todo, keys, recipe, openface, jobs, threads, backend, address, check)
        failures: list[Row] = []
        remarks: list[Row] = []
        untracked = 0
        for clip in clips:
            made = folder.load(keys[clip.id])
            found = [(clip.id, name, reason) for name, reason in made.failures.items()]
            if not made.features and not found:
                found = [(clip.id, "all", "nothing to extract from")]
            failures += found
            remarks += [(clip.id, name, remark) for name, remark in made.remarks.items()]
            untracked += made.untracked
        tables = {
            name: table(rows, last)
            for name, rows, last in (("failures.csv", failures, "reason"), ("remarks.csv", remarks, "remark"))
            if rows
        }
        corpus = write_corpus(
            clips,
            lambda clip: folder.load(keys[clip.id]),
            recipe,
            out,
            folder.path / "assembly",
            source=str(source),
            task=task,
            notes=tables,
        )
        seconds = time.monotonic() - started
    if not failures:  # otherwise finished clips stay for the next run, after the failures are corrected
        folder.remove()
    return Outcome(corpus, tuple(failures), tuple(remarks), untracked, len(clips) - len(todo), seconds)


def _sound(folder: ExtractionFolder, key: str) -> bool:
    """Whether a clip is finished without failures; failures are tried again."""
    return folder.finished(key) and not folder.load(key).failures


def _work(
    folder: ExtractionFolder,
    clips: Sequence[Clip],
    keys: dict[str, str],
    recipe: Recipe,
    openface: str | None,
    jobs: int,
    threads: int,
    backend: BackendName,
    address: str | None,
    check: Callable[[], None],
) -> None:
    here = check if jobs == 1 and backend == "loky" else None  # then joblib works in this very process
    threads = threads_per_job(threads, jobs)
    for clip in clips:
        folder.end(keys[clip.id])
        folder.file(keys[clip.id]).unlink(missing_ok=True)
    todo = list(clips)
    suspects: list[Clip] = []
    with backend_of(backend, jobs, threads, address):
        while todo or suspects:
            # A killed process takes the others of its pool with it: the clips at work are tried again, one by one.
            alone = not todo
            now = [suspects.pop()] if alone else todo
            size = max(1, min(16, len(now) // (8 * jobs)))  # a task's own cost shared by several clips
            shares = [now[i : i + size] for i in range(0, len(now), size)]
            tasks = [
                joblib.delayed(_share)(
                    folder, [(clip, keys[clip.id]) for clip in share], recipe, openface, threads, here
                )
                for share in shares
            ]
            try:
                stops = joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(tasks)
                check()
            except Exception as error:  # each backend has its own for a worker that was killed
                dead = [clip for clip in now if folder.busy(keys[clip.id]) and not folder.finished(keys[clip.id])]
                if not dead:
                    raise ImderError(f"{backend}: {type(error).__name__}: {' '.join(str(error).split())}") from error
                for clip in dead:
                    folder.end(keys[clip.id])
                    if alone:
                        folder.save(
                            keys[clip.id], Extracted(failures={"all": "its process was killed (out of memory?)"})
                        )
                    else:
                        suspects.append(clip)
                stops = []
            for stop in stops:
                if stop is not None:
                    raise ImderError(f"{stop}; what is finished is kept: the same command goes on")
            todo = [clip for clip in todo if clip not in suspects and not folder.finished(keys[clip.id])]


def _share(
    folder: ExtractionFolder,
    clips: Sequence[tuple[Clip, str]],
    recipe: Recipe,
    openface: str | None,
    threads: int,
    check: Callable[[], None] | None,
) -> str | None:
    """Extract some clips in a worker. Returns the reason for stopping, or None; not every backend passes exceptions on.

    ``check`` is called after each clip, if given.
    """
    try:
        with limited_threads(threads):
            for clip, key in clips:
                folder.begin(key)
                folder.save(key, extract_clip(clip, recipe, openface))
                folder.end(key)
                if check is not None:
                    check()
    except ImderError as error:
        return str(error)
    return None


def _looking(folder: ExtractionFolder, keys: Sequence[str], report: Callable[[int, int], None]) -> Callable[[], None]:
    """A function that reports how many clips are finished; a finished clip is looked up once."""
    done: set[str] = set()

    def look() -> None:
        done.update(key for key in keys if key not in done and folder.finished(key))
        report(len(done), len(keys))

    return look


def about(outcome: Outcome) -> dict[str, Any]:
    """Clips of the corpus, and how many have each modality."""
    splits = outcome.corpus.splits.values()
    names = outcome.corpus.spec.names
    return {
        "clips": sum(map(len, splits)),
        "present": {name: int(sum(s.present[:, i].sum() for s in splits)) for i, name in enumerate(names)},
    }
