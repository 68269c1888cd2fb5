"""Networks as fixed models."""

from __future__ import annotations

import numpy as np
import pytest

from imder.benchmarking.fixed.builtin import MODELS
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.benchmarking.fixed.plan import restricted, restricted_spec
from imder.models.presets import read_preset
from imder.training.config import load_config
from imder.training.run import RunDirectory


@pytest.mark.parametrize("names", [["vision", "audio"], ["audio"]], ids="+".join)
@pytest.mark.parametrize("name", ["mult", "paper"])
def test_a_network_is_trained_on_complete_clips_once(values, tmp_path, name, names):
    settings = FitSettings(restricted_spec(values.spec, names), tmp_path / "kept", seed=3, max_epochs=1)
    train, valid, test = (restricted(values[split], names) for split in ("train", "valid", "test"))
    first = MODELS[name].fitted(train, valid, settings).predict(test)
    stamp = (tmp_path / "kept" / "run" / "model.safetensors").stat().st_mtime_ns
    np.testing.assert_array_equal(MODELS[name].fitted(train, valid, settings).predict(test), first)
    assert (tmp_path / "kept" / "run" / "model.safetensors").stat().st_mtime_ns == stamp
    config = RunDirectory(tmp_path / "kept" / "run").open()
    assert (config.training.stage1.missing, config.training.seed, config.training.stage1.max_epochs) == ("none", 3, 1)


def test_the_papers_network_is_that_of_its_preset(values, tmp_path):
    settings = FitSettings(values.spec, tmp_path / "kept", max_epochs=1)
    MODELS["paper"].fitted(values["train"], values["valid"], settings)
    config, paper = RunDirectory(tmp_path / "kept" / "run").open(), load_config("paper-mosi")
    assert config.model.encoder == paper.model.encoder
    for key in set(read_preset("paper-mosi")["model"]["fusion"]) - {"readout_order"}:
        assert getattr(config.model.fusion, key) == getattr(paper.model.fusion, key)
    assert config.training.stage1.learning_rate == paper.training.stage1.learning_rate
