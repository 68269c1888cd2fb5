"""Manifests and folders: what is read, and what is said of mistakes."""

from pathlib import Path

import pytest

from command_line import imder_
from imder.extract.assemble import check_splits, read_labels, write_corpus
from imder.extract.clip import Extracted
from imder.extract.manifest import Clip, read_source
from imder.extract.recipe import Recipe
from imder.types import ImderError


def manifest(folder, text, name="clips.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_all_columns(tmp_path):
    path = manifest(
        tmp_path,
        "\ufeffid,video,audio,text,openface,label,split,dialogue,position,speaker\n"
        'ä😀,v/a.mp4,,"Ja, gut! 😀",,1.5,dev,d,3,Zoë\n'
        "\n"
        "b,,/x/b.wav,  ,o.csv,,train,,,\n",
    )
    first, second = read_source(path)
    assert first == Clip(
        "ä😀",
        tmp_path / "v/a.mp4",
        text="Ja, gut! 😀",
        label="1.5",
        split="valid",
        dialogue="d",
        position=3,
        speaker="Zoë",
    )
    assert (str(second.audio), second.openface) == ("/x/b.wav", tmp_path / "o.csv")
    assert second.text is None
    assert second.has == {"language": False, "vision": True, "audio": True}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(tmp_path, separator):
    path = manifest(tmp_path, f"id{separator}audio\na{separator}a.wav\n")
    assert read_source(path)[0].audio == tmp_path / "a.wav"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_rows_end_at_line_ends_alone(tmp_path, encoding, end):
    """Other separators of Unicode are part of a text; spreadsheets save UTF-16."""
    words = "one\x0btwo\x0c three\u2028four\x85five"
    rows = ["id,text,label", f'a,"{words}",1', "b,\x1cplain,2", ""]
    clips = read_source(manifest(tmp_path, end.join(rows).encode(encoding)))
    assert [(clip.id, clip.label) for clip in clips] == [("a", "1"), ("b", "2")]
    assert clips[0].text == words


@pytest.mark.parametrize("cell", ["a.w" * 200 + "av", "a/" * 3000 + "b.wav", "a\0.wav"])
def test_what_can_be_no_path_is_one_line(tmp_path, cell):
    with pytest.raises(ImderError, match=r"m\.csv: line 3: audio: '.*' can't be a path") as caught:
        read_source(manifest(tmp_path, f"id,audio\nb,b.wav\na,{cell}\n", "m.csv"))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
    with pytest.raises(ImderError, match="there is no such file or folder"):
        read_source("a" * 300)


def test_bytes_that_are_not_utf8_are_one_line():
    """As words of a command line that the terminal sent in another encoding."""
    with pytest.raises(ImderError, match=r"^text 'na\\udcefve': '\\udcef' is not a character"):
        Clip("a", text="na\udcefve")
    with pytest.raises(ImderError, match=r"^id "):
        Clip("\ud83d", audio=Path("a.wav"))


def test_ids_from_files(tmp_path):
    clips = read_source(manifest(tmp_path, "audio,text\nx/a.wav,hello\n,there\n"))
    assert [clip.id for clip in clips] == ["x/a", "clip-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,sound\na,b\n", "unknown column 'sound'; a manifest may have id, video, audio"),
        ("ID,text\na,b\n", "unknown column 'ID' (did you mean 'id'?)"),
        ("id,label\na,1\n", "no column to extract from"),
        ("id,audio,audio\na,b,c\n", "the column 'audio' occurs twice"),
        ("id,audio\na,b.wav\nb,c.wav\na,d.wav\n", "lines 2 and 4 have the same id 'a'"),
        ("id,text\na,Well, no\n", "line 2: 3 cells where the header has 2"),
        ("id,text,split\na,Well,foo\n", "line 2: unknown split 'foo'"),
        ("id,text,dialogue,position\na,Well,d,x\n", "line 2: position: 'x' is not a whole number"),
        ("id,text,position\na,Well,1\n", "line 2: a position without a dialogue"),
        ('id,text\na,"Well\n', "not CSV"),
        ("id,text\n", "no rows below the header"),
        ("", "no column to extract from"),
        (b"id,text\na,\xfc\n", "is not UTF-8 text"),
    ],
)
def test_mistakes(tmp_path, text, message):
    with pytest.raises(ImderError) as caught:
        read_source(manifest(tmp_path, text))
    assert message in str(caught.value)
    assert "clips.csv" in str(caught.value)


