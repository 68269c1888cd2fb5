"""The file of the models, ``face_landmarker.task`` (Google, Apache 2.0): given by the user, or fetched once into the cache."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from imder.jobs.files import atomic_write
from imder.types import ImderError

URL = "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
OPTION, VARIABLE = "--face-model", "IMDER_FACE_MODEL"

_CHUNK = 1 << 16
_MAX_BYTES = 64 << 20  # the file has 3.8 MB
_READ_SECONDS, _ALL_SECONDS = 20.0, 300.0


def find_model(given: str | None = None) -> Path:
    """The file: ``given``, that of the environment's `VARIABLE`, or that in the cache, which is fetched if it is missing.

    Raises:
        ImderError: there is no file at the path that was given, or it can't be fetched.
    """
    for source, path in ((OPTION, given), (VARIABLE, os.environ.get(VARIABLE))):
        if path:
            if not Path(path).is_file():
                raise ImderError(
                    f"{source} {path}: there is no such file; it is face_landmarker.task, fetched from {URL}"
                )
            return Path(path).absolute()
    path_in_cache = cache_folder() / "face_landmarker.task"
    if not path_in_cache.is_file():
        fetch(URL, path_in_cache, SHA256)
    return path_in_cache


def cache_folder() -> Path:
    """The folder of files that are fetched once: ``imder`` in the user's cache."""
    default = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None
    return Path(os.environ.get("XDG_CACHE_HOME") or default or Path.home() / ".cache") / "imder"


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        ImderError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None


def fetch(
    url: str, path: Path, sha256: str, *, read_seconds: float = _READ_SECONDS, all_seconds: float = _ALL_SECONDS
) -> None:
    """Fetch a file; it appears at ``path`` only if it is complete and has the right hash.

    Args:
        url: its address.
        path: where it goes.
        sha256: its hash.
        read_seconds: longest wait for the next bytes.
        all_seconds: longest duration of the whole.

    Raises:
        ImderError: it can't be fetched in that time, ends early, has another hash, or can't be written.
    """
    try:
        content = _content(url, read_seconds, all_seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError and timeouts are OSErrors
        raise ImderError(f"{url}: cannot be fetched ({_reason(error)}); {_advice(path, sha256)}") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ImderError(
            f"{url}: sent another file ({len(content)} bytes, SHA-256 {digest[:16]}...), nothing was kept; "
            + _advice(path, sha256)
        )
    with atomic_write(path) as part:
        part.write_bytes(content)


def _content(url: str, read_seconds: float, all_seconds: float) -> bytes:
    end = time.monotonic() + all_seconds
    with urllib.request.urlopen(url, timeout=read_seconds) as response:
        stated = response.headers.get("Content-Length")
        content = bytearray()
        while piece := response.read1(_CHUNK):
            content += piece
            if len(content) > _MAX_BYTES:
                raise ValueError(f"more than {_MAX_BYTES >> 20} MB")
            if time.monotonic() > end:
                raise TimeoutError(f"not complete after {all_seconds:g} s")
    if stated is not None and len(content) < int(stated):
        raise ValueError(f"it ended after {len(content)} of {stated} bytes")
    return bytes(content)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(cause).split()) or type(cause).__name__


def _advice(path: Path, sha256: str) -> str:
    return (
        f"fetch it elsewhere (SHA-256 {sha256}) and give it with {OPTION} FILE or {VARIABLE}=FILE, or save it as {path}; "
        "or leave faces out: --vision none"
    )
