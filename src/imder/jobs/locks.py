"""Lock files, for processes that share only a folder, on one machine or on several.

A lock is held while its file exists: only one process can create it with O_EXCL. The file names the holder (a token, host and
process) and the time of its last heartbeat. A lock whose process is dead (on this host) or silent for `SILENT` seconds is
stale and may be taken over. Taking over needs a second lock, held for an instant, so that only one process succeeds.
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
from imder.jobs.files import atomic_write
from imder.types import ImderError

BEAT = 15.0
"""Seconds between heartbeats."""
SILENT = 600.0
"""Seconds without a heartbeat after which a lock is stale; long, since the clocks of machines differ."""
_TAKEOVER = 60.0
"""Seconds after which an unfinished takeover is taken for that of a dead process."""


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
        """Take the lock if it is free or stale; returns whether it was taken."""
        if self._create(self.path):
            return True
        holder = read_holder(self.path)
        if holder is None or not is_stale(holder):
            return False
        guard = self.path.with_name(f"{self.path.name}.taking")
        if not self._create(guard):
            with suppress(OSError):  # left by a process that died while it took over
                if time.time() - guard.stat().st_mtime > _TAKEOVER:
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
        """Whether this object holds the lock; false once another process took it over, for instance after a suspension."""
        holder = read_holder(self.path)
        return holder is not None and holder["token"] == self.token

    def release(self) -> None:
        """Free the lock, if it is still held."""
        if self.held():
            self.path.unlink(missing_ok=True)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Send heartbeats while the block runs; release the lock at its end."""

        def beat() -> None:
            with suppress(OSError, ImderError):  # a network folder may be unreachable for less than `SILENT`
                if self.held():
                    self._write()

        try:
            with repeating(beat, BEAT):
                yield
        finally:
            self.release()

    def _content(self) -> str:
        holder = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        return json.dumps(holder)

    def _create(self, path: Path) -> bool:
        """Create a file; returns False if it exists."""
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            raise ImderError(f"{path}: cannot be written ({error.strerror or error})") from None
        with os.fdopen(descriptor, "w") as file:
            file.write(self._content())
        return True

    def _write(self) -> None:
        with atomic_write(self.path) as part:
            part.write_text(self._content())


def read_holder(path: Path) -> dict[str, Any] | None:
    """The holder of a lock: token, host, pid and time of the last heartbeat; None if the lock is free.

    An empty file is being written, or was when its process died: its holder is unknown, its time that of the file.
    """
    try:
        created = path.stat().st_mtime
        holder: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {"token": "", "host": "", "pid": 0, "time": created}
    return holder


def is_stale(holder: dict[str, Any]) -> bool:
    """Whether the holder is dead or silent for too long."""
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
