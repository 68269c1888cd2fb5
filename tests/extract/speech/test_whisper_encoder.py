"""Whisper's encoder from CTranslate2's weights: the states are those of `transformers`, and damaged files are refused."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from imder.extract.speech.whisper_encoder import WhisperEncoder, read_encoder
from imder.types import ImderError
from tiny_speech import whisper_arrays, write_ctranslate2

WIDTH, LAYERS, BANDS, STEPS = 8, 3, 3, 50


def reference(arrays):
    """The same encoder in `transformers`."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Reference

    config = transformers.WhisperConfig(
        d_model=WIDTH,
        encoder_layers=LAYERS,
        encoder_attention_heads=2,
        encoder_ffn_dim=4 * WIDTH,
        num_mel_bins=BANDS,
        max_source_positions=STEPS,
    )
    model = Reference(config).eval()
    state = {}
    for name, values in arrays.items():
        part = name.removeprefix("encoder/").replace("/gamma", "/weight").replace("/beta", "/bias")
        if name.startswith("decoder/") or part == "num_heads":
            continue
        if part == "position_encodings/encodings":
            state["embed_positions.weight"] = values[:STEPS]
        elif part.startswith("layer_norm"):
            state[part.replace("/", ".")] = values
        elif part.startswith("layer_"):
            layer, block, inner, kind = part.split("/")
            to = f"layers.{layer.removeprefix('layer_')}."
            if inner == "layer_norm":
                to += {"ffn": "final_layer_norm.", "self_attention": "self_attn_layer_norm."}[block]
            elif block == "ffn":
                to += {"linear_0": "fc1.", "linear_1": "fc2."}[inner]
            elif inner == "linear_1":
                to += "self_attn.out_proj."
            else:
                for letter, third in zip("qkv", np.split(values, 3), strict=True):
                    state[f"{to}self_attn.{letter}_proj.{kind}"] = third
                continue
            state[to + kind] = values
        else:
            state[part.replace("/", ".")] = values
    keys = {name for name in state if name.endswith("k_proj.bias")}  # Whisper's keys have no bias
    assert not any(state[name].any() for name in keys)
    model.load_state_dict({n: torch.from_numpy(np.ascontiguousarray(v)) for n, v in state.items() if n not in keys})
    return model


def without_key_bias(arrays):
    for name, values in arrays.items():
        if name.endswith("self_attention/linear_0/bias"):
            values[WIDTH : 2 * WIDTH] = 0
    return arrays


def test_states_are_those_of_transformers(tmp_path):
    arrays = without_key_bias(whisper_arrays(WIDTH, LAYERS, bands=BANDS))
    encoder = WhisperEncoder(write_ctranslate2(tmp_path / "model.bin", arrays))
    assert (encoder.layers, encoder.dim, encoder.longest) == (LAYERS + 1, WIDTH, 1500)
    mel = np.random.default_rng(0).standard_normal((BANDS, 2 * STEPS)).astype(np.float32)
    with torch.inference_mode():
        expected = reference(arrays)(torch.from_numpy(mel)[None], output_hidden_states=True).hidden_states
    states = encoder(mel)
    assert len(states) == len(expected) == LAYERS + 1
    for one, other in zip(states, expected, strict=True):
        assert_allclose(one, other[0], atol=1e-5)
    assert encoder(mel[:, :20])[0].shape == (10, WIDTH)


def test_weights_of_other_types(tmp_path):
    exact = whisper_arrays()
    wanted = read_encoder(write_ctranslate2(tmp_path / "float32", exact))
    half = {k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in exact.items()}
    brain = {k: (v.view(np.uint32) >> 16).astype(np.uint16) if v.dtype == np.float32 else v for k, v in exact.items()}
    eight = {}
    for name, values in exact.items():
        if name.endswith("weight"):
            scale = (127 / abs(values.reshape(len(values), -1)).max(1)).astype(np.float32)
            eight[name] = np.round(values * scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
            eight[f"{name}_scale"] = scale
        else:
            eight[name] = values
    for kind, arrays in (("float16", half), ("bfloat16", brain), ("int8", eight)):
        read = read_encoder(write_ctranslate2(tmp_path / kind, arrays))
        assert read.keys() == wanted.keys()
        for name, values in wanted.items():
            assert read[name].dtype == np.float32
            assert_allclose(read[name], values, atol=0.02, err_msg=f"{kind} {name}")


@pytest.mark.parametrize("size", [0, 3, 20, 200, 2000, 6000])
def test_truncated_files_are_refused(tmp_path, size):
    path = write_ctranslate2(tmp_path / "model.bin", whisper_arrays(longest=4))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ImderError, match=r"model.bin: not a model of CTranslate2"):
        WhisperEncoder(path)


def test_other_files_are_refused(tmp_path):
    lacking = whisper_arrays()
    del lacking["encoder/conv2/bias"]
    mel = np.zeros((3, 4), np.float32)
    for content, message in (
        ({"spec": "TransformerSpec"}, "it is a 'TransformerSpec', not a WhisperSpec"),
        ({"version": 77}, "its version is 77"),
    ):
        with pytest.raises(ImderError, match=message):
            WhisperEncoder(write_ctranslate2(tmp_path / "model.bin", whisper_arrays(), **content))
    with pytest.raises(ImderError, match="has no array encoder/conv2/bias"):
        WhisperEncoder(write_ctranslate2(tmp_path / "model.bin", lacking))(mel)
    (tmp_path / "text").write_text("not a model at all")
    with pytest.raises(ImderError, match="not a model of CTranslate2"):
        WhisperEncoder(tmp_path / "text")
