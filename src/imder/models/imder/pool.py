"""Recoveries sampled once and reused.

No gradient passes through the sampler, and the score networks are frozen while refinement and fusion learn: a recovery is
data, a function of (sample, pattern, slot) alone. It is sampled when first needed and kept while there is room; what finds
no room is sampled again whenever it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from imder.missingness.subsets import pattern_bits
from imder.models.imder.observed import ObservedEncodings
from imder.types import Batch

Draws = dict[str, tuple[Tensor, Tensor]]
"""For each modality that some row lacks: the rows ``(R,)`` and their sampled encodings, ``(R, width, steps)`` or, of a pair of
antithetic draws side by side, ``(R, 2 width, steps)``."""

Sampler = Callable[[ObservedEncodings, Tensor, int], Draws]
"""Samples every missing modality once (or a pair of draws), from what is observed of B rows, keys ``(B,)`` and a seed."""

CacheKey = tuple[int, int, int]
"""Sample key, pattern of availability, slot."""

CACHE_BYTES = 2**30
"""Size limit of one cache (a model has two: for training and for validation; `benchmarks/pool.py`). All training samples of
CMU-MOSEI in all patterns need 0.6 of it with ``fast``."""

_CHUNK = 256  # rows that are allocated at a time


class RecoveryPool:
    """The recoveries that stage 2 trains and validates on.

    Args:
        names: the K modalities.
        slots: recoveries of each sample and pattern, which epochs alternate between.
    """

    def __init__(self, names: Sequence[str], slots: int) -> None:
        self.names = tuple(names)
        self.slots = slots
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start empty, for a training of that seed."""
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        """Drop all recoveries."""
        self._training, self._validation = RecoveryCache(), RecoveryCache()

    def get(self, observed: ObservedEncodings, keys: Tensor, seed: int, sample: Sampler, *, training: bool) -> Draws:
        """Recoveries of a batch; those that aren't cached are sampled.

        Args:
            observed: B rows.
            keys: ``(B,)``.
            seed: of the batch; decides the slot.
            sample: samples what isn't cached.
            training: whether the batch is of the training or of the validation split, which may share sample ids.
        """
        slot = self._seed * self.slots + seed % self.slots
        if not training:
            slot = -1 - slot

        def draw(rows: Tensor) -> Draws:
            return sample(observed.take(rows), keys[rows], slot)

        cache = self._training if training else self._validation
        return cache.get(keys, observed.available, slot, draw, self.names)

    def replay(
        self,
        batches: Iterable[tuple[Batch, int]],
        observe: Callable[[Batch], ObservedEncodings],
        sample: Sampler,
    ) -> None:
        """Fill the training cache as the batches of earlier epochs, each with its seed, filled it: to the last bit."""
        for batch, seed in batches:
            self.get(observe(batch), batch.keys, seed, sample, training=True)


class RecoveryCache:
    """Sampled encodings by (sample key, pattern of availability, slot).

    Args:
        limit: the most bytes of encodings to keep.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Drop all encodings."""
        self.size = 0
        self._encodings: dict[str, _Rows] = {}
        self._cached: set[CacheKey] = set()

    def get(
        self,
        keys: Tensor,
        available: Tensor,
        slot: int,
        draw: Callable[[Tensor], Draws],
        names: Sequence[str],
    ) -> Draws:
        """Recoveries of a batch; rows that aren't cached are sampled together by ``draw(rows)``.

        Args:
            keys: ``(B,)``.
            available: ``(B, K)`` bool.
            slot: which of several recoveries of the same sample and pattern.
            draw: from row numbers ``(R,)`` to `Draws` whose rows are numbered within these.
            names: the K modalities.
        """
        bits = pattern_bits(available).tolist()
        entries = [(key, pattern, slot) for key, pattern in zip(keys.tolist(), bits, strict=True)]
        incomplete = (~available).any(1).tolist()
        new = [i for i, entry in enumerate(entries) if incomplete[i] and entry not in self._cached]
        drawn = draw(torch.tensor(new, device=keys.device)) if new else {}
        # Cache all of a batch or nothing: what is sampled again is then sampled in the same batch, and comes out equal.
        size = sum(x.numel() * x.element_size() for _, x in drawn.values())
        fits = self.size + size <= self.limit
        if fits:
            self.size += size
            self._cached.update(entries[i] for i in new)
            for name, (rows, x) in drawn.items():
                stored = self._encodings.setdefault(name, _Rows())
                stored.add([entries[new[row]] for row in rows.tolist()], x)
        out: Draws = {}
        for i, name in enumerate(names):
            rows = (~available[:, i]).nonzero().squeeze(1)
            if len(rows):
                fresh = {} if fits else _by_row(drawn.get(name), new)
                stored = self._encodings.get(name, _Rows())
                out[name] = (
                    rows,
                    torch.stack([fresh[r] if r in fresh else stored[entries[r]] for r in rows.tolist()]),
                )
        return out


def _by_row(drawn: tuple[Tensor, Tensor] | None, new: list[int]) -> dict[int, Tensor]:
    """Sampled encodings by the number of their row in the whole batch."""
    return {} if drawn is None else {new[row]: x for row, x in zip(drawn[0].tolist(), drawn[1], strict=True)}


class _Rows:
    """Encodings of one modality by cache key, in large chunks: one tensor each would cost more than its content."""

    def __init__(self) -> None:
        self._count = 0
        self._number: dict[CacheKey, int] = {}
        self._chunks: list[Tensor] = []

    def add(self, entries: list[CacheKey], x: Tensor) -> None:
        """Append ``x`` (n, ...) under n keys; of two rows under one key the later counts."""
        done = 0
        while done < len(entries):
            number = self._count
            chunk, begin = divmod(number, _CHUNK)
            if chunk == len(self._chunks):
                self._chunks.append(x.new_empty(_CHUNK, *x.shape[1:]))
            count = min(_CHUNK - begin, len(entries) - done)
            self._chunks[chunk][begin : begin + count] = x[done : done + count]
            self._number.update(zip(entries[done : done + count], range(number, number + count), strict=True))
            self._count += count
            done += count

    def __getitem__(self, entry: CacheKey) -> Tensor:
        chunk, row = divmod(self._number[entry], _CHUNK)
        return self._chunks[chunk][row]
