"""Transcripts: subtitles and tables of words."""

import pytest

from imder.media.transcript import read_transcript, text_between
from imder.types import ImderError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.vtt",
            "WEBVTT\n\nNOTE a note\n\nx\n00:01.000 --> 00:02.500 align:start\n<v Ann>good\n\n01:00:00.0 --> 01:00:01.0\nday\n",
        ),
        (
            "a.srt",
            "\ufeff1\r\n00:00:01,000 --> 00:00:02,500\r\ngood\r\n\r\n2\r\n01:00:00,000 --> 01:00:01,000\r\nday\r\n",
        ),
        ("a.csv", "start,end,text,speaker\n3600,3601,day,x\n1,2.5,good,y\n4,5,,z\n"),
    ],
)
def test_transcripts(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    cues = read_transcript(tmp_path / name)
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [(1, 2.5, "good"), (3600, 3601, "day")]
    assert text_between(cues, 0, 4) == "good"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.srt", b"hello", "no words with times"),
        ("a.srt", b"1\n00:00:02,0 --> 00:00:01,0\nx\n", "a.srt: line 2: 2 s to 1 s"),
        ("a.srt", b"1\n0:0:0:1 --> 00:00:01,0\nx\n", "line 2: '0:0:0:1' is not a time"),
        ("a.srt", b"\xff", "is not UTF-8"),
        ("a.csv", b"start,end\n1,2\n", "no column 'text'"),
        ("a.csv", b"start,end,text\n1,x,good\n", "line 2: end: 'x' is not a number"),
        ("a.csv", b"start,end,text\n1\n", "line 2: end: '' is not a number"),
    ],
)
def test_transcripts_that_are_wrong(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImderError, match=message.replace("(", r"\(")):
        read_transcript(tmp_path / name)
