"""Streams of systems with random weights, and recordings of features to push into them."""

from dataclasses import replace

import numpy as np
import pytest

from imder.extract.manifest import Clip
from imder.extract.recipe import AudioRecipe, Recipe, VisionRecipe
from imder.inference.options import PredictOptions
from imder.media.answer import answer
from imder.media.live.engine import StreamOptions
from imder.media.recording import Recording
from imder.media.stream import Stream
from imder.media.windows import predict_windows
from imder.models.parts.context import ContextConfig
from imder.types import Modality, Spec
from small_imder import small_config, small_model

SPEC = Spec((Modality("language", 6, 7), Modality("vision", 4, 9), Modality("audio", 3, 1)))
RECIPE = Recipe(vision=VisionRecipe("cues", 4), audio=AudioRecipe("mel64", 22050, 512, 2048, 3))
LENGTHS = {"vision": 0.1, "audio": 0.025}
"""Seconds of a frame."""


def system(direction="none"):
    """IMDer whose recoveries count, with context of three clips."""
    return small_model("fast", SPEC, replace(small_config("fast"), context=ContextConfig(direction, 3)))


def stream(model, window=2.0, hop=1.0, *, tolerance=0.5, callback=None, block=True, min_coverage=0.1, name="film"):
    options = StreamOptions(window, hop, tolerance, min_coverage, name)
    return Stream(model, None, options, PredictOptions(), callback, block=block)


def recording(seconds, lost=(0, 0), seed=0):
    """Features of sound and of a face that is away between two times."""
    rng = np.random.default_rng(seed)
    times = {name: np.arange(0, seconds - 1e-9, length) for name, length in LENGTHS.items()}
    features = {
        m.name: rng.standard_normal((len(times[m.name]), m.dim)).astype(np.float32) for m in SPEC.modalities[1:]
    }
    shown = (times["vision"] < lost[0]) | (times["vision"] >= lost[1])
    times["vision"], features["vision"] = times["vision"][shown], features["vision"][shown]
    return Recording(Clip("film"), seconds, features, times, LENGTHS, {}, None, (), ())


def until(record, seconds):
    """The beginning of a recording."""
    rows = {name: times < seconds - 1e-9 for name, times in record.times.items()}
    features = {name: values[rows[name]] for name, values in record.features.items()}
    return replace(record, seconds=seconds, features=features, times={k: v[rows[k]] for k, v in record.times.items()})


def pushes(record, step=0.5, name=None):
    """The arguments of `Stream.push_features` and their keywords, piece by piece in the order of time."""
    out = []
    for start in np.arange(0, record.seconds, step):
        for modality in record.features if name is None else (name,):
            times = record.times[modality]
            rows = (times >= start - 1e-9) & (times < start + step - 1e-9)
            arguments = (modality, record.features[modality][rows], times[rows])
            end = min(start + step, record.seconds)
            out.append((arguments, {"frame_seconds": LENGTHS[modality], "end": end}))
    return out


def expected(model, record, window=2.0, hop=1.0):
    """What `predict --window --hop` predicts."""
    rows = predict_windows(model, RECIPE, record, window, hop, PredictOptions())
    return [answer(row, SPEC) for row in rows]


def assert_same(one, other):
    """Two lists of predictions say the same: numbers but for rounding."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert set(a) == set(b)
        for key, value in a.items():
            if isinstance(value, float):
                assert value == pytest.approx(b[key], abs=1e-5), key
            elif key in ("coverage", "probabilities"):
                assert value == pytest.approx(b[key], abs=2e-3 if key == "coverage" else 1e-5), key
            elif key == "recovered":
                assert set(value) == set(b[key])
                for name, about in value.items():
                    assert about == pytest.approx(b[key][name], abs=1e-5)
            else:
                assert value == b[key], key
