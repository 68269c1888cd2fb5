"""Extraction of all clips, in parallel and resumable.

Each clip is extracted into its own file (`imder.extract.folder`), and progress is read from the folder, whichever process or
machine wrote it. A clip that fails, or whose process is killed even when it runs alone, is recorded, and the others continue.
At the end all clips become one store, written atomically.
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
from imder.extract.assemble import check_splits, read_labels, table, words_table, write_corpus
from imder.extract.clip import Extracted, extract_clip
from imder.extract.folder import ExtractionFolder
from imder.extract.manifest import Clip, read_source
from imder.extract.recipe import Recipe
from imder.extract.speech.words import Word
from imder.jobs.backends import BackendName, WorkerFunction, backend_of
from imder.jobs.background import poll
from imder.jobs.interrupts import interrupt_check
from imder.jobs.locks import Lock
from imder.jobs.threads import limited_threads, threads_per_job
from imder.types import ImderError, Task

Row = tuple[str, str, str]

_REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class Outcome:
    """The result of an extraction.

    Attributes:
        corpus: the corpus that was written.
        failures: (id, modality, reason) of modalities that could not be extracted; modality ``all`` for the whole clip.
        remarks: (id, modality, remark).
        untracked: number of frames without a tracked face.
        resumed: number of clips that an earlier run had finished.
        seconds: duration of the extraction.
        transcribed: number of clips whose words were transcribed from their sound.
    """

    corpus: Corpus
    failures: tuple[Row, ...]
    remarks: tuple[Row, ...]
    untracked: int
    resumed: int
    seconds: float
    transcribed: int = 0


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
    """Extract raw clips into a store.

    Args:
        source: a manifest or a folder of media.
        out: the store to write; ``<out>.partial`` holds finished clips until the store is written.
        recipe_of: returns the recipe for the clips (`imder.extract.choose.choose_recipe`).
        openface: OpenFace's program, for videos without a table.
        task: the task; None to infer it from the labels.
        jobs: number of clips extracted at once.
        threads: threads per job; 0 for an equal share of the processors.
        backend: joblib's backend.
        address: address of a running cluster.
        report: called from a thread every half second with the numbers of finished clips and of all clips.

    Raises:
        ImderError: the source is invalid, another process extracts to the same folder, or the output can't be written.
            Finished clips stay, and the same call continues with them.
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
        todo = [clip for clip in clips if not _complete(folder, keys[clip.id])]
        progress = None if report is None else _progress(folder, list(keys.values()), report)
        with interrupt_check() as check, nullcontext() if progress is None else poll(progress, _REPORT_SECONDS):
            _work(folder, todo, keys, recipe, openface, jobs, threads, backend, address, check)
        failures: list[Row] = []
        remarks: list[Row] = []
        words: list[tuple[str, Word]] = []
        untracked = 0
        for clip in clips:
            extracted = folder.load(keys[clip.id])
            failures += [(clip.id, name, reason) for name, reason in extracted.failures.items()]
            if not extracted.features and not extracted.failures:
                failures.append((clip.id, "all", "nothing to extract from"))
            remarks += [(clip.id, name, remark) for name, remark in extracted.remarks.items()]
            untracked += extracted.untracked
            words += [(clip.id, word) for word in extracted.words]
        tables = {
            name: table(rows, last)
            for name, rows, last in (("failures.csv", failures, "reason"), ("remarks.csv", remarks, "remark"))
            if rows
        }
        if words:
            assert recipe.transcription is not None
            tables["words.csv"] = words_table(words, recipe.transcription.model)
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
    if not failures:  # otherwise finished clips stay, for a run after the failures are corrected
        folder.remove()
    transcribed = len({sample for sample, _ in words})
    return Outcome(corpus, tuple(failures), tuple(remarks), untracked, len(clips) - len(todo), seconds, transcribed)


def _complete(folder: ExtractionFolder, key: str) -> bool:
    """Whether a clip is finished without failures; clips with failures are tried again."""
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
    local_check = check if jobs == 1 and backend == "loky" else None  # joblib then works in this process
    threads = threads_per_job(threads, jobs)
    for clip in clips:
        folder.end(keys[clip.id])
        folder.file(keys[clip.id]).unlink(missing_ok=True)
    todo = list(clips)
    suspects: list[Clip] = []
    with backend_of(backend, jobs, threads, address):
        while todo or suspects:
            # A killed process takes its pool with it, so the clips in progress are tried again one by one.
            alone = not todo
            pending = [suspects.pop()] if alone else todo
            size = max(1, min(16, len(pending) // (8 * jobs)))  # several clips a task, to save overhead
            shares = [pending[i : i + size] for i in range(0, len(pending), size)]
            tasks = [
                joblib.delayed(WorkerFunction(_share, backend))(
                    folder, [(clip, keys[clip.id]) for clip in share], recipe, openface, threads, local_check
                )
                for share in shares
            ]
            try:
                stops = joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(tasks)
                check()
            except Exception as error:  # each backend raises its own for a killed worker
                dead = [clip for clip in pending if folder.busy(keys[clip.id]) and not folder.finished(keys[clip.id])]
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
                    raise ImderError(f"{stop}; finished clips are kept: run the same command to continue")
            todo = [clip for clip in todo if clip not in suspects and not folder.finished(keys[clip.id])]


def _share(
    folder: ExtractionFolder,
    clips: Sequence[tuple[Clip, str]],
    recipe: Recipe,
    openface: str | None,
    threads: int,
    check: Callable[[], None] | None,
) -> str | None:
    """Extract some clips in a worker. Returns the reason for stopping, or None, since not every backend passes exceptions on.

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


def _progress(folder: ExtractionFolder, keys: Sequence[str], report: Callable[[int, int], None]) -> Callable[[], None]:
    """A function that reports how many clips are finished; it looks up each finished clip only once."""
    done: set[str] = set()

    def progress() -> None:
        done.update(key for key in keys if key not in done and folder.finished(key))
        report(len(done), len(keys))

    return progress


def about(outcome: Outcome) -> dict[str, Any]:
    """The number of clips in the corpus, and of those that have each modality."""
    splits = outcome.corpus.splits.values()
    names = outcome.corpus.spec.names
    return {
        "clips": sum(map(len, splits)),
        "present": {name: int(sum(s.present[:, i].sum() for s in splits)) for i, name in enumerate(names)},
    }
