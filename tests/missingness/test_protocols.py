from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from imder.missingness.masks import effective_rate
from imder.missingness.official_schedule import OfficialSchedule
from imder.missingness.patterns import pattern_from_name, pattern_name, patterns
from imder.missingness.protocols import (
    AnySubset,
    FixedMissing,
    Missing,
    NaturalMissing,
    RandomMissing,
)
from imder.types import ImderError

NAMES = ("language", "vision", "audio")
seeds = st.integers(0, 2**40)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """A bool (N, K) with at least one True in each row."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, max_side=12))
    present = draw(arrays(bool, shape))
    columns = draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    present[np.arange(shape[0]), columns] = True
    return present


def full(n: int, k: int = 3) -> np.ndarray:
    return np.ones((n, k), dtype=bool)


def natural(n: int, k: int = 3, seed: int = 5) -> np.ndarray:
    return AnySubset().sample(full(n, k), seed)


# ---- what holds for all


@settings(deadline=None)
@given(masks(), seeds, st.floats(0, 1))
def test_subset_of_present_with_one_kept_and_reproducible(present: np.ndarray, seed: int, rate: float) -> None:
    before = present.copy()
    protocols: list[Missing] = [RandomMissing(rate), AnySubset(), NaturalMissing()]
    for protocol in protocols:
        available = protocol.sample(present, seed)
        assert available.dtype == bool
        assert available.shape == present.shape
        assert not (available & ~present).any()
        assert available.any(axis=1).all()
        np.testing.assert_array_equal(available, protocol.sample(present, seed))
    np.testing.assert_array_equal(present, before)  # never written to


@settings(deadline=None)
@given(masks(), seeds, st.floats(0, 1))
def test_random_drops_exactly(present: np.ndarray, seed: int, rate: float) -> None:
    cells, rows = int(present.sum()), len(present)
    dropped = cells - int(RandomMissing(rate).sample(present, seed).sum())
    assert dropped == min(round(rate * cells), cells - rows)


@pytest.mark.parametrize("protocol", [RandomMissing(0.3), AnySubset(), NaturalMissing(), OfficialSchedule(0.3, 4)])
def test_an_empty_split_gives_an_empty_mask(protocol: Missing) -> None:
    assert protocol.sample(np.ones((0, 3), dtype=bool), 0).shape == (0, 3)


@pytest.mark.parametrize(
    "protocol",
    [RandomMissing(0.3), AnySubset(), NaturalMissing(), OfficialSchedule(0.3, 4), FixedMissing((True, True, False))],
)
def test_mistakes_are_named(protocol: Missing) -> None:
    present = full(5)
    present[3] = False
    with pytest.raises(ImderError, match="row 3"):
        protocol.sample(present, 0)
    with pytest.raises(ImderError, match="bool"):
        protocol.sample(full(5).astype(float), 0)
    with pytest.raises(ImderError, match="bool"):
        protocol.sample(full(5)[0], 0)


@pytest.mark.parametrize("protocol", [RandomMissing(0.3), AnySubset(), OfficialSchedule(0.3, 1)])
def test_seeds(protocol: Missing) -> None:
    assert (protocol.sample(full(100), 0) != protocol.sample(full(100), 1)).any()
    with pytest.raises(ImderError, match="seed"):
        protocol.sample(full(100), -1)


# ---- random


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5, 0.6, 0.65])
@pytest.mark.parametrize("n", [179, 686, 16265])
def test_random_rate_on_complete_corpora_is_the_effective_rate(rate: float, n: int) -> None:
    available = RandomMissing(rate).sample(full(n), 3)
    assert effective_rate(available) == pytest.approx(round(rate * 3 * n) / (3 * n))


@pytest.mark.parametrize("rate", [0.67, 0.7, 0.9, 1.0])
def test_random_cap_leaves_one(rate: float) -> None:
    for present in (full(301), natural(301), full(50, 2)):  # caps 2/3, below 2/3, 1/2
        assert (RandomMissing(rate).sample(present, 0).sum(axis=1) == 1).all()


def test_random_rate_counts_present_cells_only() -> None:
    present = natural(999)
    available = RandomMissing(0.2).sample(present, 0)
    assert present.sum() - available.sum() == round(0.2 * present.sum())
    assert effective_rate(available) == pytest.approx(1 - available.sum() / present.size)


def test_random_survivor_is_uniform_at_the_cap() -> None:
    n = 30_000
    available = RandomMissing(1.0).sample(full(n), 1)
    assert np.abs(available.sum(axis=0) - n / 3).max() < 5 * np.sqrt(n * 2 / 9)
    present = np.tile([True, False, True], (n, 1))
    counts = RandomMissing(1.0).sample(present, 1).sum(axis=0)
    assert counts[1] == 0
    assert abs(counts[0] - n / 2) < 5 * np.sqrt(n / 4)


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_random_dropped_cells_are_uniform_over_modalities_and_rows(rate: float) -> None:
    n, draws = 1000, 60
    drawn = np.stack([~RandomMissing(rate).sample(full(n), seed) for seed in range(draws)])
    by_modality = drawn.mean(axis=(0, 1))
    assert np.abs(by_modality - rate).max() < 5 * np.sqrt(rate * (1 - rate) / (n * draws))
    # over rows: chi-square of the cells' counts, n - 1 degrees of freedom, generous bounds
    by_row = drawn.sum(axis=(0, 2))
    expected = 3 * rate * draws
    chi2 = float(((by_row - expected) ** 2 / expected).sum())
    assert 0.2 * n < chi2 < 1.3 * n
    # how many a sample loses: two of its non-kept cells, each dropped with probability about q = 3 rate / 2
    q = 1.5 * rate
    for lost in range(3):
        share = float((drawn.sum(axis=2) == lost).mean())
        assert share == pytest.approx(comb(2, lost) * q**lost * (1 - q) ** (2 - lost), abs=0.01)


def test_rates_do_not_share_streams() -> None:
    """At the cap only the kept cell is left: for unrelated streams it agrees in a third of the rows."""
    n = 9000
    agree = (RandomMissing(1.0).sample(full(n), 0) & RandomMissing(0.9).sample(full(n), 0)).any(axis=1)
    assert abs(agree.mean() - 1 / 3) < 5 * np.sqrt(2 / 9 / n)


@pytest.mark.parametrize("rate", [-0.01, 1.01, float("nan"), float("inf")])
def test_rates_are_checked(rate: float) -> None:
    with pytest.raises(ImderError, match=r"\[0, 1\]"):
        RandomMissing(rate)
    with pytest.raises(ImderError, match=r"\[0, 1\]"):
        OfficialSchedule(rate, 32)


# ---- fixed and natural


def test_fixed_serves_the_subset_and_leaves_out_rows_without_it() -> None:
    present = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 1]], dtype=bool)
    available = FixedMissing((True, True, False)).sample(present, 0)
    assert available.tolist() == [[True, True, False], [True, False, False], [False, True, False], [False] * 3]
    assert available.any(axis=1).sum() == 3
    assert effective_rate(available) == pytest.approx(1 - 4 / 9)


def test_fixed_mistakes() -> None:
    with pytest.raises(ImderError, match="at least one"):
        FixedMissing((False, False))
    with pytest.raises(ImderError, match="2 modalities"):
        FixedMissing((True, False)).sample(full(4), 0)
    assert FixedMissing(np.array([True, False])).available == (True, False)  # type: ignore[arg-type]


def test_natural_is_a_copy() -> None:
    present = natural(20)
    available = NaturalMissing().sample(present, 0)
    np.testing.assert_array_equal(available, present)
    assert available is not present


# ---- any


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_any_is_uniform_over_subsets_of_what_is_present(k: int) -> None:
    n, absent = 20_000, 1  # a modality that is never there must not bend the rest
    present = np.concatenate([full(n, k), np.zeros((n, absent), dtype=bool)], axis=1)
    codes = AnySubset().sample(present, 2) @ (1 << np.arange(k + absent))
    values, counts = np.unique(codes, return_counts=True)
    assert values.tolist() == list(range(1, 2**k))
    expected = n / (2**k - 1)
    assert float(((counts - expected) ** 2 / expected).sum()) <= 5 * max(2**k - 2, 1)


# ---- the released schedule


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.1, 0.093), (0.2, 0.187), (0.3, 0.280), (0.4, 0.373), (0.5, 0.466), (0.6, 0.560), (0.7, 0.622), (0.0, 0.622)],
)
def test_official_effective_rates(rate: float, expected: float) -> None:
    for seed in range(3):
        assert round(effective_rate(OfficialSchedule(rate, 32).sample(full(686), seed)), 3) == expected


def reference_schedule(rate: float, batches: int) -> list[int]:
    """How many modalities each batch loses, step by step as ARCHITECTURE.md section 6 puts it."""
    miss_2, miss_1 = [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0], [0.1, 0.2, 0.3, 0.2, 0.1, 0.0, 0.0]
    index = 6 if rate == 0 else round(rate * 10) - 1
    d = 10 * round(batches / 10)
    two, one, lost = 0, 0, []
    for _ in range(batches):
        if d and two / d < miss_2[index]:
            two, lost = two + 1, [*lost, 2]
        elif d and one / d < miss_1[index]:
            one, lost = one + 1, [*lost, 1]
        else:
            lost = [*lost, 0]
    return lost


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
@pytest.mark.parametrize("batches", [1, 4, 5, 6, 9, 14, 15, 17, 22, 25, 41, 127])
def test_official_follows_the_schedule(rate: float, batches: int) -> None:
    """Batches of 2: the split's losses are those of the reference, each twice (the last batch is partial: once)."""
    n = 2 * batches - 1
    lost = np.sort((~OfficialSchedule(rate, 2).sample(full(n), 4)).sum(axis=1))
    expected = np.sort(np.repeat(reference_schedule(rate, batches), 2)[:n])
    np.testing.assert_array_equal(lost, expected)


