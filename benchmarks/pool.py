"""Memory of the recoveries that training samples once and keeps, at CMU-MOSEI's size.

    python benchmarks/pool.py

A pool is filled with one recovery of every (sample, pattern) pair, of the shape that `fast` draws at 50 frames and three
modalities: 16,326 training and 1,871 validation samples, six patterns that lack something. Values are random; the layout and
limits are those of training, which needs all pairs only after many epochs.
"""

from __future__ import annotations

import argparse

import torch
from measure import machine, markdown
from scale import anonymous
from torch import Tensor

from imder.missingness.subsets import pattern_bits
from imder.models.imder.pool import Draws, RecoveryCache
from imder.training.config import load_config

NAMES = ("language", "vision", "audio")
BATCH = 64


def fill(samples: int, frames: int = 50) -> RecoveryCache:
    """A full pool of all patterns of a number of samples."""
    encoder = load_config("fast").model.encoder
    shape = (encoder.width, min(encoder.steps, frames))
    cache = RecoveryCache()
    for pattern in range(1, 7):
        for start in range(0, samples, BATCH):
            keys = torch.arange(start, min(start + BATCH, samples))
            available = torch.tensor([bool(pattern >> k & 1) for k in range(3)]).expand(len(keys), 3)
            assert (pattern_bits(available) == pattern).all()
            cache.get(keys, available, 0, lambda rows, a=available: _draw(rows, a, shape), NAMES)  # type: ignore[misc]
    return cache


def _draw(rows: Tensor, available: Tensor, shape: tuple[int, int]) -> Draws:
    lacking = [i for i in range(3) if not available[0, i]]
    numbers = torch.arange(len(rows))
    return {NAMES[i]: (numbers, torch.randn(len(rows), *shape)) for i in lacking}


def main() -> None:
    """Fill both pools and print their memory."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{machine()}\n")
    rows, pools = [], []
    for split, samples in (("train", 16_326), ("valid", 1_871)):
        before = anonymous()
        pools.append(fill(samples))
        size = pools[-1].size / 2**20
        rows.append(
            {
                "split": split,
                "samples": samples,
                "encodings, MiB": round(size),
                "memory, MiB": round(anonymous() - before),
            }
        )
    print(markdown(rows))


if __name__ == "__main__":
    main()
