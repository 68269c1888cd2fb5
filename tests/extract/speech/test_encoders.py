"""Hidden states of speech models as features of sound: layers, steps, long sound, and what is refused."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

for package in ("soundfile", "av", "transformers"):
    pytest.importorskip(package)

import torch  # noqa: E402

from command_line import imder_  # noqa: E402
from imder.data.formats.load import load_corpus  # noqa: E402
from imder.extract.choose import check_ready  # noqa: E402
from imder.extract.manifest import Clip  # noqa: E402
from imder.extract.media import Sound  # noqa: E402
from imder.extract.recipe import Recipe  # noqa: E402
from imder.extract.speech.states import BLOCK, CONTEXT, hop_of, layer_weights, pooled_states  # noqa: E402
from imder.types import ImderError  # noqa: E402
from tiny_media import tiny_bert, tone, write_manifest, write_wav  # noqa: E402
from tiny_speech import RATE, faster_whisper, tiny_whisper, write_speech  # noqa: E402

__all__ = ["faster_whisper"]

STRIDE = 20  # samples from state to state of `tiny_encoder`


def tiny_encoder(folder, kind="wavlm", normalize=True, rate=RATE, seed=0):
    """A random speech model of `transformers` with states of 16 features, as a local folder."""
    import transformers

    torch.manual_seed(seed)
    prefix = {"wavlm": "WavLM", "hubert": "Hubert", "wav2vec2": "Wav2Vec2"}[kind]
    config = getattr(transformers, f"{prefix}Config")(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_kernel=(10, 4),
        conv_stride=(5, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.0,
    )
    getattr(transformers, f"{prefix}Model")(config).save_pretrained(folder)
    about = {"do_normalize": normalize, "sampling_rate": rate, "feature_size": 1, "padding_value": 0.0}
    about["feature_extractor_type"] = "Wav2Vec2FeatureExtractor"
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def clips(tmp_path):
    """Two clips with sound and texts."""
    write_wav(tmp_path / "a.wav", tone(0.95, RATE), RATE)
    write_speech(tmp_path / "b.wav", 2)
    return write_manifest(
        tmp_path / "m.csv", [("id", "audio", "text"), ("a", "a.wav", "what a day"), ("b", "b.wav", "good")]
    )


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def extract(source, out, bert, *more):
    return imder_("extract", source, out, "--language", bert, *more)


def features(store, clip="a"):
    split = load_corpus(store)["all"]
    return split[split.ids.index(clip)].features["audio"]


@pytest.mark.parametrize("kind", ["wavlm", "hubert", "wav2vec2"])
@pytest.mark.parametrize("normalize", [True, False])
def test_states_are_those_of_the_model(clips, bert, tmp_path, kind, normalize):
    import soundfile
    from transformers import AutoFeatureExtractor, AutoModel

    folder = tiny_encoder(tmp_path / "model", kind, normalize)
    assert extract(clips, tmp_path / "store", bert, "--audio", folder) == 0
    signal, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    prepared = AutoFeatureExtractor.from_pretrained(folder)(signal, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        model = AutoModel.from_pretrained(folder).eval()
        hidden = model(prepared.input_values, output_hidden_states=True).hidden_states
    states = torch.stack(hidden)[:, 0].mean(0).numpy()
    steps = (np.arange(len(states)) * STRIDE + STRIDE // 2) // (RATE // 10)
    expected = [states[steps == step].mean(0) for step in range(10)]
    assert_allclose(features(tmp_path / "store"), expected, atol=1e-4)
    about = load_corpus(tmp_path / "store").recipe["audio"]
    assert (about["kind"], about["model"], about["layers"], about["hop"]) == ("transformers", str(folder), "mean", 1600)


def test_layers_and_rates(clips, bert, tmp_path, capsys):
    folder = tiny_encoder(tmp_path / "model")
    stores = {}
    for layers in ("mean", "0", "1", "2", "last", "0:1,2:3"):
        out = tmp_path / layers.replace(":", "_")
        assert extract(clips, out, bert, "--audio", folder, "--audio-layers", layers, "--audio-rate", 4) == 0
        stores[layers] = features(out)
    assert stores["mean"].shape == (4, 16)
    assert_allclose(stores["mean"], (stores["0"] + stores["1"] + stores["2"]) / 3, atol=1e-5)
    assert_allclose(stores["0:1,2:3"], (stores["0"] + 3 * stores["2"]) / 4, atol=1e-5)
    assert_allclose(stores["last"], stores["2"])
    assert abs(stores["1"] - stores["2"]).max() > 0.001
    for option, value, message in (
        ("--audio-layers", "1-7", "'1-7': the model has layers 0 to 2"),
        ("--audio-layers", "all", "'all' is not mean, last, or layers such as 4-8"),
        ("--audio-layers", "1:0", "all weights are 0"),
        ("--audio-rate", 1000, "0.1 to 800 steps a second (the model's own) are possible, got 1000"),
    ):
        assert extract(clips, tmp_path / "never", bert, "--audio", folder, option, value) == 2
        assert message in capsys.readouterr().err
    assert extract(clips, tmp_path / "never", bert, "--audio", "mel64", "--audio-rate", 5) == 2
    assert "--audio-rate and --audio-layers belong to speech models, not to mel64" in capsys.readouterr().err


def test_whisper_states(faster_whisper, clips, bert, tmp_path, capsys):
    model = tiny_whisper(tmp_path / "whisper")
    audio = ("--audio", f"whisper:{model}", "--audio-rate", 5)
    assert extract(clips, tmp_path / "default", bert, *audio) == 0
    assert f"audio: whisper ({model}, layers 2), 8 features, 5 frames a second" in capsys.readouterr().out
    for layer in ("2", "3", "2-3"):
        assert extract(clips, tmp_path / layer, bert, *audio, "--audio-layers", layer) == 0
    two, three = features(tmp_path / "2"), features(tmp_path / "3")
    assert two.shape == (5, 8)
    assert_allclose(features(tmp_path / "default"), two, atol=1e-6)
    assert_allclose(features(tmp_path / "2-3"), (two + three) / 2, atol=1e-5)
    assert abs(two - three).max() > 0.01
    assert extract(clips, tmp_path / "never", bert, *audio, "--audio-layers", "4") == 2
    assert "'4': the model has layers 0 to 3" in capsys.readouterr().err


def test_whisper_is_the_default_where_it_is_installed(faster_whisper, clips, bert, tmp_path, monkeypatch, capsys):
    assert extract(clips, tmp_path / "one", bert) == 0
    assert "audio: librosa33, since Whisper can't be used: --asr-model base: cannot be fetched" in (
        capsys.readouterr().out
    )
    model = tiny_whisper(tmp_path / "whisper")
    monkeypatch.setenv("IMDER_ASR_MODEL", str(model))
    assert extract(clips, tmp_path / "two", bert) == 0
    assert load_corpus(tmp_path / "two").recipe["audio"]["kind"] == "whisper"
    monkeypatch.delenv("IMDER_ASR_MODEL")
    assert extract(clips, tmp_path / "three", bert, "--asr-model", model, "--audio", "whisper") == 0
    assert load_corpus(tmp_path / "three").recipe["audio"]["model"] == str(model)


@pytest.mark.parametrize("length", [1, 399, 16000, 16001, (BLOCK + 2 * CONTEXT) * RATE, 75 * RATE + 7])
def test_blocks_of_long_sound_are_one_sound(tmp_path, length):
    signal = np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)
    sound = Sound(write_wav(tmp_path / "a.wav", signal, RATE, subtype="FLOAT"), RATE)
    longest = 0

    def encode(piece):
        nonlocal longest
        longest = max(longest, len(piece))
        return np.pad(piece, (0, -len(piece) % 320)).reshape(-1, 320).mean(1)[:, None]

    pooled = pooled_states(sound, encode, 320, 1600)
    states = np.pad(signal, (0, -length % 320)).reshape(-1, 320).mean(1)
    expected = [states[i : i + 5].mean() for i in range(0, len(states), 5)]
    assert_allclose(pooled[:, 0], expected, atol=1e-6)
    assert longest <= 30 * RATE


def test_every_block_sees_what_surrounds_it(tmp_path):
    """States that depend on 2 s around them are the same in blocks and in the whole sound."""
    signal = np.random.default_rng(1).uniform(-1, 1, 64 * RATE).astype(np.float32)
    sound = Sound(write_wav(tmp_path / "a.wav", signal, RATE, subtype="FLOAT"), RATE)

    def encode(piece):
        states = np.pad(piece, (0, -len(piece) % 320)).reshape(-1, 320).mean(1)
        return np.convolve(states, np.ones(201), "same")[:, None].astype(np.float32)

    pooled = pooled_states(sound, encode, 320, 3200)
    assert_allclose(pooled[:, 0], encode(signal)[:, 0].reshape(-1, 10).mean(1), atol=1e-4)


def test_weights_of_layers():
    assert_allclose(layer_weights("1-2, 3:2", 4), [0, 0.25, 0.25, 0.5])
    assert hop_of(12.5, RATE, 320) == 1280
    with pytest.raises(ImderError, match="got"):
        hop_of(0.01, RATE, 320)


def test_models_that_are_refused(clips, bert, tmp_path, capsys):
    slow = tiny_encoder(tmp_path / "slow", rate=8000)
    broken = tiny_encoder(tmp_path / "broken")
    (broken / "preprocessor_config.json").write_text("{")
    capsys.readouterr()  # what the library wrote while it made the models
    for model, message in (
        (bert, "not a speech model that reads raw sound"),
        (slow, "reads sound at 8000 Hz, not 16000 Hz"),
        (broken, "preprocessor_config.json can't be read"),
        (tmp_path / "gone" / "model", "there is no such folder"),
        ("nonsense", "unknown kind 'nonsense'; known are librosa33, mel64, egemaps, whisper, transformers"),
    ):
        assert extract(clips, tmp_path / "never", bert, "--audio", model) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1


def test_other_weights_are_not_the_recipe_s(faster_whisper, clips, bert, tmp_path):
    folder, whisper = tiny_encoder(tmp_path / "model"), tiny_whisper(tmp_path / "whisper")
    assert extract(clips, tmp_path / "one", bert, "--audio", folder) == 0
    assert extract(clips, tmp_path / "two", bert, "--audio", f"whisper:{whisper}") == 0
    for store in ("one", "two"):
        recipe = Recipe.from_dict(load_corpus(tmp_path / store).recipe, store)
        assert Recipe.from_dict(recipe.to_dict(), store) == recipe
        check_ready(recipe, [Clip("a", audio=tmp_path / "a.wav")])
    (whisper / "vocabulary.txt").write_text("other")
    from imder.extract.speech import encoders
    from imder.extract.speech import whisper as whisper_module

    whisper_module.whisper_of.cache_clear()
    with pytest.raises(ImderError, match="its weights or vocabulary differ from the recipe's"):
        check_ready(recipe, [Clip("a", audio=tmp_path / "a.wav")])
    tiny_encoder(folder, seed=1)
    encoders.speech_encoder_of.cache_clear()
    recipe = Recipe.from_dict(load_corpus(tmp_path / "one").recipe, "one")
    with pytest.raises(ImderError, match="its weights differ from the recipe's"):
        check_ready(recipe, [Clip("a", audio=tmp_path / "a.wav")])
