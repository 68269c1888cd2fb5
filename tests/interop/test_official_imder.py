"""Every recorded output of the official IMDer networks, from the whole model with weights under the official names."""

import logging
from itertools import repeat

import pytest
import torch
from safetensors.torch import save_file

from golden_rule import arrays, assert_parity, description, fill, state_dict
from imder import diffusion
from imder.diffusion.sample import TIME_MIN
from imder.interop import load_official_imder
from imder.interop.official_imder import LETTERS, map_official_names, official_names, read_state_dict
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.paper import LOSS_TIME
from imder.types import Batch, ImderError

SUBSETS = ("l", "v", "a", "lv", "la", "va")


class Replay:
    """The recorded normal draws, one after the other."""

    def __init__(self, draws):
        self._draws = iter(draws)

    def normal(self, shape):
        draw = next(self._draws)
        assert draw.shape == shape
        return draw

    def exhausted(self):
        return next(self._draws, None) is None


def mask(letters):
    return torch.tensor([[letter in letters for letter in LETTERS]] * 3)


@pytest.fixture(scope="module", params=["mosi", "mosei"])
def golden(request):
    """The recorded arrays, the model, and the recorded inputs as a batch."""
    recorded = arrays(request.param)
    model = load_official_imder(state_dict(request.param), f"official-{request.param}").requires_grad_(False)
    inputs = {"language": recorded["text"], "audio": recorded["audio"], "vision": recorded["video"]}
    lengths = {name: torch.full((3,), 50) for name in inputs}
    batch = Batch(inputs, lengths, mask("lva"), mask("lva"), torch.arange(3), torch.tensor([0.5, -1.0, 2.0]))
    assert not model.training
    return recorded, model, batch


def test_encodings(golden):
    recorded, model, batch = golden
    for name, encoding in model.encode(batch).items():
        assert_parity(encoding, recorded[f"encoded_{name}"], name)


def test_complete_inputs(golden):
    recorded, model, batch = golden
    output = model.predict(batch)
    assert_parity(output.prediction[:, None], recorded["full_prediction"], "prediction")
    assert output.recovered == {}
    readout = model.fusion.readout(model.encode(batch))
    assert_parity(readout, recorded["full_readout"], "readout")


@pytest.mark.parametrize("letter", LETTERS)
def test_score_networks(golden, letter):
    """Read off the denoiser that samples, with the condition's noise set to zero."""
    recorded, model, _ = golden
    target, other = LETTERS[letter], "language" if letter != "l" else "vision"
    x, std = recorded["score_x"], recorded["marginal_std"]
    given = {other: recorded["score_condition"]}
    for what, available in (("conditional", mask(other[0])), ("unconditional", mask(""))):
        observed = ObservedEncodings(given, available)
        denoise = model.recovery.denoiser(target, observed, Replay([torch.zeros_like(x)]))
        score = (denoise(x, std) - x) / std[:, None, None].square()
        assert_parity(score, recorded[f"score_{letter}_{what}"], what)


@pytest.mark.parametrize("letter", LETTERS)
def test_refinement(golden, letter):
    recorded, model, _ = golden
    assert_parity(
        model.refine(LETTERS[letter], recorded["score_x"] / 3), recorded[f"reconstruction_{letter}"], "refined"
    )


@pytest.mark.parametrize("what", ["conditional", "unconditional"])
def test_sampler(golden, what):
    """Six steps; the conditional sampler draws the condition's noise before the state's, at every step."""
    recorded, model, _ = golden
    draws = [recorded[name] for name in sorted(recorded) if name.startswith(f"em6_{what}_noise")]
    state = conditions = Replay(draws)
    if what == "unconditional":  # nothing was drawn for a condition that is not there
        conditions = Replay(repeat(torch.zeros_like(draws[0])))
    given, available = {"language": recorded["score_condition"]}, mask("l" if what == "conditional" else "")
    denoise = model.recovery.denoiser("vision", ObservedEncodings(given, available), conditions)
    schedule = model.recovery.schedule
    start = state.normal((3, 32, 48)) * schedule.std(torch.tensor(1.0))
    times = diffusion.uniform_times(6, TIME_MIN)
    assert_parity(diffusion.euler_maruyama(denoise, start, times, schedule, state), recorded[f"em6_{what}"], what)
    assert state.exhausted()


@pytest.mark.parametrize("what", ["shared_noise", "unconditional"])
def test_score_matching_loss(golden, what):
    recorded, model, batch = golden
    condition = model.encode(batch)["language"] if what == "shared_noise" else None
    groups = [(torch.arange(3), condition)]
    t = recorded["dsm_u"] * (1 - LOSS_TIME) + LOSS_TIME
    clean, z = recorded["encoded_vision"], recorded["dsm_z"]
    losses = model.recovery.losses_at("vision", clean, groups, t, z, Replay([torch.full_like(z, torch.nan)]))
    assert_parity(losses.mean(), recorded[f"dsm_loss_{what}"], what)


