"""A corpus of five samples and systems that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.models.base import Model, Phase
from imder.models.parts.losses import Loss
from imder.types import Batch, Output, RecoveredEncoding

NAMES = ("language", "vision", "audio")
CLASSES = ("sad", "glad", "mad")
ABSENT = ((0, 1), (2, 0), (2, 2), (4, 1))


def tiny_split(n: int = 5, task: str = "regression", seed: int = 0, absent: tuple[tuple[int, int], ...] = ()) -> Split:
    """`n` samples of 1-4 frames; (row, modality) pairs in `absent` have none."""
    rng = np.random.default_rng(seed)
    features = {}
    for k, name in enumerate(NAMES):
        lengths = [0 if (i, k) in absent else int(rng.integers(1, 5)) for i in range(n)]
        frames = [rng.standard_normal((t, k + 1)).astype(np.float32) for t in lengths]
        features[name] = Ragged.from_list(frames, k + 1)
    labels = rng.integers(0, 3, n) if task == "classification" else rng.uniform(-3, 3, n).astype(np.float32)
    return Split(
        tuple(f"s{seed}-{i}" for i in range(n)), features, labels, texts=tuple("abcdefgh"[i % 8] for i in range(n))
    )


def tiny_corpus(task: str = "regression", absent: tuple[tuple[int, int], ...] = (), test: int = 5) -> Corpus:
    splits = {"train": tiny_split(7, task, 1), "test": tiny_split(test, task, 2, absent)}
    return Corpus("tiny", spec_of(splits, task, CLASSES if task == "classification" else ()), splits)


class Summing(Model):
    """Adds up the means of what is available; `samples` recoveries move it by fixed steps for each missing modality."""

    system = "summing"

    def __init__(self, spec: Any) -> None:
        super().__init__(spec, {})
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[int, tuple[bool, ...]]] = []

    @classmethod
    def phases(cls, config: Any) -> tuple[Phase, ...]:
        return ("stage1",)

    def on_phase_start(self, phase: Phase, batches: Iterable[Batch], seed: int) -> None: ...

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        return []

    def losses(self, batch: Batch, phase: Phase, seed: int) -> dict[str, Loss]:
        return {}

    def _sums(self, batch: Batch) -> Tensor:
        parts = [
            (batch.features[name].mean(2).sum(1) / batch.lengths[name].clamp(min=1)) * batch.available[:, k]
            for k, name in enumerate(self.spec.names)
        ]
        return torch.stack(parts).sum(0)

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        assert batch.labels is None
        assert all(not batch.features[n][~batch.available[:, k]].any() for k, n in enumerate(self.spec.names))
        self.seen += [(k, tuple(a)) for k, a in zip(batch.keys.tolist(), batch.available.tolist(), strict=True)]
        steps = torch.linspace(-1, 2, samples or 1) if (samples or 1) > 1 else torch.zeros(1)
        spread = self._sums(batch) + (seed + 1) * steps[:, None] * (~batch.available).sum(1)
        if self.spec.task == "classification":
            spread = torch.stack([spread, -spread, 0 * spread], dim=-1).softmax(-1)
        return Output(spread.mean(0), spread)

    @torch.no_grad()
    def recover(self, batch: Batch, samples: int = 1, seed: int = 0) -> dict[str, RecoveredEncoding]:
        """Encodings of width 2 that hold the sum of what is available and the number of the draw, in 3 steps or 1."""
        out = {}
        for k, name in enumerate(self.spec.names):
            rows = (~batch.available[:, k]).nonzero().squeeze(1)
            if len(rows):
                steps = 3 if name == "vision" else 1
                sampled = torch.stack(
                    [
                        self._sums(batch)[rows].expand(samples, -1),
                        torch.arange(samples)[:, None].expand(-1, len(rows)).float(),
                    ],
                    -1,
                )[..., None].repeat(1, 1, 1, steps)
                out[name] = RecoveredEncoding(rows, sampled, 10 * sampled, torch.full_like(rows, steps))
        return out


def sums(corpus: Corpus, name: str = "test", mask: np.ndarray | None = None) -> np.ndarray:
    """The sum that `Summing` predicts without recoveries, computed sample by sample."""
    split = corpus[name]
    mask = split.present if mask is None else mask
    features = split.features.values()
    return np.array([sum(r[i].mean() for r, kept in zip(features, mask[i]) if kept) for i in range(len(split))])
