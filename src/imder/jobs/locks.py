"""Locks as files, for processes that share nothing but a folder, on one machine or on several.

A lock is a file that exists: creating it with O_EXCL can succeed for one process only. It says who holds it (a token, host
and process) and when that process last gave a sign of life. A lock whose process is dead (on this host) or silent for
`SILENT` seconds is stale and may be taken over; taking over is itself under a lock that is held for an instant, so that of
two processes that find the same stale lock one gets it.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imder.jobs.background import repeating
from imder.types import ImderError

BEAT = 15.0
"""Seconds between signs of life."""
SILENT = 600.0
"""Seconds without one after which a lock is stale, clocks of several machines being a little apart."""
_INSTANT = 60.0


class Lock:
    """The lock at ``path``.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.lock"
    >>> one, other = Lock(path), Lock(path)
    >>> one.acquire(), other.acquire(), one.release(), other.acquire()
    (True, False, None, True)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token = uuid.uuid4().hex

    def acquire(self) -> bool:
        """Take the lock if it is free or stale."""
        if self._create(self.path):
            return True
        holder = read_holder(self.path)
        if holder is None or not is_stale(holder):
            return False
        guard = self.path.with_name(f"{self.path.name}.taking")
        if not self._create(guard):
            with suppress(OSError):  # left by a process that died in that instant
                if time.time() - guard.stat().st_mtime > _INSTANT:
                    guard.unlink()
            return False
        try:
            now = read_holder(self.path)
            if now is None or now["token"] != holder["token"] or not is_stale(now):
                return False
            self._write()
            return True
        finally:
            guard.unlink(missing_ok=True)

    def held(self) -> bool:
        """Whether it is still this process's; it isn't where the process slept so long that another took over."""
        holder = read_holder(self.path)
        return holder is not None and holder["token"] == self.token

    def release(self) -> None:
        """Free it, if it is still held."""
        if self.held():
            self.path.unlink(missing_ok=True)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Give signs of life while a long piece of work is done; release at the end."""

        def beat() -> None:
            with suppress(OSError):  # a network folder may be away for a moment; silence is allowed for longer
                if self.held():
                    self._write()

        try:
            with repeating(beat, BEAT):
                yield
        finally:
            self.release()

    def _content(self) -> str:
        about = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        return json.dumps(about)

    def _create(self, path: Path) -> bool:
        """Create a file that doesn't exist."""
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        except OSError as error:
            raise ImderError(f"{path}: cannot be written ({error.strerror or error})") from None
        with os.fdopen(descriptor, "w") as file:
            file.write(self._content())
        return True

    def _write(self) -> None:
        part = self.path.with_name(f".{self.path.name}.{self.token}")
        part.write_text(self._content())
        os.replace(part, self.path)


def read_holder(path: Path) -> dict[str, Any] | None:
    """Who holds a lock: token, host, pid, time; None where it is free.

    A file that is empty is being written, or was when its process died: held by nobody known since it was made.
    """
    try:
        made = path.stat().st_mtime
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {"token": "", "host": "", "pid": 0, "time": made}
    return found


def is_stale(holder: dict[str, Any]) -> bool:
    """Whether nobody holds it any more."""
    if time.time() - holder["time"] > SILENT:
        return True
    return holder["host"] == socket.gethostname() and not _alive(int(holder["pid"]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
