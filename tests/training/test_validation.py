"""A system on validation samples: which subsets, which samples, and the loss, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.data.corpus import Corpus
from imder.data.loader import collate
from imder.models.registry import build
from imder.training.config import TrainingConfig, load_config
from imder.training.validation import SEED, predict_validation, validation_loss
from imder.types import ImderError
from tiny_models import tiny_corpus, tiny_split

SMALL = {
    "model.encoder.width": 8,
    "model.encoder.steps": 4,
    "model.recovery.network.widths": [8],
    "model.recovery.network.heads": 2,
    "model.recovery.network.embedding": 8,
    "model.recovery.evaluations": 2,
    "model.refinement.channels": 8,
    "model.refinement.blocks": 1,
    "model.refinement.reduction": 4,
    "model.num_samples": 3,
    "model.fusion.hidden": 8,
    "model.members": 1,
    "model.context.direction": "none",
}


def corpus_of(task, absent=((0, 1), (3, 0), (3, 2))):
    corpus = tiny_corpus(task)
    return replace(corpus, splits={**corpus.splits, "valid": tiny_split(6, task, 4, absent)})


def model_of(corpus: Corpus):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build("imder", load_config("fast", overrides=SMALL).model, corpus.spec)
    model.branch_weight.fill_(0.5)  # recoveries enter predictions
    return model.eval()


def test_every_subset_of_what_each_sample_has():
    corpus = corpus_of("regression")
    judged = predict_validation(model_of(corpus), corpus, TrainingConfig())
    counts = np.bincount(judged.rows, minlength=6)
    assert counts.tolist() == [3, 7, 7, 1, 7, 7]
    assert not (judged.available & ~corpus["valid"].present[judged.rows]).any()
    assert len(np.unique(np.column_stack([judged.rows, judged.available]), axis=0)) == len(judged.rows)
    np.testing.assert_array_equal(judged.labels, corpus["valid"].labels[judged.rows])


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_loss_is_that_of_the_mean_over_recoveries(task):
    corpus = corpus_of(task)
    model = model_of(corpus)
    losses = []
    judged = predict_validation(model, corpus, TrainingConfig())
    assert judged.spread.shape[1] == 3
    for row, available in zip(judged.rows, judged.available, strict=True):
        batch = collate(corpus["valid"], np.array([row]), available[None])
        prediction = model.predict(batch, seed=SEED).prediction[0]
        label = corpus["valid"].labels[row]
        losses.append(abs(float(prediction) - label) if task == "regression" else -float(prediction[label].log()))
    assert validation_loss(model, corpus, TrainingConfig()) == pytest.approx(np.mean(losses), rel=1e-4)


def test_samples_without_a_label_are_left_out():
    corpus = corpus_of("regression")
    labels = corpus["valid"].labels.copy()
    labels[[1, 4]] = np.nan
    corpus = replace(corpus, splits={**corpus.splits, "valid": replace(corpus["valid"], labels=labels)})
    assert set(predict_validation(model_of(corpus), corpus, TrainingConfig()).rows) == {0, 2, 3, 5}
    assert len(set(predict_validation(model_of(corpus), corpus, TrainingConfig(), most=2).rows)) == 2


def test_nothing_to_see_and_no_finite_loss():
    corpus = corpus_of("regression")
    unlabelled = replace(corpus["valid"], labels=np.full(6, np.nan, np.float32))
    with pytest.raises(ImderError, match="no labelled sample of split 'valid'"):
        predict_validation(
            model_of(corpus), replace(corpus, splits={**corpus.splits, "valid": unlabelled}), TrainingConfig()
        )
    model = model_of(corpus)
    model.fusion.head.bias.data.fill_(torch.nan)
    with pytest.raises(ImderError, match="the loss of the predictions for split 'valid' is nan"):
        validation_loss(model, corpus, TrainingConfig())
