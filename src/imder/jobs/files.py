"""Atomic writing: a file or folder appears under its name only when it is complete.

Everything this package writes goes through `atomic_write` or `atomic_folder`. Both give files the permissions of the user's
umask, whatever the library that writes them chooses (safetensors and `tempfile` choose 0600).

Until then it has a temporary name that says which process writes it. What a killed process left is removed by the next one
that writes the same file or folder, and by `remove_leftovers`.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imder.jobs.processes import is_gone, process_tag
from imder.types import ImderError

_LONGEST = 120
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PROBE = 1 << 20


class DiskFullError(ImderError):
    """A file can't be written, or not to its end, for lack of space; nothing half-written has its name."""


_ENDING, _REPLACED = ".part", ".replaced"


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
        _remove_dead(path.parent, f".{_shortened(path.name)}.")
        part.touch()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)
        if durable:
            _flush(part)
        os.replace(part, path)
        if durable:
            _flush_entries(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None
    except Exception as error:
        if (full := _full_disk(path, part, error)) is not None:
            raise full from None
        raise
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new temporary folder next to ``path``; rename it to ``path`` at the end, replacing what is there.

    Its files are flushed to disk before. After an exception the old folder, if any, is left as it was.

    Raises:
        ImderError: the folder cannot be written.
    """
    path = Path(path)
    part = _temporary(path)
    old = part.with_suffix(_REPLACED)
    try:
        _restore(path)
        _remove_dead(path.parent, f".{_shortened(path.name)}.")
        part.mkdir(parents=True)
        mode = part.stat().st_mode
        yield part
        for file in part.rglob("*"):
            file.chmod(mode if file.is_dir() else mode & 0o666)
            if file.is_file():
                _flush(file)
        for folder in (*(f for f in part.rglob("*") if f.is_dir()), part):
            _flush_entries(folder)
        if path.exists():
            path.rename(old)
        try:
            part.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
        _flush_entries(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None
    except Exception as error:
        if (full := _full_disk(path, part / "probe", error)) is not None:
            raise full from None
        raise
    finally:
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: str | Path) -> None:
    """Delete the temporary files and folders that killed processes of this machine left in a folder and below it."""
    for inside, names, files in os.walk(folder):
        if any(name.endswith(_ENDING) for name in (*names, *files)):
            _remove_dead(Path(inside), ".")


def check_writable(path: str | Path) -> None:
    """Raise `ImderError` if a file or folder can't be made because of the folders above it; nothing is made.

    >>> check_writable(Path(__file__) / "results.csv")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    imder.types.ImderError: ...files.py/results.csv: cannot be written (...files.py is no folder)
    """
    above = next(folder for folder in Path(os.path.abspath(path)).parents if os.path.lexists(folder))
    if not above.is_dir():
        raise ImderError(f"{path}: cannot be written ({above} is no folder)")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ImderError(f"{path}: cannot be written ({os.strerror(errno.EACCES)})")


@contextmanager
def written_to(path: str | Path) -> Iterator[None]:
    """For a block that writes to an open file or to the files of a folder: failures become `ImderError`.

    Args:
        path: names the file or folder where the failure doesn't.

    Raises:
        ImderError: it can't be written.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(error.filename or path, error) from None


def unwritable(path: str | Path, error: Exception) -> ImderError:
    """The error for a file that cannot be written: no space, no permission, ..."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    full = isinstance(error, OSError) and error.errno in _FULL
    return (DiskFullError if full else ImderError)(f"{path}: cannot be written ({' '.join(reason.split())})")


def _full_disk(path: Path, part: Path, error: Exception) -> ImderError | None:
    """The error for a failure that a library doesn't call an `OSError`, if the disk, a quota or a limit is the cause.

    Nobody but the file system knows: as long as the temporary file takes its space, no more can be written to it.
    """
    if isinstance(error, ImderError):
        return None
    try:
        with part.open("ab") as file:
            file.write(bytes(_PROBE))
    except OSError as refusal:
        return unwritable(path, refusal) if refusal.errno in _FULL else None
    return None


def _temporary(path: Path) -> Path:
    """A name that no other thread, process or host uses."""
    return path.with_name(f".{_shortened(path.name)}.{process_tag()}-{secrets.token_hex(4)}{_ENDING}")


def _shortened(name: str) -> str:
    """The name, or the beginning of one for which file systems would have no room with more behind it."""
    return os.fsdecode(os.fsencode(name)[:_LONGEST])


def _remove_dead(folder: Path, prefix: str) -> None:
    """Delete the temporary files and folders in a folder that begin like this, if their process has ended."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(prefix) and entry.name.endswith(_ENDING)):
                continue
            tag = entry.name.removesuffix(_ENDING).rpartition(".")[2].rpartition("-")[0]
            if is_gone(tag):
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)


def _restore(path: Path) -> None:
    """Put the old folder back where a process was killed in the instant between the two renames of `atomic_folder`."""
    for old in sorted(path.parent.glob("." + glob.escape(_shortened(path.name)) + f".*{_REPLACED}")):
        if is_gone(old.stem.rpartition(".")[2].rpartition("-")[0]):
            if os.path.lexists(path):
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(path)


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_entries(folder: Path) -> None:
    """Flush a folder, where the file system can."""
    with suppress(OSError):
        _flush(folder)
