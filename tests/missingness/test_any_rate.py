"""Training masks of dialogues: one missing rate for each dialogue, from nothing to all but one of each clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imder.missingness.any_rate import AnyRate
from imder.types import ImderError


@st.composite
def corpora(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Presence ``(N, K)`` with something in each row, and the dialogue of each row."""
    rows, modalities = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    present = generator.random((rows, modalities)) < 0.7
    present[np.arange(rows), generator.integers(0, modalities, rows)] = True
    return present, generator.choice([-4, 7, 100, 2**40], rows)


@settings(deadline=None)
@given(corpora(), st.integers(0, 2**40))
def test_something_is_kept_in_each_row_and_nothing_is_added(corpus: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    present, dialogue = corpus
    before = present.copy()
    available = AnyRate(dialogue).sample(present, seed)
    assert available.dtype == bool
    assert available.shape == present.shape
    assert not (available & ~present).any()
    assert available.any(1).all()
    np.testing.assert_array_equal(present, before)
    np.testing.assert_array_equal(AnyRate(dialogue).sample(present, seed), available)


@pytest.mark.parametrize("clips", [1, 4, 40])
def test_dropped_shares_are_uniform_up_to_the_cap(clips: int) -> None:
    """Of what can be dropped in each dialogue, whose number of cells limits how finely."""
    count, modalities = 3000, 3
    dialogue = np.repeat(np.arange(count), clips)
    available = AnyRate(dialogue).sample(np.ones((count * clips, modalities), bool), seed=1)
    cap = clips * (modalities - 1)
    dropped = (~available).reshape(count, -1).sum(1)
    assert dropped.min() == 0
    assert dropped.max() == cap
    assert set(dropped) == set(range(cap + 1))
    shares = np.sort(dropped / cap)
    distance = np.abs(shares - (np.arange(count) + 0.5) / count).max()
    assert distance < 1.63 / count**0.5 + 0.5 / cap
    assert dropped.mean() / cap == pytest.approx(0.5, abs=4 * 0.36 / count**0.5)
    by_modality = (~available).mean(0)  # which cells, is a matter of chance
    np.testing.assert_allclose(by_modality, by_modality.mean(), atol=5 * 0.5 / (count * clips) ** 0.5 + 0.01)


def test_clips_of_a_dialogue_share_a_rate_and_dialogues_differ() -> None:
    """In any order of the rows: the rate of one half of a long dialogue is that of the other."""
    dialogue = np.random.default_rng(0).permutation(np.repeat(np.arange(30), 400))
    available = AnyRate(dialogue).sample(np.ones((len(dialogue), 3), bool), seed=2)
    rates = []
    for number in range(30):
        masks = available[dialogue == number]
        first, second = 1 - masks[:200].mean(), 1 - masks[200:].mean()
        assert first == pytest.approx(second, abs=0.08)
        rates.append(1 - masks.mean())
    assert np.ptp(rates) > 0.5
    assert max(rates) < 2 / 3 + 1e-9


def test_seeds_differ_and_what_is_missing_counts_for_nothing() -> None:
    present = np.ones((60, 3), bool)
    present[:30, 1:] = False  # nothing of these can be dropped
    dialogue = np.repeat([5, 6], 30)
    draws = [AnyRate(dialogue).sample(present, seed) for seed in range(20)]
    assert all(np.array_equal(draw[:30], present[:30]) for draw in draws)
    assert len({int(draw.sum()) for draw in draws}) > 10


@pytest.mark.parametrize(
    ("dialogue", "present", "seed", "message"),
    [
        (np.arange(3), np.ones((4, 2), bool), 0, "masks of 3 clips of dialogues were asked for 4 rows"),
        (np.arange(2), np.array([[True, False], [False, False]]), 0, "row 1 holds no modality"),
        (np.arange(2), np.ones((2, 2)), 0, "bool array"),
        (np.arange(2), np.ones((2, 2), bool), -1, "non-negative"),
    ],
)
def test_mistakes_are_one_line(dialogue: np.ndarray, present: np.ndarray, seed: int, message: str) -> None:
    with pytest.raises(ImderError, match=message) as caught:
        AnyRate(dialogue).sample(present, seed)
    assert "\n" not in str(caught.value)


def test_an_empty_split_gives_an_empty_mask() -> None:
    assert AnyRate(np.zeros(0, np.int64)).sample(np.ones((0, 3), bool), 0).shape == (0, 3)