def test_official_rows_of_a_batch_share_a_pattern_and_batches_are_shuffled() -> None:
    available = OfficialSchedule(0.3, 10).sample(full(1000), 0)
    counts = np.unique(available, axis=0, return_counts=True)[1]
    assert (counts % 10 == 0).all()
    lost = (~available).sum(axis=1)
    assert (np.diff(lost) != 0).sum() > 400  # not in blocks by file order
    assert abs(lost[:500].sum() - lost[500:].sum()) < 150


def test_official_patterns_are_uniform() -> None:
    available = OfficialSchedule(0.3, 1).sample(full(10_000), 0)
    for kept in (1, 2):
        rows = available[available.sum(axis=1) == kept]
        assert len(rows) == 3000
        assert np.abs(np.unique(rows, axis=0, return_counts=True)[1] - 1000).max() < 130


def test_official_zero_is_point_seven_and_small_splits_miss_nothing() -> None:
    np.testing.assert_array_equal(
        OfficialSchedule(0.0, 32).sample(full(686), 8), OfficialSchedule(0.7, 32).sample(full(686), 8)
    )
    assert OfficialSchedule(0.7, 32).sample(full(5 * 32), 0).all()
    assert not OfficialSchedule(0.7, 32).sample(full(5 * 32 + 1), 0).all()


