"""What the benchmarks of erased frames measure: exact optima fall with what remains; fills and draws against exact means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inpainting import measure
from known_frames import by_rate, exact_scores

from imder.data.loader import collate
from imder.models.imder.training import IMDer
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config

RATES = (0.0, 0.5, 1.0)


def test_exact_scores_rise_with_the_rate_from_everything_to_nothing():
    truth = DialogueTruth.standard()
    split = truth.sample(300, seed=1)
    scored = {
        name: exact_scores(truth, split, "frames", RATES, 1, window) for name, window in (("4", 4), ("all", None))
    }
    ends = []
    for available in (split.present, np.zeros_like(split.present)):
        posterior = truth.label_posterior(split, available)
        ends.append((abs(posterior.median() - split.labels).mean(), posterior.crps(split.labels).mean()))
    rows = by_rate(scored, "frames", RATES, 1)
    for score, k in (("mae", 0), ("crps", 1)):
        values = [row["all"] for row in rows if row["score"] == score]
        assert values[0] == pytest.approx(ends[0][k])
        assert values[2] == pytest.approx(ends[1][k])
        assert values[0] < values[1] < values[2]


def test_the_linear_part_explains_most_of_what_remaining_steps_can():
    truth = KnownTruth.standard()
    corpus = truth.corpus(384, 1, 100, seed=0)
    overrides = {"model.members": 1, "model.context.direction": "none", "model.recovery.inpaint": True}
    torch.manual_seed(0)
    model = IMDer(corpus.spec, load_config("fast", overrides=overrides).model).eval()
    train = corpus["train"]
    rows = [np.arange(i, i + 64) for i in range(0, 384, 64)]
    batches = [collate(train, r, train.present[r]) for r in rows]
    model.on_phase_start("score", batches, 0)
    for row in measure(model, corpus["test"], 0.5, 4, truth):
        fills = max(row["zeros"], row["mean"], row["interpolated"])
        assert row["exact"] > row["linear part"] > fills
        assert row["linear part"] - fills > 0.3 * (row["exact"] - fills)
