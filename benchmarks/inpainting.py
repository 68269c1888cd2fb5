"""Recovering erased steps: draws of IMDer against simple fills and, on the known-truth corpus, against the exact distribution.

    python benchmarks/inpainting.py CORPUS --out DIR [--rate .5] [--draws 16] [--set KEY=VALUE ...]

CORPUS is a path, or ``known`` for the known-truth corpus. Trains `fast` with ``recovery.inpaint`` under the ``frames`` protocol at
every rate (``--set`` changes keys of its configuration), then erases steps of the test split at ``--rate``. For each modality, of
all steps of encodings that read an erased frame, in standardised channels: R^2 of the encoding of zeros in erased frames, of
their mean over the remaining frames, of linear interpolation, of the linear part of the recovery and of the mean of its
draws; and the variance of draws over the squared error of their mean, 1 for draws from the right distribution. On the
known-truth corpus also R^2 of the exact conditional mean and the variance of draws over the exact one.

Prints a table and the weight of recovery in predictions; writes ``inpainting.csv``. A finished training in DIR is reused.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from measure import machine, markdown
from torch import Tensor

from imder.data.corpus import Corpus, Split
from imder.data.formats.load import load_corpus
from imder.data.loader import collate
from imder.evaluation.results import write_csv
from imder.missingness.frame_missing import FrameMissing
from imder.models.base import Model
from imder.models.imder.token_recovery import TokenRecovery
from imder.models.imder.training import IMDer
from imder.nn.mode import evaluating
from imder.synthetic.affine import AffineEncoder, operator_of, unflatten
from imder.synthetic.erased_posterior import ErasedPosterior
from imder.synthetic.known_truth import KnownTruth
from imder.training.run import RunDirectory
from imder.training.train import train
from imder.types import Batch

KNOWN = (1600, 200, 400)
Row = dict[str, Any]


def main() -> None:
    """Train, erase, recover, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--clips", type=int, default=400, help="test clips at most")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the configuration")
    options = parser.parse_args()
    torch.set_num_threads(1)
    truth = KnownTruth.standard() if options.corpus == "known" else None
    corpus = load_corpus(options.corpus) if truth is None else truth.corpus(*KNOWN, seed=0)
    model = trained(corpus, options.out, dict(pair.split("=", 1) for pair in options.set))
    split = corpus["test"].take(np.arange(min(options.clips, len(corpus["test"]))))
    rows = measure(model, split, options.rate, options.draws, truth)
    sizes = " / ".join(str(len(corpus[name])) for name in ("train", "valid", "test"))
    print(f"{machine()}; {sizes} clips, {len(split)} measured, {options.rate:.0%} of the steps erased\n")
    print(markdown([{k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]))
    print(f"\nweight of recovery in predictions: {model.recovery_weights()}")
    write_csv(rows, options.out / "inpainting.csv")


def trained(corpus: Corpus, out: Path, keys: dict[str, str]) -> IMDer:
    """A finished model or one trained now."""
    if RunDirectory(out).finished():
        model = Model.from_pretrained(out)
    elif (out / "config.yaml").exists():
        model = train(corpus, out, resume=True)
    else:
        overrides = {"model.recovery.inpaint": True, "training.protocol": "frames"}
        overrides |= {key: yaml.safe_load(value) for key, value in keys.items()}
        model = train(corpus, out, preset="fast", overrides=overrides)
    assert isinstance(model, IMDer)
    return model


@torch.no_grad()
def measure(model: IMDer, split: Split, rate: float, draws: int, truth: KnownTruth | None) -> list[Row]:
    """A row for each modality: R^2 of every fill over the steps that read erased frames, and variance ratios."""
    erasure = FrameMissing(rate).erasure(split.present, seed=0)
    batch = collate(split, np.arange(len(split)), split.present, erasure=erasure, complete=True)
    with evaluating(model):
        clean, zeros = (model.shared(model.encode(b)) for b in (batch.whole(), batch))
        remaining = model.remaining(batch)
        observed = model.observe(zeros, batch, remaining)
        recovered = model.recover(batch, samples=draws, seed=1)
    assert remaining is not None
    assert isinstance(model.recovery, TokenRecovery)
    rows = []
    for name in model.spec.names:
        recovery = recovered[name]
        own = remaining[name].take(recovery.rows)
        unknown = own.unknown[:, None] & own.partial[:, None, None]
        given = replace(model.usable(name, observed.take(recovery.rows)), neighbours=None)
        linear = model.recovery.closed_form_mean(name, given)

        def scale(x: Tensor, name: str = name) -> Tensor:
            scaled: Tensor = model.recovery.scale(name, x)
            return scaled

        target = scale(clean[name][recovery.rows])
        drawn = torch.stack([scale(x) for x in recovery.sampled])
        mean = drawn.mean(0)
        marked = unknown.expand_as(target)
        total = (target - target[marked].mean())[marked].square().mean()
        error = (target - mean)[marked].square().mean()
        spread = drawn.var(0, correction=0)[marked].mean()  # of antithetic draws, whose mean is that of many

        def r2(estimate: Tensor, target: Tensor = target, marked: Tensor = marked, total: Tensor = total) -> float:
            return float(1 - (target - estimate)[marked].square().mean() / total)

        row: Row = {
            "modality": name,
            "zeros": r2(scale(zeros[name][recovery.rows])),
            "mean": r2(scale(own.averaged)),
            "interpolated": r2(scale(own.interpolated)),
            "linear part": r2(linear),
            "draws": r2(mean),
        }
        if truth is not None:
            exact, variance = exact_moments(model, truth, split, batch, name)
            row["exact"] = r2(exact[recovery.rows])
            row["variance / exact"] = float(spread / variance[recovery.rows][marked].mean())
        row["variance / error"] = float(spread / error)
        rows.append(row)
    return rows


def exact_moments(model: IMDer, truth: KnownTruth, split: Split, batch: Batch, name: str) -> tuple[Tensor, Tensor]:
    """The exact mean and variance (N, width, steps) of standardised encodings given all remaining frames."""
    assert batch.erased is not None
    erased = {k: x.numpy() for k, x in batch.erased.items()}
    latent = truth.latent_posterior(split, split.present, erased)
    posterior = ErasedPosterior.of(latent, truth[name], split.features[name], erased[name])
    width = model.config.encoder.width

    def encode(features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        lengths = torch.full((len(features),), features.shape[1])
        with evaluating(model), torch.no_grad():
            encoded = model.encoders[name](torch.from_numpy(features), lengths)[:, :width]
            scaled: Tensor = model.recovery.scale(name, encoded)
        return scaled.numpy()

    operator = AffineEncoder(operator_of(encode, truth[name].dim))
    mean, variance = posterior.encoding_mean(operator), posterior.encoding_variance(operator)
    return tuple(torch.from_numpy(unflatten(x, width).astype(np.float32).copy()) for x in (mean, variance))


if __name__ == "__main__":
    main()
