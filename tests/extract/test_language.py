"""A transformer's hidden states, against the transformer itself."""

import contextlib
import io
import json
import shutil
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hostile_code import write_code
from tiny_media import tiny_bert

transformers = pytest.importorskip("transformers")

from imder.extract.choose import choose_recipe  # noqa: E402
from imder.extract.language import TextEncoder, encoder_of  # noqa: E402
from imder.extract.manifest import Clip  # noqa: E402
from imder.models.language.pretrained import load_tokenizer, load_transformer  # noqa: E402
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


@pytest.mark.parametrize(
    "kind", ["bert", "hostile"]
)  # a type that the library knows, and one that only the folder does
@pytest.mark.parametrize("hub", [False, True])
def test_code_in_a_folder_never_runs(tmp_path, monkeypatch, kind, hub):
    place = tmp_path / "hub" / "models--evil--bert" / "snapshots" / "0" if hub else tmp_path / "bert"
    place.mkdir(parents=True)
    folder, marker = tiny_bert(place), tmp_path / "executed"
    write_code(folder, marker)
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        about = json.loads(path.read_text()) if path.exists() else {}
        about["auto_map"] = {
            "AutoConfig": "code.HostileConfig",
            "AutoModel": "code.HostileModel",
            "AutoTokenizer": ["code.HostileTokenizer", "code.HostileTokenizer"],
        }
        if name == "config.json":
            about["model_type"] = kind
        else:
            about["tokenizer_class"] = "BertTokenizerFast" if kind == "bert" else "HostileTokenizer"
        path.write_text(json.dumps(about))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
    loads = [lambda: load_transformer(folder, "--language"), lambda: load_tokenizer(folder, "--language")]
    for load in loads:
        with contextlib.suppress(ImderError) if kind == "hostile" else contextlib.nullcontext():
            load()
    with (
        pytest.raises(ImderError, match="can't be read as a transformer")
        if kind == "hostile"
        else contextlib.nullcontext()
    ):
        TextEncoder(str(folder))("What a good day!", 50)
    assert not marker.exists()
    assert sys.stdin.read().count("y") == 20  # nobody was asked


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
    with pytest.raises(ImderError, match="differ from the recipe"):
        encoder_of(str(tmp_path / "other"), one.fingerprint)


def test_a_name_that_cannot_be_fetched(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    with pytest.raises(ImderError, match=r"cannot be fetched from the hub \(no route\); offline, pass a folder"):
        TextEncoder("someone/some-model-that-is-not-cached")


def test_leaving_language_out_is_offered_only_where_two_modalities_remain(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    monkeypatch.setattr("imder.extract.choose._check_first_table", lambda clips, columns: None)
    two = [Clip("a", audio=Path("a.wav"), text="What a day!")]
    three = [Clip("a", audio=Path("a.wav"), openface=Path("a.csv"), text="What a day!")]
    with pytest.raises(ImderError, match=r"--language FOLDER$"):
        choose_recipe(two, language="someone/not-cached")
    with pytest.raises(ImderError, match=r"--language FOLDER, or leave language out: --language none$"):
        choose_recipe(three, language="someone/not-cached")


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


@pytest.mark.parametrize("kind", ["bert", "roberta", "relative"])
def test_more_tokens_than_the_model_reads_are_refused_at_the_start(folder, tmp_path, kind):
    """The last number that is allowed works on a long text."""
    model, most = str(folder), 64
    if kind != "bert":
        configuration = transformers.RobertaConfig if kind == "roberta" else transformers.DebertaV2Config
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = configuration(vocab_size=70, max_position_embeddings=66, **sizes)
        if kind == "relative":
            config.relative_attention, config.position_biased_input = True, False
        shutil.copytree(folder, tmp_path / "model")
        transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "model")
        model = str(tmp_path / "model")
    encoder = TextEncoder(model)
    if kind == "relative":
        assert encoder.recipe(500).max_tokens == 500
        return
    for wrong in (65, 500):
        with pytest.raises(ImderError, match=f"--max-tokens {wrong}: .* takes at most {most}$"):
            encoder.recipe(wrong)
    assert encoder.recipe(most).max_tokens == most
    assert len(encoder("day " * 100, most)[0]) == most


def test_threads_take_turns_with_the_tokenizer(folder):
    encoder = TextEncoder(str(folder))
    tokenize, texts, threads = encoder._tokenizer, [], []

    def tokenize_slowly(text, **options):
        texts.append(text)
        if text == "day":
            threads.append(Thread(target=encoder, args=("good", 3)))
            threads[0].start()
            threads[0].join(0.05)  # it must not get further than its turn
            assert texts == ["day"]
        return tokenize(text, **options)

    encoder._tokenizer = tokenize_slowly
    assert encoder("day", 5)[1].size == 3
    threads[0].join()
    assert texts == ["day", "good"]


def test_a_folder_without_vocabulary_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "vocab.txt").unlink()
    with pytest.raises(ImderError, match=r"it has no vocabulary, such as vocab\.txt") as caught:
        TextEncoder(str(tmp_path / "model"))
    assert "\n" not in str(caught.value)


def test_a_vocabulary_of_another_model_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    with (tmp_path / "model" / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("more\nwords\n")
    with pytest.raises(ImderError, match="numbers words up to 66, the model has 65"):
        TextEncoder(str(tmp_path / "model"))


def test_a_vocabulary_without_the_unknown_word(tmp_path):
    folder = tiny_bert(tmp_path / "bert")
    (folder / "vocab.txt").write_text("[PAD]\n[CLS]\n[SEP]\na\nb\n")
    with pytest.raises(ImderError, match=r"bert: a text can't be encoded \(.*UNK"):
        TextEncoder(str(folder))("Zürich, 北京", 12)
