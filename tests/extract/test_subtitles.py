"""Subtitles as programs and people write them: no word is lost, and none counts twice."""

import time
from contextlib import suppress

import pytest

from imder.extract.subtitles import read_subtitles
from imder.extract.text_files import decode
from imder.media.transcript import read_transcript
from imder.types import ImderError

TWO = "1\n00:00:01,000 --> 00:00:02,000\nHello there\n\n2\n00:00:03,000 --> 00:00:04,500\nGood day\n"
CUES = [(1.0, 2.0, "Hello there"), (3.0, 4.5, "Good day")]


def cues_of(path, text):
    return [(cue.start, cue.end, cue.text) for cue in read_subtitles(path, text).cues]


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        TWO.replace("02,000\n", "02,000\n\n"),
        TWO.replace("Hello there", "Hello\n\nthere"),
        TWO.replace("there\n\n", "there\n"),
        TWO.replace("01,000", "01, 000"),
        TWO.replace("01,000", "01:000"),
        TWO.replace("-->", "--&gt;"),
        TWO.replace(" --> ", "-->"),
        TWO.replace("-->", "->"),
        TWO.replace(",", "."),
        TWO.replace("00:00:", "00:"),
        TWO.replace("Hello", "<font color='red'>{\\an8}Hello</font>").replace("Good", "<I>Good</I>"),
        TWO.replace("Hello there", "Hello<br/>there"),
        TWO.replace("\n", "\r\r\n"),
        TWO.replace("\n", "\r"),
        TWO.replace("\n", "\n\n"),
        TWO.replace("1\n00", "00", 1).replace("2\n00", "00", 1),
        TWO + "\n3\n00:00:06,000 --> 00:00:07,000\n\n",
        "WEBVTT - a title\nKind: captions\n\n" + TWO,
        "WEBVTT\n\nNOTE a note\nof two lines\n\n"
        + TWO.replace("2\n00", "second cue\n00", 1).replace("\n00:00:03", "\n00:00:03"),
        "WEBVTT\n\nSTYLE\n::cue { color: red }\n\n" + TWO.replace("\n\n2", "\n\nNOTE another\nnote\n\n2"),
        "0:00:01.000,0:00:02.000\nHello there\n\n0:00:03.000,0:00:04.500\nGood day\n",
    ],
)
def test_every_form_has_the_same_words(tmp_path, text):
    assert cues_of(tmp_path / "a", text) == CUES


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "a.srt"
    path.write_bytes(TWO.encode(encoding))
    if encoding == "utf-16-le":  # without a byte order mark
        with pytest.raises(ImderError, match=r"a\.srt: is not UTF-8 text .*UTF-16.*; save it as UTF-8"):
            read_transcript(path)
        return
    assert [(cue.start, cue.end, cue.text) for cue in read_transcript(path).cues] == CUES


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Hello --> there", "Hello --> there"),
        ("3 --> 4", "3 --> 4"),
        ("I <3 you and > me", "I <3 you and > me"),
        ("<laughs> a < b", "<laughs> a < b"),
        ("<v Ann><c.yellow>good</c> <lang en>day</lang>", "good day"),
        ("It&#39;s you &amp; me&nbsp;&gt;&gt; &quot;now&quot;", 'It\'s you & me >> "now"'),
        ("&#x27;AT&T&#39; &copy &lt;b&gt;", "'AT&T' &copy <b>"),
        ("42\n43", "42 43"),
        ("a\x0bb\u2028c\x85d", "a b c d"),
    ],
)
def test_words_that_look_like_something_else(tmp_path, words, expected):
    text = TWO.replace("Hello there", words)
    assert cues_of(tmp_path / "a", text) == [(1.0, 2.0, expected), CUES[1]]


def test_a_number_is_a_word_where_cues_have_none(tmp_path):
    text = "00:01.000 --> 00:02.000\n7\n00:02.000 --> 00:03.000\neight\n"
    assert cues_of(tmp_path / "a", text) == [(1, 2, "7"), (2, 3, "eight")]


def test_cues_without_length_are_left_out_with_a_remark(tmp_path):
    text = TWO + "\n3\n00:00:06,000 --> 00:00:06,000\nx\n\n4\n00:00:09,000 --> 00:00:08,000\ny\n"
    subtitles = read_subtitles(tmp_path / "a", text)
    assert [(cue.start, cue.end, cue.text) for cue in subtitles.cues] == CUES
    assert subtitles.remarks == ("2 cues of no or negative length were left out, the first at line 10",)


