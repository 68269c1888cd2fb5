"""A camera and a microphone as sources of a stream; each runs in a thread of its own."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import Any

from imder.media.stream import Stream
from imder.types import ImderError

_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_BLOCK = 0.05  # seconds of sound that the microphone hands on at once


class Camera:
    """Frames of a camera, read by PyAV.

    Args:
        name: its number, or its file or name in the system.
        fps: frames a second that are asked for.

    Raises:
        ImderError: PyAV is not installed, or there is no such camera.
    """

    def __init__(self, name: str, fps: int = 30) -> None:
        try:
            import av
        except ImportError:
            raise ImderError("--camera needs PyAV: pip install 'imder[live]'") from None
        source, kind = camera_source(name, sys.platform)
        try:
            self._container = av.open(source, format=kind, options={"framerate": str(fps)})
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ImderError(
                f"--camera {name}: {source} can't be opened with {kind} ({' '.join(str(reason).split())}); "
                "name another camera, or leave it out"
            ) from None
        if not self._container.streams.video:
            raise ImderError(f"--camera {name}: {source} has no picture")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._latest = -1.0

    def start(self, stream: Stream, begin: float) -> None:
        """Push frames from now on; ``begin`` is the stream's time 0 by the monotonic clock."""
        self._thread = threading.Thread(target=self._read, args=(stream, begin), name="imder-camera", daemon=True)
        self._thread.start()

    def _read(self, stream: Stream, begin: float) -> None:
        with suppress(Exception):  # an unplugged camera: vision is missing from then on
            for frame in self._container.decode(video=0):
                if self._stop.is_set():
                    break
                at = time.monotonic() - begin
                if stream.fps is not None and at - self._latest >= 0.9 / stream.fps:
                    stream.push_frame(frame.to_ndarray(format="rgb24"), at)
                    self._latest = at

    def stop(self) -> None:
        """Push nothing more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)


class Microphone:
    """Sound of a microphone, read by sounddevice.

    Args:
        name: its number or a part of its name; ``default`` for the system's.

    Raises:
        ImderError: sounddevice is not installed, or there is no such microphone.
    """

    def __init__(self, name: str) -> None:
        try:
            import sounddevice
        except (ImportError, OSError) as error:  # OSError: the package without its PortAudio library
            raise ImderError(f"--microphone needs sounddevice ({error}): pip install 'imder[live]'") from None
        device: Any = None if name == "default" else int(name) if name.isascii() and name.isdigit() else name
        try:
            rate = int(sounddevice.query_devices(device, "input")["default_samplerate"])
            self._input = sounddevice.InputStream(
                rate, int(_BLOCK * rate), device, channels=1, dtype="float32", callback=self._hear
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise ImderError(
                f"--microphone {name}: can't be opened ({' '.join(str(error).split())}); name another microphone, or "
                "leave it out"
            ) from None
        self._rate = rate
        self._stream: Stream | None = None
        self._begin = 0.0

    def start(self, stream: Stream, begin: float) -> None:
        """Push sound from now on; ``begin`` is the stream's time 0 by the monotonic clock."""
        self._stream, self._begin = stream, begin
        self._input.start()

    def _hear(self, samples: Any, frames: int, about: Any, status: Any) -> None:
        del about, status
        at = time.monotonic() - self._begin - frames / self._rate
        if self._stream is not None:
            self._stream.push_audio(samples, self._rate, max(0.0, at))

    def stop(self) -> None:
        """Push nothing more."""
        self._input.stop()
        self._input.close()


def camera_source(name: str, platform: str) -> tuple[str, str]:
    """The file or name of a camera for FFmpeg, and FFmpeg's format.

    >>> camera_source("0", "linux"), camera_source("0", "darwin")
    (('/dev/video0', 'v4l2'), ('0:none', 'avfoundation'))
    """
    kind = _FORMATS.get(platform, "v4l2")
    is_number = name.isascii() and name.isdigit()
    if kind == "v4l2":
        return (f"/dev/video{name}" if is_number else name), kind
    return (f"{name}:none" if kind == "avfoundation" else f"video={name}"), kind
