r"""The part of a missing encoding that is linear in what is available, in closed form.

    m = B phi,    B = argmin sum |e - B phi|^2 + lambda |B|^2        (ridge regression, no penalty on the constant)

phi holds, for each other modality, its mean over time and whether it is available; with context also, for each modality, two
averages over the neighbours that have it, 1 / (n + 1) sum_o e_o and sum_o |o|^-1 e_o / (sum_o |o|^-1 + 1/2): both shrink where
few neighbours have it. Networks then learn the rest, e - m. With few training samples m is most of what can be learned, and a
network that learns everything over-fits. lambda is chosen by cross-validation over dialogues (or samples, where none is known);
where nothing improves on the mean of the encodings, B is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from imder.models.imder.neighbour_condition import NeighbourEncodings

FOLDS = 5
PENALTIES = tuple(10.0**i for i in range(-1, 6))
"""Candidates of lambda, in units of a feature of variance 1 in one sample."""

Example = tuple[Tensor, Tensor, Tensor]
"""Features ``(R, F)``, encodings ``(R, W, L)`` and fold numbers ``(R,)``."""


class LinearMean(nn.Module):
    """m for one target; 0 until fitted.

    Args:
        others: the other modalities.
        names: all modalities.
        width: channels W of the encodings.
        steps: L, of the target.
        offsets: of the neighbours, such as (-1, 1); empty without context.
    """

    weight: Tensor
    nearness: Tensor

    def __init__(
        self, others: Sequence[str], names: Sequence[str], width: int, steps: int, offsets: Sequence[int]
    ) -> None:
        super().__init__()
        self.others, self.names = tuple(others), tuple(names)
        self.shape = (width, steps)
        features = len(others) * (width + 1) + (len(names) * 2 * width if offsets else 0)
        self.register_buffer("weight", torch.zeros(features + 1, width * steps))
        self.register_buffer("nearness", torch.tensor([1.0 / abs(o) for o in offsets]))

    def features(
        self, encodings: Mapping[str, Tensor], available: Mapping[str, Tensor], near: NeighbourEncodings | None
    ) -> Tensor:
        """Phi ``(R, F)``, whose last entry is 1.

        Args:
            encodings: standardised, of the other modalities, ``(R, W, L_k)``; anything where unavailable.
            available: of the other modalities, ``(R,)`` bool.
            near: the neighbours, standardised; None for none.
        """
        rows = next(iter(available.values())).shape[0]
        parts = []
        for name in self.others:
            mask = available[name][:, None]
            parts += [torch.where(mask, encodings[name].mean(2), 0.0), mask.float()]
        if len(self.nearness):
            for i, name in enumerate(self.names):
                if near is None:
                    parts.append(self.weight.new_zeros(rows, 2 * self.shape[0]))
                    continue
                mask = near.available[:, :, i, None]
                values = torch.where(mask, near.means[name], 0.0)
                weights = self.nearness[near.columns, None] * mask
                parts.append(values.sum(1) / (mask.sum(1) + 1))
                parts.append((weights * values).sum(1) / (weights.sum(1) + 0.5))
        return torch.cat([*parts, self.weight.new_ones(rows, 1)], dim=1)

    def forward(
        self, encodings: Mapping[str, Tensor], available: Mapping[str, Tensor], near: NeighbourEncodings | None
    ) -> Tensor:
        """M ``(R, W, L)``; arguments as in `features`."""
        phi = self.features(encodings, available, near)
        return (phi @ self.weight).reshape(phi.shape[0], *self.shape)

    def sums(self) -> RidgeSums:
        """Empty sums for this target's examples."""
        features, outputs = self.weight.shape
        return RidgeSums(features, outputs, self.weight.device)

    def solve(self, sums: RidgeSums) -> None:
        """Set B from the sums of all examples."""
        self.weight.copy_(sums.solution())

    def fit(self, examples: Iterable[Example]) -> None:
        """Fit B to examples."""
        sums = self.sums()
        for example in examples:
            sums.add(*example)
        self.solve(sums)


class RidgeSums:
    """What ridge regression needs of its examples, for each fold, in float64.

    Args:
        features: F, the constant included.
        outputs: O.
        device: of the sums.
    """

    def __init__(self, features: int, outputs: int, device: torch.device) -> None:
        zeros = partial(torch.zeros, dtype=torch.float64, device=device)
        self._gram = zeros((FOLDS, features, features))
        self._cross = zeros((FOLDS, features, outputs))
        self._squares = zeros((FOLDS,))

    def add(self, phi: Tensor, encoding: Tensor, fold: Tensor) -> None:
        """Add an `Example`."""
        x, y = phi.double(), encoding.flatten(1).double()
        for f in range(FOLDS):
            rows = fold == f
            self._gram[f] += x[rows].T @ x[rows]
            self._cross[f] += x[rows].T @ y[rows]
            self._squares[f] += y[rows].square().sum()

    def solution(self) -> Tensor:
        """B ``(F, O)`` with the penalty of least error on held-out folds; the mean where there is only one fold."""
        penalties = (None, *PENALTIES) if int((self._gram[:, -1, -1] > 0).sum()) > 1 else (None,)
        best = min(penalties, key=self._held_out)
        return _solve(self._gram.sum(0), self._cross.sum(0), best)

    def squared_error(self, solution: Tensor) -> float:
        """The sum of squared errors of all examples under a solution B ``(F, O)``."""
        gram, cross, b = self._gram.sum(0), self._cross.sum(0), solution.double()
        return float(self._squares.sum() - 2 * (b * cross).sum() + (b * (gram @ b)).sum())

    def _held_out(self, penalty: float | None) -> float:
        """The squared error of each fold under the solution of the others; ``penalty`` None for the constant alone."""
        gram, cross, total = self._gram, self._cross, 0.0
        for f in range(FOLDS):
            others_gram, others_cross = gram.sum(0) - gram[f], cross.sum(0) - cross[f]
            if float(others_gram[-1, -1]) < 1 or float(gram[f, -1, -1]) < 1:
                continue
            b = _solve(others_gram, others_cross, penalty)
            total += float(self._squares[f] - 2 * (b * cross[f]).sum() + (b * (gram[f] @ b)).sum())
        return total


def _solve(gram: Tensor, cross: Tensor, penalty: float | None) -> Tensor:
    """The ridge solution ``(F, O)``; with ``penalty`` None the mean."""
    if penalty is None:
        mean = torch.zeros_like(cross)
        mean[-1] = cross[-1] / gram[-1, -1].clamp(min=1)
        return mean
    ridge = torch.full((len(gram),), penalty, dtype=gram.dtype, device=gram.device)
    ridge[-1] = 1e-6
    solution: Tensor = torch.linalg.solve(gram + ridge.diag(), cross)
    return solution
