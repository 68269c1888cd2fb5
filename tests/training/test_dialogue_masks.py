"""Masks and batches of systems that read whole dialogues."""

from dataclasses import replace

import numpy as np
import pytest

from imder.data.corpus import Ragged, Split
from imder.data.dialogues import dialogue_numbers, has_neighbours
from imder.missingness.any_rate import AnyRate
from imder.missingness.protocols import AnySubset, NaturalMissing, RandomMissing
from imder.training.config import PhaseConfig, TrainingConfig
from imder.training.masks import natural_loader, protocol_of, training_loader, validation_loader

NAMES = ("language", "audio")
EMPTY = (3, 8)  # clips of which nothing is present
EVERY = PhaseConfig(batch_size=8, missing="every")


def split_of(labelled=None):
    """Four dialogues of 5, 4, 1 and 6 clips, rows in any order; some clips have nothing, one has no audio."""
    rng = np.random.default_rng(0)
    clips = [(d, p) for d, n in enumerate((5, 4, 1, 6)) for p in range(n)]
    clips = [clips[i] for i in rng.permutation(len(clips))]
    frames = {
        k: [rng.standard_normal((0 if i in EMPTY or (k == "audio" and i == 5) else 2, 3)) for i in range(len(clips))]
        for k in NAMES
    }
    labels = rng.standard_normal(len(clips)).astype(np.float32)
    if labelled is not None:
        labels[[d not in labelled for d, _ in clips]] = np.nan
    return Split(
        tuple(f"clip {i}" for i in range(len(clips))),
        {k: Ragged.from_list([x.astype(np.float32) for x in v], 3) for k, v in frames.items()},
        labels,
        dialogue=tuple(f"dialogue {d}" for d, _ in clips),
        position=np.array([7 * p for _, p in clips]),
    )


def masks_of(loader):
    """``(N, K)``: the mask of each row, and how often it occurs."""
    out, count = np.zeros_like(loader.split.present), np.zeros(len(loader.split), int)
    out[loader.rows] = loader.available
    np.add.at(count, loader.rows, 1)
    return out, count


def test_protocols_of_neighbours():
    numbers = dialogue_numbers(split_of())
    training = TrainingConfig()
    assert protocol_of(EVERY, training) == NaturalMissing()
    with_context = protocol_of(EVERY, training, numbers)
    assert isinstance(with_context, AnyRate)
    assert np.array_equal(with_context.dialogue, numbers)
    assert protocol_of(PhaseConfig(missing="any"), training, numbers) == AnySubset()
    assert protocol_of(PhaseConfig(missing="none"), training, numbers) == NaturalMissing()
    assert protocol_of(EVERY, TrainingConfig(missing_rate=0.4), numbers) == RandomMissing(0.4)


@pytest.mark.parametrize("missing", ["every", "any", "none"])
def test_clips_with_nothing_keep_their_position(missing):
    split = split_of()
    loader = training_loader(split, replace(EVERY, missing=missing), TrainingConfig(), 0, context=True)
    masks, count = masks_of(loader)
    assert count.tolist() == [1] * len(split)
    assert masks.any(1).tolist() == split.present.any(1).tolist()
    assert not masks[list(EMPTY)].any()
    met = []
    for batch in loader:
        for number in batch.dialogue.unique():
            rows = batch.dialogue == number
            met.append(int(rows.sum()))
            position = np.sort(batch.position[rows].numpy())
            assert position.tolist() == [7 * i for i in range(len(position))]  # whole, and in order
            assert not batch.available[~batch.present].any()
    assert sorted(met) == [1, 4, 5, 6]


def test_neighbours_get_new_masks_in_each_epoch():
    split = split_of()
    epochs = [masks_of(training_loader(split, EVERY, TrainingConfig(), e, context=True))[0] for e in (0, 1, 0)]
    assert np.array_equal(epochs[0], epochs[2])
    assert not np.array_equal(epochs[0], epochs[1])
    other = masks_of(training_loader(split, EVERY, TrainingConfig(seed=1), 0, context=True))[0]
    assert not np.array_equal(epochs[0], other)


def test_without_context_every_subset_is_tried_of_what_is_present():
    split = split_of()
    loader = training_loader(split, EVERY, TrainingConfig(), 0)
    assert sorted(loader.rows) == [i for i in range(len(split)) if i not in EMPTY]
    assert np.array_equal(loader.available, split.present[loader.rows])


def test_unlabelled_clips_are_neighbours_in_dialogues_with_a_label():
    split = split_of(labelled={0, 2})
    numbers = dialogue_numbers(split)
    whole = np.isin(numbers, numbers[split.labelled])
    for loader in (
        training_loader(split, EVERY, TrainingConfig(), 0, context=True),
        validation_loader(split, EVERY, TrainingConfig(), all_patterns=True, context=True),
    ):
        assert sorted(set(loader.rows)) == np.flatnonzero(whole).tolist()
    assert len(set(training_loader(split, EVERY, TrainingConfig(), 0, context=True, unlabelled=True).rows)) == 16


def test_validation_repeats_whole_dialogues_under_fixed_masks():
    split = split_of()
    first, second = (
        validation_loader(split, EVERY, TrainingConfig(seed=s), all_patterns=True, context=True) for s in (0, 5)
    )
    assert np.array_equal(first.available, second.available)
    _, count = masks_of(first)
    assert len(set(count)) == 1
    for batch in first:
        for number in batch.dialogue.unique():
            position = np.sort(batch.position[batch.dialogue == number].numpy())
            assert position.tolist() == [7 * i for i in range(len(position))]


def test_natural_masks_hold_every_clip():
    split = split_of()
    loader = natural_loader(split, TrainingConfig(), 6, context=True)
    masks, count = masks_of(loader)
    assert np.array_equal(masks, split.present)
    assert count.tolist() == [1] * 16


def test_which_splits_have_neighbours():
    split = split_of()
    assert has_neighbours(split)
    assert not has_neighbours(replace(split, dialogue=None))
    assert not has_neighbours(replace(split, position=None))
    assert not has_neighbours(replace(split, dialogue=("",) * 16))
    assert not has_neighbours(replace(split, dialogue=tuple(str(i) for i in range(16))))
