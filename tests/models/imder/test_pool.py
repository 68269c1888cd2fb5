"""Recoveries that are kept: equal to what was drawn, in bounded memory."""

import pytest
import torch

from imder.missingness.subsets import every_subset, pattern_bits
from imder.models.imder.pool import RecoveryCache

NAMES = ("language", "vision", "audio")
STEPS = {"language": 3, "vision": 1, "audio": 2}


class Sampler:
    """Draws that tell for what they were drawn; remembers how many rows it was asked for."""

    def __init__(self, keys, available, slot=0):
        self.keys, self.available, self.slot = keys, available, slot
        self.asked = []

    def __call__(self, rows):
        self.asked.append(rows.tolist())
        return expected(self.keys[rows], self.available[rows], self.slot)


def expected(keys, available, slot=0):
    out = {}
    for i, name in enumerate(NAMES):
        rows = (~available[:, i]).nonzero().squeeze(1)
        if len(rows):
            value = keys[rows] * 100 + pattern_bits(available[rows]) * 10 + i + slot / 10
            out[name] = (rows, value.float()[:, None, None].expand(-1, 4, STEPS[name]).contiguous())
    return out


def batches(count=6, size=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        available = torch.rand(size, 3, generator=generator) < 0.5
        available[~available.any(1), 0] = True
        yield torch.randint(0, 300, (size,), generator=generator), available


def assert_drawn(found, wanted):
    assert found.keys() == wanted.keys()
    for name, (rows, x) in wanted.items():
        assert torch.equal(found[name][0], rows)
        assert torch.equal(found[name][1], x)


@pytest.mark.parametrize("limit", [0, 1000, 4000, 2**30])
def test_what_is_given_is_what_was_drawn(limit):
    cache = RecoveryCache(limit)
    for slot in (0, 1, 0, 1):
        for keys, available in batches():
            assert_drawn(
                cache.get(keys, available, slot, Sampler(keys, available, slot), NAMES),
                expected(keys, available, slot),
            )
            assert cache.size <= limit


def test_nothing_is_drawn_twice_while_there_is_room():
    cache = RecoveryCache()
    for keys, available in batches():
        cache.get(keys, available, 0, Sampler(keys, available), NAMES)
    for keys, available in batches():
        again = Sampler(keys, available)
        assert_drawn(cache.get(keys, available, 0, again, NAMES), expected(keys, available))
        assert again.asked == []
    other = Sampler(keys, available, 1)
    cache.get(keys, available, 1, other, NAMES)
    assert other.asked
    cache.clear()
    assert cache.size == 0
    cache.get(keys, available, 0, again, NAMES)
    assert again.asked


def test_what_finds_no_room_is_drawn_again_in_the_same_company():
    cache, asked = RecoveryCache(limit=3000), []
    for _ in range(3):
        for keys, available in batches():
            sampler = Sampler(keys, available)
            cache.get(keys, available, 0, sampler, NAMES)
            asked.append(sampler.asked)
    assert asked[6:12] == asked[12:]
    assert any(asked[6:12])
    assert not all(asked[6:12])


def test_memory_is_that_of_the_values():
    """One tensor for each would cost more than it holds."""
    cache = RecoveryCache()
    keys = torch.arange(1000)
    available = torch.tensor([True, False, True]).expand(1000, 3)
    cache.get(keys, available, 0, Sampler(keys, available), NAMES)
    assert cache.size == 1000 * 4 * 4
    assert sum(len(rows._chunks) for rows in cache._encodings.values()) == 4


def test_two_rows_for_one_place():
    cache = RecoveryCache()
    keys, available = torch.tensor([7, 7, 8]), torch.tensor([[True, False, False]] * 3)
    for _ in range(2):
        assert_drawn(cache.get(keys, available, 0, Sampler(keys, available), NAMES), expected(keys, available))


def test_a_batch_that_lacks_nothing():
    keys, available = torch.arange(3), torch.ones(3, 3, dtype=torch.bool)
    assert RecoveryCache().get(keys, available, 0, Sampler(keys, available), NAMES) == {}


# Patterns belong to samples, not to batches.


def test_random_subsets_do_not_depend_on_the_batch():
    generator = torch.Generator().manual_seed(0)
    available = torch.rand(40, 6, generator=generator) < 0.6
    available[:, 0] |= ~available.any(1)
    keys = torch.randint(-(2**62), 2**62, (40,), generator=generator)
    rows, masks = every_subset(available, keys, seed=3)
    assert masks.any(1).all()
    assert not (masks & ~available[rows]).any()
    for i in range(40):
        count = 2 ** int(available[i].sum()) - 1
        mine = masks[rows == i]
        assert len(mine) == min(count, 15)
        if count <= 15:
            assert len(torch.unique(mine, dim=0)) == count
        _, alone = every_subset(available[i : i + 1], keys[i : i + 1], seed=3)
        assert torch.equal(alone, mine)
    other = every_subset(available, keys, seed=4)[1]
    assert not torch.equal(other, masks)


def test_random_subsets_are_uniform():
    available = torch.ones(4000, 5, dtype=torch.bool)
    _, masks = every_subset(available, torch.arange(4000) * 7919, seed=0)
    counts = torch.bincount(pattern_bits(masks), minlength=32)
    assert counts[0] == 0
    assert ((counts[1:] / (4000 * 15 / 31) - 1).abs() < 0.1).all()
