"""One mutated file, read in a child process of bounded time and memory under an audit hook.

Outcomes:

read        the file was read
refused     `imder.types.ImderError`, or exit code 2 with one line on standard error
traceback   any other exception, or more than one line
execution   a program was started, a connection opened, a file outside the case's folder written or deleted, or a payload
            made its file
hang        more than 20 s
memory      more than 2 GiB beyond what the process had at its start, or an allocation beyond 4 GiB
crash       the process was ended by a signal
"""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutations import mutate
from readers import Reader

from imder.types import ImderError

SECONDS, MEMORY = 20, 2 << 30
OUTCOMES = ("read", "refused", "traceback", "execution", "hang", "memory", "crash")
BAD = OUTCOMES[2:]
_CODES = {name: 10 + i for i, name in enumerate(OUTCOMES)}
_STARTS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pty.spawn",
)
_DELETES = ("os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree")
_MARKER = "executed"


@dataclass(frozen=True)
class Result:
    """How a case ended.

    Attributes:
        outcome: one of `OUTCOMES`.
        said: the message or the traceback.
        seconds: wall-clock time.
        memory: bytes at the peak beyond those at the start; the kernel counts them to within tens of MiB.
    """

    outcome: str
    said: str
    seconds: float
    memory: int


def run_case(reader: Reader, name: str, number: int, seed: int, keep: Path | None = None) -> Result:
    """Run a case; it is determined by the seed, the reader and its number. ``keep``: a folder for files that end badly."""
    chance = random.Random(f"{seed}-{name}-{number}")
    seed_file, content = chance.choice(reader.seeds)
    content = mutate(content, reader.mutations, chance, [content for _, content in reader.seeds])
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        path = prepared(reader, folder, seed_file, content)
        result = _in_child(reader, path, folder)
    if keep is not None and result.outcome in BAD:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{name}-{number}-{result.outcome}-{path.name}").write_bytes(content)
        (keep / f"{name}-{number}.txt").write_text(result.said)
    return result


def prepared(reader: Reader, folder: Path, seed_file: str, content: bytes) -> Path:
    """The files of a case in ``folder``; returns the path of the mutated one."""
    if reader.folder is not None:
        shutil.copytree(reader.folder, folder / reader.folder.name)
        if (corpus := reader.folder.parent / "corpus").exists():
            shutil.copytree(corpus, folder / "corpus")
    path = folder / seed_file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def _in_child(reader: Reader, path: Path, folder: Path) -> Result:
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as report:
        child = os.fork()
        if not child:
            code = _CODES["traceback"]
            try:
                report.write(f"{_memory(1)}\n")
                report.flush()
                code = _CODES[_read(reader, path, folder, report)]
            finally:
                report.flush()
                os._exit(code)
        _, status, usage = os.wait4(child, 0)
        report.seek(0)
        before, _, said = report.read().partition("\n")
    seconds, memory = time.monotonic() - started, max(0, (usage.ru_maxrss << 10) - int(before))
    if os.WIFSIGNALED(status):
        outcome = "hang" if os.WTERMSIG(status) == signal.SIGALRM else "crash"
    else:
        outcome = OUTCOMES[os.WEXITSTATUS(status) - 10]
    if (folder / _MARKER).exists():
        outcome = "execution"
    elif outcome in ("read", "refused") and memory > MEMORY:
        outcome = "memory"
    return Result(outcome, said, seconds, memory)


def _read(reader: Reader, path: Path, folder: Path, report: io.TextIOBase) -> str:
    """Read the file of a case in this process, which ends afterwards."""
    events: list[str] = []
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    sys.stdin = io.StringIO("y\n" * 1000)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C write there
    signal.alarm(SECONDS)
    limit = _memory(0) + 2 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.addaudithook(lambda event, arguments: _watch(event, arguments, folder, events))
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = reader.read(path)
        said = error.getvalue()
        refused = isinstance(code, int) and code == 2
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


def _memory(column: int) -> int:
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
