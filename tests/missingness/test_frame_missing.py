"""Frame-level missingness: which steps are erased, and what a batch shows of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imder.data.corpus import Ragged, Split
from imder.data.erasure import Erasure
from imder.data.loader import MaskedLoader, collate
from imder.data.split import WordErasure
from imder.missingness.frame_missing import AnyFrames, AnyMixed, FrameMissing, MixedMissing
from imder.missingness.random_missing import RandomMissing
from imder.types import ImderError

RATES = st.floats(0, 1)
SEEDS = st.integers(0, 2**64 - 1)
LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=6)


class Words:
    """A text encoder whose features of a token are its id and the sum of the text's ids."""

    unknown_token = 100

    def features_of(self, ids, lengths):
        valid = torch.arange(ids.shape[1]) < lengths[:, None]
        total = (ids * valid).sum(1, keepdim=True).expand_as(ids)
        return torch.stack([ids, total], 2).float() * valid[..., None]


def split_of(*lengths, words=None):
    """Samples of two modalities whose features are never 0, with the given numbers of steps."""
    rng = np.random.default_rng(0)
    sequences = [rng.integers(1, 90, (n, 1)).astype(np.float32) for n in lengths]
    ragged = Ragged.from_list(sequences, 1)
    audio = Ragged.from_list([np.repeat(x, 2, 1) + 0.5 for x in sequences], 2)
    return Split(tuple(map(str, range(len(lengths)))), {"language": ragged, "audio": audio}, words=words)


def batch_of(split, rate, seed=0, protocol=FrameMissing, complete=True):
    rows = np.flatnonzero(split.present.any(1))
    missing = protocol(rate)
    mask = missing.sample(split.present[rows], seed)
    return collate(split, rows, mask, erasure=missing.erasure(split.present[rows], seed), complete=complete)


@settings(deadline=None, max_examples=25)
@given(LENGTHS.filter(any), RATES, SEEDS)
def test_only_valid_steps_are_erased_and_become_zero(lengths, rate, seed):
    batch = batch_of(split_of(*lengths), rate, seed)
    for name, x in batch.features.items():
        valid = torch.arange(x.shape[1]) < batch.lengths[name][:, None]
        assert not (batch.erased[name] & ~valid).any()
        assert torch.equal((x != 0).all(-1), valid & ~batch.erased[name])
        assert torch.equal((batch.complete[name] != 0).all(-1), valid)
        kept = ~batch.erased[name]
        assert torch.equal(x[kept], batch.complete[name][kept])


@settings(deadline=None, max_examples=25)
@given(RATES, RATES, SEEDS)
def test_steps_erased_at_a_rate_are_among_those_of_a_higher_one(rate, other, seed):
    low, high = sorted((rate, other))
    keys, lengths = np.array([1, -5]), np.array([7, 3])
    some, more = (Erasure.of(np.full(2, r), 1, seed).steps(0, "audio", keys, lengths, 8) for r in (low, high))
    assert not (some & ~more).any()


@settings(deadline=None, max_examples=25)
@given(st.floats(0.02, 0.98), SEEDS)
def test_the_share_of_erased_steps_is_the_rate(rate, seed):
    count, length = 40, 250
    erasure = FrameMissing(rate).erasure(np.ones((count, 2), bool), seed)
    steps = [
        erasure.steps(k, name, np.arange(count), np.full(count, length), length) for k, name in enumerate(("a", "b"))
    ]
    deviation = np.sqrt(rate * (1 - rate) / (count * length))
    for erased in steps:
        assert abs(erased.mean() - rate) < 6 * deviation
        assert abs(erased.mean(1) - rate).max() < 6 * deviation * np.sqrt(count)
    both = (steps[0] & steps[1]).mean()
    assert abs(both - rate**2) < 6 * np.sqrt(rate**2 * (1 - rate**2) / (count * length))


def test_the_limits_erase_nothing_and_everything():
    split = split_of(3, 5)
    assert not any(x.any() for x in batch_of(split, 0.0).erased.values())
    everything = batch_of(split, 1.0)
    assert not any(x.any() for x in everything.features.values())
    assert everything.available.all()  # published protocols tell no method that a modality has lost everything


def test_a_draw_is_the_samples_own_whatever_the_batch():
    split = split_of(6, 2, 9, 4)
    missing = FrameMissing(0.5)
    erasure = missing.erasure(split.present, 3)
    whole = collate(split, np.arange(4), split.present, erasure=erasure)
    rows = np.array([2, 0])
    part = collate(split, rows, split.present[rows], erasure=erasure.take(rows))
    for name in split.features:
        longest = part.features[name].shape[1]
        assert torch.equal(part.erased[name], whole.erased[name][torch.from_numpy(rows), :longest])
    other = collate(split, np.arange(4), split.present, erasure=missing.erasure(split.present, 4))
    assert any(not torch.equal(whole.erased[name], other.erased[name]) for name in split.features)
    assert not torch.equal(whole.erased["language"], whole.erased["audio"])


def test_words_become_the_unknown_token_between_both_ends_of_a_text():
    batch = batch_of(split_of(6, 1, 2, words=WordErasure(Words())), 1.0)
    ids, before = batch.features["language"][..., 0], batch.complete["language"][..., 0]
    assert ids[0, 1:5].tolist() == [100.0] * 4
    assert torch.equal(ids[0, [0, 5]], before[0, [0, 5]])
    assert torch.equal(ids[1:], before[1:])
    assert not batch.features["audio"].any()


