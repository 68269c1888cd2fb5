"""Times of a container's frames on one axis from 0, and the end that a track should have."""

from __future__ import annotations

from typing import Any

LONGEST_GAP = 6 * 3600.0
"""Seconds; times that jump further are wrong."""
_BACK = 1.0  # seconds by which times may go back and be rounded or out of order; beyond, they begin anew
_ESTIMATED = frozenset({"aac", "ac3", "dts", "eac3", "loas", "mp3"})  # FFmpeg guesses their durations from the bit rate


class ContinuousTimes:
    """Times that go on where those of the file begin anew or jump, as in broadcasts and files joined byte by byte.

    Attributes:
        jump: a remark on the first jump that is longer than any gap; empty if there is none.
    """

    def __init__(self, origin: float) -> None:
        self._offset = -origin
        self.jump = ""

    def __call__(self, stated: float, expected: float) -> float:
        """The time of a frame in seconds.

        Args:
            stated: as in the file.
            expected: the end of the frame before.
        """
        late = stated + self._offset - expected
        if late > LONGEST_GAP and not self.jump:
            self.jump = f"its times jump by {late:.0f} s at {expected:.2f} s, which was ignored"
        if not -_BACK < late <= LONGEST_GAP:
            self._offset -= late
        return stated + self._offset


def stated_end(container: Any, track: Any, origin: float) -> tuple[float, bool]:
    """The time at which a track should end, in seconds, and whether the track itself says so; (0, True) if nothing does.

    The duration of a container is that of its longest track.
    """
    import av

    if container.format.name in _ESTIMATED:
        return 0.0, True
    if track.duration and track.time_base:
        return float((track.duration + (track.start_time or 0)) * track.time_base) - origin, True
    matroska = "matroska" in container.format.name
    if matroska and (text := track.metadata.get("DURATION")):
        try:
            hours, minutes, seconds = (float(part) for part in text.split(":"))
        except ValueError:
            pass
        else:
            return 3600 * hours + 60 * minutes + seconds - origin, True
    end = float((container.duration or 0) / av.time_base)
    return max(0.0, end - origin if matroska else end), len(container.streams) == 1
