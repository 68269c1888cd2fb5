"""Recoveries drawn once and used again.

No gradient passes through the sampler, and in the phase that trains refinement and fusion the score networks stand still:
a recovery is data, a function of (sample, pattern, slot) alone. It is drawn when it is first needed and kept, as long as
there is room; what found no room is drawn again whenever it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from imder.missingness.subsets import pattern_bits

Drawn = dict[str, tuple[Tensor, Tensor]]
"""For each modality that some row lacks: the rows ``(R,)`` and their sampled encodings ``(R, width, steps)``."""

CacheKey = tuple[int, int, int]
"""Sample key, pattern of availability, slot."""

KEPT_BYTES = 2**30
"""Room for the encodings of one cache (a model has two: for training and for validation; `benchmarks/pool.py`). All of
CMU-MOSEI's training samples in all patterns need 0.6 of it with ``fast``."""

_CHUNK = 256  # rows that are allocated at a time


class RecoveryCache:
    """Sampled encodings by (sample key, pattern of availability, slot).

    Args:
        limit: bytes of encodings that are kept at most.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.size = 0
        self._kept: dict[str, _Rows] = {}
        self._known: set[CacheKey] = set()

    def get(
        self,
        keys: Tensor,
        available: Tensor,
        slot: int,
        draw: Callable[[Tensor], Drawn],
        names: Sequence[str],
    ) -> Drawn:
        """Recoveries of a batch; rows that aren't kept are drawn together by ``draw(rows)``.

        Args:
            keys: ``(B,)``.
            available: ``(B, K)`` bool.
            slot: which of several recoveries of the same sample and pattern.
            draw: from row numbers ``(R,)`` to what `Drawn` says, numbered within these rows.
            names: the K modalities.
        """
        bits = pattern_bits(available).tolist()
        places = [(key, pattern, slot) for key, pattern in zip(keys.tolist(), bits, strict=True)]
        lacking = (~available).any(1).tolist()
        new = [i for i, place in enumerate(places) if lacking[i] and place not in self._known]
        drawn = draw(torch.tensor(new, device=keys.device)) if new else {}
        # All of a batch or nothing: what is drawn again is then drawn in the same company each time, and comes out equal.
        size = sum(x.numel() * x.element_size() for _, x in drawn.values())
        fits = self.size + size <= self.limit
        if fits:
            self.size += size
            self._known.update(places[i] for i in new)
            for name, (rows, x) in drawn.items():
                kept = self._kept.setdefault(name, _Rows())
                kept.add([places[new[row]] for row in rows.tolist()], x)
        out: Drawn = {}
        for i, name in enumerate(names):
            rows = (~available[:, i]).nonzero().squeeze(1)
            if len(rows):
                fresh = {} if fits else _by_row(drawn.get(name), new)
                kept = self._kept.get(name, _Rows())
                found = [fresh[r] if r in fresh else kept[places[r]] for r in rows.tolist()]
                out[name] = (rows, torch.stack(found))
        return out


def _by_row(drawn: tuple[Tensor, Tensor] | None, new: list[int]) -> dict[int, Tensor]:
    """Drawn encodings by the number of their row in the whole batch."""
    return {} if drawn is None else {new[row]: x for row, x in zip(drawn[0].tolist(), drawn[1], strict=True)}


class _Rows:
    """Encodings of one modality by place, in large pieces: a tensor for each would cost more than what it holds."""

    def __init__(self) -> None:
        self._count = 0
        self._number: dict[CacheKey, int] = {}
        self._chunks: list[Tensor] = []

    def add(self, places: list[CacheKey], x: Tensor) -> None:
        """Append ``x`` (n, ...) under n places; of two rows for one place the later counts."""
        done = 0
        while done < len(places):
            number = self._count
            chunk, begin = divmod(number, _CHUNK)
            if chunk == len(self._chunks):
                self._chunks.append(x.new_empty(_CHUNK, *x.shape[1:]))
            count = min(_CHUNK - begin, len(places) - done)
            self._chunks[chunk][begin : begin + count] = x[done : done + count]
            self._number.update(zip(places[done : done + count], range(number, number + count), strict=True))
            self._count += count
            done += count

    def __getitem__(self, place: CacheKey) -> Tensor:
        chunk, row = divmod(self._number[place], _CHUNK)
        return self._chunks[chunk][row]
