"""Recovery R^2: on how many samples, and that output says so where they are few."""

import numpy as np
import pytest

from imder.cli.trained import recovery_r2_lines
from imder.data.corpus import Ragged, Split
from imder.models.base import Model
from imder.models.registry import build
from imder.training.config import load_config
from imder.training.explained import LEAST_SAMPLES, MOST_SAMPLES, r2_samples, split_r2
from imder.types import Modality, Spec

SPEC = Spec((Modality("language", 5, 6), Modality("audio", 3, 1), Modality("vision", 4, 7)))


def model_of(preset: str, **overrides: object) -> Model:
    config = load_config(
        preset, overrides={f"model.{key.replace('__', '.')}": value for key, value in overrides.items()}
    )
    return build(config.system, config.model, SPEC)


def split_of(samples: int) -> Split:
    rng = np.random.default_rng(0)
    features = {
        m.name: Ragged.from_list([rng.normal(size=(2, m.dim)).astype(np.float32) for _ in range(samples)], m.dim)
        for m in SPEC.modalities
    }
    return Split(tuple(f"s{i}" for i in range(samples)), features, np.zeros(samples, np.float32))


@pytest.mark.parametrize("preset", ["fast", "regression"])
def test_cheap_recoveries_are_judged_on_all_samples(preset: str) -> None:
    for direction in ("none", "both"):
        assert r2_samples(model_of(preset, context__direction=direction)) == MOST_SAMPLES
    assert recovery_r2_lines(model_of(preset), {"audio": 0.25}, "valid") == [
        "recovery R^2 on valid (1: exact, 0: no better than the mean): audio 0.25"
    ]


def test_hundreds_of_evaluations_are_judged_on_fewer() -> None:
    paper, official = model_of("paper-mosi"), model_of("official-mosi")
    assert LEAST_SAMPLES < r2_samples(paper) < 100 < r2_samples(official) < MOST_SAMPLES
    assert r2_samples(model_of("paper-mosi", recovery__evaluations=2)) == MOST_SAMPLES
    assert r2_samples(model_of("paper-mosi", num_samples=1000)) == LEAST_SAMPLES
    (line,) = recovery_r2_lines(paper, {"audio": 0.25})
    assert line.startswith(f"recovery R^2 of at most {r2_samples(paper)} samples, as recovery is slow (1: exact")


def test_no_more_samples_are_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    model, recovered = model_of("paper-mosi"), []
    monkeypatch.setattr(
        type(model), "recovery_r2", lambda self, batches, seed: recovered.extend(len(batch) for batch in batches) or {}
    )
    split_r2(model, split_of(300))
    assert sum(recovered) == r2_samples(model)
    recovered.clear()
    monkeypatch.setattr(type(model), "recovery_cost", lambda self: 0.0)
    split_r2(model, split_of(300))
    assert recovered == [256, 44]
