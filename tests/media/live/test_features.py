"""Features that are pushed are predicted like those of a recording, however and in whatever state they come."""

import threading

import numpy as np
import pytest

from imder.models.registry import build
from imder.types import ImderError
from live_streams import SPEC, assert_same, expected, pushes, recording, stream, system, until


@pytest.fixture(scope="module")
def alone():
    return system()


@pytest.fixture(scope="module")
def backward():
    """A system that reads the past."""
    return system("past")


def rows_of(model, pieces, seconds=None, **options):
    live = stream(model, **options)
    for arguments, keywords in pieces:
        live.push_features(*arguments, **keywords)
    live.close(seconds)
    return list(live)


@pytest.mark.parametrize("direction", ["none", "past"])
@pytest.mark.parametrize(("seconds", "hop"), [(7.3, 0.5), (1.4, 1.0), (9.0, 3.0)])
def test_a_stream_is_the_time_series_of_the_recording(direction, seconds, hop):
    model, record = system(direction), recording(seconds, lost=(2.5, 5.0))
    live = rows_of(model, pushes(record), seconds, hop=hop)
    assert_same(live, expected(model, record, hop=hop))
    assert any(row["recovered"] and row["recovered"]["language"]["weight"] > 0 for row in live)


def test_context_is_the_past_for_a_system_that_was_trained_to_read_both_sides():
    model, record = system("both"), recording(6.0)
    live = rows_of(model, pushes(record), 6.0)
    for i, row in enumerate(live):
        assert_same([row], expected(model, until(record, 2.0 + i))[-1:])
    assert abs(live[0]["prediction"] - expected(model, record)[0]["prediction"]) > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_pushes_within_the_tolerance_changes_nothing(backward, seed):
    record = recording(8.0, lost=(3.0, 4.0))
    pieces = pushes(record, step=0.1)
    late = np.random.default_rng(seed).uniform(0, 0.4, len(pieces))
    shuffled = [pieces[i] for i in np.argsort([piece[1]["end"] for piece in pieces] + late)]
    assert_same(rows_of(backward, shuffled, 8.0), rows_of(backward, pieces, 8.0))


def test_sources_may_be_pushed_from_threads_of_their_own(alone):
    record = recording(8.0)
    live = stream(alone)
    turn = threading.Barrier(2)

    def push(name):
        for arguments, keywords in pushes(record, name=name):
            turn.wait()
            live.push_features(*arguments, **keywords)

    threads = [threading.Thread(target=push, args=(name,)) for name in record.features]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live.close(8.0)
    assert_same(list(live), expected(alone, record))


def test_a_source_that_stops_is_missing_and_holds_nothing_back(alone):
    record = recording(9.0)
    live = stream(alone)
    pieces = [piece for piece in pushes(record) if piece[0][0] == "audio" or piece[1]["end"] <= 4.0]
    for arguments, keywords in pieces:
        live.push_features(*arguments, **keywords)
    live.close()
    rows = list(live)
    assert [row["start"] for row in rows] == list(range(8))
    assert [row["available"]["vision"] for row in rows] == [True] * 4 + [False] * 4
    assert [row["coverage"]["vision"] for row in rows] == pytest.approx([1, 1, 1, 0.5, 0, 0, 0, 0])
    stopped = recording(9.0, lost=(4.0, 9.0))
    assert_same(rows, expected(alone, stopped))


def test_a_source_that_begins_late_counts_from_then_on(alone):
    record = recording(8.0, lost=(0.0, 4.0))
    pieces = [piece for piece in pushes(record) if piece[0][0] == "audio" or piece[1]["end"] > 4.0]
    rows = rows_of(alone, pieces, 8.0)
    late = [row.pop("coverage") for row in rows]
    assert late[-1]["vision"] == pytest.approx(1)
    reference = expected(alone, record)
    for row in reference:
        row.pop("coverage")
    assert_same(rows, reference)


def test_where_nothing_comes_there_is_no_prediction(alone):
    live = stream(alone)
    record = recording(2.0)
    for arguments, keywords in pushes(record):
        live.push_features(*arguments, **keywords)
    live.advance(6.0)
    live.close()
    rows = list(live)
    assert [row["prediction"] is None for row in rows] == [False, False, True, True, True]
    assert rows[-1]["available"] == {"language": False, "vision": False, "audio": False}