def test_official_refusals() -> None:
    for rate in (0.8, 1.0, 0.25, 0.05):
        with pytest.raises(ImderError, match=r"0\.7"):
            OfficialSchedule(rate, 32)
    with pytest.raises(ImderError, match="batch size"):
        OfficialSchedule(0.3, 0)
    with pytest.raises(ImderError, match="three modalities"):
        OfficialSchedule(0.3, 32).sample(full(100, 2), 0)
    present = full(100)
    present[7, 1] = False
    with pytest.raises(ImderError, match="row 7"):
        OfficialSchedule(0.3, 32).sample(present, 0)
    assert OfficialSchedule(0.1 + 0.2, 32).sample(full(686), 0).shape == (686, 3)  # 0.30000000000000004


# ---- rates and names


def test_effective_rate_edges() -> None:
    assert effective_rate(full(10)) == 0
    assert np.isnan(effective_rate(np.zeros((3, 2), dtype=bool)))
    with pytest.raises(ImderError, match="available"):
        effective_rate([[1.0, 0.0]])


def test_patterns_order() -> None:
    assert patterns(2) == [(True, False), (False, True), (True, True)]
    sizes = [sum(p) for p in patterns(4)]
    assert sizes == sorted(sizes)
    assert len(set(patterns(4))) == 15
    assert patterns(4)[-1] == (True,) * 4
    with pytest.raises(ImderError):
        patterns(0)


def test_names_round_trip() -> None:
    for pattern in patterns(3):
        assert pattern_from_name(pattern_name(pattern, NAMES), NAMES) == pattern
    assert pattern_name(np.array([True, False, True]), NAMES) == "language+audio"


@pytest.mark.parametrize("text", ["", "text", "language+", "audio+audio", "language,audio"])
def test_bad_names(text: str) -> None:
    with pytest.raises(ImderError, match="pattern"):
        pattern_from_name(text, NAMES)


def test_bad_patterns() -> None:
    with pytest.raises(ImderError, match="no name"):
        pattern_name((False, False, False), NAMES)
    with pytest.raises(ImderError, match="2 modalities"):
        pattern_name((True, False), NAMES)
