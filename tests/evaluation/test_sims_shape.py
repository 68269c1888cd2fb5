"""Every compared system takes a corpus of CH-SIMS' shape: long unaligned sequences, 709 visual features, labels in [-1, 1]."""

from dataclasses import replace

import numpy as np
import pytest

from imder.benchmarking.model_specs import default_models, model_specs
from imder.data.corpus import Corpus, Ragged, Split
from imder.evaluation.evaluate import convention_of, evaluate
from imder.training.config import EngineConfig
from imder.training.train import train
from imder.types import Modality, Spec

SHAPE = {"language": (39, 768), "vision": (55, 709), "audio": (400, 33)}
SIZES = {"train": 24, "valid": 8, "test": 8}


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(0)

    def split(name, count):
        features = {}
        for modality, (longest, dim) in SHAPE.items():
            lengths = rng.integers(longest // 2, longest + 1, count)
            lengths[0] = longest
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            features[modality] = Ragged(rng.standard_normal((int(offsets[-1]), dim)).astype(np.float32), offsets)
        labels = (rng.integers(-5, 6, count) / 5).astype(np.float32)
        ids = tuple(f"video_{i // 4}$_${name}{i:04}" for i in range(count))
        dialogue = tuple(f"{name}{i // 4}" for i in range(count))
        return Split(ids, features, labels, dialogue=dialogue, position=np.arange(count) % 4)

    modalities = tuple(Modality(name, dim, longest) for name, (longest, dim) in SHAPE.items())
    return Corpus("sims", Spec(modalities, "regression"), {name: split(name, count) for name, count in SIZES.items()})


SYSTEMS = [pytest.param(n, marks=pytest.mark.slow) if ":" in n else n for n in default_models(tuple(SHAPE))]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_trains_and_is_evaluated(name, corpus, tmp_path):
    config = model_specs([name], max_epochs=1)[0].config
    small = replace(config, training=replace(config.training, calibration_samples=8))
    model = train(corpus, tmp_path / "run", config=small, engine=EngineConfig(accelerator="cpu"))
    assert convention_of(corpus) == "sims"
    rows = evaluate(model, corpus, protocol="fixed", samples=2 if "imder" in name else None)
    assert len(rows) == 7
    assert {"acc2", "acc3", "acc5", "f1", "mae", "corr", "coverage"} <= rows[0].keys()
    assert all(np.isfinite(row["mae"]) and row["n"] == SIZES["test"] for row in rows)
