"""The private folder of uploads: only this user can read it, and nothing in it outlives its request.

Each service has a folder of its own below one of the user's, with a lock that the system frees when the process ends, however
it ends. A service that starts removes the folders whose process is gone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imder.types import ImderError

_LOCK = "lock"


class TemporaryFolder:
    """The folder of one service.

    Args:
        parent: where the user's folder is made; None for the system's temporary folder.

    Raises:
        ImderError: somebody else owns a folder of that name, or it can't be written.
    """

    def __init__(self, parent: Path | None = None) -> None:
        base = (parent or Path(tempfile.gettempdir())) / f"imder-serve-{os.getuid()}"
        try:
            base.mkdir(mode=0o700, exist_ok=True)
            about = base.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
                raise ImderError(f"{base}: must be a folder that only this user can enter; remove it")
            sweep(base)
            self.path = Path(tempfile.mkdtemp(dir=base))
            self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise ImderError(f"{base}: uploads can't be kept there ({error.strerror})") from None

    @contextmanager
    def request(self) -> Iterator[Path]:
        """A folder for the files of one request, removed at the end."""
        path = Path(tempfile.mkdtemp(dir=self.path))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def sweep(base: Path) -> None:
    """Remove the folders of services that have ended."""
    for path in base.iterdir():
        try:
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # one that is being made, or removed, or no folder of a service
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
