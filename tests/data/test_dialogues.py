"""Whole dialogues in batches: never split, never mixed, the same for one process or several."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.data.corpus import Ragged, Split
from imder.data.dialogues import dialogue_numbers, whole_dialogues
from imder.data.loader import MaskedLoader
from imder.types import ImderError

DIALOGUES = ("b", "a", "b", "", "c", "a", "b", "", "c", "d")
POSITIONS = np.array([2, 0, 0, 0, 7, 1, 5, 0, 3, 0])
GROUPS = [{0, 2, 6}, {1, 5}, {3}, {4, 8}, {7}, {9}]


@pytest.fixture
def split():
    n = len(DIALOGUES)
    features = {name: Ragged.from_list([np.ones((1, 2), np.float32)] * n, 2) for name in ("language", "audio")}
    labels = np.arange(n, dtype=np.float32)
    speaker = tuple("XYXXYY Z X".replace(" ", "_"))
    speaker = tuple("" if s == "_" else s for s in speaker)
    ids = tuple(f"s{i}" for i in range(n))
    return Split(ids, features, labels, dialogue=DIALOGUES, position=POSITIONS, speaker=speaker)


def rows_by_dialogue(batch):
    """What a batch holds: sets of row numbers (which the labels are)."""
    return [set(batch.labels[batch.dialogue == d].int().tolist()) for d in batch.dialogue.unique()]


def whole(split, size=2, **more):
    """Batches of so many dialogues: of as many clips as these have on average."""
    clips = round(size * len(split) / len(GROUPS))
    return whole_dialogues(MaskedLoader(split, np.arange(len(split)), split.present, clips, **more))


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_a_dialogue_is_in_one_batch(split, size):
    for made in (whole(split, size), whole(split, size).shuffled(3, 1)):
        batches = list(made)
        assert len(batches) == len(made) == -(-6 // size)
        found = [group for batch in batches for group in rows_by_dialogue(batch)]
        assert sorted(map(sorted, found)) == sorted(map(sorted, GROUPS))
        for index, batch in enumerate(batches):
            assert len(batch.dialogue.unique()) <= size
            rows = batch.labels.int().tolist()
            assert made.rows[made.batch_indices(index)].tolist() == rows
            assert batch.position.tolist() == POSITIONS[rows].tolist()
    orders = {tuple(whole(split, size).shuffled(3, epoch).rows.tolist()) for epoch in range(5)}
    assert len(orders) > 1


def test_speakers_are_equal_where_they_are(split):
    (batch,) = whole(split, 100)
    names = np.array(split.speaker)[batch.labels.int()]
    assert (batch.speaker[names == ""] == -1).all()
    for name in "XYZ":
        assert len(batch.speaker[names == name].unique()) == 1
    (unknown,) = whole(replace(split, speaker=None), 100)
    assert (unknown.speaker == -1).all()
    assert torch.equal(batch.to("cpu").speaker, batch.speaker)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_dialogues(split, world):
    shares = [whole(split, 4, rank=rank, world=world) for rank in range(world)]
    found = []
    for share in shares:
        assert len(share) == 2
        for index, batch in enumerate(share):
            assert len(batch)
            if not share.is_padding(index):
                found += rows_by_dialogue(batch)
    assert sorted(map(sorted, found)) == sorted(map(sorted, GROUPS))


@pytest.mark.parametrize(
    ("asked", "world", "dialogues"), [(1, 1, 1), (1, 2, 2), (3, 1, 2), (5, 1, 3), (10, 1, 6), (10, 2, 6)]
)
def test_batches_hold_about_as_many_clips_as_asked(split, asked, world, dialogues):
    pairs = MaskedLoader(split, np.arange(10), split.present, asked, world=world)
    assert whole_dialogues(pairs).batch_size == dialogues  # 10 clips in 6 dialogues


def test_copies_of_a_dialogue_are_apart(split):
    rows = np.tile(np.arange(10), 2)
    pairs = MaskedLoader(split, rows, np.repeat([[True, False], [True, True]], 10, axis=0), 100)
    (batch,) = whole_dialogues(pairs, np.repeat([0, 1], 10))
    assert len(batch.dialogue.unique()) == 12
    for d in batch.dialogue.unique():
        assert len(batch.available[batch.dialogue == d].unique(dim=0)) == 1
    sized = whole_dialogues(pairs, np.repeat([0, 1], 10), at_once=6)
    assert sized.batch_size == 2  # the longest dialogue has three clips
    assert whole_dialogues(pairs, np.repeat([0, 1], 10), at_once=1).batch_size == 1


def test_what_is_unknown_is_alone(split):
    n = np.arange(10).tolist()
    assert dialogue_numbers(replace(split, dialogue=None)).tolist() == n
    assert dialogue_numbers(replace(split, position=None)).tolist() == n
    (batch,) = whole(replace(split, position=None), 100)
    assert batch.position.tolist() == [0] * 10
    assert len(batch.dialogue.unique()) == 10


def test_an_unknown_order_is_an_error(split):
    position = POSITIONS.copy()
    position[6] = 0
    with pytest.raises(ImderError, match=r"samples 's2' and 's6' both have position 0 of dialogue 'b'"):
        dialogue_numbers(replace(split, position=position))


def test_an_empty_pass(split):
    none = np.zeros(0, np.int64)
    assert list(whole_dialogues(MaskedLoader(split, none, split.present[none], 4))) == []
