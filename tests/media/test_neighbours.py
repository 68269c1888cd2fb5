"""Media for a system with context: clips of a manifest's dialogues, and windows of a recording, see their neighbours."""

from dataclasses import replace

import numpy as np
import pytest

import imder
from command_line import imder_
from imder.data.corpus import Ragged, Split
from imder.data.store import read_store
from imder.extract.manifest import read_source
from imder.types import ImderError
from media_runs import WORDS
from tiny_media import write_manifest


@pytest.fixture(scope="module")
def dialogues(media):
    """Six dialogues of four clips, in another order than that of their positions; a store, and GCNet trained on it."""
    head = ("id", "audio", "text", "openface", "label", "split", "dialogue", "position")
    rows = [
        (
            f"c{i}",
            f"{i}.wav",
            WORDS[i % 4],
            f"{i}.csv",
            (i % 5) - 2.0,
            ("train", "train", "train", "valid", "test", "test")[d],
            f"d{d}",
            p,
        )
        for i in range(24)
        for d, p in [divmod((i * 7) % 24, 4)]
    ]
    write_manifest(media / "dialogues.csv", [head, *rows])
    options = ("--language", media / "bert", "--audio", "mel64", "--vision", "pose+aus")
    assert imder_("extract", media / "dialogues.csv", media / "dialogues", *options) == 0
    words = ("--preset", "gcnet", "--max-epochs", "2", "--model.hidden", "8", "--engine.accelerator", "cpu")
    assert imder_("train", media / "dialogues", "--out", media / "gcnet", *words) == 0
    return media


@pytest.fixture(scope="module")
def reader(dialogues):
    return imder.Predictor(dialogues / "gcnet")


def predictions(rows):
    return np.array([row["prediction"] for row in rows])


def test_dialogues_of_a_manifest_reach_the_store(dialogues):
    clips = {clip.id: clip for clip in read_source(dialogues / "dialogues.csv")}
    corpus = read_store(dialogues / "dialogues")
    assert {sample.dialogue for split in corpus.splits.values() for sample in split} == {f"d{d}" for d in range(6)}
    for split in corpus.splits.values():
        for sample in split:
            assert (sample.dialogue, sample.position) == (clips[sample.id].dialogue, clips[sample.id].position)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_clips_of_a_manifest_see_their_neighbours(dialogues, reader, batch_size):
    clips = reader.predict_clips(dialogues / "dialogues.csv", split="test", batch_size=batch_size)
    store = reader.predict(dialogues / "dialogues", split="test")
    assert [row["id"] for row in clips.rows] == [row["id"] for row in store]
    assert predictions(clips.rows) == pytest.approx(predictions(store), abs=1e-5)
    given = [clip for clip in read_source(dialogues / "dialogues.csv") if clip.split == "test"]
    alone = predictions([reader.predict_clips([clip]).only() for clip in given])
    assert (np.abs(alone - predictions(store)) > 1e-4).all()


def test_half_the_positions_of_a_dialogue_are_refused(dialogues, reader):
    first, *others = read_source(dialogues / "dialogues.csv")
    with pytest.raises(ImderError, match=f"clip {first.id!r} has a dialogue but no position"):
        reader.predict_clips([replace(first, position=None), *others])


@pytest.mark.parametrize("hop", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_windows_are_the_clips_of_one_dialogue(reader, long, hop, batch_size):
    """As the same windows in a split with dialogue and position, whatever the hop and the batch size."""
    recording = reader.read_recording(**long)
    rows = reader.predict_windows(recording, 1.0, hop, batch_size=batch_size)
    features = [recording.between(row["start"], row["end"], 0.1) for row in rows]
    spec = reader.model.spec
    split = Split(
        tuple(f"w{i}" for i in range(len(rows))),
        {
            m.name: Ragged.from_list([f.get(m.name, np.zeros((0, m.dim), np.float32)) for f in features], m.dim)
            for m in spec.modalities
        },
        dialogue=("film",) * len(rows),
        position=np.arange(len(rows)),
    )
    expected = predictions(reader.predict(split))
    assert predictions(rows) == pytest.approx(expected, abs=1e-5)
    unordered = predictions(reader.predict(replace(split, dialogue=None, position=None)))
    assert (np.abs(unordered - expected) > 1e-4).any()
    reversed_order = predictions(reader.predict(replace(split, position=np.arange(len(rows))[::-1].copy())))
    assert (np.abs(reversed_order - expected) > 1e-4).any()


def test_windows_with_nothing_are_left_out_of_the_dialogue(reader, long):
    """The face is lost from 2 to 4.5 s: windows without it have no prediction, those around them are neighbours."""
    recording = reader.read_recording(openface=long["openface"])
    rows = reader.predict_windows(recording, 1.0, 1.0)
    assert [row["available"] for row in rows] == ["vision", "vision", "", "", "vision", "vision", "vision"]
    shown = [row for row in rows if row["available"]]
    alone = predictions([reader.predict_windows(_cut(recording, row), 9, 9)[0] for row in shown])
    assert (np.abs(alone - predictions(shown)) > 1e-4).any()


def _cut(recording, row):
    """A recording of one window."""
    first, last = recording._frames("vision", row["start"], row["end"])
    return replace(
        recording,
        features={"vision": recording.features["vision"][first:last]},
        times={"vision": recording.times["vision"][first:last] - row["start"]},
        seconds=row["end"] - row["start"],
    )


def test_a_system_without_context_predicts_each_window_by_itself(predictor, long):
    recording = predictor.read_recording(openface=long["openface"])
    rows = predictor.predict_windows(recording, 1.0, 1.0)
    shown = [row for row in rows if row["available"]]
    alone = predictions([predictor.predict_windows(_cut(recording, row), 9, 9)[0] for row in shown])
    assert predictions(shown) == pytest.approx(alone, abs=1e-5)
