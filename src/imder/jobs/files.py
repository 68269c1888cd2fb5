"""Atomic writing: a file or folder appears under its name only when it is complete.

Everything this package writes goes through `atomic_write` or `atomic_folder`. Both give files the permissions of the user's
umask, whatever the library that writes them chooses (safetensors and `tempfile` choose 0600).
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imder.types import ImderError


@contextmanager
def atomic_write(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` at the end, remove it after an exception.

    Args:
        path: the file; its folder is made if needed.
        durable: flush the file to disk before the rename, so that it survives a power failure (checkpoints, weights).

    Raises:
        ImderError: the file cannot be written.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with atomic_write(file) as part:
    ...     _ = part.write_text("1 2 3")
    >>> file.read_text()
    '1 2 3'
    """
    path = Path(path)
    part = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)
        if durable:
            _flush(part)
        os.replace(part, path)
        if durable:
            with suppress(OSError):  # some file systems cannot flush folders
                _flush(path.parent)
    except OSError as error:
        raise ImderError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new temporary folder next to ``path``; rename it to ``path`` at the end, replacing what is there.

    After an exception the old folder, if any, is left as it was.

    Raises:
        ImderError: the folder cannot be written.
    """
    path = Path(path)
    part, old = _temporary(path), _temporary(path)
    try:
        part.mkdir(parents=True)
        mode = part.stat().st_mode
        yield part
        for file in part.rglob("*"):
            file.chmod(mode if file.is_dir() else mode & 0o666)
        if path.exists():
            path.rename(old)
        try:
            part.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
    except OSError as error:
        raise ImderError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)


def remove_partial(path: str | Path) -> None:
    """Delete temporary files that processes left for ``path`` when they were killed."""
    path = Path(path)
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """A name that no other thread, process or host uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
