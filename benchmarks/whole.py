"""Duration of `imder train` on real corpora, compared with a small transformer.

    python benchmarks/whole.py CORPUS [CORPUS ...] [--out DIR] [--seed 0]

`imder train` runs as a command, start-up and reading included, with every phase and early stopping of `fast`; its
metrics are those of the test split under natural availability. The small transformer has mean,
deviation and deviation of differences of each modality over time, one transformer layer across modalities with learned
missing tokens, random patterns of availability in training, and early stopping on validation. Its settings are usual
ones, not tuned to a corpus: it is a reference for time, not for accuracy.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine, markdown
from torch import Tensor, nn

from imder import metrics
from imder.data.corpus import Corpus, Split
from imder.data.formats.load import load_corpus
from imder.data.loader import available_loader
from imder.evaluation.evaluate import evaluate
from imder.missingness.protocols import AnySubset
from imder.models.base import Model
from imder.models.parts.encoder import fit_features
from imder.models.parts.losses import task_loss, to_prediction
from imder.nn.resample import frame_mask
from imder.nn.standardize import Standardizer
from imder.types import Batch, Spec


def main() -> None:
    """Train both on each corpus and print seconds and metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="imder-whole-"))
    print(f"{machine()}\n")
    rows: list[dict[str, Any]] = []
    for path in options.corpora:
        run, command = out / path.name, [sys.executable, "-m", "imder", "train", str(path), "--out"]
        started = time.monotonic()
        subprocess.run([*command, str(run), "--seed", str(options.seed)], check=True, stdout=subprocess.DEVNULL)
        whole = time.monotonic() - started
        corpus = load_corpus(path)
        model = Model.from_pretrained(run)
        row = evaluate(model, corpus, protocol="natural")[0]
        started = time.monotonic()
        plain = small_transformer(corpus, options.seed)
        rows += [
            {"corpus": path.name, "system": "imder (fast), the whole command", "seconds": round(whole), **_main(row)},
            {
                "corpus": path.name,
                "system": "small transformer",
                "seconds": round(time.monotonic() - started, 1),
                **_main(plain),
            },
        ]
        print(markdown(rows[-2:]) + "\n", flush=True)
    print(markdown(rows))


def _main(row: Mapping[str, Any]) -> dict[str, Any]:
    """The main metrics of a row."""
    return {k: row[k] for k in ("accuracy", "macro_f1", "acc2", "mae", "corr") if k in row}


class LateFusion(nn.Module):
    """Statistics over time, one token for each modality, one transformer layer, a head."""

    def __init__(self, spec: Spec, width: int = 64) -> None:
        super().__init__()
        self.spec = spec
        self.inputs = nn.ModuleDict({m.name: _Input(m.dim, width) for m in spec.modalities})
        self.missing = nn.Parameter(torch.randn(len(spec.names), width) * 0.02)
        self.position = nn.Parameter(torch.randn(len(spec.names), width) * 0.02)
        self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.3, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(width, spec.outputs)

    def forward(self, batch: Batch) -> Tensor:
        """The output ``(B, O)``."""
        tokens = []
        for i, (name, layer) in enumerate(self.inputs.items()):
            mask = batch.available[:, i, None]
            read = layer(batch.features[name], batch.lengths[name] * mask[:, 0])
            tokens.append(torch.where(mask, read, self.missing[i]) + self.position[i])
        out: Tensor = self.head(self.layer(torch.stack(tokens, 1)).mean(1))
        return out


class _Input(nn.Module):
    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.standardize = Standardizer(dim)
        self.project = nn.Sequential(nn.Dropout(0.3), nn.Linear(3 * dim, width), nn.GELU(), nn.Dropout(0.3))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        valid = frame_mask(lengths, features.shape[1])[..., None]
        x = (self.standardize(torch.where(valid, features, 0.0)) * valid).clamp(-5, 5)
        count = lengths.clamp(min=1)[:, None]
        mean = x.sum(1) / count
        spread = (((x - mean[:, None]) * valid).square().sum(1) / count + 1e-6).sqrt()
        both = valid[:, 1:] & valid[:, :-1]
        change = ((x.diff(dim=1) * both).square().sum(1) / count + 1e-6).sqrt()
        out: Tensor = self.project(torch.cat([mean, spread, change], 1))
        return out


def small_transformer(corpus: Corpus, seed: int, epochs: int = 60, patience: int = 10) -> dict[str, float]:
    """Train with early stopping; return the metrics on the test split under natural availability."""
    torch.manual_seed(seed)
    model = LateFusion(corpus.spec)
    train, valid = corpus["train"], corpus["valid"]
    fit_features({k: e.standardize for k, e in model.inputs.items()}, available_loader(train, train.present, 256))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    best, state, bad = float("inf"), model.state_dict(), 0
    for epoch in range(epochs):
        model.train()
        masks = AnySubset().sample(train.present, seed * 1000 + epoch + 20_000)
        for batch in available_loader(train, masks, 64).shuffled(seed, epoch):
            assert batch.labels is not None
            loss = task_loss(model(batch), batch.labels, corpus.spec)
            optimizer.zero_grad()
            torch.autograd.backward(loss.total / max(loss.count, 1.0))
            optimizer.step()
        reached = _loss(model, valid)
        if reached < best:
            best, state, bad = reached, copy.deepcopy(model.state_dict()), 0
        elif (bad := bad + 1) >= patience:
            break
    model.load_state_dict(state)
    return _metrics(model, corpus["test"])


@torch.no_grad()
def _loss(model: LateFusion, split: Split) -> float:
    model.eval()
    total, count = 0.0, 0.0
    for draw in range(3):
        for batch in available_loader(split, AnySubset().sample(split.present, 10_000 + draw), 256):
            assert batch.labels is not None
            loss = task_loss(model(batch), batch.labels, model.spec)
            total, count = total + float(loss.total), count + loss.count
    return total / count


@torch.no_grad()
def _metrics(model: LateFusion, split: Split) -> dict[str, float]:
    model.eval()
    batches = list(available_loader(split, split.present, 256))
    predicted = torch.cat([to_prediction(model(b), model.spec) for b in batches]).numpy()
    truth = np.concatenate([b.labels.numpy() for b in batches if b.labels is not None])
    return metrics.evaluate(metrics.default_convention(model.spec.task, truth), predicted, truth)


if __name__ == "__main__":
    main()
