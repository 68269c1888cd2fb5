"""Configurations: presets, files, overrides and their mistakes."""

import pytest

from imder.models.presets import preset_names
from imder.models.registry import system_class
from imder.training.config import load_config
from imder.types import ImderError


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_configuration(name, tmp_path):
    import yaml

    config = load_config(name)
    system = system_class(config.system)
    assert isinstance(config.model, system.config_type)
    assert config.preset == name
    assert system.phases(config.model)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    assert load_config(file=tmp_path / "config.yaml") == config


def test_overrides_may_be_dotted_or_nested():
    dotted = load_config(overrides={"model.recovery.network.heads": 2, "training.score.max_epochs": 1})
    nested = load_config(
        overrides={"model": {"recovery": {"network": {"heads": 2}}}, "training": {"score": {"max_epochs": 1}}}
    )
    assert dotted == nested
    assert dotted.model.recovery.network.heads == 2
    assert dotted.model.recovery.network.widths == load_config().model.recovery.network.widths


def test_a_file_lies_over_the_preset_and_overrides_lie_over_both(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("preset: zero-fill\ntraining:\n  seed: 4\n  stage1: {max_epochs: 7}\n")
    config = load_config("fast", path, {"training.seed": 5})
    assert (config.system, config.preset) == ("zero-fill", "zero-fill")
    assert (config.training.seed, config.training.stage1.max_epochs) == (5, 7)
    assert config.training.stage1.ema == load_config("zero-fill").training.stage1.ema


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.encoder.depth": 3}, "model.encoder.depth"),
        ({"model": {"nothing": None}}, "model.nothing"),
        ({"training.stage3.max_epochs": 3}, "training.stage3"),
        ({"trainer.seed": 3}, "trainer"),
        ({"training.joint.max_epochs": 3}, "no such phase"),
        ({"training.seed": "often"}, "seed"),
        ({"training.score.max_epochs": 1.5}, "max_epochs"),
        ({"training.score": 3}, "score"),
        ({"model.encoder": 3}, "encoder"),
        ({"model": 3}, "model"),
        ({"training": None}, "training"),
        ({"model.encoder.time_grid": "lunar"}, "time_grid"),
        ({"training.missing_rate": "sometimes"}, "missing_rate"),
        ({"training.missing_rate": 1.5}, "missing_rate"),
        ({"training.score.missing": "every"}, "stage1 only"),
        ({"training.stage1.max_epochs": 0}, "at least 1"),
        ({"training.stage1.clip_value": 1.0}, "by norm or by value"),
        ({"training.score.plateau_patience": 1}, "two schedules"),
    ],
)
def test_bad_overrides(overrides, message):
    with pytest.raises(ImderError, match=message) as caught:
        load_config(overrides=overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "mapping"),
        ("seed: 1\n", "unknown key seed"),
        ("preset: none-such\n", "no preset"),
        ("system: zero-fill\n", "configures"),
        ("model: [1\n", "cannot read"),
        ("model: 3\n", "model"),
        ("training: [1]\n", "training"),
    ],
)
def test_bad_files(text, message, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ImderError, match=message) as caught:
        load_config(file=path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ImderError, match="cannot read"):
        load_config(file=tmp_path / "nowhere.yaml")
