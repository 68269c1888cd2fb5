"""Tables of OpenFace as they come: both styles of header, several faces, lost frames, broken ends."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from imder.extract.openface import GROUPS, columns_of, read_openface
from imder.extract.vision import find_openface, track, vision_recipe
from imder.types import ImderError
from tiny_media import openface_columns, openface_rows, write_openface

DATA = os.environ.get("IMDER_DATA")


def test_presets_have_the_columns_of_openface():
    assert len(columns_of("sims")) == len(set(columns_of("sims"))) == 709
    assert set(columns_of("cues")) <= set(columns_of("sims"))
    assert [len(GROUPS[g]) for g in ("gaze", "pose", "aus", "landmarks")] == [8, 6, 35, 136]
    assert columns_of("aus")[:2] == ("AU01_r", "AU02_r")
    assert [name for name in columns_of("aus") if name.endswith("_c")][-2:] == ["AU28_c", "AU45_c"]


@pytest.mark.parametrize("blanks", [False, True])
@pytest.mark.parametrize("face", [False, True])
@pytest.mark.parametrize(("kind", "separator"), [("sims", ","), ("cues", ";"), ("aus", ",")])
def test_both_styles(tmp_path, blanks, face, kind, separator):
    columns = openface_columns("sims" if kind == "cues" else kind, face)
    rows = openface_rows(6, columns)
    found = read_openface(write_openface(tmp_path / "a.csv", rows, columns, blanks, separator), kind)
    wanted = [columns.index(name) for name in columns_of(kind)]
    assert_array_equal(found.values, rows[:, wanted].astype(np.float32))
    assert (found.untracked, found.people, found.broken_off) == (0, 1, False)
    assert found.times is not None
    assert found.times[1] == pytest.approx(1 / 30, abs=1e-5)


def test_action_units_alone(tmp_path):
    """Tables without frame, confidence and success exist: every frame counts."""
    rows = openface_rows(4, columns_of("aus"))
    found = read_openface(write_openface(tmp_path / "a.csv", rows, columns_of("aus"), separator=";"), "aus")
    assert_array_equal(found.values, rows.astype(np.float32))
    assert found.times is None


def test_lost_frames_are_dropped_and_counted(tmp_path):
    columns = openface_columns("aus")
    rows = openface_rows(6, columns)
    rows[[1, 4], columns.index("success")] = 0
    path = write_openface(tmp_path / "a.csv", rows, columns)
    path.write_text(path.read_text().replace(f"{rows[2, 5]:g},", "-nan(ind),", 1))
    found = read_openface(path, "aus")
    assert found.untracked == 3
    assert_array_equal(found.values, rows[[0, 3, 5]][:, 5:].astype(np.float32))


def test_a_last_row_that_breaks_off(tmp_path):
    columns = openface_columns("aus")
    rows = openface_rows(4, columns)
    path = write_openface(tmp_path / "a.csv", rows, columns, blanks=True)
    path.write_text(path.read_text()[:-40])
    found = read_openface(path, "aus")
    assert found.broken_off
    assert_array_equal(found.values, rows[:3, 5:].astype(np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a,b\n1,2\n", "none of its columns is OpenFace's"),
        ("AU01_r,AU01_r\n1,2\n", "the column 'AU01_r' occurs twice"),
        ("AU01_r,AU02_r\n1,2\n", "lacks the column 'AU04_r' and 32 more of --vision aus"),
        (",".join(columns_of("aus")) + "\n1,2\n" + ",".join(["1"] * 35) + "\n", "line 2: 2 values where"),
        (",".join(columns_of("aus")) + "\n" + ",".join(["1"] * 34 + ["x"]) + "\n", "line 2: 'x' is not a number"),
    ],
)
def test_mistakes(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ImderError, match=r"a\.csv") as caught:
        read_openface(tmp_path / "a.csv", "aus")
    assert message in str(caught.value)


def test_unreadable(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"AU01_r\xff\xfe,\n")
    with pytest.raises(ImderError, match="is not text"):
        read_openface(tmp_path / "a.csv", "aus")
    with pytest.raises(ImderError, match="cannot be read"):
        read_openface(tmp_path / "b.csv", "aus")
    with pytest.raises(ImderError, match="unknown columns 'face'"):
        columns_of("face")
    with pytest.raises(ImderError, match="columns repeat"):
        columns_of("cues+gaze")


def test_the_advice_names_what_would_do(tmp_path):
    columns = (*openface_columns("pose+aus"),)
    path = write_openface(tmp_path / "a.csv", openface_rows(2, columns), columns)
    with pytest.raises(ImderError, match=r"it has those of --vision pose\+aus"):
        read_openface(path, "cues")


def program(folder, body):
    path = folder / "FeatureExtraction"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_openface_is_run(tmp_path, monkeypatch):
    columns = openface_columns("sims")
    rows = openface_rows(3, columns)
    write_openface(tmp_path / "table.csv", rows, columns)
    program(tmp_path, f'cp "{tmp_path}/table.csv" "$4/$6.csv"; test -f "$2"')
    video = tmp_path / "ein Gesicht 😀.mp4"
    video.write_bytes(b"x")
    where = find_openface(str(tmp_path))
    assert where is not None
    found = track(video, where, vision_recipe("sims"))
    assert_array_equal(found.values, rows[:, 5:].astype(np.float32))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_openface(None) == str(tmp_path / "FeatureExtraction")


def test_openface_that_fails(tmp_path):
    where = str(program(tmp_path, "echo no model found >&2; exit 4"))
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(ImderError, match="OpenFace ended with exit code 4 and no table: no model found"):
        track(tmp_path / "a.mp4", where, vision_recipe("aus"))
    with pytest.raises(ImderError, match="no program FeatureExtraction there"):
        find_openface(str(tmp_path / "a.mp4"))
    with pytest.raises(ImderError, match="there is no such file"):
        track(tmp_path / "b.mp4", where, vision_recipe("aus"))


@pytest.mark.skipif(DATA is None, reason="IMDER_DATA is not set")
@pytest.mark.parametrize(
    ("name", "columns", "frames", "broken_off"),
    [
        ("default.csv", "pose+aus", 288, False),
        ("full_709_no_face_id.csv", "sims", 715, False),
        ("full_709_truncated.csv", "sims", 474, True),
    ],
)
def test_real_tables(name, columns, frames, broken_off):
    found = read_openface(Path(str(DATA)) / "openface" / name, columns)
    assert len(found.values) + found.untracked == frames
    assert found.broken_off == broken_off


def test_memory_is_that_of_the_columns_wanted(tmp_path):
    """OpenFace writes hundreds of columns for each frame, and recordings are long."""
    import tracemalloc

    columns = openface_columns("sims")
    path = write_openface(tmp_path / "t.csv", openface_rows(800, columns), columns)
    tracemalloc.start()
    try:
        found = read_openface(path, "aus")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.values.shape == (800, 35)
    assert found.seconds == pytest.approx(800 / 30, abs=1e-3)
    assert peak < path.stat().st_size / 2