def test_a_folder(tmp_path):
    for name in ("a.mp4", "a.WAV", "a.txt", "a.csv", "sub/b.flac", "sub/notes.pdf", ".hidden/c.wav"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    first, second = read_source(tmp_path / "clips")
    assert (first.id, second.id) == ("a", "sub/b")
    assert all((first.video, first.audio, first.text_file, first.openface))
    assert second.has == {"language": False, "vision": False, "audio": True}


def test_folders_that_are_unclear(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.flac").touch()
    with pytest.raises(ImderError, match="would both be the audio of one clip"):
        read_source(tmp_path)
    manifest(tmp_path, "id,text\na,b\n", "manifest.csv")
    with pytest.raises(ImderError, match="holds a manifest"):
        read_source(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImderError, match="no media or text"):
        read_source(tmp_path / "empty")
    with pytest.raises(ImderError, match="no such file"):
        read_source(tmp_path / "none")


def test_labels():
    numbers = [Clip("a", label="1"), Clip("b", label="-0.5"), Clip("c")]
    assert read_labels(numbers, None, "m") == ("regression", (), {"a": 1.0, "b": -0.5})
    mixed = [*numbers, Clip("d", label="sad")]
    with pytest.raises(ImderError, match="of clip 'd' is 'sad', that of clip 'a' is the number 1: correct one, or use"):
        read_labels(mixed, None, "m")
    task, names, labels = read_labels(mixed, "classification", "m")
    assert (task, names, labels["d"]) == ("classification", ("-0.5", "1", "sad"), 2)
    with pytest.raises(ImderError, match="clip 'd': the label 'sad' is not a number"):
        read_labels([Clip("d", label="sad")], "regression", "m")
    with pytest.raises(ImderError, match="at least two classes"):
        read_labels([Clip("d", label="sad")], None, "m")


def test_half_a_split_and_half_a_position():
    with pytest.raises(ImderError, match="'b' has no split"):
        check_splits([Clip("a", split="train"), Clip("b")], "m")
    with pytest.raises(ImderError, match="'b' has a dialogue but no position"):
        check_splits([Clip("a", dialogue="x", position=1), Clip("b", dialogue="x")], "m")


@pytest.mark.parametrize("cell", [".", "..", "./", "clips", "clips/"])
@pytest.mark.parametrize("column", ["audio", "video", "openface"])
def test_a_folder_in_place_of_a_file(cell: str, column: str, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "manifest.csv").write_text(f"id,{column},text\na,{cell},what\n")
    with pytest.raises(ImderError, match=rf"line 2: {column}: '{cell}' is a folder; the file itself is needed"):
        read_source(tmp_path / "manifest.csv")


@pytest.mark.parametrize(
    ("cells", "values"),
    [(("0,5", "-1,2"), [0.5, -1.2]), ((",5", "+3,0"), [0.5, 3]), (("1,5", "2"), [1.5, 2]), (("\u22121", "2"), [-1, 2])],
)
def test_labels_with_decimal_commas_are_numbers(cells: tuple[str, str], values: list[float], tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(f"id;text;label\na;what a day;{cells[0]}\nb;good;{cells[1]}\n")
    task, classes, labels = read_labels(read_source(tmp_path / "clips.csv"), None, "clips.csv")
    assert (task, classes, list(labels.values())) == ("regression", (), values)


@pytest.mark.parametrize(
    "cells", [("1.234,5", "2.000,0"), ("1'234", "2'000"), ("50 %", "20%"), ("\u20131", "\u20132"), ("1 000", "2 000")]
)
def test_labels_in_another_notation_of_numbers_are_no_silent_classes(cells: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "clips.tsv").write_text(f"id\ttext\tlabel\na\twhat a day\t{cells[0]}\nb\tgood\t{cells[1]}\n")
    clips = read_source(tmp_path / "clips.tsv")
    with pytest.raises(ImderError, match=r"clips\.tsv: labels such as .* look like numbers: write them as -1234\.5"):
        read_labels(clips, None, "clips.tsv")
    assert len(read_labels(clips, "classification", "clips.tsv")[1]) == 2


@pytest.mark.parametrize("cells", [("18-25", "26-35"), ("v1", "v2"), ("1:30", "2:00"), ("1st", "2nd")])
def test_names_with_digits_are_classes(cells: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "clips.tsv").write_text(f"id\ttext\tlabel\na\twhat a day\t{cells[0]}\nb\tgood\t{cells[1]}\n")
    assert read_labels(read_source(tmp_path / "clips.tsv"), None, "clips.tsv")[1] == cells


def test_when_all_clips_fail_the_first_causes_are_said(tmp_path: Path) -> None:
    clips = tuple(Clip(name, text="good", audio=tmp_path / f"{name}.wav") for name in "abcd")
    failed = Extracted(failures={"audio": "there is no such file"})
    recipe = Recipe(versions={})
    with pytest.raises(ImderError, match=r"clips give none; 4 failed, such as a: audio: there is no such file; b: "):
        write_corpus(clips, lambda clip: failed, recipe, tmp_path / "store", tmp_path / "work", source="clips.csv")


def test_when_all_clips_fail_the_command_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clips.csv").write_text("id,audio,openface\na,a.wav,a.csv\nb,b.wav,b.csv\n")
    options = ("--language", "none", "--audio", "mel64", "--vision", "aus")
    assert imder_("extract", tmp_path / "clips.csv", tmp_path / "store", *options) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(error) == 1
    assert "4 failed, such as a: " in error[0]
    assert "there is no such file" in error[0]
    assert not (tmp_path / "store").exists()


def test_files_of_a_folder_without_media_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("c0.wav", "c0.txt", "README.txt", "v0.srt", "damaged.csv"):
        (tmp_path / name).write_bytes(b"x" if name != "damaged.csv" else b"")
    (tmp_path / "label.csv").write_text("video_id,clip_id,label\nv0,0,1.5\n")
    (tmp_path / "face.csv").write_text("frame, face_id, timestamp, confidence, success, AU01_r\n")
    (tmp_path / "c0.csv").write_text("video_id,clip_id,label\nv0,0,1.5\n")  # of a clip: an error of that clip
    assert [clip.id for clip in read_source(tmp_path)] == ["README", "c0", "damaged", "face"]
    assert "1 files of subtitles are not read, such as v0.srt" in caplog.text
    assert "1 tables are not OpenFace's and not read, such as label.csv" in caplog.text
    assert "3 clips have a text or table, but no media of their name, such as README" in caplog.text


def test_a_folder_of_other_tables_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "label.csv").write_text("video_id,label\nv0,1.5\n")
    with pytest.raises(ImderError, match="no media or text in this folder"):
        read_source(tmp_path)


def test_a_text_that_names_a_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "c0.txt").write_text("good day")
    (tmp_path / "clips.csv").write_text("id,text\na,c0.txt\nb,Well. Good.\n")
    assert read_source(tmp_path / "clips.csv")[0].text == "c0.txt"
    assert len(caplog.messages) == 1
    assert "line 2: text: 'c0.txt' is a file; its name is read as the words" in caplog.text
