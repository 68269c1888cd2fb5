"""All clips, in parallel, resumable.

Every clip is worked on alone and kept in a file (`imder.extract.folder`), so what is done is read from the folder, whichever
process on whichever machine did it. A clip that fails, or whose process is killed even when it is alone, is written down
and the others go on. At the end everything becomes one store, whole or not at all.
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
    """What became of an extraction.

    Attributes:
        corpus: as written.
        failures: (id, modality, reason) of what should be there and isn't; modality ``all`` where a clip has nothing.
        remarks: (id, modality, remark).
        untracked: frames of faces that were left out.
        resumed: clips that an earlier run had finished.
        seconds: of work.
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
        jobs: clips at once.
        threads: of each; 0 for an equal share of the processors.
        backend: of joblib.
        address: of a running cluster.
        report: called with clips finished, and clips in all, now and then, in a thread.

    Raises:
        ImderError: the source is wrong, another process extracts to the same place, or nothing can be written. What is
            finished stays, and the same call goes on with it.
    """
    clips = read_source(source)
    check_splits(clips, str(source))
    read_labels(clips, task, str(source))
    recipe = recipe_of(clips)
    place = ExtractionFolder(out)
    if Path(out).exists() and not is_store(out):
        raise ImderError(f"{out}: exists and is no store; it is not overwritten, choose another place")
    if Path(out).exists() and not place.path.exists():
        raise ImderError(f"{out}: is there already; choose another place, or remove it to make it anew")
    place.open(recipe)
    lock = Lock(place.path / "lock")
    if not lock.acquire():
        raise ImderError(f"{place.path}: another process extracts to this place; remove {lock.path} if none does")
    with lock.heartbeat():
        started = time.monotonic()
        keys = {clip.id: place.key(clip, openface) for clip in clips}
        todo = [clip for clip in clips if not _sound(place, keys[clip.id])]
        look = None if report is None else _looking(place, list(keys.values()), report)
        with interrupt_check() as check, nullcontext() if look is None else poll(look, _EVERY):
            _work(place, todo, keys, recipe, openface, jobs, threads, backend, address, check)
        failures: list[Row] = []
        remarks: list[Row] = []
        untracked = 0
        for clip in clips:
            made = place.load(keys[clip.id])
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
            lambda clip: place.load(keys[clip.id]),
            recipe,
            out,
            place.path / "assembly",
            source=str(source),
            task=task,
            notes=tables,
        )
        seconds = time.monotonic() - started
    if not failures:  # otherwise what is right need not be made again once the rest has been put right
        place.remove()
    return Outcome(corpus, tuple(failures), tuple(remarks), untracked, len(clips) - len(todo), seconds)


def _sound(place: ExtractionFolder, key: str) -> bool:
    """Whether a clip is finished and nothing failed: failures are tried again."""
    return place.finished(key) and not place.load(key).failures


def _work(
    place: ExtractionFolder,
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
        place.end(keys[clip.id])
        place.file(keys[clip.id]).unlink(missing_ok=True)
    todo = list(clips)
    suspects: list[Clip] = []
    with backend_of(backend, jobs, threads, address):
        while todo or suspects:
            # Where a process is killed, those beside it die too: whoever was at work is tried again, alone.
            alone = not todo
            now = [suspects.pop()] if alone else todo
            size = max(1, min(16, len(now) // (8 * jobs)))  # a task's own cost shared by several clips
            shares = [now[i : i + size] for i in range(0, len(now), size)]
            tasks = [
                joblib.delayed(_share)(
                    place, [(clip, keys[clip.id]) for clip in share], recipe, openface, threads, here
                )
                for share in shares
            ]
            try:
                stops = joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(tasks)
                check()
            except Exception as error:  # each backend has its own for a worker that was killed
                dead = [clip for clip in now if place.busy(keys[clip.id]) and not place.finished(keys[clip.id])]
                if not dead:
                    raise ImderError(f"{backend}: {type(error).__name__}: {' '.join(str(error).split())}") from error
                for clip in dead:
                    place.end(keys[clip.id])
                    if alone:
                        place.save(
                            keys[clip.id], Extracted(failures={"all": "its process was killed (out of memory?)"})
                        )
                    else:
                        suspects.append(clip)
                stops = []
            for stop in stops:
                if stop is not None:
                    raise ImderError(f"{stop}; what is finished is kept: the same command goes on")
            todo = [clip for clip in todo if clip not in suspects and not place.finished(keys[clip.id])]


def _share(
    place: ExtractionFolder,
    clips: Sequence[tuple[Clip, str]],
    recipe: Recipe,
    openface: str | None,
    threads: int,
    check: Callable[[], None] | None,
) -> str | None:
    """Some clips, in a worker. Returns why it had to stop, None where it didn't: not every backend hands on exceptions.

    ``check`` is called after each clip, where that is possible.
    """
    try:
        with limited_threads(threads):
            for clip, key in clips:
                place.begin(key)
                place.save(key, extract_clip(clip, recipe, openface))
                place.end(key)
                if check is not None:
                    check()
    except ImderError as error:
        return str(error)
    return None


def _looking(place: ExtractionFolder, keys: Sequence[str], report: Callable[[int, int], None]) -> Callable[[], None]:
    """What reports how many clips are finished; a file that was there is not looked for again."""
    done: set[str] = set()

    def look() -> None:
        done.update(key for key in keys if key not in done and place.finished(key))
        report(len(done), len(keys))

    return look


def about(outcome: Outcome) -> dict[str, Any]:
    """Sizes of a corpus, for whoever tells: clips, and how many have each modality."""
    splits = outcome.corpus.splits.values()
    names = outcome.corpus.spec.names
    return {
        "clips": sum(map(len, splits)),
        "present": {name: int(sum(s.present[:, i].sum() for s in splits)) for i, name in enumerate(names)},
    }