@pytest.mark.parametrize("subset", SUBSETS)
def test_incomplete_patterns(golden, subset, monkeypatch):
    """Prediction and losses when the sampler returns the recorded samples; what the sampler is handed."""
    recorded, model, batch = golden
    asked = {}

    def sample(target, observed, keys, *, draws, seed):
        assert observed.neighbours is None
        ((rows, condition),) = model.recovery.groups(target, observed)
        assert rows.tolist() == [0, 1, 2]
        asked[target] = condition
        return recorded[f"sampled_{target[0]}"][None]

    monkeypatch.setattr(model.recovery, "sample", sample)
    batch = batch.with_available(mask(subset))
    output = model.predict(batch)
    assert_parity(output.prediction[:, None], recorded[f"available_{subset}_prediction"], "prediction")
    missing = [name for letter, name in LETTERS.items() if letter not in subset]
    assert sorted(asked) == sorted(output.recovered) == sorted(missing)
    for name in missing:
        assert_parity(asked[name], recorded[f"available_{subset}_condition_for_{name[0]}"], "condition")
        assert torch.equal(output.recovered[name].sampled[0], recorded[f"sampled_{name[0]}"])

    losses = model.losses(batch, "joint", seed=0)
    task = (recorded[f"available_{subset}_prediction"][:, 0] - batch.labels).abs().mean()
    assert_parity(losses["task"].total / losses["task"].count, task, "task loss")
    parts = [losses[f"reconstruction/{name}"] for name in LETTERS.values()]
    assert all(part.weight == 0.1 for part in parts)
    total = sum(part.total / part.count for part in parts if part.count)
    assert_parity(total, recorded[f"available_{subset}_reconstruction_loss"], "reconstruction loss")


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


def test_what_has_no_official_counterpart_changes_nothing(mosi):
    model = load_official_imder(mosi)
    own = set(model.state_dict()) - set(official_names(4).values())
    standardizers = {f"encoders.{name}.standardize.{part}" for name in LETTERS.values() for part in ("mean", "std")}
    assert own == standardizers | {"branch_weight", "cooccurrence"}
    assert not model.config.encoder.standardize
    assert not model.config.two_branches
    assert [(m.name, m.dim, m.length) for m in model.spec.modalities] == [
        ("language", 768, 50), ("vision", 20, 50), ("audio", 5, 50),
    ]  # fmt: skip


def test_prefix_and_empty_buffers_are_dropped_and_a_language_encoder_kept_aside(mosi, caplog):
    state = {f"Model.{name}": value for name, value in mosi.items()}
    state["Model.trans_l_mem.version"] = state["Model.trans_l_mem.embed_positions._float_tensor"] = torch.zeros(1)
    with caplog.at_level(logging.WARNING):
        ours, aside = map_official_names(state, 4)
    assert not aside
    assert not caplog.records
    assert ours["recovery.condition.fuse.vision+audio.weight"] is mosi["cat_va.weight"]
    assert ours["recovery.scores.audio.up.2.norm.bias"] is mosi["score_a.tgnorm2.bias"]
    state["Model.text_model.embeddings.weight"] = torch.zeros(2, 3)
    with caplog.at_level(logging.WARNING):
        model = load_official_imder(state)
    assert torch.equal(model.state_dict()["fusion.head.weight"], mosi["out_layer.weight"])
    assert "fine-tuned language encoder (1 tensors under text_model.*)" in caplog.text


def test_wrong_weights_are_one_line(mosi):
    state = dict(mosi)
    del state["proj_l.weight"]
    state["extra.weight"] = torch.zeros(1)
    with pytest.raises(ImderError, match=r"missing proj_l.weight; unknown extra.weight$"):
        load_official_imder(state)
    with pytest.raises(ImderError, match=r"with 6 fusion layers: missing trans_.* and 212 more$"):
        load_official_imder(mosi, "official-mosei")
    with pytest.raises(ImderError, match="go with official-mosi or official-mosei, not with 'paper-mosi'"):
        load_official_imder(mosi, "paper-mosi")
    with pytest.raises(ImderError, match=r"fusion.head.weight is \(3, 192\), the model has \(1, 192\)$"):
        load_official_imder({**mosi, "out_layer.weight": torch.zeros(3, 192)})
    with pytest.raises(ImderError, match=r"encoders.audio.conv.weight is \(32, 5, 7\), the model has \(32, 5, 3\)$"):
        load_official_imder({**mosi, "proj_a.weight": torch.zeros(32, 5, 7)})
    with pytest.raises(ImderError, match=r"language is no convolution over time: its weights are \(32,\)"):
        load_official_imder({**mosi, "proj_l.weight": torch.zeros(32)})


def test_files(mosi, tmp_path):
    torch.save({f"Model.{name}": value for name, value in mosi.items()}, tmp_path / "model.pth")
    save_file(mosi, tmp_path / "model.safetensors")
    first, second = (load_official_imder(tmp_path / name) for name in ("model.pth", "model.safetensors"))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    torch.save({"proj_l.weight": fill("proj_l.weight", [32, 5, 3])}, tmp_path / "part.pth")
    with pytest.raises(ImderError, match=r"part.pth: not the weights of an official IMDer network"):
        load_official_imder(tmp_path / "part.pth")


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
