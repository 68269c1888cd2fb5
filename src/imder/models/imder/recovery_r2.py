"""Recovery R^2: the share of an encoding's variance that its recovery explains.

    R^2 = 1 - sum |r - e|^2 / sum |e - mean(e)|^2

r is the mean of the refined draws, e the true encoding, both summed over rows, channels and steps; the mean is that of the
same rows. 1 is a perfect recovery and 0 the mean of the encodings; below 0, the mean would be closer.
"""

from __future__ import annotations

import torch
from torch import Tensor


class RecoveryR2:
    """Sums over batches, by modality and by what was available."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[int, Tensor, Tensor, Tensor]] = {}

    def add(self, modality: str, available: str, recovered: Tensor, truth: Tensor) -> None:
        """Add N recoveries ``(N, W, L)`` with their true encodings.

        Args:
            modality: the recovered one.
            available: the pattern of availability, such as ``language+audio``.
            recovered: the mean of the refined draws.
            truth: the encodings.
        """
        for group in (available, ""):  # each pattern, and all together
            zero = torch.zeros((), dtype=torch.float64)
            count, error, total, squares = self._sums.get((modality, group), (0, zero, zero, zero))
            self._sums[modality, group] = (
                count + len(truth),
                error + (recovered - truth).double().square().sum(),
                total + truth.double().sum(0),
                squares + truth.double().square().sum(),
            )

    def result(self) -> dict[str, float]:
        """R^2 by ``modality`` and by ``modality | available``; groups of fewer than two rows are left out.

        >>> r2 = RecoveryR2()
        >>> truth = torch.tensor([[[0.0]], [[2.0]]])
        >>> r2.add("audio", "language", truth * 0.5 + 0.5, truth)
        >>> r2.result()
        {'audio | language': 0.75, 'audio': 0.75}
        """
        out = {}
        for (modality, group), (count, error, total, squares) in self._sums.items():
            variance = float(squares - total.square().sum() / max(1, count))
            if count > 1 and variance > 0:
                out[f"{modality} | {group}" if group else modality] = 1 - float(error) / variance
        return out
