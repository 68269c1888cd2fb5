"""A transformer's hidden states, against the transformer itself."""

import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tiny_media import tiny_bert

transformers = pytest.importorskip("transformers")

from imder.extract.language import TextEncoder, encoder_of  # noqa: E402
from imder.types import ImderError  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def test_last_hidden_states(folder):
    states, tokens = TextEncoder(str(folder))("What a good day!", 50)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer("What a good day!", return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    assert_allclose(states, model(**encoded).last_hidden_state[0].detach().numpy(), atol=1e-6)
    assert_array_equal(tokens, encoded["input_ids"][0].numpy())
    assert states.dtype == np.float32
    assert states.shape == (len(tokens), 16)


@pytest.mark.parametrize("text", ["今天 😀 é", "😀", "zzz " * 40])
def test_any_text(folder, text):
    states, tokens = TextEncoder(str(folder))(text, 12)
    assert 3 <= len(tokens) <= 12
    assert np.isfinite(states).all()


def test_the_fingerprint_is_of_what_is_inside(folder, tmp_path):
    one = TextEncoder(str(folder)).recipe(20)
    shutil.copytree(folder, tmp_path / "moved")
    assert TextEncoder(str(tmp_path / "moved")).fingerprint() == one.fingerprint
    assert TextEncoder(str(tiny_bert(tmp_path / "other", seed=1))).fingerprint() != one.fingerprint
    assert encoder_of(str(folder), one.fingerprint) is encoder_of(str(folder), one.fingerprint)
    with pytest.raises(ImderError, match="not those that the recipe was made with"):
        encoder_of(str(tmp_path / "other"), one.fingerprint)


def test_a_name_that_cannot_be_fetched(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    with pytest.raises(ImderError, match=r"cannot be fetched from the hub \(no route\); offline, pass a folder"):
        TextEncoder("someone/some-model-that-is-not-cached")


def test_folders_that_hold_no_model(folder, tmp_path):
    with pytest.raises(ImderError, match=r"can't be read as a transformer .* it needs config.json, model.safetensors"):
        TextEncoder(str(tmp_path))
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"")
    with pytest.raises(ImderError, match="can't be read as a transformer"):
        TextEncoder(str(broken))
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(b"a pickle that nobody opens")
    with pytest.raises(ImderError, match="can't be read as a transformer"):
        TextEncoder(str(broken))