@settings(deadline=None, max_examples=25)
@given(RATES, SEEDS)
def test_encoded_texts_are_encoded_again_from_the_remaining_words(rate, seed):
    lengths = (6, 1, 8)
    ids = split_of(*lengths).features["language"]
    whole = Words().features_of(torch.zeros(0, 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert whole.shape == (0, 1, 2)
    states = [Words().features_of(torch.tensor(ids[i].T).long(), torch.tensor([n]))[0] for i, n in enumerate(lengths)]
    split = split_of(*lengths, words=WordErasure(Words(), ids))
    split = Split(
        split.ids,
        {**split.features, "language": Ragged.from_list([s.numpy() for s in states], 2)},
        words=split.words,
    )
    batch = batch_of(split, rate, seed)
    for i, n in enumerate(lengths):
        kept = torch.tensor(ids[i][:, 0]).long().masked_fill(batch.erased["language"][i, :n], 100)
        assert torch.equal(batch.features["language"][i, :n], Words().features_of(kept[None], torch.tensor([n]))[0])
        assert torch.equal(batch.complete["language"][i, :n], states[i])


@settings(deadline=None, max_examples=25)
@given(RATES, SEEDS)
def test_mixed_drops_modalities_as_random_does_and_steps_as_frames_does(rate, seed):
    split = split_of(5, 7, 3)
    mixed, frames = batch_of(split, rate, seed, MixedMissing), batch_of(split, rate, seed)
    assert np.array_equal(mixed.available.numpy(), RandomMissing(rate).sample(split.present, seed))
    for k, name in enumerate(split.features):
        rows = mixed.available[:, k]
        assert torch.equal(mixed.erased[name][rows], frames.erased[name][rows])
        assert torch.equal(mixed.features[name][~rows], frames.complete[name][~rows])  # the truth of losses


def test_any_rate_gives_each_sample_and_epoch_a_uniform_rate():
    present = np.ones((4000, 3), bool)
    rates = AnyFrames().erasure(present, 1).rates
    assert (rates == rates[:, :1]).all()
    assert np.allclose(np.quantile(rates[:, 0], (0.1, 0.5, 0.9)), (0.1, 0.5, 0.9), atol=0.04)
    assert not np.array_equal(rates, AnyFrames().erasure(present, 2).rates)
    mask = AnyMixed().sample(present, 1)
    assert mask.any(1).all()
    missing = 1 - mask.mean(1)
    for low in (0.0, 0.3, 0.6):  # as the random protocol at each rate, at most 2 of 3 modalities missing
        rows = (rates[:, 0] >= low) & (rates[:, 0] < low + 0.1)
        assert missing[rows].mean() == pytest.approx(min(low + 0.05, 2 / 3), abs=0.05)


def test_dialogues_share_a_rate():
    dialogue = np.array([4, 4, 9, 4])
    rates = AnyFrames(dialogue).rates(4, 0)
    assert rates[0] == rates[1] == rates[3] != rates[2]
    with pytest.raises(ImderError, match="4 clips"):
        AnyFrames(dialogue).rates(3, 0)


def test_the_whole_batch_is_the_corpus_and_a_batch_to_predict_has_none():
    split = split_of(5, 7)
    batch = batch_of(split, 0.5, protocol=MixedMissing)
    whole = batch.whole()
    plain = collate(split, np.arange(2), split.present)
    assert whole.erased is whole.complete is None
    assert torch.equal(whole.available, whole.present)
    for name in split.features:
        assert torch.equal(whole.features[name], plain.features[name])
    moved = batch.take(torch.tensor([1])).to("cpu").with_available(torch.ones(1, 2, dtype=torch.bool))
    assert torch.equal(moved.erased["audio"][0], batch.erased["audio"][1])
    assert torch.equal(moved.whole().features["audio"][0], plain.features["audio"][1])
    modalities = plain.with_available(torch.tensor([[True, False], [True, True]]))
    assert modalities.whole().available.all()
    with pytest.raises(ImderError, match="only batches of training"):
        batch_of(split, 0.5, complete=False).whole()


def test_a_loader_keeps_draws_with_their_pairs():
    split = split_of(5, 7, 3, 8)
    erasure = AnyFrames().erasure(split.present, 5)
    loader = MaskedLoader(split, np.arange(4), split.present, 2, erasure=erasure, complete=True)
    drawn = {}
    for batch in loader.shuffled(0, 1):
        for i, key in enumerate(batch.keys.tolist()):
            drawn[key] = batch.erased["audio"][i][: batch.lengths["audio"][i]]
    for i, key in enumerate(split.keys.tolist()):
        length = int(split.features["audio"].lengths[i])
        own = erasure.take(np.array([i])).steps(1, "audio", split.keys[[i]], np.array([length]), length)[0]
        assert torch.equal(drawn[key], torch.from_numpy(own))


@pytest.mark.parametrize("protocol", [FrameMissing, MixedMissing])
def test_rates_and_seeds_out_of_range_are_refused(protocol):
    for rate in (1.1, "0.5", None):
        with pytest.raises(ImderError, match=r"\[0, 1\]"):
            protocol(rate)
    with pytest.raises(ImderError, match="seed"):
        protocol(0.5).erasure(np.ones((1, 2), bool), -1)
