"""Configurations, presets and files."""

import json
from dataclasses import asdict

import pytest
import torch

from imder.models.configuration import from_mapping
from imder.models.imder.config import IMDerConfig
from imder.models.imder.training import IMDer
from imder.models.presets import preset_names, read_preset
from imder.models.registry import build
from imder.training.config import load_config
from imder.types import ImderError, Modality, Spec
from small_imder import SPEC, make_batch, small_model


def test_save_and_load(model, tmp_path):
    batch = make_batch()
    model.save_pretrained(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded = IMDer.from_pretrained(tmp_path / "model")
    assert loaded.config == model.config
    assert loaded.spec == model.spec
    assert not loaded.training
    ours, theirs = (m.predict(batch, seed=2) for m in (model, loaded))
    assert torch.equal(ours.prediction, theirs.prediction)
    assert torch.equal(ours.spread, theirs.spread)


def test_a_wrong_configuration_is_one_line(tmp_path):
    for wrong in ({"encoder": {"widht": 8}}, {"recovry": {"sigma": 25.0}}, {"recovery": {"network": {"head": 2}}}):
        with pytest.raises(ImderError, match=r"widht|recovry|head") as caught:
            build("imder", wrong, SPEC)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImderError, match=r"two_branches needs fusion\.kind 'pooled'"):
        build("imder", {"two_branches": False}, SPEC)
    with pytest.raises(ImderError, match=r"condition 'tokens' goes with 'edm'"):
        build("imder", {"recovery": {"preconditioning": "score"}}, SPEC)
    with pytest.raises(ImderError, match=r"recovery\.network\.causal has no effect with recovery\.condition 'tokens'"):
        build("imder", {"recovery": {"network": {"causal": True}}}, SPEC)
    channels = {
        "recovery": {"condition": "channels", "preconditioning": "score"},
        "encoder": {"time_grid": "resampled"},
    }
    with pytest.raises(
        ImderError, match=r"model\.context: recovery\.condition 'channels' can't read neighbouring clips"
    ):
        build("imder", channels | {"context": {"direction": "past"}}, SPEC)
    with pytest.raises(ImderError, match="no system 'imdr'"):
        build("imdr", {}, SPEC)
    small_model("fast").save_pretrained(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    description["model"]["encoder"]["widht"] = 8
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(ImderError, match="widht"):
        IMDer.from_pretrained(tmp_path)


def test_the_presets_there_are():
    expected = {"fast", "paper-mosi", "paper-mosei", "paper-sims", "official-mosi", "official-mosei"}
    assert expected <= set(preset_names())


@pytest.mark.parametrize("name", [n for n in preset_names() if read_preset(n)["system"] == "imder"])
def test_every_preset_builds_and_round_trips(name):
    preset = read_preset(name)
    assert set(preset) == {"system", "model", "training"}
    spec = Spec((Modality("language", 768, 50), Modality("audio", 5, 50), Modality("vision", 20, 50)))
    model = IMDer.from_preset(name, spec)
    assert from_mapping(IMDerConfig, json.loads(json.dumps(asdict(model.config)))) == model.config
    assert load_config(name).model == model.config
    if name != "fast":
        assert [e.steps for e in model.encoders.values()] == [48] * 3
        phases = [key for key, value in preset["training"].items() if isinstance(value, dict)]
        assert tuple(phases) == IMDer.phases(model.config)
        released = model.config.fusion.causal
        encoders = [m for m in model.modules() if hasattr(m, "zero_is_padding")]
        assert {m.causal for m in encoders} == {m.zero_is_padding for m in encoders} == {released}
        assert released == name.startswith("official")
