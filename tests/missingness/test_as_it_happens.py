"""Independent drops, bursts, and drops that depend on what is dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imder.data.split import Ragged, Split
from imder.evaluation.cells import sample_cells
from imder.missingness.not_at_random import drop_probabilities, standardised
from imder.missingness.protocols import (
    BurstMissing,
    IndependentMissing,
    IntensityMissing,
    LabelMissing,
    bound,
)
from imder.types import ImderError

NAMES = ("language", "vision", "audio")


def clips(n: int, dialogues: int = 1, seed: int = 0) -> Split:
    """Shuffled clips of dialogues with a feature for each modality and real labels."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    features = {
        name: Ragged(rng.normal(size=(2 * n, 3)) * np.repeat(rng.gamma(2, size=n), 2)[:, None], np.arange(n + 1) * 2)
        for name in NAMES
    }
    return Split(
        tuple(f"c{i}" for i in order),
        features,
        rng.normal(size=n).astype(np.float32),
        dialogue=tuple(f"d{i % dialogues}" for i in order),
        position=order,
    )


ALL = (IndependentMissing(0.4), BurstMissing(0.4), LabelMissing(0.4), IntensityMissing(0.4))


@pytest.mark.parametrize("missing", ALL, ids=lambda m: m.protocol)
@given(rows=st.integers(1, 30), seed=st.integers(0, 1000), rate=st.sampled_from([0.0, 0.3, 1.0]))
def test_every_row_keeps_something_that_it_holds(missing, rows, seed, rate) -> None:
    split = clips(rows, 3)
    present = np.random.default_rng(seed).random((rows, 3)) < 0.6
    present[np.arange(rows), seed % 3] = True
    protocol = bound(type(missing)(rate), split)
    available = protocol.sample(present, seed)
    assert not (available & ~present).any()
    assert available.any(1).all()
    assert np.array_equal(available, protocol.sample(present, seed))
    if rate == 0:
        assert np.array_equal(available, present)
    if rate == 1:
        assert (available.sum(1) == 1).all()


def test_rates_of_single_modalities_are_exact_in_distribution() -> None:
    """P(all dropped) = .1 * .6 * .3; that mass goes to single modalities by 1 - r."""
    rates = np.array([0.1, 0.6, 0.3])
    available = IndependentMissing(rates.tolist()).sample(np.ones((200_000, 3), bool), 0)
    expected = (1 - rates) + rates.prod() * (1 - rates) / (1 - rates).sum()
    assert available.mean(0) == pytest.approx(expected, abs=0.004)
    pairs = available[:, 0] & available[:, 1]  # independent but for that mass
    assert pairs.mean() == pytest.approx(0.9 * 0.4, abs=0.004)


@pytest.mark.parametrize(("rate", "length"), [(0.3, 1.0), (0.3, 5.0), (0.6, 3.0)])
def test_bursts_have_their_rate_and_length(rate, length) -> None:
    """Of twelve modalities, so that hardly a clip would lose all of them."""
    missing = ~BurstMissing(rate, length).sample(np.ones((100_000, 12), bool), 1)
    assert missing.mean() == pytest.approx(rate, abs=0.01)
    runs = missing.sum() / (missing[1:] & ~missing[:-1]).sum()
    assert runs == pytest.approx(length, rel=0.03)


def test_bursts_follow_the_order_of_a_dialogue_not_of_the_rows() -> None:
    split = clips(4000, 2)
    available = BurstMissing(0.5, 20).bind(split).sample(np.ones((4000, 3), bool), 3)
    for name in ("d0", "d1"):
        rows = np.flatnonzero(np.array(split.dialogue) == name)
        mine = available[rows[np.argsort(split.position[rows])]]
        changes = (mine[1:] != mine[:-1]).mean()
        assert changes < 0.08
        assert (available[rows][1:] != available[rows][:-1]).mean() > 0.3
        alone = mine[~mine[:, :2].any(1)]
        assert len(alone)
    lonely = BurstMissing(0.3, 50).bind(Split(split.ids, split.features))
    assert (~lonely.sample(np.ones((4000, 3), bool), 0)).mean() == pytest.approx(0.29, abs=0.02)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=40), st.floats(0, 1), st.floats(-30, 30))
def test_dependent_probabilities_have_the_rate_as_their_mean(values, rate, strength) -> None:
    probability = drop_probabilities(np.array(values), rate, strength)
    assert probability.mean() == pytest.approx(rate, abs=1e-9)
    order = np.argsort(np.array(values), kind="stable")
    assert (np.diff(probability[order]) * np.sign(strength) >= -1e-12).all()


def test_the_label_decides_with_the_given_strength() -> None:
    split = clips(60_000)
    available = LabelMissing(0.4, 1.5).bind(split).sample(np.ones((60_000, 3), bool), 0)
    z = standardised(split.labels.astype(float), split.labelled)
    expected = drop_probabilities(z, 0.4, 1.5)
    high, low = z > 1, z < -1
    for rows in (high, low):
        # of the dropped cells some are kept after all, where the whole clip would be gone
        wanted = (expected - expected**3 / 3)[rows].mean()
        assert (~available[rows]).mean() == pytest.approx(wanted, abs=0.01)


def test_classes_and_clips_without_a_label() -> None:
    split = clips(30_000)
    labels = np.arange(30_000) % 4 - 1
    split = Split(split.ids, split.features, labels)
    protocol = LabelMissing(0.4, 3).bind(split)
    assert (protocol.variable[labels < 0] == 0).all()
    rates = [(~protocol.sample(np.ones((30_000, 3), bool), 0))[labels == c].mean() for c in range(3)]
    assert max(rates) - min(rates) > 0.2


def test_quiet_clips_lack_their_own_modality() -> None:
    split = clips(20_000)
    available = IntensityMissing(0.4, 2).bind(split).sample(np.ones((20_000, 3), bool), 0)
    for k, sequences in enumerate(split.features.values()):
        loud = np.abs(sequences.values).reshape(20_000, -1).mean(1)
        ranks = loud.argsort().argsort()
        assert np.corrcoef(ranks, available[:, k])[0, 1] > 0.3
        assert abs(np.corrcoef(ranks, available[:, (k + 1) % 3])[0, 1]) < 0.1


def test_strength_0_drops_independently() -> None:
    split = clips(50_000)
    available = LabelMissing(0.5, 0).bind(split).sample(np.ones((50_000, 3), bool), 0)
    assert available.mean() == pytest.approx(0.5 + 0.125 / 3, abs=0.005)


def test_cells_of_a_split_are_bound_to_it() -> None:
    split = clips(50, 2)
    for protocol in ("independent", "bursts", "label", "intensity"):
        cells = sample_cells(split.present, NAMES, protocol=protocol, rates=(0.0, 0.5), draws=3, split=split)
        assert len(cells) == 6
        assert len({c.mask.tobytes() for c in cells if c.rate == 0.5}) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IndependentMissing(1.2), "must lie in"),
        (lambda: IndependentMissing([]), "rates are a number"),
        (lambda: IndependentMissing([0.1, 0.2]).sample(np.ones((2, 3), bool), 0), "2 rates for 3 modalities"),
        (lambda: BurstMissing(0.3, 0.5), "at least 1 clip"),
        (lambda: LabelMissing(0.3, float("nan")), "a finite number"),
        (lambda: LabelMissing(0.3).sample(np.ones((2, 3), bool), 0), r"call bind\(split\)"),
        (lambda: LabelMissing(0.3).bind(Split(("a",), {})), "no labels"),
    ],
)
def test_what_cannot_be_is_one_line(make, message) -> None:
    with pytest.raises(ImderError, match=message):
        make()
