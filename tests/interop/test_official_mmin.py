"""Every recorded output of the official MMIN network, from the whole model with weights under the official names."""

import pytest
import torch
from safetensors.torch import save_file

from golden_rule import arrays, assert_parity, description, fill, state_dict
from imder.interop import load_official_mmin
from imder.interop.official_mmin import TEACHER, official_mmin_names
from imder.types import Batch, ImderError

NAMES = ("audio", "language", "vision")


@pytest.fixture(scope="module")
def official():
    return state_dict("mmin")


@pytest.fixture(scope="module")
def golden(official):
    """The recorded arrays, the model, and the recorded inputs as a batch; what is missing holds NaN where it may."""
    recorded = arrays("mmin")
    model = load_official_mmin(official, frames=20).requires_grad_(False)
    assert not model.training
    available = torch.stack([recorded[f"present_{name}"] > 0 for name in NAMES], dim=1)
    rows = len(available)
    lengths = {name: torch.full((rows,), 20) for name in NAMES}
    features = {name: recorded[name] for name in NAMES}
    labels = torch.zeros(rows, dtype=torch.long)
    return recorded, model, Batch(features, lengths, torch.ones_like(available), available, torch.arange(rows), labels)


def test_codes_and_imagination(golden):
    recorded, model, batch = golden
    found = model.imagine(batch)
    assert_parity(found.given.flatten(1), recorded["encoded_available"], "codes of what is available")
    assert_parity(found.imagined.flatten(1), recorded["imagined"], "imagined")
    assert_parity(found.latent, recorded["latent"], "latent")
    assert_parity(model.restore(found.imagined).flatten(1), recorded["cycled"], "cycled")
    assert_parity(model.complement(batch).flatten(1), recorded["teacher_encoded_missing"], "teacher")


def test_prediction(golden):
    recorded, model, batch = golden
    assert_parity(model(batch), recorded["logits"], "logits")
    assert_parity(model.predict(batch).prediction, recorded["logits"].softmax(1), "prediction")


def test_losses(golden):
    recorded, model, batch = golden
    losses = model.losses(batch, "joint", seed=0)
    terms = [losses[f"imagination/{name}"] for name in NAMES]
    assert sum(term.weight for term in terms) == pytest.approx(4.0)
    assert all(term.count == len(batch) for term in terms)
    weighted = sum(term.weight * term.total / term.count for term in terms)
    assert_parity(weighted / 4, recorded["loss_imagination"], "imagination")
    assert losses["cycle"].weight == 2.0
    assert_parity(losses["cycle"].total / losses["cycle"].count, recorded["loss_cycle"], "cycle")
    task = torch.nn.functional.cross_entropy(recorded["logits"], batch.labels)
    assert_parity(losses["task"].total / losses["task"].count, task, "task")


def test_the_recorded_network_is_the_configured_one(golden):
    facts, config = description("mmin"), golden[1].config
    assert [(m.name, m.dim) for m in golden[1].spec.modalities] == [(n, facts["feature_dims"][n]) for n in NAMES]
    assert config.encoder.width == facts["encoder_width"]
    assert not config.encoder.standardize
    assert list(config.cascade.layers) == facts["autoencoder_layers"]
    assert config.cascade.blocks == facts["autoencoder_blocks"]
    assert list(config.head) == facts["classifier_layers"]
    assert golden[1].spec.outputs == facts["classes"]
    assert list(NAMES) == facts["concatenation_order"]


# ------------------------------------------------------------------------------------------------ names and files
def test_every_name_is_mapped_once(official, golden):
    names = official_mmin_names()
    assert set(names) == set(official)
    assert len(set(names.values())) == len(names)
    own = set(golden[1].state_dict()) - set(official_mmin_names(teacher_head=True).values())
    assert all(".standardize." in name for name in own)


def test_stage_1_may_come_apart_and_with_its_head(official):
    student = {k: v for k, v in official.items() if not k.startswith(TEACHER)}
    teacher = {k.removeprefix(TEACHER): v for k, v in official.items() if k.startswith(TEACHER)}
    shapes = {"module.0": (128, 384), "module.3": (128, 128), "fc_out": (4, 128)}
    for name, shape in shapes.items():
        teacher[f"netC.{name}.weight"] = fill(f"{name}.weight", list(shape), False)
        teacher[f"netC.{name}.bias"] = fill(f"{name}.bias", [shape[0]], False)
    model = load_official_mmin(student, teacher, classes=("ang", "hap", "sad", "neu"))
    assert model.spec.classes == ("ang", "hap", "sad", "neu")
    assert torch.equal(model.teacher.head.out.weight, teacher["netC.fc_out.weight"])
    assert torch.equal(model.teacher.encoders["audio"].reader.rnn.bias_hh_l0, teacher["netA.rnn.bias_hh_l0"])


