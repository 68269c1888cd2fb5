"""Batches made of other batches: some rows of them, or with whatever must not be read spoiled."""

from dataclasses import replace

import torch


def take(batch, rows):
    """Some rows, any number of times, padded no further than they need."""
    rows = torch.as_tensor(rows)
    lengths = {name: n[rows] for name, n in batch.lengths.items()}
    features = {name: x[rows, : max(1, int(lengths[name].max()))] for name, x in batch.features.items()}
    told = [name for name in ("labels", "dialogue", "position", "speaker") if getattr(batch, name) is not None]
    kept = {name: getattr(batch, name)[rows] for name in ("present", "available", "keys", *told)}
    return replace(batch, features=features, lengths=lengths, **kept)


def spoiled(batch, seen):
    """NaN wherever ``seen`` (B, K) and the lengths leave nothing to read, and lengths that mean nothing there."""
    features, lengths = {}, {}
    for i, (name, x) in enumerate(batch.features.items()):
        valid = (torch.arange(x.shape[1])[None] < batch.lengths[name][:, None]) & seen[:, i : i + 1]
        features[name] = torch.where(valid[..., None], x, torch.nan)
        garbage = torch.tensor([0, 1, x.shape[1], 99, -3])[torch.arange(len(batch)) % 5]
        lengths[name] = torch.where(seen[:, i], batch.lengths[name], garbage)
    return replace(batch, features=features, lengths=lengths)
