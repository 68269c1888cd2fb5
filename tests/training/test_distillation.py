"""Phase ``distillation``: a run whose recovery draws in one evaluation."""

import json

import pytest
import yaml

from imder.models.base import Model
from imder.models.imder.distilled_recovery import DistilledRecovery
from imder.training.config import load_config
from imder.training.train import train
from imder.types import ImderError
from small_training import CPU, Stop, assert_same_end, tiny


def test_a_distilled_run_is_interrupted_resumed_saved_and_used(corpus, tmp_path):
    config = tiny(
        model__recovery__distilled=True,
        **{f"training__{phase}__max_epochs": 1 for phase in ("stage1", "score", "recovery")},
        training__distillation={"max_epochs": 2, "batch_size": 16, "validate_every": 1, "warmup": 2},
    )
    train(corpus, tmp_path / "whole", config=config, engine=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[Stop("distillation", 1)])
    train(corpus, tmp_path / "run", resume=True, engine=CPU)
    assert_same_end(tmp_path / "whole", tmp_path / "run")
    phases = json.loads((tmp_path / "run" / "metrics.json").read_text())["phases"]
    assert list(phases) == ["stage1", "score", "distillation", "recovery", "control"]
    model = Model.from_pretrained(tmp_path / "run")
    assert isinstance(model.recovery, DistilledRecovery)
    weights = sum(p.numel() for p in model.recovery.parameters()) / len(model.steps)
    assert model.recovery_cost() == config.model.num_samples * weights  # one evaluation for each draw


def test_the_settings_of_the_phase_are_the_presets():
    distilled = load_config("fast", overrides={"model.recovery.distilled": True})
    assert distilled.training.distillation.learning_rate == 8e-3
    with pytest.raises(ImderError, match=r"training\.distillation is set, but with these settings of the model"):
        load_config("fast", overrides={"training.distillation.max_epochs": 3})


def test_a_saved_configuration_that_is_distilled_takes_the_presets_phase(tmp_path):
    """A run's file has defaults for phases that the run doesn't have."""
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(load_config("fast").to_dict()))
    config = load_config("fast", file, {"model.recovery.distilled": True})
    assert config == load_config("fast", overrides={"model.recovery.distilled": True})
    own = load_config("fast", file, {"model.recovery.distilled": True, "training.distillation.max_epochs": 3})
    assert own.training.distillation.max_epochs == 3
