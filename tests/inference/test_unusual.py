"""Features unlike those of training get a remark."""

import logging

import numpy as np
import pytest

from imder.data.corpus import Ragged, Split
from imder.inference.predict import predict
from imder.inference.unusual import unusual
from imder.models.registry import build
from imder.training.config import load_config
from small_imder import SPEC, small_model

MEAN, STD = 5.0, 2.0


@pytest.fixture
def model():
    model = small_model("fast")
    for statistics in model.feature_statistics().values():
        statistics.mean.fill_(MEAN)
        statistics.std.fill_(STD)
    return model


def split(scale):
    """Features like those of training, but for the vision of sample 1: times ``scale``, where it isn't None."""
    rng = np.random.default_rng(0)
    features = {}
    for m in SPEC.modalities:
        frames = [(MEAN + STD * rng.standard_normal((4, m.dim))).astype(np.float32) for _ in range(3)]
        if m.name == "vision":
            frames[1] = frames[1][:0] if scale is None else scale * frames[1]
        features[m.name] = Ragged.from_list(frames, m.dim)
    return Split(("a", "b", "c"), features)


@pytest.mark.parametrize(("scale", "rows"), [(1.0, []), (100.0, [(1, "vision", 1.0)]), (None, [])])
def test_a_modality_is_unusual_where_most_values_are_far_from_training(model, scale, rows):
    assert [(each.row, each.modality, each.share) for each in unusual(model, split(scale))] == rows


@pytest.mark.parametrize("system", ["emt-dlfr", "lnln", "mmin", "late-fusion"])
def test_systems_that_standardise_features_say_by_what(system):
    config = load_config(system)
    statistics = build(config.system, config.model, SPEC).feature_statistics()
    assert {name: len(s.mean) for name, s in statistics.items()} == {m.name: m.dim for m in SPEC.modalities}


def test_what_is_not_available_does_not_count(model):
    mask = np.array([[True, True, True], [True, True, False], [True, True, True]])
    assert unusual(model, split(100.0), mask) == []


def test_a_model_without_statistics_has_no_remarks(model):
    for statistics in model.feature_statistics().values():
        statistics.mean.fill_(0)
        statistics.std.fill_(1)
    assert unusual(model, split(1e6)) == []


def test_a_prediction_of_such_features_warns(model, caplog):
    with caplog.at_level(logging.WARNING, "imder.inference.predict"):
        predict(model, split(100.0))
    assert [record.message for record in caplog.records if record.name == "imder.inference.predict"] == [
        "vision: most values of 1 of 3 samples are over 10 standard deviations from the training mean; are they in the "
        "units of the training data, and made in the same way?"
    ]