RUBBISH = {
    "nan": ("vision", np.full((3, 4), np.nan), [2.1, 2.2, 2.3]),
    "width": ("vision", np.zeros((3, 5)), [2.1, 2.2, 2.3]),
    "no times": ("vision", np.zeros((3, 4)), None),
    "fewer times": ("vision", np.zeros((3, 4)), [2.1]),
    "times back": ("vision", np.zeros((3, 4)), [2.3, 2.2, 2.1]),
    "far ahead": ("vision", np.zeros((3, 4)), [1e7, 1e7 + 0.1, 1e7 + 0.2]),
    "endless": ("vision", np.zeros((3, 4)), [np.inf] * 3),
    "negative": ("vision", np.zeros((3, 4)), [-3.0, -2.0, -1.0]),
    "late": ("vision", np.zeros((3, 4)), [0.0, 0.1, 0.2]),
    "words": ("vision", "abc", "abc"),
    "unknown": ("smell", np.zeros((3, 4)), [2.1, 2.2, 2.3]),
    "nothing": (None, None, None),
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_is_left_out_counted_and_never_raised(alone, name):
    record = recording(6.0)
    pieces = pushes(record)
    before, after = [p for p in pieces if p[1]["end"] <= 3.5], [p for p in pieces if p[1]["end"] > 3.5]
    live = stream(alone)
    for arguments, keywords in before:
        live.push_features(*arguments, **keywords)
    live.push_features(*RUBBISH[name])
    for arguments, keywords in after:
        live.push_features(*arguments, **keywords)
    live.close(6.0)
    assert_same(list(live), expected(alone, record))
    assert bool(live.problems) == (name != "far ahead")  # which is held until something follows it


def test_other_rubbish_is_never_raised_either(alone):
    with stream(alone) as live:
        for samples in (
            None,
            "abc",
            [],
            [[1, 2, 3]],
            np.full(9, np.nan),
            np.zeros(9, complex),
            {},
            np.zeros((2, 2, 2)),
        ):
            live.push_audio(samples, 16000)
        for rate in (None, 0, -1, 1e12, "x", np.nan, 16000.5):
            live.push_audio(np.zeros(100, np.float32), rate)
        for time in ("x", np.nan, -1, np.inf, object()):
            live.push_audio(np.zeros(100, np.float32), 16000, time)
            live.push_frame(np.zeros((8, 8, 3), np.uint8), time)
            live.advance(time)
        for image in (None, np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), "x"):
            live.push_frame(image, 0.0)
        for words in (
            None,
            3,
            [None],
            [{}],
            [{"text": 3, "start": 0, "end": 1}],
            [{"text": "a", "start": 2, "end": 1}],
        ):
            live.push_words(words)
        for end in (np.nan, "x", -1):
            live.push_features("audio", np.zeros((1, 3)), [0.0], end=end)
    assert list(live) == []
    assert sum(live.problems.values()) == 8 + 7 + 3 * 5 + 5 + 6 + 3


def test_an_hour_holds_no_more_than_a_minute():
    """Counted: what is in the buffers, and predictions that wait."""
    held, rows = [], []
    live = stream(build("constant", {}, SPEC), 10.0, 10.0, callback=rows.append)
    for second in range(0, 3600, 2):
        live.push_features("audio", np.ones((20, 3)), second + np.arange(20) / 10, frame_seconds=0.1)
        if second % 100 < 80:
            live.push_features("vision", np.ones((10, 4)), second + np.arange(10) / 5, frame_seconds=0.2)
        live.push_features("audio", np.full((5, 3), np.nan), second + np.arange(5) / 5)
        live.push_features("vision", np.zeros((2, 4)), [second * 7919 % 1000, 1e8 + second])
        live.push_features("vision", np.zeros((1, 4)), [second * 7919 % 1000])
        live.push_words([{"text": "a", "start": second, "end": second + 0.5}])
        held.append(live.held)
    live.close()
    assert len(rows) == 360
    assert max(held) <= 25 * (10 + 5) + 50
    assert len(live.problems) < 10


def test_predictions_that_nobody_takes_are_bounded(alone, monkeypatch):
    monkeypatch.setattr("imder.media.stream.MOST_ROWS", 3)
    record = recording(8.0)
    rows = rows_of(alone, pushes(record), 8.0)
    assert [row["start"] for row in rows] == [4.0, 5.0, 6.0]


def test_a_callback_gets_the_predictions_and_its_mistakes_stop_nothing(alone):
    record, rows = recording(6.0), []

    def callback(row):
        rows.append(row)
        raise RuntimeError("no")

    live = stream(alone, callback=callback)
    for arguments, keywords in pushes(record):
        live.push_features(*arguments, **keywords)
    live.close(6.0)
    assert_same(rows, expected(alone, record))
    assert live.problems == {"callback: RuntimeError: no": 5}
    with pytest.raises(ImderError, match="go to its callback"):
        next(iter(live))


def test_predictions_are_ready_without_waiting_and_only_once(alone):
    record = recording(6.0)
    live = stream(alone)
    assert live.ready() == []
    for arguments, keywords in pushes(record):
        live.push_features(*arguments, **keywords)
    live.close(6.0)
    assert len(live.ready()) == 5
    assert live.ready() == []
    live.push_features("audio", np.zeros((1, 3)), [7.0])
    live.close()
    assert list(live) == []


def test_a_failure_of_the_system_reaches_whoever_reads(alone, monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError("too much")

    monkeypatch.setattr("imder.media.live.window.predict_split", fail)
    live = stream(alone)
    for arguments, keywords in pushes(recording(4.0)):
        live.push_features(*arguments, **keywords)
    with pytest.raises(ImderError, match="MemoryError: too much"):
        live.close()
    with pytest.raises(ImderError, match="MemoryError: too much"):
        list(live)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0.0}, "window: a number of seconds from 0.1"),
        ({"hop": float("nan")}, "hop: a number"),
        ({"tolerance": -1.0}, "tolerance: a number"),
        ({"min_coverage": 2.0}, "min_coverage"),
    ],
)
def test_settings_out_of_range_are_refused(alone, settings, message):
    with pytest.raises(ImderError, match=message):
        stream(alone, **settings)
