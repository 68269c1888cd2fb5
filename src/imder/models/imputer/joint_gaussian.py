r"""A joint Gaussian of all codes within labels: factor analysis, from clips that may lack modalities.

    x = [u_1 ... u_K, n_1 ... n_K],    x | y ~ N(B^T d(y), L L^T + diag(psi))

u_k is the code of modality k, n_k the average of that modality's codes over the neighbouring clips (where they are read), d(y)
a vector that stands for the label. B is ridge regression on d. L (P, r) and psi (P,) maximise the likelihood of the covariance
of the residuals, taken from the pairs of values that occur together (EM; Rubin, Thayer 1982). What modalities share goes
through r factors: with fewer clips than values, this keeps far more of it than shrinkage towards the identity does
(`docs/quality.md`).

Conditioning on a set of blocks is exact, so any subset of modalities gives the distribution of any other one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

STEPS = 200
"""Of expectation and maximisation."""
LEAST_VARIANCE = 1e-4
"""Of psi: codes have variance 1."""
LABEL_PENALTY = 10.0
"""Ridge penalty of B: so many clips without an effect of the label."""
JITTER = 1e-6
ROWS = 4096
"""Rows that are added to moments at a time."""


@dataclass(frozen=True)
class Conditional:
    """The distribution of one code given some blocks: mean ``(x_o - B_o^T d) coef + B_k^T d``, covariance ``root root^T``.

    Attributes:
        columns: the ``O`` columns that are conditioned on.
        coef: ``(O, F)``.
        root: ``(F, F)``, lower triangular.
    """

    columns: Tensor
    coef: Tensor
    root: Tensor


class JointGaussian(nn.Module):
    """Codes of K modalities, and averages of the neighbours' codes.

    Args:
        widths: F_k of each modality.
        labels: width L of d(y); 0 where there is no task.
        context: whether neighbours are read.
        factors: r, at most P - 1.
    """

    effect: Tensor
    loadings: Tensor
    psi: Tensor

    def __init__(self, widths: Mapping[str, int], labels: int, context: bool, factors: int) -> None:
        super().__init__()
        self.names = tuple(widths)
        sizes = [*widths.values()] * (2 if context else 1)
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.blocks = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        total = ends[-1]
        self.register_buffer("effect", torch.zeros(labels, total))
        self.factors = min(factors, max(1, total - 1))
        self.register_buffer("loadings", torch.zeros(total, self.factors))
        self.register_buffer("psi", torch.ones(total))
        self._conditionals: dict[tuple[int, int, torch.device], Conditional] = {}

    def fit(self, values: Tensor, known: Tensor, design: Tensor, squares: Tensor | None = None) -> None:
        """Fit B, L and psi.

        Args:
            values: ``(N, P)``, all columns; anything where unknown.
            known: ``(N, blocks)`` bool.
            design: ``(N, L)``, d(y): indicators or a single value, so that d d^T is diagonal; expected where y is unknown.
            squares: ``(N, L)``, the expected d(y)^2; None where every y is known.
        """
        self._conditionals.clear()
        squares = design.square() if squares is None else squares
        effect = self._label_effect(values, known, design, squares)
        self.effect.copy_(effect)
        widths = torch.tensor([block.stop - block.start for block in self.blocks], device=values.device)
        total = torch.zeros(values.shape[1], values.shape[1], dtype=torch.float64, device=values.device)
        for x, mask, d, square in _rows(values, known, design, squares):
            rest = torch.where(mask.repeat_interleave(widths, dim=1), x - d @ effect, 0.0)
            total.addmm_(rest.T, rest)
            for i, j in itertools.product(range(len(self.blocks)), repeat=2):  # the variance of unknown labels
                both = mask[:, i : i + 1] & mask[:, j : j + 1]
                unknown = (square * both).sum(0).diag() - (d * both).T @ d
                total[self.blocks[i], self.blocks[j]] += (
                    effect[:, self.blocks[i]].T @ unknown @ effect[:, self.blocks[j]]
                )
        pairs = (known.double().T @ known.double()).clamp(min=1)
        covariance = total / pairs.repeat_interleave(widths, dim=0).repeat_interleave(widths, dim=1)
        if not bool(known.all()):  # pairs from different clips: nothing guarantees a covariance
            levels, axes = torch.linalg.eigh(covariance)
            covariance = (axes * levels.clamp(min=0.0)) @ axes.T
        loadings, psi = factor_analysis(covariance, self.factors)
        self.loadings.copy_(loadings)
        self.psi.copy_(psi)

    def _label_effect(self, values: Tensor, known: Tensor, design: Tensor, squares: Tensor) -> Tensor:
        """B ``(L, P)`` float64: ridge regression of each block on d(y), over the rows that have it."""
        effect = torch.zeros(design.shape[1], values.shape[1], dtype=torch.float64, device=values.device)
        weights = torch.full_like(effect, LABEL_PENALTY)
        for x, mask, d, square in _rows(values, known, design, squares):
            for i, block in enumerate(self.blocks):
                weights[:, block] += (square * mask[:, i : i + 1]).sum(0)[:, None]
                effect[:, block] += d.T @ torch.where(mask[:, i : i + 1], x[:, block], 0.0)
        return effect / weights

    @property
    def covariance(self) -> Tensor:
        """L L^T + diag(psi), ``(P, P)`` float64."""
        loadings = self.loadings.double()
        return loadings @ loadings.T + self.psi.double().diag()

    def conditional(self, target: int, available: int) -> Conditional:
        """The distribution of a modality's code given others and the neighbours.

        Args:
            target: its number.
            available: the other modalities, bit i for modality i.
        """
        key = (target, available, self.psi.device)
        if key not in self._conditionals:
            self._conditionals[key] = self._condition(target, available)
        return self._conditionals[key]

    def _condition(self, target: int, available: int) -> Conditional:
        count = len(self.names)
        given = [b for i, b in enumerate(self.blocks) if i >= count or (i != target and available >> i & 1)]
        device = self.psi.device
        columns = torch.cat([torch.arange(b.start, b.stop, device=device) for b in given] or [torch.zeros(0)]).long()
        own, c = self.blocks[target], self.covariance
        across, within = c[columns][:, own], c[own, own]
        jitter = JITTER * torch.eye(len(columns), dtype=c.dtype, device=device)
        coef = torch.linalg.solve(c[columns][:, columns] + jitter, across)
        rest = within - across.T @ coef
        root = torch.linalg.cholesky((rest + rest.T) / 2 + JITTER * torch.eye(len(rest), dtype=c.dtype, device=device))
        return Conditional(columns, coef.float(), root.float())

    def mean(self, target: int, available: int, values: Tensor, design: Tensor) -> Tensor:
        """The conditional mean ``(R, F)`` of R rows that have one pattern.

        Args:
            target: number of the modality.
            available: the others' pattern.
            values: ``(R, P)``; only the columns of available modalities and neighbours are read.
            design: ``(R, L)``.
        """
        given = self.conditional(target, available)
        prior = design @ self.effect
        return prior[:, self.blocks[target]] + (values[:, given.columns] - prior[:, given.columns]) @ given.coef

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        """Drop conditionals of the former moments."""
        self._conditionals.clear()
        super()._load_from_state_dict(*args, **kwargs)


def _rows(values: Tensor, known: Tensor, *labels: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Some rows of each at a time, numbers in float64."""
    for x, mask, d, square in zip(*(torch.split(each, ROWS) for each in (values, known, *labels)), strict=True):
        yield x.double(), mask, d.double(), square.double()


def factor_analysis(covariance: Tensor, factors: int) -> tuple[Tensor, Tensor]:
    """Loadings ``(P, r)`` and variances psi ``(P,)`` of greatest likelihood for a covariance ``(P, P)`` float64.

    Args:
        covariance: symmetric, not negative; constant columns have variance 0.
        factors: r.
    """
    variance = covariance.diagonal()
    levels, axes = torch.linalg.eigh(covariance)
    loadings = axes[:, -factors:] * (levels[-factors:].clamp(min=0) / 2).sqrt()
    psi = (variance / 2).clamp(min=LEAST_VARIANCE)
    for _ in range(STEPS):
        scaled = loadings / psi[:, None]
        within = torch.linalg.inv(torch.eye(factors, dtype=psi.dtype, device=psi.device) + loadings.T @ scaled)
        beta = within @ scaled.T
        across = covariance @ beta.T
        loadings = torch.linalg.solve(within + beta @ across, across.T).T
        psi = (variance - (loadings * across).sum(1)).clamp(min=LEAST_VARIANCE)
    return loadings, psi
