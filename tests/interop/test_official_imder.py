"""Every recorded output of the released IMDer networks, from its own parameter names."""

import logging

import pytest
import torch
from safetensors.torch import save_file

from golden_rule import arrays, assert_parity, description, fill, state_dict
from imder.interop.official_imder import (
    LETTERS,
    build_parts,
    check_shapes,
    load_parts,
    map_official_names,
    official_names,
    read_state_dict,
)
from imder.types import ImderError

SUBSETS = ("l", "v", "a", "lv", "la", "va")


@pytest.fixture(scope="module", params=["mosi", "mosei"])
def golden(request):
    """The recorded arrays, the released network under our names, and its encodings."""
    facts, recorded = description(request.param), arrays(request.param)
    parts = load_parts(state_dict(request.param), facts["feature_dims"], facts["fusion_layers"])
    parts.requires_grad_(False)
    inputs = {"language": recorded["text"], "audio": recorded["audio"], "vision": recorded["video"]}
    encodings = {name: parts.encoders[name]["conv"](x.transpose(1, 2)) for name, x in inputs.items()}
    return recorded, parts, encodings


def test_encodings(golden):
    recorded, _, encodings = golden
    for name, encoding in encodings.items():
        assert_parity(encoding, recorded[f"encoded_{name}"], name)


def test_fusion_of_complete_inputs(golden):
    recorded, parts, encodings = golden
    prediction, readout = parts.fusion(encodings)
    assert_parity(prediction, recorded["full_prediction"], "prediction")
    assert_parity(readout, recorded["full_readout"], "readout")


@pytest.mark.parametrize("letter", LETTERS)
def test_score_networks(golden, letter):
    recorded, parts, _ = golden
    network = parts.scores[LETTERS[letter]]
    x, t, std = recorded["score_x"], recorded["score_t"], recorded["marginal_std"]
    conditional = network(x, t, std, recorded["score_condition"])
    assert_parity(conditional, recorded[f"score_{letter}_conditional"], "conditional")
    assert_parity(network(x, t, std), recorded[f"score_{letter}_unconditional"], "unconditional")


@pytest.mark.parametrize("letter", LETTERS)
def test_refinement(golden, letter):
    recorded, parts, _ = golden
    refined = parts.refiners[LETTERS[letter]](recorded["score_x"] / 3)
    assert_parity(refined, recorded[f"reconstruction_{letter}"], "reconstruction")


@pytest.mark.parametrize("subset", SUBSETS)
def test_incomplete_patterns(golden, subset):
    """What is missing is replaced by the refined sample; the loss is a mean for each modality, summed."""
    recorded, parts, encodings = golden
    available = {LETTERS[letter]: encodings[LETTERS[letter]] for letter in subset}
    condition = parts.condition(available)
    complete, loss = dict(available), torch.zeros(())
    for letter, name in LETTERS.items():
        if letter not in subset:
            assert_parity(condition, recorded[f"available_{subset}_condition_for_{letter}"], "condition")
            complete[name] = parts.refiners[name](recorded[f"sampled_{letter}"])
            loss = loss + (complete[name] - encodings[name]).square().mean()
    assert_parity(parts.fusion(complete)[0], recorded[f"available_{subset}_prediction"], "prediction")
    assert_parity(loss, recorded[f"available_{subset}_reconstruction_loss"], "reconstruction loss")


# ------------------------------------------------------------------------------------------------ names and files
@pytest.fixture(scope="module")
def mosi():
    return state_dict("mosi")


@pytest.mark.parametrize("name", ["mosi", "mosei"])
def test_every_name_is_mapped_once(name):
    facts = description(name)
    names = official_names(facts["fusion_layers"])
    assert set(names) == set(facts["parameters"])
    assert len(set(names.values())) == len(names)
    ours = build_parts(facts["feature_dims"], facts["fusion_layers"]).state_dict()
    assert set(names.values()) == set(ours)


def test_prefix_and_empty_buffers_are_dropped_and_a_language_encoder_kept_aside(mosi, caplog):
    state = {f"Model.{name}": value for name, value in mosi.items()}
    state["Model.trans_l_mem.version"] = state["Model.trans_l_mem.embed_positions._float_tensor"] = torch.zeros(1)
    with caplog.at_level(logging.WARNING):
        ours, aside = map_official_names(state, 4)
    assert not aside
    assert not caplog.records
    assert ours["condition.fuse.vision+audio.weight"] is mosi["cat_va.weight"]
    assert ours["scores.audio.up.2.norm.bias"] is mosi["score_a.tgnorm2.bias"]
    state["Model.text_model.embeddings.weight"] = torch.zeros(2, 3)
    with caplog.at_level(logging.WARNING):
        _, aside = map_official_names(state, 4)
    assert list(aside) == ["text_model.embeddings.weight"]
    assert "fine-tuned language encoder" in caplog.text


def test_wrong_names_and_shapes_are_one_line(mosi):
    state = dict(mosi)
    del state["proj_l.weight"]
    state["extra.weight"] = torch.zeros(1)
    with pytest.raises(ImderError, match=r"missing proj_l.weight; unknown extra.weight$"):
        map_official_names(state, 4)
    with pytest.raises(ImderError, match=r"with 6 fusion layers: missing trans_.* and 212 more$"):
        map_official_names(mosi, 6)
    with pytest.raises(
        ImderError, match=r"encoders.language.conv.weight is \(32, 768, 3\), the model has \(32, 300, 3"
    ):
        load_parts(mosi, {"language": 300, "vision": 20, "audio": 5}, 4)
    small = torch.nn.Linear(2, 2)
    with pytest.raises(ImderError, match="lack what the model has: bias"):
        check_shapes({"weight": small.weight}, small)
    with pytest.raises(ImderError, match="has not: more"):
        check_shapes({**small.state_dict(), "more": small.weight}, small)


def test_files(tmp_path):
    state = {"proj_l.weight": fill("proj_l.weight", [32, 5, 3])}
    torch.save(state, tmp_path / "model.pth")
    save_file(state, tmp_path / "model.safetensors")
    for name in ("model.pth", "model.safetensors"):
        assert torch.equal(read_state_dict(tmp_path / name)["proj_l.weight"], state["proj_l.weight"])


class Planted:
    def __reduce__(self):
        return (pytest.fail, ("code of a weight file was run",))


def test_bad_files_are_one_line(tmp_path):
    torch.save({"a": Planted()}, tmp_path / "code.pth")
    torch.save({"a": torch.zeros(1), "epoch": 3}, tmp_path / "mixed.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:700])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("not tensors")
    for name in ("code.pth", "mixed.pth", "list.pth", "cut.pth", "empty.pth", "text.safetensors", "none.pth"):
        with pytest.raises(ImderError, match=name) as caught:
            read_state_dict(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImderError, match=r"asks to run _pytest\.outcomes.*refused"):
        read_state_dict(tmp_path / "code.pth")
    with pytest.raises(ImderError, match="tensors only, but epoch is something else"):
        read_state_dict(tmp_path / "mixed.pth")
