"""Transcripts: subtitles and tables of words, and how they fit a recording."""

import pytest

from command_line import imder_, rows_of
from imder.media.transcript import read_transcript, text_between
from imder.types import ImderError
from tiny_media import tone, write_wav


def read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_transcript(path)


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
        ("a.csv", "Start,END,Text\n00:00:01.000,00:00:02.500,good\n1:00:00,01:00:01.0,day\n"),
        ("a.csv", "start;end;text\n1,0;2,5;good\n3600,0;3601,0;day\n"),
        ("a.csv", 'id,start,end,text,\n0,1,"2,5","good",\n1,3600,3601,day\n'.replace("day\n", "day,,\n")),
        ("a.tsv", "start\tend\ttext\r\n1\t2.5\t good\r\n\r\n3600\t3601\tday\r\n"),
        ("a.tsv", 'start\tend\ttext\n1\t2.5\t"good"\n3600\t3601\t"day\n"\n'),
    ],
)
def test_transcripts(tmp_path, name, text):
    transcript = read(tmp_path, name, text)
    assert [(cue.start, cue.end, cue.text) for cue in transcript.cues] == [(1, 2.5, "good"), (3600, 3601, "day")]
    assert text_between(transcript.cues, 0, 4) == "good"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('start\tend\ttext\n0\t2\t"Hello" he said\n', '"Hello" he said'),
        ('start\tend\ttext\n0\t2\t"Hello, she\n3\t4\tsaid"\n', '"Hello, she'),
        ('start\tend\ttext\n0\t2\t"a ""b"" c"\n', 'a "b" c'),
        ('start,end,text\n0,2,"Hello, there"\n', "Hello, there"),
        ("start,end,text\n0,2,a\x0bb\x85c\u2028d\x1ce\n", "a b c d e"),
    ],
)
def test_quotes_and_ends_of_rows(tmp_path, text, words):
    name = "a.tsv" if "\t" in text else "a.csv"
    assert read(tmp_path, name, text).cues[0].text == words


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.srt", b"hello", "no words with times"),
        ("a.srt", b"1\n00:00:02,0 --> 00:00:01,0\nx\n", "a.srt: no words with times (1 cues of no or negative length"),
        ("a.srt", b"1\n0:0:0:1 --> 00:00:01,0\nx\n", "line 2: '0:0:0:1' is not a time"),
        ("a.srt", b"\xff", "is not UTF-8"),
        ("a.csv", b"start,end\n1,2\n", "no column 'text'"),
        ("a.csv", b"start,end,text,Text\n1,2,a,b\n", "more than one column 'text'"),
        ("a.csv", b"start,end,text\n1,x,good\n", "line 2: end: 'x' is not a number"),
        ("a.csv", b"start,end,text\n1,inf,good\n", "line 2: end: 'inf' is not a number"),
        ("a.csv", b"start,end,text\n1,1:2:3:4,good\n", "line 2: end: '1:2:3:4' is not a time"),
        ("a.csv", b"start,end,text\n1\n", "line 2: 1 cells where the header has 3"),
        ("a.csv", b"start,end,text\n0,2,Hello, there\n", "line 2: 4 cells where the header has 3"),
        ("a.csv", b'start,end,text\n0,2,"Hello" he said\n', "a.csv: line 2: not CSV"),
        ("a.tsv", b"start\tend\ttext\n0\t2\n", "line 2: 2 cells where the header has 3"),
        ("a.csv", b"start,end,text\n2,2,good\n", "no words with times (1 cues of no or negative length"),
        ("a.csv", b"", "no column 'start'"),
    ],
)
def test_transcripts_that_are_wrong(tmp_path, name, content, message):
    with pytest.raises(ImderError) as caught:
        read(tmp_path, name, content)
    assert message in str(caught.value)


MILLISECONDS = "start\tend\ttext\n1000\t3000\twhat a day\n5000\t7000\tgood day\n"


@pytest.mark.parametrize("seconds", [None, 10.0, 7.5, 900.0])
def test_whispers_milliseconds(tmp_path, seconds):
    transcript = read(tmp_path, "a.tsv", MILLISECONDS).within(seconds)
    assert [(cue.start, cue.end) for cue in transcript.cues] == [(1, 3), (5, 7)]
    assert transcript.remarks == ("times are whole numbers, read as milliseconds",)


@pytest.mark.parametrize("seconds", [None, 10.0])
def test_whole_seconds_stay_seconds(tmp_path, seconds):
    transcript = read(tmp_path, "a.csv", "start,end,text\n0,2,what\n3,5,a day\n200,203,x\n")
    assert [cue.start for cue in transcript.within(seconds).cues] == [0, 3, 200]
    with_fraction = read(tmp_path, "b.tsv", MILLISECONDS.replace("1000", "1000.0"))
    assert with_fraction.within(seconds).cues[0].start == 1000


def test_cues_beyond_the_recording_are_remarked(tmp_path):
    transcript = read(tmp_path, "a.srt", "1\n00:00:01,000 --> 00:00:03,000\na\n\n2\n01:00:01,000 --> 01:00:03,000\nb\n")
    assert transcript.within(5000.0).remarks == ()
    assert transcript.within(None).remarks == ()
    assert transcript.within(10.0).remarks == (
        "1 of 2 cues of the transcript aren't in the recording of 10.0 s: it goes from 1 s to 3603 s",
    )
    late = read(tmp_path, "b.srt", "1\n01:00:01,000 --> 01:00:03,000\nb\n").within(10.0)
    assert late.remarks == ("no cue of the transcript is in the recording of 10.0 s: it goes from 3601 s to 3603 s",)


def test_the_command_line_says_what_became_of_a_transcript(media, tmp_path, capsys):
    (tmp_path / "late.srt").write_text("1\n01:00:01,000 --> 01:00:03,000\nwhat a day\n")
    (tmp_path / "whisper.tsv").write_text("start\tend\ttext\n0\t900\twhat a day\n1000\t3000\tgood\n90000\t95000\tday\n")
    write_wav(tmp_path / "rec.wav", tone(60.0))
    for name, remark in (("late.srt", "no cue of the transcript is in"), ("whisper.tsv", "read as milliseconds")):
        words = ("--transcript", tmp_path / name, "--window", "30", "--out", tmp_path / "out.csv")
        assert imder_("predict", media / "run", "--audio", tmp_path / "rec.wav", *words) == 0
        assert remark in " ".join(capsys.readouterr().out.split())
    rows = rows_of(tmp_path / "out.csv")
    assert [row["text"] for row in rows][:2] == ["what a day good", ""]
