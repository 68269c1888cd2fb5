"""Training under protocols that erase frames: the masks of batches, one model for each rate or for all."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.evaluation.evaluate import evaluate
from imder.models.base import Model
from imder.training.config import PhaseConfig, TrainingConfig, load_config
from imder.training.masks import mode_of, training_loader, validation_loader
from imder.training.train import train
from imder.training.validation import predict_validation
from imder.types import ImderError
from small_training import CPU


def frames_of(loader):
    """By sample, the erased steps of each pair in order of the batches."""
    out = {}
    for batch in loader:
        for i, key in enumerate(batch.keys.tolist()):
            steps = {k: v[i, : batch.lengths[k][i]] for k, v in batch.erased.items()}
            out.setdefault(key, []).append((tuple(batch.available[i].tolist()), steps))
    return out


def shares(frames):
    return torch.cat([steps.float() for pairs in frames.values() for _, each in pairs for steps in each.values()])


@pytest.mark.parametrize("missing", ["every", "any", "rate"])
def test_batches_have_erased_frames_and_their_truth(corpus, missing):
    training = TrainingConfig(protocol="frames", missing_rate=0.3)
    phase = PhaseConfig(batch_size=16, missing=missing)
    assert mode_of(phase, training) == "rate"
    loader = training_loader(corpus["train"], phase, training, 0)
    for batch in loader:
        assert torch.equal(batch.available, batch.present)
        for name, x in batch.features.items():
            erased = batch.erased[name]
            assert not x[erased].any()
            assert torch.equal(x[~erased], batch.complete[name][~erased])
        whole = batch.whole()
        assert all(torch.equal(whole.features[k], batch.complete[k]) for k in batch.features)
    assert shares(frames_of(loader)).mean() == pytest.approx(0.3, abs=0.05)


def test_epochs_differ_and_any_rate_covers_all_rates(corpus):
    training = TrainingConfig(protocol="frames")
    phase = PhaseConfig(batch_size=16)
    first, again, other = (frames_of(training_loader(corpus["train"], phase, training, epoch)) for epoch in (0, 0, 1))
    assert all(torch.equal(first[k][0][1][n], again[k][0][1][n]) for k in first for n in first[k][0][1])
    assert any(not torch.equal(first[k][0][1][n], other[k][0][1][n]) for k in first for n in first[k][0][1])
    each = [float(torch.cat(list(pairs[0][1].values())).float().mean()) for pairs in first.values()]
    assert min(each) < 0.2
    assert max(each) > 0.8
    assert np.mean(each) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(("rate", "share"), [(0.4, 0.4), ("any", 0.5)])
def test_validation_masks_are_fixed_draws_of_the_protocol(corpus, rate, share):
    training = TrainingConfig(protocol="mixed", missing_rate=rate, validation_draws=4)
    loader = validation_loader(corpus["valid"], PhaseConfig(missing="every"), training, all_patterns=True)
    first, again = frames_of(loader), frames_of(loader)
    assert {len(pairs) for pairs in first.values()} == {4}
    for key, pairs in first.items():
        assert [p[0] for p in pairs] == [p[0] for p in again[key]]
        steps = [torch.cat(list(steps.values())) for _, steps in pairs]
        assert not all(torch.equal(steps[0], other) for other in steps[1:])
    available = [flag for pairs in first.values() for mask, _ in pairs for flag in mask]
    assert 1 - np.mean(available) == pytest.approx(share, abs=0.12)


def test_phases_on_complete_samples_stay_so(corpus):
    phase = PhaseConfig(batch_size=16, missing="none")
    for batch in training_loader(corpus["train"], phase, TrainingConfig(protocol="frames"), 0):
        assert batch.erased is None
        assert batch.complete is None


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"protocol": "bursts"}, "training.protocol is one of random, frames, mixed, got 'bursts'"),
        ({"protocol": "frames", "missing_rate": "official"}, "under the frames protocol it is a number or 'any'"),
        ({"protocol": "mixed", "missing_rate": 0.3, "permanently_missing": True}, "undefined under the mixed protocol"),
        ({"missing_rate": "frames"}, "missing_rate is a number"),
    ],
)
def test_settings_that_contradict_each_other(how, says):
    with pytest.raises(ImderError, match=says):
        TrainingConfig(**how)


@pytest.mark.parametrize("context", ["none", "both"])
def test_a_model_is_trained_calibrated_and_evaluated_on_frames(corpus, tmp_path, context):
    settings = {"model.members": 1, "model.context.direction": context, "training.stage1.max_epochs": 2}
    config = load_config("late-fusion", overrides=settings)
    out = tmp_path / "run"
    config = replace(config, training=replace(config.training, protocol="frames"))
    model = train(corpus, out, config=config, engine=CPU)
    assert "protocol: frames" in (out / "config.yaml").read_text()
    assert model.calibration is not None
    predictions = predict_validation(model, corpus, config.training)
    assert np.array_equal(predictions.available, corpus["valid"].present[predictions.rows])
    assert len(np.unique(predictions.spread[predictions.rows == 0])) > 1
    rows = evaluate(Model.from_pretrained(out), corpus, "frames", rates=(0.0, 0.5), draws=2)
    assert len({row["mae"] for row in rows}) == 3
    assert "coverage" in rows[0]
