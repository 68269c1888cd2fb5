"""Batches: padded, whole, and the same for one process or several."""

import numpy as np
import pytest
import torch

from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.data.loader import MaskedLoader, available_loader, collate
from imder.data.store import read_store, write_store

LENGTHS = {"language": [3, 0, 5, 1, 2], "audio": [1, 1, 0, 1, 1]}


def split_of(dtype=np.float32):
    rng = np.random.default_rng(0)
    features = {
        name: Ragged.from_list([rng.standard_normal((t, k + 2)).astype(dtype) for t in lengths], k + 2)
        for k, (name, lengths) in enumerate(LENGTHS.items())
    }
    return Split(tuple("abcde"), features, np.arange(5, dtype=np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_come_in_the_order_asked_for_and_padded_with_zeros(dtype):
    split = split_of(dtype)
    rows = np.array([4, 2, 0, 2])
    batch = collate(split, rows, split.present[rows])
    for name, ragged in split.features.items():
        features, lengths = batch.features[name], batch.lengths[name]
        assert features.dtype == torch.float32
        assert lengths.tolist() == [LENGTHS[name][i] for i in rows]
        assert features.shape[1] == max(1, *lengths.tolist())
        for i, row in enumerate(rows):
            expected = ragged[int(row)].astype(np.float32)
            assert np.array_equal(features[i, : lengths[i]].numpy(), expected)
            assert not features[i, lengths[i] :].any()
    assert batch.labels.tolist() == [4, 2, 0, 2]


def test_what_is_hidden_is_not_handed_over():
    split = split_of()
    rows = np.arange(5)
    seen = split.present.copy()
    seen[0, 0] = False
    batch = collate(split, rows, split.present, seen)
    assert batch.lengths["language"].tolist() == [0, 0, 5, 1, 2]
    assert not batch.features["language"][0].any()
    assert np.array_equal(batch.available.numpy(), seen)


def test_nothing_present_still_has_a_step():
    split = split_of()
    rows = np.array([1])
    assert collate(split, rows, split.present[rows]).features["language"].shape == (1, 1, 2)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_memory_mapped_store_gives_the_same_batches(dtype, tmp_path):
    split = split_of(np.float16)
    write_store(Corpus("c", spec_of({"train": split}, "regression"), {"train": split}), tmp_path / "store", dtype)
    mapped = read_store(tmp_path / "store")["train"]
    for ours, theirs in zip(
        available_loader(split, split.present, 2), available_loader(mapped, mapped.present, 2), strict=True
    ):
        for name in LENGTHS:
            assert torch.equal(ours.features[name], theirs.features[name])


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 4, 5, 9])
def test_shares_of_all_processes_are_the_whole(size, world):
    split = split_of()
    rows = np.array([0, 1, 2, 3, 4, 2, 0])
    whole = MaskedLoader(split, rows, split.present[rows], size)
    shares = [MaskedLoader(split, rows, split.present[rows], size, rank=rank, world=world) for rank in range(world)]
    assert {len(s) for s in shares} == {len(whole)}
    for index, (batch, *parts) in enumerate(zip(whole, *shares, strict=True)):
        assert all(len(part) for part in parts)
        counted = [p for p, s in zip(parts, shares, strict=True) if not s.is_padding(index)]
        assert sorted(torch.cat([p.keys for p in counted]).tolist()) == sorted(batch.keys.tolist())
        assert len(parts[0]) - min(map(len, parts)) <= 1