def test_one_cascade_for_both_directions(official, golden):
    recorded, _, batch = golden
    state = {k: v for k, v in official.items() if not k.startswith("netAE_cycle")}
    model = load_official_mmin(state, frames=20).requires_grad_(False)
    assert model.config.cascade.shared
    assert model.backwards is None
    imagined = model.imagine(batch).imagined
    assert_parity(imagined.flatten(1), recorded["imagined"], "imagined")
    torch.testing.assert_close(model.restore(imagined).flatten(1), model.forwards(imagined.flatten(1))[0])


def test_a_regression_head(official):
    state = {**official, "netC.fc_out.weight": torch.zeros(1, 128), "netC.fc_out.bias": torch.ones(1)}
    model = load_official_mmin(state)
    assert (model.spec.task, model.spec.classes) == ("regression", ())
    assert [m.length for m in model.spec.modalities] == [50] * 3


def same(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_files_and_folders(official, tmp_path):
    torch.save(official, tmp_path / "model.pth")
    save_file(official, tmp_path / "model.safetensors")
    with torch.random.fork_rng():
        models = []
        for weights in (official, tmp_path / "model.pth", tmp_path / "model.safetensors"):
            torch.manual_seed(0)  # stage 1's head is nobody's
            models.append(load_official_mmin(weights))
        for stage, prefix in (("two", ""), ("one", TEACHER)):
            (tmp_path / stage).mkdir()
            for network in ("A", "L", "V") + (("AE", "AE_cycle", "C") if stage == "two" else ()):
                start = f"{prefix}net{network}."
                part = {k.removeprefix(start): v for k, v in official.items() if k.startswith(start)}
                torch.save(part, tmp_path / stage / f"60_net_{network}.pth")
        torch.manual_seed(0)
        models.append(load_official_mmin(tmp_path / "two", tmp_path / "one"))
    assert all(same(models[0], other) for other in models[1:])
    torch.save({}, tmp_path / "two" / "59_net_A.pth")
    with pytest.raises(ImderError, match="state dictionary"):
        load_official_mmin(tmp_path / "two", tmp_path / "one")
    torch.save({"rnn.bias": torch.zeros(1)}, tmp_path / "two" / "59_net_A.pth")
    with pytest.raises(ImderError, match=r"two files of one network, 59_net_A.pth and 60_net_A.pth"):
        load_official_mmin(tmp_path / "two", tmp_path / "one")


class Planted:
    def __reduce__(self):
        return (pytest.fail, ("code of a weight file was run",))


def test_nothing_in_a_file_is_executed(tmp_path):
    (tmp_path / "run").mkdir()
    torch.save({"rnn.weight": Planted()}, tmp_path / "run" / "60_net_A.pth")
    with pytest.raises(ImderError, match=r"60_net_A\.pth: .*asks to run _pytest\.outcomes.*refused"):
        load_official_mmin(tmp_path / "run")


def test_wrong_weights_are_one_line(official, tmp_path):
    state = dict(official)
    del state["netA.rnn.bias_hh_l0"]
    state["extra.weight"] = torch.zeros(1)
    with pytest.raises(ImderError, match=r"missing netA.rnn.bias_hh_l0; unknown extra.weight$"):
        load_official_mmin(state)
    with pytest.raises(ImderError, match=r"missing pretrained_encoder\.netA.* and \d+ more$"):
        load_official_mmin({k: v for k, v in official.items() if not k.startswith(TEACHER)})
    with pytest.raises(ImderError, match=r"head.hidden.0.weight is \(128, 192\), the model has \(128, 320\)$"):
        load_official_mmin({**official, "netC.module.0.weight": torch.zeros(128, 192)})
    with pytest.raises(
        ImderError, match=r"netL.conv1.weight is no convolution over text: its weights are \(128, 300\)"
    ):
        load_official_mmin({**official, "netL.conv1.weight": torch.zeros(128, 300)})
    with pytest.raises(ImderError, match="encoder of audio has weights"):
        load_official_mmin({**official, "netA.rnn.weight_ih_l0": torch.zeros(512)})
    with pytest.raises(ImderError, match="4 outputs, but 2 classes"):
        load_official_mmin(official, classes=("a", "b"))
    with pytest.raises(ImderError, match="at least 2, got 1"):
        load_official_mmin(official, frames=1)
    torch.save({"netA.rnn.bias_hh_l0": torch.zeros(512)}, tmp_path / "part.pth")
    with pytest.raises(ImderError, match=r"part.pth: not the weights of an official MMIN network"):
        load_official_mmin(tmp_path / "part.pth")
    with pytest.raises(ImderError, match="no checkpoints"):
        load_official_mmin(tmp_path)
