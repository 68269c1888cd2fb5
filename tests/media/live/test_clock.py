"""Which windows are complete when, and which pieces count."""

import numpy as np
import pytest

from imder.media.live.clock import Clock, Piece
from imder.media.windows import window_bounds


def push(clock, source, start, end, span=0.0):
    """The pieces that count, and the windows that are complete then."""
    accepted = clock.accept(Piece(source, start, end, span=span))
    counted = None if accepted is None else [piece.start for piece in accepted]
    return counted, [start for _, start, _ in clock.complete()]


def run(clock, source, until, step=0.25, begin=0.0):
    """The windows that pieces of one source complete."""
    starts = []
    for i in range(round((until - begin) / step)):
        starts += push(clock, source, begin + i * step, begin + (i + 1) * step)[1]
    return starts


@pytest.mark.parametrize("seconds", [1.0, 4.0, 5.0, 6.05, 7.5, 12.25])
@pytest.mark.parametrize("hop", [0.5, 1.0, 4.0, 5.0])
def test_the_windows_of_a_stream_are_those_of_a_recording(seconds, hop):
    clock = Clock(4.0, hop, 0.5)
    bounds = []
    for start in np.arange(0, seconds, 0.05):
        clock.accept(Piece("audio", start, min(seconds, start + 0.05)))
        bounds += clock.complete()
    bounds += clock.finish(seconds)
    assert np.array(bounds)[:, 1:] == pytest.approx(np.array(window_bounds(seconds, 4.0, hop)))


def test_a_window_waits_for_a_source_that_lags_within_the_tolerance_and_not_beyond_it():
    clock = Clock(2.0, 1.0, 0.5)
    assert run(clock, "vision", 1.75) == []
    assert run(clock, "audio", 2.0) == []
    assert push(clock, "audio", 2.0, 2.25)[1] == [0.0]  # vision is at 1.75 s and too far behind
    assert push(clock, "vision", 1.75, 2.75)[1] == []  # and still counts for the next window
    assert run(clock, "audio", 3.0, begin=2.25) == []
    assert push(clock, "vision", 2.5, 3.0)[1] == [1.0]


def test_a_source_in_long_pieces_is_waited_for_as_long_as_its_pieces():
    clock = Clock(2.0, 1.0, 0.5)
    push(clock, "audio", 0, 1.5, span=1.5)
    assert run(clock, "vision", 3.25) == []
    assert push(clock, "audio", 1.5, 3.0, span=1.5)[1] == [0.0, 1.0]


def test_what_belongs_to_earlier_windows_only_is_too_late():
    clock = Clock(2.0, 1.0, 0.5)
    assert run(clock, "audio", 3.5) == [0.0, 1.0]
    assert push(clock, "vision", 1.5, 2.0) == (None, [])
    assert push(clock, "vision", 1.9, 2.1) == ([1.9], [])


def test_one_time_far_ahead_moves_nothing():
    clock = Clock(2.0, 1.0, 0.5)
    run(clock, "vision", 1.0)
    assert push(clock, "vision", 50.0, 50.2) == ([], [])
    assert push(clock, "vision", 1.0, 1.25) == ([1.0], [])
    assert clock.now == 1.25


def test_a_source_that_goes_on_after_a_gap_loses_nothing():
    clock = Clock(2.0, 1.0, 0.5)
    run(clock, "audio", 2.0)
    assert push(clock, "audio", 5.0, 5.25) == ([], [])
    assert push(clock, "audio", 5.25, 5.5) == ([5.0, 5.25], [1.0, 2.0, 3.0])


def test_held_pieces_count_when_the_stream_has_come_so_far():
    clock = Clock(2.0, 1.0, 0.5)
    run(clock, "audio", 2.0)
    assert push(clock, "vision", 2.75, 2.8) == ([], [])
    run(clock, "audio", 2.5, begin=2.0)
    assert push(clock, "vision", 3.1, 3.2)[0] == [2.75, 3.1]


def test_windows_within_a_huge_gap_are_left_out():
    clock = Clock(2.0, 1.0, 0.5)
    run(clock, "audio", 2.0)
    assert push(clock, "audio", 1e6, 1e6 + 0.25) == ([], [])
    assert push(clock, "audio", 1e6 + 0.25, 1e6 + 0.5)[1] == [1.0]
    assert push(clock, "audio", 1e6 + 0.5, 1e6 + 1)[1] == [1e6 - 1]


def test_a_stream_may_begin_at_any_time():
    clock = Clock(2.0, 1.0, 0.5)
    assert push(clock, "audio", 81234.0, 81234.25) == ([], [])
    assert push(clock, "audio", 81234.25, 81234.5)[0] == [81234.0, 81234.25]
    assert push(clock, "audio", 81234.5, 81235.0)[1] == [81233.0]


def test_time_passes_without_data():
    clock = Clock(2.0, 1.0, 0.5)
    run(clock, "audio", 1.0)
    clock.advance(4.0)
    assert [start for _, start, _ in clock.complete()] == [0.0, 1.0, 2.0]


def test_pieces_that_never_follow_each_other_are_not_kept():
    clock = Clock(2.0, 1.0, 0.5)
    rng = np.random.default_rng(0)
    for time in rng.uniform(1e3, 1e6, 5000):
        clock.accept(Piece("audio", time, time + 0.01))
    assert sum(len(held) for held in clock._held.values()) == 1
