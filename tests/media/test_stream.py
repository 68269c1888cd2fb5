"""A live stream predicts windows as files of them are predicted, in whatever order and pieces its sources come."""

import pytest

from imder.extract.manifest import Clip
from imder.media.answer import answer
from tiny_media import RATE, tone, write_wav

WORDS = [
    {"text": text, "start": i * 0.7, "end": i * 0.7 + 0.6} for i, text in enumerate(("a", "good", "day", "abc") * 2)
]


def assert_same(one, other):
    """Two lists of predictions say the same: numbers but for rounding."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert set(a) == set(b)
        for key, value in a.items():
            if isinstance(value, float):
                assert value == pytest.approx(b[key], abs=1e-5), key
            else:
                assert value == b[key], key


def pieces(signal, seconds, rate=RATE):
    """(time, samples) of pieces of a sound."""
    size = int(seconds * rate)
    return [(first / rate, signal[first : first + size]) for first in range(0, len(signal), size)]


def predictions(stream, pushes):
    """All rows of a stream whose pushes are (method, arguments)."""
    with stream:
        for method, *arguments in pushes:
            getattr(stream, method)(*arguments)
    return list(stream)


def test_windows_of_sound_and_words_are_clips_cut_out_of_files(predictor, tmp_path):
    """As `predict_clips` of a wav file for each window: the same samples give the same features."""
    signal = tone(4.5)
    stream = predictor.stream(2.0, 1.0, block=True, name="talk")
    sound = [("push_audio", samples, RATE, time) for time, samples in pieces(signal, 0.1)]
    rows = predictions(stream, [("push_words", WORDS), *sound])
    assert [(row["start"], row["end"]) for row in rows] == [(0, 2), (1, 3), (2, 4), (2.5, 4.5)]
    texts = ["a good day", "good day abc", "abc a good", "a good day"]
    assert [row["text"] for row in rows] == texts
    for row, text in zip(rows, texts, strict=True):
        cut = signal[round(row["start"] * RATE) : round(row["end"] * RATE)]
        clip = Clip("talk", audio=write_wav(tmp_path / "cut.wav", cut, subtype="FLOAT"), text=text)
        expected = predictor.predict_clips([clip]).only() | {"start": row["start"], "end": row["end"]}
        coverage = row.pop("coverage")
        assert coverage["audio"] == pytest.approx(1.0)
        assert_same([row], [answer(expected, predictor.model.spec)])
