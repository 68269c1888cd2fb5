"""Mutated files of every reader, each read in a child process of bounded time and memory.

    python benchmarks/robustness/fuzz.py [--cases 10000] [--seed 0] [--readers pickle,npz] [--csv FILE] [--keep FOLDER]

A case is determined by its seed, reader and number. It ends in one of these ways:

read        the file was read
refused     `imder.types.ImderError`, or exit code 2 with one line on standard error
traceback   any other exception, or more than one line
execution   a program was started, a connection opened, or a file outside the case's folder written or deleted
hang        more than 20 s
memory      more than 2 GiB beyond what the process had at its start
crash       the process was ended by a signal
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mutations import mutate
from readers import Reader, readers

from imder.evaluation.results import write_csv
from imder.types import ImderError

SECONDS, MEMORY = 20, 2 << 30
OUTCOMES = ("read", "refused", "traceback", "execution", "hang", "memory", "crash")
BAD = OUTCOMES[2:]
_CODES = {name: 10 + i for i, name in enumerate(OUTCOMES)}
_STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect", "pty.spawn")
_DELETES = ("os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree")


def run_case(reader: Reader, name: str, number: int, seed: int, keep: Path | None = None) -> tuple[str, str, float, int]:
    """One case: its outcome, what was said, seconds, and bytes of memory beyond the start."""
    chance = random.Random(f"{seed}-{name}-{number}")
    seed_file = chance.choice([*reader.seeds])
    content = mutate(reader.seeds[seed_file], reader.mutations, chance, [*reader.seeds.values()])
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        if reader.folder is not None:
            shutil.copytree(reader.folder, folder / reader.folder.name)
            if (corpus := reader.folder.parent / "corpus").exists():
                (folder / "corpus").symlink_to(corpus)
        path = folder / seed_file
        path.write_bytes(content)
        outcome, said, seconds, memory = _in_child(reader, path, folder)
        if (folder / "executed").exists():
            outcome = "execution"
        if keep is not None and outcome in BAD:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{name}-{number}-{outcome}-{path.name}").write_bytes(content)
            (keep / f"{name}-{number}.txt").write_text(said)
    return outcome, said, seconds, memory


def _in_child(reader: Reader, path: Path, folder: Path) -> tuple[str, str, float, int]:
    before = _pages(1)
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as report:
        child = os.fork()
        if not child:
            code = _CODES["traceback"]
            try:
                code = _CODES[_read(reader, path, folder, report)]
            finally:
                report.flush()
                os._exit(code)
        _, status, usage = os.wait4(child, 0)
        report.seek(0)
        said = report.read()
    seconds, memory = time.monotonic() - started, max(0, (usage.ru_maxrss << 10) - before)
    if os.WIFSIGNALED(status):
        outcome = "hang" if os.WTERMSIG(status) == signal.SIGALRM else "crash"
    else:
        outcome = OUTCOMES[os.WEXITSTATUS(status) - 10]
    if outcome in ("read", "refused") and memory > MEMORY:
        outcome = "memory"
    return outcome, said, seconds, memory


def _read(reader: Reader, path: Path, folder: Path, report: io.TextIOBase) -> str:
    """Read the file of a case in this process, which ends afterwards."""
    events: list[str] = []
    os.chdir(folder)
    signal.alarm(SECONDS)
    size = _pages(0)
    resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MEMORY, size + 2 * MEMORY))
    sys.addaudithook(lambda event, arguments: _watch(event, arguments, folder, events))
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = reader.read(path)
        said = error.getvalue()
        refused = code == 2 and type(code) is int
        outcome = "refused" if refused else "read"
        if "Traceback" in said or (refused and said.count("imder: error") != 1):
            outcome = "traceback"
    except ImderError as caught:
        said = str(caught)
        outcome = "traceback" if "\n" in said else "refused"
    except MemoryError:
        said, outcome = traceback.format_exc(), "memory"
    except BaseException:
        said, outcome = traceback.format_exc(), "traceback"
    report.write("\n".join([*events, said[-4000:]]).encode(errors="backslashreplace").decode())
    return "execution" if events else outcome


def _pages(column: int) -> int:
    """Memory of this process in bytes: of its addresses (column 0), or resident (column 1)."""
    return int(Path("/proc/self/statm").read_text().split()[column]) * resource.getpagesize()


def _watch(event: str, arguments: tuple[Any, ...], folder: Path, events: list[str]) -> None:
    """Note an event of the interpreter that no reader has a reason for."""
    if event.startswith(_STARTS):
        events.append(f"{event} {arguments!r:.200}")
    elif event == "open" and isinstance(arguments[0], str | bytes):
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not _inside(arguments[0], folder):
            events.append(f"open for writing {arguments[0]!r:.200}")
    elif event in _DELETES and isinstance(arguments[0], str | bytes) and not _inside(arguments[0], folder):
        events.append(f"{event} {arguments[0]!r:.200}")


def _inside(path: str | bytes, folder: Path) -> bool:
    real = os.path.realpath(os.fsdecode(path))
    return real.startswith((os.path.realpath(folder), "/dev/")) or "__pycache__" in real


def campaign(
    cases: int, seed: int = 0, names: tuple[str, ...] = (), keep: Path | None = None
) -> Iterator[dict[str, str | int | float]]:
    """A row for each reader: counts of outcomes, the longest time and the largest memory. ``cases`` are of all together."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as work:
        table = readers(Path(work))
        chosen = names or tuple(table)
        for i, name in enumerate(chosen):
            counts: Counter[str] = Counter()
            longest, largest = 0.0, 0
            number = cases // len(chosen) + (i < cases % len(chosen))
            for case in range(number):
                outcome, _, seconds, memory = run_case(table[name], name, case, seed, keep)
                counts[outcome] += 1
                longest, largest = max(longest, seconds), max(largest, memory)
            yield {
                **{"reader": name, "cases": number},
                **{outcome: counts[outcome] for outcome in OUTCOMES},
                **{"longest_seconds": round(longest, 2), "largest_mib": largest >> 20},
            }


def main() -> int:
    """Run the campaign; exit code 1 where a case ended badly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default="", help="names separated by commas (default: all)")
    parser.add_argument("--csv", help="file for the rows")
    parser.add_argument("--keep", type=Path, help="folder for the files of cases that ended badly")
    options = parser.parse_args()
    rows = []
    for row in campaign(options.cases, options.seed, tuple(filter(None, options.readers.split(","))), options.keep):
        rows.append(row)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if options.csv:
        write_csv(rows, options.csv)
    return int(any(row[outcome] for row in rows for outcome in BAD))


if __name__ == "__main__":
    raise SystemExit(main())