def test_words_before_the_first_time_are_remarked(tmp_path):
    assert read_subtitles(tmp_path / "a", "by Ann\n\n" + TWO).remarks == (
        "line 1: words before the first time were left out",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "no words with times; a transcript is SRT"),
        ("", "no words with times; a transcript is SRT"),
        ("[00:12.00]hello\n", "line 1 has a time, but isn't like"),
        (TWO.replace("00:00:02,000", ""), "line 2: '00:00:01,000 -->' is not two times"),
        (TWO.replace("00:00:01,000", ""), "line 2: '--> 00:00:02,000' is not two times"),
        (TWO.replace("00:00:02,000", "x"), "line 2: '00:00:01,000 --> x' is not two times"),
        (TWO.replace("00:00:02,000", "00:00:02:25"), "line 2: '00:00:02:25' is not a time"),
        ("1\n00:00:02,0 --> 00:00:01,0\nx\n", "no or negative length were left out, the first at line 2"),
        ("1\n00:00:01,0 --> 00:00:02,0\n\n", "its cues are empty"),
    ],
)
def test_mistakes_name_the_line(tmp_path, text, message):
    with pytest.raises(ImderError) as caught:
        read_subtitles(tmp_path / "a.srt", text)
    assert message in str(caught.value)
    assert "a.srt" in str(caught.value)


YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.000 --> 00:00:02.350 align:start position:0%
\x20
what<00:00:00.480><c> a</c><00:00:00.900><c> day</c>

00:00:02.350 --> 00:00:02.360 align:start position:0%
what a day
\x20

00:00:02.360 --> 00:00:05.000 align:start position:0%
what a day
it<00:00:02.800><c> is</c>
"""


def test_rolling_captions_count_each_word_once_at_its_time(tmp_path):
    assert cues_of(tmp_path / "a.vtt", YOUTUBE) == [
        (0.0, 0.48, "what"),
        (0.48, 0.9, "a"),
        (0.9, 2.35, "day"),
        (2.36, 2.8, "it"),
        (2.8, 5.0, "is"),
    ]


@pytest.mark.parametrize(
    ("screens", "expected"),
    [
        (["a b", "a b", "a b\nc d", "c d", "c d\ne f"], ["a b", "c d", "e f"]),  # YouTube's, converted to SRT
        (["a b\nc d", "c d\ne f", "e f\ng"], ["a b c d", "e f", "g"]),  # two lines that move up
        (["a\nb\nc", "b\nc\nd", "c\nd\ne"], ["a b c", "d", "e"]),
        (["a", "a b", "a b c"], ["a", "b", "c"]),  # growing
        (["No.", "No.", "No way.\nWhy?"], ["No.", "No.", "No way. Why?"]),  # people repeat themselves
        (
            ["I know\nyou", "you\nknow", "what\nI mean", "well\nno"],
            ["I know you", "you know", "what I mean", "well no"],
        ),
    ],
)
def test_captions_that_repeat_words(tmp_path, screens, expected):
    blocks = [f"{i + 1}\n00:00:{i:02},000 --> 00:00:{i + 1:02},000\n{words}\n" for i, words in enumerate(screens)]
    assert [words for _, _, words in cues_of(tmp_path / "a", "\n".join(blocks))] == expected


def test_inline_times_outside_their_cue_are_ignored(tmp_path):
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\ngood <00:09.000>day\n"
    assert cues_of(tmp_path / "a", text) == [(1, 2, "good day")]


def test_other_bytes(tmp_path):
    with pytest.raises(ImderError, match=r"is not UTF-8 text \(byte 0\)"):
        decode(tmp_path / "a", b"\xff")
    with pytest.raises(ImderError, match=r"is not UTF-16 text"):
        decode(tmp_path / "a", b"\xff\xfea")


@pytest.mark.parametrize("piece", [" ", "0:", "1:1 ", "0", "-", "<b:", "&#", "00:00 "])
@pytest.mark.parametrize("end", ["", "-", "x", "-->"])
def test_long_lines_take_no_longer_than_their_length(tmp_path, piece, end):
    words = TWO.replace("Good day", "Good\n" + piece * 20_000 + end)
    started = time.process_time()
    with suppress(ImderError):
        read_subtitles(tmp_path / "a.srt", words)
    assert time.process_time() - started < 2  # a pattern that backtracks takes minutes


@pytest.mark.parametrize("old", ["00:00:03", "2\n00:00:03", "1\n00:00:01"])
def test_numbers_of_thousands_of_digits(tmp_path, old):
    text = TWO.replace(old, "9" * 5000 + old)
    if old.startswith("00"):
        with pytest.raises(ImderError, match=r"line 6: '9+"):
            read_subtitles(tmp_path / "a.srt", text)
    else:
        assert cues_of(tmp_path / "a.srt", text)[1][:2] == CUES[1][:2]
