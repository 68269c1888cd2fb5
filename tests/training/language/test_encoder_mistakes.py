"""Language encoders, token ids and settings that are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from imder.data.corpus import Ragged
from imder.data.token_ids import with_token_ids
from imder.models.language.encoder import LanguageEncoder
from imder.training.train import train
from imder.types import ImderError
from small_language import (
    CPU,
    WORDS,
    config_of,
    tiny_bert,
)


def test_a_folder_that_is_not_there_is_no_name(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.model_info", lambda *_, **__: pytest.fail("asked the hub"))
    for folder in (str(tmp_path / "none"), "./none", "models/bert/none"):
        with pytest.raises(ImderError, match=f"--language-encoder {folder}: there is no such folder"):
            train(corpus, tmp_path / "run", config=config_of(folder), engine=CPU)


def test_names_that_cannot_be_fetched_say_how_to_pass_a_folder(corpus, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.model_info", unreachable)
    with pytest.raises(ImderError) as caught:
        train(corpus, tmp_path / "run", config=config_of("someone/not-cached"), engine=CPU)
    assert str(caught.value) == (
        "--language-encoder someone/not-cached: cannot be fetched from the hub (no route); offline, pass a folder that "
        "holds the model: --language-encoder FOLDER"
    )
    assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImderError, match=r"the folder can't be read as a transformer .* it needs config.json"):
        train(corpus, tmp_path / "run", config=config_of(tmp_path / "empty"), engine=CPU)


def test_without_the_library(corpus, bert, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ImderError, match=r"--language-encoder: .*pip install '.\[extract\]'"):
        train(corpus, tmp_path / "run", config=config_of(bert), engine=CPU)


def test_ids_of_another_vocabulary_are_noticed(corpus, bert, tmp_path, caplog):
    train_split = corpus["train"]
    tiny_bert(tmp_path / "bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(5, WORDS))]
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "bert" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    encoder = LanguageEncoder(tmp_path / "bert")
    rng = np.random.default_rng(0)
    right = [np.array([2, *rng.integers(5, WORDS, 3), 3])[:, None] for _ in train_split.ids]
    texts = tuple(" ".join(f"word{k}" for k in t[1:-1, 0]) for t in right)

    def ids(**more):
        with_ids = replace(train_split, **more)
        language = {**train_split.features, "language": with_ids.tokens}
        return with_token_ids(replace(corpus, splits={**corpus.splits, "train": replace(with_ids, features=language)}))

    assert encoder.matches_tokenizer(ids(tokens=Ragged.from_list(right, 1), texts=texts)) is True
    wrong = ids(tokens=Ragged.from_list([(t + 1) % WORDS for t in right], 1), texts=texts)
    assert encoder.matches_tokenizer(wrong) is False
    assert encoder.matches_tokenizer(ids(tokens=Ragged.from_list(right, 1))) is None
    train(wrong, tmp_path / "run", config=config_of(tmp_path / "bert"), engine=CPU)
    assert "words: the token ids aren't what the tokenizer of" in caplog.text


def test_ids_that_do_not_fit(corpus, bert, tmp_path):
    test = corpus["test"]
    values = test.tokens.values.copy()
    values[test.tokens.offsets[4]] = WORDS
    wrong = replace(corpus, splits={**corpus.splits, "test": replace(test, tokens=Ragged(values, test.tokens.offsets))})
    with pytest.raises(
        ImderError, match=r"words \[test\]: language: sample '3-4': the token id 50 is not in the vocabulary"
    ):
        train(wrong, tmp_path / "run", config=config_of(bert), engine=CPU)
    long = [np.ones((40, 1), np.int64) if i == 4 else test.tokens[i] for i in range(len(test))]
    wrong = replace(corpus, splits={**corpus.splits, "test": replace(test, tokens=Ragged.from_list(long, 1))})
    with pytest.raises(ImderError, match=r"words \[test\]: language: .* can't read a text of 40 tokens"):
        train(wrong, tmp_path / "run", config=config_of(bert), engine=CPU)
    some = [t[:0] if i == 4 else t for i, t in enumerate(test.tokens[k] for k in range(len(test)))]
    wrong = replace(corpus, splits={**corpus.splits, "test": replace(test, tokens=Ragged.from_list(some, 1))})
    with pytest.raises(ImderError, match=r"sample '3-4': it has features but no token ids"):
        train(wrong, tmp_path / "run", config=config_of(bert), engine=CPU)
    assert not (tmp_path / "run").exists()


def test_a_text_is_not_to_blame_for_a_lack_of_memory(corpus, bert, monkeypatch):
    def no_memory(module):
        raise torch.OutOfMemoryError("no memory for a copy")

    monkeypatch.setattr("imder.models.language.encoder.copied_to_cpu", no_memory)
    train_split = corpus["train"]
    long = Ragged.from_list([np.ones((20, 1), np.int64)] * len(train_split), 1)
    splits = {"train": replace(train_split, features={**train_split.features, "language": long})}
    with pytest.raises(torch.OutOfMemoryError, match="no memory for a copy"):
        LanguageEncoder(bert).check(replace(corpus, splits=splits))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"frozen_layers": 3}, "has 2 layers"),
        ({"frozen_layers": -1}, "must not be negative"),
        ({"learning_rate": -1.0}, "must not be negative"),
        ({"name": ""}, "give a folder or a name"),
        ({"name": None, "frozen_layers": 1}, "without a transformer; add --language-encoder"),
    ],
)
def test_settings_that_mean_nothing(corpus, bert, tmp_path, how, says):
    with pytest.raises(ImderError, match=says):
        train(corpus, tmp_path / "run", config=config_of(bert, **how), engine=CPU)
    assert not (tmp_path / "run").exists()
