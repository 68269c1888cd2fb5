"""Lock files, for processes that share only a folder, on one machine or on several.

A lock is held while its file exists: only one process can create it with O_EXCL. The file names the holder (a token, host,
process and when that started) and the time of its last heartbeat. A lock is stale, and may be taken over, when its process
has ended (on this host) or was silent for `SILENT` seconds. A damaged file names nobody; a living holder writes it again
within a heartbeat, so one that stays damaged for `DAMAGED` seconds is stale too. Taking over needs a second lock, held for
an instant, so that only one process succeeds.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from imder.jobs.background import repeating
from imder.jobs.files import atomic_write, unwritable
from imder.jobs.processes import is_alive, process_tag, start_of
from imder.types import ImderError

BEAT = 15.0
"""Seconds between heartbeats."""
SILENT = 600.0
"""Seconds without a heartbeat after which a lock is stale; long, since the clocks of machines differ."""
DAMAGED = 2 * BEAT
"""Seconds for which a lock that names nobody counts as held."""
_TAKEOVER = 60.0
"""Seconds after which an unfinished takeover is taken for that of a dead process."""


class Lock:
    """The lock at ``path``.

    Args:
        path: of its file.
        silent: seconds without a heartbeat after which it is stale.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.lock"
    >>> one, other = Lock(path), Lock(path)
    >>> one.acquire(), other.acquire(), one.release(), other.acquire()
    (True, False, None, True)
    """

    def __init__(self, path: Path, silent: float = SILENT) -> None:
        self.path = path
        self.silent = silent
        self.token = uuid.uuid4().hex

    def acquire(self) -> bool:
        """Take the lock if it is free or stale; returns whether it was taken."""
        if self._create(self.path):
            return True
        holder = read_holder(self.path)
        if holder is None or not is_stale(holder, self.silent):
            return False
        guard = Lock(
            self.path.with_name(f"{self.path.name}.taking"), _TAKEOVER
        )  # taken over in turn from a dead process
        if not guard.acquire():
            return False
        try:
            now = read_holder(self.path)
            if now is None or now.token != holder.token or not is_stale(now, self.silent):
                return False
            self._write()
            return True
        finally:
            guard.release()

    def held(self) -> bool:
        """Whether this object holds the lock; false once another process took it over, for instance after a suspension."""
        holder = read_holder(self.path)
        return holder is not None and holder.token == self.token

    def wait(self, seconds: float) -> None:
        """Take the lock as soon as it is free.

        Raises:
            ImderError: another process still holds it after so many seconds.
        """
        until = time.monotonic() + seconds
        while not self.acquire():
            if time.monotonic() > until:
                raise ImderError(
                    f"{self.path}: another process has held this lock for {seconds:g} s; remove it if none is running"
                )
            time.sleep(0.05)

    def release(self) -> None:
        """Free the lock, if it is still held."""
        if self.held():
            self.path.unlink(missing_ok=True)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Send heartbeats while the block runs; release the lock at its end."""

        def beat() -> None:
            with suppress(OSError, ImderError):  # a network folder may be unreachable for less than `SILENT`
                holder = read_holder(self.path)
                if holder is not None and holder.token in (self.token, ""):  # also if it was damaged
                    self._write()

        try:
            with repeating(beat, BEAT):
                yield
        finally:
            self.release()

    def _content(self) -> str:
        pid = os.getpid()
        holder = Holder(self.token, socket.gethostname(), pid, start_of(pid), time.time())
        return json.dumps(asdict(holder))

    def _create(self, path: Path) -> bool:
        """Create a file; returns False if it exists.

        It appears with its content: a process that is killed in between must not leave a lock that names nobody.
        """
        part = path.with_name(f".{path.name}.{process_tag()}-{secrets.token_hex(4)}.part")
        try:
            part.write_text(self._content())
            os.link(part, path)
            return True
        except FileExistsError:
            return False
        except OSError:
            return self._create_empty(path)  # on a file system without links, or where nothing can be written
        finally:
            with suppress(OSError):
                part.unlink()

    def _create_empty(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self._content())
        except OSError as error:
            path.unlink(missing_ok=True)
            raise unwritable(path, error) from None
        return True

    def _write(self) -> None:
        with atomic_write(self.path) as part:
            part.write_text(self._content())


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        token: of the `Lock`; empty in a damaged file.
        host, pid, start: of its process (`imder.jobs.processes.start_of`).
        time: of the last heartbeat.
    """

    token: str
    host: str
    pid: int
    start: str
    time: float

    @property
    def name(self) -> str:
        """Process and host, for messages."""
        return f"process {self.pid} on {self.host}" if self.token else "an unknown process"


def read_holder(path: Path) -> Holder | None:
    """The holder of a lock; None if the lock is free."""
    try:
        changed = path.stat().st_mtime
        content = json.loads(path.read_text())
        token, host, start = (str(content.get(key, "")) for key in ("token", "host", "start"))
        pid, beat = int(content["pid"]), float(content["time"])
        if not (token and math.isfinite(beat)):
            raise ValueError
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unwritable(path, error) from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return Holder("", "", 0, "", changed)
    # The clock that set a time in the future can't be trusted; that of the file system may be right.
    return Holder(token, host, pid, start, min(beat, changed) if beat > time.time() + SILENT else beat)


def is_stale(holder: Holder, silent: float = SILENT) -> bool:
    """Whether the holder has ended, was silent for too long, or never can be known."""
    age = time.time() - holder.time
    if not holder.token:
        return not -DAMAGED < age < DAMAGED
    if holder.host == socket.gethostname() and not is_alive(holder.pid, holder.start):
        return True
    return age > silent
