"""Recoveries drawn once and used again.

No gradient passes through the sampler, and in the phase that trains refinement and fusion the score networks stand still:
a recovery is data, a function of (sample, pattern, slot) alone. It is drawn when it is first needed and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from imder.models.base import pattern_bits

Drawn = dict[str, tuple[Tensor, Tensor]]
"""For each modality that some row lacks: the rows ``(R,)`` and their sampled encodings ``(R, width, steps)``."""


class RecoveryCache:
    """Sampled encodings by (sample key, pattern of availability, slot)."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int, int], dict[str, Tensor]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def get(
        self,
        keys: Tensor,
        available: Tensor,
        slot: int,
        draw: Callable[[Tensor], Drawn],
        names: Sequence[str],
    ) -> Drawn:
        """Recoveries of a batch; rows seen for the first time are drawn together by ``draw(rows)``.

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
        new = [i for i, place in enumerate(places) if lacking[i] and place not in self._kept]
        if new:
            for i in new:
                self._kept[places[i]] = {}
            for name, (rows, x) in draw(torch.tensor(new, device=keys.device)).items():
                for row, encoding in zip(rows.tolist(), x, strict=True):
                    self._kept[places[new[row]]][name] = encoding.clone()
        out: Drawn = {}
        for i, name in enumerate(names):
            rows = (~available[:, i]).nonzero().squeeze(1)
            if len(rows):
                out[name] = (rows, torch.stack([self._kept[places[r]][name] for r in rows.tolist()]))
        return out
