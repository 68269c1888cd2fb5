"""Every recorded output of the official GCNet networks, with weights under the official names."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from golden_rule import arrays, assert_parity, description, state_dict
from imder.interop import load_official_gcnet
from imder.interop.official_gcnet import official_names
from imder.models.baselines.gcnet import reconstruction_loss
from imder.types import Batch, ImderError

DIMS = {"audio": 74, "language": 300, "vision": 35}
LENGTHS = (7, 4)


@pytest.fixture(scope="module", params=["gcnet_1speaker", "gcnet_2speaker"])
def golden(request):
    """The recorded arrays, dialogues first, and the model."""
    found = arrays(request.param)
    timed = ("features", "available", "prediction", "reconstruction", "hidden")
    recorded = {k: v.transpose(0, 1) if k in timed else v for k, v in found.items()}
    attention = description(request.param)["utterance_attention"]
    model = load_official_gcnet(state_dict(request.param), DIMS, attention=attention).requires_grad_(False)
    assert not model.training
    assert recorded["lengths"].tolist() == list(LENGTHS)
    return recorded, model


def batch_of(recorded, dialogues):
    """The valid utterances of some dialogues as rows, last ones first."""
    rows = [(d, t) for d in dialogues for t in range(LENGTHS[d])][::-1]
    d, t = (torch.tensor(index) for index in zip(*rows, strict=True))
    features = dict(zip(DIMS, recorded["features"][d, t][:, None].split(list(DIMS.values()), -1), strict=True))
    ones = torch.ones(len(rows), dtype=torch.int64)
    available = recorded["available"][d, t].bool()
    batch = Batch(features, dict.fromkeys(DIMS, ones), torch.ones_like(available), available, ones, torch.zeros(len(d)))
    return replace(batch, dialogue=d, position=10 * t, speaker=recorded["speaker"][d, t].long()), d, t


def test_the_network(golden):
    """Padding is read, as there: only then are shorter dialogues the same."""
    recorded, model = golden
    shown = recorded["available"].repeat_interleave(torch.tensor(list(DIMS.values())), 2)
    x, speakers = recorded["features"] * shown, recorded["speaker"].long()
    found = model.network(x, recorded["lengths"], speakers, read_padding=True)
    for name, ours in zip(("prediction", "reconstruction", "hidden"), found, strict=True):
        assert_parity(ours, recorded[name], name)


def test_the_reconstruction_loss(golden):
    """As official, with utterances of both dialogues in the order of time, but the mask of valid ones by dialogue."""
    recorded, _ = golden
    in_time = {k: recorded[k].transpose(0, 1).flatten(0, 1) for k in ("features", "available", "reconstruction")}
    valid = recorded["utterance_mask"].bool().flatten()
    missing = (in_time["available"] == 0) & valid[:, None]
    targets = in_time["features"].split(list(DIMS.values()), -1)
    total = reconstruction_loss(in_time["reconstruction"], list(targets), missing)
    assert_parity(total / sum(LENGTHS), recorded["reconstruction_loss"], "reconstruction loss")


def test_the_model_on_the_longest_dialogue(golden):
    recorded, model = golden
    batch, d, t = batch_of(recorded, [0])
    assert_parity(model.predict(batch).prediction, recorded["prediction"][d, t, 0], "prediction")
    rebuilt = model(batch)[1]
    assert_parity(rebuilt, recorded["reconstruction"][d, t], "reconstruction")
    losses = model.losses(batch, "stage1", 0)
    assert losses["reconstruction"].count == losses["task"].count == 7
    expected = recorded["prediction"][d, t, 0].square().sum()
    assert_parity(losses["task"].total, expected, "task loss")


def test_a_shorter_dialogue_is_what_it_is_alone(golden):
    recorded, model = golden
    both, d, _ = batch_of(recorded, [0, 1])
    alone, _, _ = batch_of(recorded, [1])
    assert_parity(model.predict(both).prediction[d == 1], model.predict(alone).prediction, "prediction")


@pytest.mark.parametrize("attention", [False, True])
def test_every_name_is_known(attention):
    names = official_names(attention)
    official = description("gcnet_2speaker")["parameters"]
    unused = {n for n in official if n.startswith("gru.") or (".matchatt." in n and not attention)}
    assert set(names) == set(official) - unused
    assert len(set(names.values())) == len(names)


def test_what_the_weights_say_and_files(tmp_path):
    state = state_dict("gcnet_2speaker")
    model = load_official_gcnet(state, DIMS, attention=True, window=3)
    config = model.config
    assert (config.hidden, config.speakers, config.window, config.standardize) == (50, 2, 3, False)
    assert model.spec.names == tuple(DIMS)
    save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "model.pth")
    for name in ("model.safetensors", "model.pth"):
        same = load_official_gcnet(tmp_path / name, DIMS, attention=True)
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in same.state_dict().items())
    state |= {"smax_fc.weight": torch.zeros(4, 125), "smax_fc.bias": torch.zeros(4)}
    classes = ("angry", "calm", "happy", "sad")
    assert load_official_gcnet(state, DIMS, attention=True, classes=classes).spec.classes == classes


def test_wrong_weights_are_one_line(tmp_path):
    state = state_dict("gcnet_1speaker")
    with pytest.raises(ImderError, match=r"for 409 features of an utterance, not for audio 74 \+ language 300 = 374"):
        load_official_gcnet(state, {"audio": 74, "language": 300}, attention=False)
    with pytest.raises(ImderError, match="1 outputs, and 2 classes are named"):
        load_official_gcnet(state, DIMS, attention=False, classes=("a", "b"))
    with pytest.raises(ImderError, match=r"network.head.weight is \(1, 5\), the model has \(1, 125\)"):
        load_official_gcnet({**state, "smax_fc.weight": torch.zeros(1, 5)}, DIMS, attention=False)
    del state["linear_rec.bias"]
    with pytest.raises(ImderError, match=r"missing linear_rec.bias; unknown extra$"):
        load_official_gcnet({**state, "extra": torch.zeros(1)}, DIMS, attention=False)
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(ImderError, match=r"part.pth: not the weights of an official GCNet"):
        load_official_gcnet(tmp_path / "part.pth", DIMS, attention=False)
