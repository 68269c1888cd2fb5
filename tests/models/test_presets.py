"""Presets and their tuned variants; what each preset holds is tested with its system."""

import pytest

from imder.benchmarking.model_specs import model_specs
from imder.models import presets
from imder.models.presets import preset_names, read_preset, tuned_names
from imder.training.config import load_config
from imder.types import ImderError

TUNED = {
    "here": {"fast": {"training": {"stage1": {"learning_rate": 0.5}}}, "ridge": {}},
    "there": {"mmin": {"model": {"dropout": 0.25}}},
}


@pytest.fixture
def tuned(monkeypatch):
    real = presets._files
    monkeypatch.setattr(presets, "_files", lambda folder="": TUNED if folder == "tuned" else real(folder))


@pytest.mark.parametrize("name", [f"{p}@{c}" for p in preset_names() for c in tuned_names(p)])
def test_what_is_tuned_fits_its_preset(name):
    config, plain = load_config(name), load_config(name.partition("@")[0])
    assert config.preset == name
    assert config.system == plain.system
    assert config.training.calibration_samples == plain.training.calibration_samples
    assert config.training.seed == plain.training.seed


@pytest.mark.parametrize("corpus", tuned_names())
def test_nothing_is_tuned_for_what_has_changed_since(corpus):
    """Fast and regression had one member and no context when they were tuned; late-fusion had no variants."""
    models = ["imder", "imder:mean", "regression", "late-fusion:context", "late-fusion:members"]
    found = {e.name: e.config for e in model_specs([*models, "late-fusion"], tuned=corpus)}
    assert {name: found[name] for name in models} == {e.name: e.config for e in model_specs(models)}
    assert found["late-fusion"].preset == f"late-fusion@{corpus}"
    with pytest.raises(ImderError, match=f"preset 'fast' isn't tuned for '{corpus}'; use fast, or imder tune fast"):
        load_config(f"fast@{corpus}")


def test_tuned_settings_stand_above_the_preset(tuned):
    plain, other = load_config("fast"), load_config("fast@here")
    assert other.training.stage1.learning_rate == 0.5
    assert other.training.stage1.weight_decay == plain.training.stage1.weight_decay
    assert (other.training.score, other.model) == (plain.training.score, plain.model)
    assert load_config("fast").training.stage1.learning_rate != 0.5


def test_what_is_not_tuned_says_so(tuned):
    assert tuned_names() == ["here", "there"]
    assert tuned_names("mmin") == ["there"]
    with pytest.raises(ImderError, match="preset 'mmin' isn't tuned for 'here'; mmin@there"):
        read_preset("mmin@here")
    with pytest.raises(ImderError, match="isn't tuned for 'here'; use gcnet, or imder tune gcnet CORPUS"):
        read_preset("gcnet@here")
    with pytest.raises(ImderError, match="there is no preset 'nothing'"):
        read_preset("nothing@here")


def test_models_take_what_is_tuned_for_them(tuned):
    found = model_specs(["imder", "imder:mean", "mmin"], tuned="here")
    assert [e.config.preset for e in found] == ["fast@here", "fast@here", "mmin"]
    assert [e.name for e in found] == ["imder", "imder:mean", "mmin"]
    assert [e.config.training.stage1.learning_rate for e in found[:2]] == [0.5, 0.5]
    assert found[1].config.model.recovery.kind == "mean"
    with pytest.raises(ImderError, match=r"tuned \(--tuned\): nothing is tuned for 'mosi'; choose from here, there"):
        model_specs(["imder"], tuned="mosi")
