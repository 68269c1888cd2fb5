"""How long sound and video are, from their packets, before anything is decoded.

What a header states may be wrong, and a small file can hold hours of silence or pictures of any size.
"""

from __future__ import annotations

from pathlib import Path

from imder.serve.config import ServeConfig
from imder.serve.errors import Refusal

MOST_PIXELS = 4096 * 2304
_MOST_PACKETS = 500_000


def check_duration(path: Path, name: str, config: ServeConfig) -> None:
    """Raise a `Refusal` for a file that is too long or whose pictures are too large or too many.

    A file that can't be opened passes: its reader says why.
    """
    import av

    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError):
        return
    too_long = Refusal(413, f"{name}: longer than {config.max_seconds:g} seconds")
    with container:
        for stream in container.streams.video:
            codec = stream.codec_context  # None where FFmpeg has no decoder
            if codec is not None and codec.width * codec.height > MOST_PIXELS:
                raise Refusal(413, f"{name}: pictures of more than {MOST_PIXELS} pixels")
        if container.duration is not None and container.duration > config.max_seconds * av.time_base:
            raise too_long
        seconds: dict[int, float] = {}
        pictures = packets = 0
        try:
            for packet in container.demux():
                packets += 1
                pictures += packet.stream.type == "video"
                if packet.duration and packet.time_base:
                    index = packet.stream.index
                    seconds[index] = seconds.get(index, 0.0) + float(packet.duration * packet.time_base)
                    if seconds[index] > config.max_seconds:
                        raise too_long
                if pictures > config.max_frames or packets > _MOST_PACKETS:
                    raise Refusal(413, f"{name}: more than {config.max_frames} pictures")
        except (av.FFmpegError, ValueError):
            return
