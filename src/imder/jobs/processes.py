"""Whether a process still lives, even if its number was given to another one; and processes that end with their parent."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

CHECK_SECONDS = 1.0
"""Seconds between two looks at the parent."""


def start_of(pid: int) -> str:
    """When a process of this machine started, as a text that no other process of that number shares.

    Empty where the system doesn't tell: then a process is known by its number alone.

    >>> start_of(os.getpid()) == start_of(os.getpid())
    True
    """
    with suppress(OSError, IndexError, ValueError):
        # The name of the program, in parentheses, may hold spaces. Field 22 counts clock ticks since the machine started.
        ticks = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        return f"{_boot()}-{ticks}"
    return ""


@cache
def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    return ""


def is_alive(pid: int, start: str = "") -> bool:
    """Whether a process of this machine lives.

    Args:
        pid: its number.
        start: what `start_of` said of it; empty where that isn't known.

    >>> is_alive(os.getpid(), start_of(os.getpid())), is_alive(os.getpid(), "another start")
    (True, False)
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    now = start_of(pid)
    return not (start and now) or start == now


def process_tag() -> str:
    """A short text for file names that tells this process from all others, of other machines too."""
    return f"{host_tag()}-{os.getpid()}-{_short(start_of(os.getpid()))}"


def is_gone(tag: str) -> bool:
    """Whether the process of a `process_tag` lived on this machine and ended; False for any other text."""
    host, _, rest = tag.partition("-")
    pid, _, start = rest.partition("-")
    if host != host_tag() or not (pid.isascii() and pid.isdigit()):
        return False
    number = int(pid)
    return not is_alive(number) or start not in ("", _short(start_of(number)))


def host_tag() -> str:
    """A short text that tells this machine from others."""
    import socket

    return _short(socket.gethostname())


def _short(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


_guarded: set[int] = set()


def end_with_parent(parent: int | None) -> None:
    """From now on, end this process at once when its parent has ended: a killed parent can't end its workers itself.

    Files are written atomically and locks of dead processes are taken over, so nothing is lost.

    Args:
        parent: the number of the process that started this one; in that process itself nothing happens, nor where it is
            None.
    """
    if parent is None or parent == os.getpid() or os.getpid() in _guarded:
        return
    _guarded.add(os.getpid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
