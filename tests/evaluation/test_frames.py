"""Evaluation under protocols that erase frames: no system can read them, and no pair is predicted twice."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from imder.data.corpus import Ragged
from imder.evaluation.evaluate import evaluate_model, evaluator
from imder.evaluation.predicting import model_predict
from imder.evaluation.protocol import EvaluationProtocol
from imder.inference.predict import predict
from imder.missingness.frame_missing import FrameMissing, MixedMissing
from imder.missingness.masks import mask_seed
from imder.models.registry import build
from imder.training.config import load_config
from imder.types import ImderError
from small_training import TINY
from tiny_models import NAMES, Summing, tiny_corpus

CORPUS = tiny_corpus(absent=((1, 0), (3, 2)), test=6)
SPLIT = CORPUS["test"]
NAMED = ("x", "x", "y", "x", "y", "y")
DIALOGUES = replace(SPLIT, dialogue=NAMED, position=np.arange(6))


def changed(split, erasure, available):
    """The split with other values in every erased step, and in every modality that isn't available."""
    features = {}
    for k, (name, ragged) in enumerate(split.features.items()):
        lengths = ragged.lengths
        steps = erasure.steps(k, name, split.keys, lengths, max(1, int(lengths.max())))
        values = ragged.values.copy()
        for i in range(len(split)):
            hidden = steps[i, : lengths[i]] if available[i, k] else np.ones(lengths[i], bool)
            values[ragged.offsets[i] : ragged.offsets[i + 1]][hidden] += 7.0
        features[name] = Ragged(values, ragged.offsets)
    return replace(split, features=features)


@cache
def systems():
    """Untrained systems: plain ones, IMDer, and one that reads whole dialogues."""
    torch.manual_seed(0)
    out = {}
    for preset, overrides in {
        "late-fusion": {"model.members": 2},
        "zero-fill": {},
        "mult": {},
        "gcnet": {},
        "fast": TINY,
        "late-fusion:context": {"model.context.direction": "both"},
    }.items():
        config = load_config(preset.partition(":")[0], overrides=overrides)
        out[preset] = build(config.system, config.model, CORPUS.spec).eval()
    return out


@pytest.mark.parametrize("protocol", [FrameMissing(0.5), MixedMissing(0.4)])
def test_predictions_do_not_read_erased_frames(protocol):
    present = SPLIT.present
    mask, erasure = protocol.sample(present, 3), protocol.erasure(present, 3)
    for name, model in systems().items():
        split = DIALOGUES if model.uses_context else SPLIT
        assert model.needs_dialogues(split) == model.uses_context
        call = model_predict(model)
        rows = np.arange(len(split))
        first = call(split, rows, mask, erasure=erasure)
        again = call(changed(split, erasure, mask), rows, mask, erasure=erasure)
        np.testing.assert_array_equal(first, again, err_msg=name)
        whole = call(split, rows, mask)
        assert not np.array_equal(first, whole), name  # the remaining frames are read


def test_a_prediction_is_the_same_in_every_batch():
    protocol = FrameMissing(0.5)
    erasure = protocol.erasure(SPLIT.present, 1)
    rows = np.array([4, 0, 2])
    model = systems()["late-fusion"]
    each = [
        model_predict(model, batch_size=size)(SPLIT, rows, SPLIT.present[rows], erasure=erasure.take(rows))
        for size in (1, 3)
    ]
    np.testing.assert_allclose(*each, atol=1e-6)
    shown = predict(model, replace(CORPUS, splits={"test": SPLIT}), available=protocol, seed=5)
    drawn = protocol.erasure(SPLIT.present, mask_seed(5, 0))
    direct = model_predict(model)(SPLIT, np.arange(6), SPLIT.present, erasure=drawn).mean(1)
    np.testing.assert_allclose(shown["prediction"], direct, atol=1e-6)
    assert shown["available"][1] == "vision+audio"


def test_every_draw_is_predicted_once_and_rate_0_is_shared_with_other_protocols():
    model = Summing(CORPUS.spec)
    run = evaluator(model, CORPUS)
    run(EvaluationProtocol("random", rates=(0.0,), draws=2))
    assert len(model.seen) == len(SPLIT)
    rows = run(EvaluationProtocol("frames", rates=(0.0, 0.5, 1.0), draws=2))
    assert len(model.seen) == len(SPLIT) * (1 + 4)  # nothing at rate 0; two draws at .5 and at 1
    run(EvaluationProtocol("frames", rates=(0.5, 1.0), draws=2))
    assert len(model.seen) == len(SPLIT) * 5
    alone = evaluate_model(model, CORPUS, EvaluationProtocol("frames", rates=(0.0, 0.5, 1.0), draws=2))
    assert [row["mae"] for row in alone] == [row["mae"] for row in rows]
    assert rows[0]["mae"] == rows[1]["mae"]
    assert rows[2]["mae"] != rows[3]["mae"]
    labels = np.asarray(SPLIT.labels, np.float64)
    assert rows[4]["mae"] == pytest.approx(abs(labels).mean())  # everything is erased: the sum of zeros
    assert {row["n"] for row in rows} == {len(SPLIT)}


def test_whole_dialogues_are_predicted_cell_by_cell():
    model = systems()["late-fusion:context"]
    corpus = replace(CORPUS, splits={"train": CORPUS["train"], "test": DIALOGUES})
    protocol = EvaluationProtocol("mixed", rates=(0.0, 0.4), draws=2)
    rows = evaluate_model(model, corpus, protocol)
    for row in rows:
        missing = MixedMissing(row["rate"])
        seed = mask_seed(0, row["draw"])
        mask, erasure = missing.sample(DIALOGUES.present, seed), missing.erasure(DIALOGUES.present, seed)
        spread = model_predict(model)(DIALOGUES, np.arange(6), mask, erasure=erasure)
        assert row["mae"] == pytest.approx(abs(spread.mean(1) - DIALOGUES.labels).mean(), abs=1e-6)


def test_batches_to_predict_have_no_complete_features():
    protocol = FrameMissing(0.5)
    seen = []

    class Recording(Summing):
        def predict(self, batch, *, samples=None, seed=0):
            seen.append(batch)
            return super().predict(batch, samples=samples, seed=seed)

    model_predict(Recording(CORPUS.spec))(
        replace(SPLIT, labels=None), np.arange(6), SPLIT.present, erasure=protocol.erasure(SPLIT.present, 0)
    )
    assert set(seen[0].erased) == set(NAMES)
    assert seen[0].complete is None
    with pytest.raises(ImderError, match="only batches of training"):
        seen[0].whole()
