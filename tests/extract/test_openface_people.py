"""Several faces in a table: the person tracked longest, under whatever numbers."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from imder.extract.openface import read_openface
from tiny_media import openface_columns, openface_rows, write_openface


def table(path, faces, columns, successes=()):
    """Write and read rows of faces ``(face_id, frames, confidence, x in mm or pixels)``; frames count from 0."""
    names = openface_columns(columns)
    blocks = []
    for seed, (face, frames, confidence, x) in enumerate(faces):
        rows = openface_rows(len(frames), names, face, confidence, seed)
        rows[:, names.index("frame")] = np.asarray(frames) + 1
        rows[:, names.index("timestamp")] = np.asarray(frames) / 30
        for name, value in {"pose_Tx": x, "pose_Ty": 0, "x_36": x, "x_45": x + 60, "y_36": 0, "y_45": 0}.items():
            if name in names:
                rows[:, names.index(name)] = value
        blocks.append(rows)
    rows = np.concatenate(blocks)
    rows = rows[np.argsort(rows[:, names.index("frame")], kind="stable")]
    for at in successes:
        rows[at, names.index("success")] = 0
    read = read_openface(write_openface(path, rows, names), columns)
    return read, [(block[:, 5:]).astype(np.float32) for block in blocks]


def test_the_longest_counts_and_not_the_most_confident_for_three_frames(tmp_path):
    read, (long, _) = table(tmp_path / "a.csv", [(0, range(40), 0.8, 0), (1, range(10, 13), 0.99, 500)], "pose+aus")
    assert_array_equal(read.values, long)
    assert read.people == 2


def test_equal_times_are_decided_by_confidence(tmp_path):
    read, (_, sure) = table(tmp_path / "a.csv", [(0, range(9), 0.7, 0), (1, range(9), 0.9, 500)], "aus")
    assert_array_equal(read.values, sure)


@pytest.mark.parametrize("columns", ["pose+aus", "landmarks"])
def test_one_person_under_changing_numbers(tmp_path, columns):
    """The person at x = 0 is lost twice and found again; the other one stays, but for fewer frames in all."""
    faces = [(0, range(12), 0.9, 0), (1, range(30), 0.9, 600), (2, range(14, 26), 0.9, 20), (5, range(28, 42), 0.9, 40)]
    read, (a, _, b, c) = table(tmp_path / "a.csv", faces, columns)
    assert_array_equal(read.values, np.concatenate([a, b, c]))
    assert read.people == 2
    assert read.times is not None
    assert (np.diff(read.times) > 0).all()


def test_somebody_elsewhere_is_somebody_else(tmp_path):
    read, (_, b) = table(tmp_path / "a.csv", [(0, range(9), 0.9, 0), (1, range(9, 21), 0.9, 700)], "pose+aus")
    assert_array_equal(read.values, b)
    assert read.people == 2


def test_without_positions_numbers_that_never_meet_are_one_person(tmp_path):
    read, (a, b) = table(tmp_path / "a.csv", [(3, range(9), 0.9, 0), (7, range(10, 22), 0.9, 700)], "aus")
    assert_array_equal(read.values, np.concatenate([a, b]))
    assert read.people == 1


def test_only_tracked_frames_count(tmp_path):
    """A number with many rows, most of which the tracker gave up, is there for less time."""
    faces = [(0, range(20), 0.9, 0), (1, range(8), 0.9, 600)]
    read, (_, b) = table(tmp_path / "a.csv", faces, "pose+aus", successes=[0, 2, 4, 6, *range(16, 28)])
    assert_array_equal(read.values, b)
