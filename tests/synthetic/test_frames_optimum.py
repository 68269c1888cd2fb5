"""Trained systems against the exact optimum under erased frames and bursts, and recovered steps against exact ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_frames import erased_frames

from imder.data.loader import collate
from imder.evaluation.cells import sample_cells
from imder.evaluation.evaluate import evaluate
from imder.models.imder.remaining import erase
from imder.synthetic.affine import AffineEncoder, flatten, operator_of, unflatten
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.erased_posterior import ErasedPosterior
from imder.synthetic.known_truth import KnownTruth
from imder.training.train import train

SMALL = {"model.members": 1, "training.stage1.max_epochs": 15, "training.stage1.patience": 15}


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "training"), [("frames", {"training.protocol": "frames"}), ("bursts", {})])
def test_a_trained_system_comes_near_the_optimum_and_never_beats_it(tmp_path, protocol, training):
    truth = DialogueTruth.standard()
    corpus = truth.corpus(1200, 300, 600, seed=0)
    overrides = SMALL | training | {"model.context.direction": "both"}
    model = train(corpus, tmp_path / "run", preset="late-fusion", overrides=overrides)
    split = corpus["test"]
    baseline = abs(split.labels - np.median(corpus["train"].labels)).mean()
    rates = (0.3, 0.7)
    rows = evaluate(model, corpus, protocol, rates=rates, draws=1)
    cells = sample_cells(split.present, truth.names, protocol=protocol, rates=rates, draws=1, split=split)
    for row, cell in zip(rows, cells, strict=True):
        exact = truth.label_posterior(split, cell.mask, window=4, erased=erased_frames(cell, split))
        best = abs(exact.median() - split.labels)
        assert row["crps"] > exact.crps(split.labels).mean()
        assert row["mae"] > best.mean() - best.std() / len(best) ** 0.5
        assert row["mae"] - best.mean() < 0.5 * (baseline - best.mean())


@pytest.mark.slow
def test_recovered_steps_explain_what_remaining_steps_can(tmp_path):
    truth = KnownTruth.standard()
    corpus = truth.corpus(1600, 200, 200, seed=0)
    overrides = {
        "training.protocol": "frames",
        "model.members": 1,
        "model.context.direction": "none",
        "model.recovery.inpaint": True,
        "training.stage1.max_epochs": 4,
        "training.score.max_epochs": 12,
        "training.recovery.max_epochs": 1,
    }
    model = train(corpus, tmp_path / "run", preset="fast", overrides=overrides)
    split = corpus["test"]
    batch = erase(collate(split, np.arange(len(split)), split.present), seed=1)
    with torch.no_grad():
        clean = model.shared(model.encode(batch.whole()))
        remaining = model.remaining(batch)
        recovered = model.recover(batch, samples=16, seed=1)
        zeros = model.shared(model.encode(batch))
    erased = {k: x.numpy() for k, x in batch.erased.items()}
    latent = truth.latent_posterior(split, split.present, erased)
    for name, recovery in recovered.items():

        def encode(features, encoder=model.encoders[name]):
            with torch.no_grad():
                lengths = torch.full((len(features),), features.shape[1])
                return encoder(torch.from_numpy(features), lengths).numpy()

        posterior = ErasedPosterior.of(latent, truth[name], split.features[name], erased[name])
        operator, width = AffineEncoder(operator_of(encode, truth[name].dim)), model.config.encoder.width
        rows = recovery.rows.numpy()
        unknown = remaining[name].take(recovery.rows).unknown[:, None].numpy()
        target = clean[name].numpy()[rows]
        exact = unflatten(posterior.encoding_mean(operator), width)[rows]
        variance = unflatten(posterior.encoding_variance(operator), width)[rows]
        assert np.allclose(flatten(exact), flatten(np.where(unknown, exact, target)), atol=1e-3)

        def explained(values, target=target, unknown=unknown):
            return 1 - (((target - values) ** 2) * unknown).sum() / (((target - target.mean(0)) ** 2) * unknown).sum()

        draws = recovery.sampled.numpy()
        best, ours = explained(exact), explained(draws.mean(0))
        others = [zeros[name], remaining[name].interpolated, remaining[name].averaged]
        simple = max(explained(x.numpy()[rows]) for x in others)
        assert best > ours - 0.01
        assert ours > simple + 0.5 * (best - simple)
        ratio = (draws.var(0) * unknown).sum() / (variance * unknown).sum()
        assert 0.8 < ratio < 1.3
