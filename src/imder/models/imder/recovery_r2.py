"""Recovery R^2: the share of an encoding's variance that its recovery explains.

    R^2 = 1 - sum |r - e|^2 / sum |e - mean(e)|^2

r is the mean of the refined draws, e the true encoding, both summed over rows, channels and steps; the mean is that of the
same rows. 1 is a perfect recovery and 0 the mean of the encodings; below 0, the mean would be closer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from imder.missingness.patterns import pattern_name


class RecoveryR2:
    """Sums over batches, by modality and by what was available."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[int, Tensor, Tensor, Tensor]] = {}

    def add(self, modality: str, names: Sequence[str], available: Tensor, recovered: Tensor, truth: Tensor) -> None:
        """Add R recoveries ``(R, W, L)`` with their true encodings.

        Args:
            modality: the recovered one.
            names: the K modalities.
            available: ``(R, K)`` bool.
            recovered: the mean of the refined draws.
            truth: the encodings.
        """
        for pattern in torch.unique(available, dim=0):
            rows = (available == pattern).all(1)
            clean = truth[rows].cpu().double()
            error = (recovered[rows].cpu() - truth[rows].cpu()).double().square().sum()
            for group in (pattern_name(pattern.tolist(), names), ""):  # each pattern, and all together
                zero = torch.zeros((), dtype=torch.float64)
                count, errors, total, squares = self._sums.get((modality, group), (0, zero, zero, zero))
                sums = count + len(clean), errors + error, total + clean.sum(0), squares + clean.square().sum()
                self._sums[modality, group] = sums

    def result(self) -> dict[str, float]:
        """R^2 by ``modality`` and by ``modality | available``; groups of fewer than two rows are left out.

        >>> r2 = RecoveryR2()
        >>> truth = torch.tensor([[[0.0]], [[2.0]]])
        >>> r2.add("audio", ["language", "audio"], torch.tensor([[True, False]] * 2), truth * 0.5 + 0.5, truth)
        >>> r2.result()
        {'audio | language': 0.75, 'audio': 0.75}
        """
        out = {}
        for (modality, group), (count, error, total, squares) in self._sums.items():
            variance = float(squares - total.square().sum() / max(1, count))
            if count > 1 and variance > 0:
                out[f"{modality} | {group}" if group else modality] = 1 - float(error) / variance
        return out
