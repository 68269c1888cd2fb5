"""Features of a language encoder against the transformer itself, and token ids of corpora."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("transformers")

from imder.benchmarking.folds import fold_of
from imder.data.corpus import Ragged
from imder.data.formats.load import load_corpus
from imder.data.loader import collate
from imder.data.store import write_store
from imder.data.token_ids import with_token_ids
from imder.models.language.config import LanguageEncoderConfig
from imder.models.language.encoder import LanguageEncoder
from imder.models.language.with_encoder import WithLanguageEncoder
from imder.models.registry import build
from imder.training.config import load_config
from imder.types import ImderError
from small_language import (
    LATE,
    directly,
    precomputed,
)


@pytest.mark.parametrize("size", [1, 3, 20])
def test_padded_batches_hold_what_the_transformer_says_of_each_text(corpus, bert, size):
    encoder, test = LanguageEncoder(bert), with_token_ids(corpus)["test"]
    truth = directly(bert, corpus["test"].tokens)
    order = np.random.default_rng(size).permutation(len(test))
    for rows in np.split(order, range(size, len(order), size)):
        batch = collate(test, rows, test.present[rows])
        lengths = batch.lengths["language"]
        ids = batch.features["language"][..., 0].long()
        ids = torch.where(torch.arange(ids.shape[1]) < lengths[:, None], ids, 99999)  # mustn't be read
        states = encoder.states(ids, lengths)
        for i, row in enumerate(rows):
            assert_allclose(states[i, : lengths[i]].numpy(), truth[row], atol=1e-5)
            assert not states[i, lengths[i] :].any()


def test_a_corpus_features_are_those_of_each_text_alone(corpus, bert):
    encoder, ids = LanguageEncoder(bert), with_token_ids(corpus)
    assert ids.spec.modalities[0].dim == 1
    encoded = encoder.encode(ids)
    assert encoded.spec == encoder.spec(ids.spec) == precomputed(corpus, bert).spec
    for name, split in encoded.splits.items():
        assert split.tokens is None
        assert_array_equal(split.present, corpus[name].present)
        for i, truth in enumerate(directly(bert, corpus[name].tokens)):
            assert_allclose(split.features["language"][i], truth, atol=1e-5)
        assert split.features["vision"] is corpus[name].features["vision"]
    only = encoder.encode(ids, only="test")
    assert_array_equal(only["test"].features["language"].values, encoded["test"].features["language"].values)
    assert not only["train"].present[:, 0].any()
    assert only["train"].features["language"].dim == 16


def test_an_encoder_is_not_moved_by_its_use_but_with_its_model(corpus, bert, monkeypatch):
    encoder, ids = LanguageEncoder(bert), with_token_ids(corpus)
    model = build("late-fusion", load_config("late-fusion", overrides=LATE).model, encoder.spec(ids.spec))
    model.language = encoder
    with monkeypatch.context() as patch:  # threads share it, so it stays as it is
        for name in ("_apply", "train", "requires_grad_"):
            patch.setattr(encoder.module, name, lambda *_: pytest.fail("the encoder was changed"))
        model.prepare(replace(corpus, spec=ids.spec), only="test")
    model.to("meta")
    assert {p.device.type for p in encoder.module.parameters()} == {"meta"}


def test_tokens_of_texts_that_count_as_missing_are_not_read(corpus):
    test = corpus["test"]
    language = [np.zeros((0, 5), np.float32) if i < 7 else test.features["language"][i] for i in range(len(test))]
    gone = replace(test, features={**test.features, "language": Ragged.from_list(language, 5)})
    ids = with_token_ids(replace(corpus, splits={"test": gone}))["test"]
    assert not ids.present[:7, 0].any()
    for i in range(7, len(test)):
        assert_array_equal(ids.features["language"][i], test.tokens[i])


def test_pickles_of_the_field_keep_valid_tokens(tmp_path):
    rng = np.random.default_rng(0)
    bert = np.zeros((4, 3, 6))
    bert[:, 0] = rng.integers(1, 30000, (4, 6))
    bert[:, 1] = np.arange(6) < np.array([6, 2, 0, 4])[:, None]
    text = rng.normal(size=(4, 6, 3)).astype(np.float32)
    fields = {
        "text": text,
        "audio": rng.normal(size=(4, 1, 2)),
        "text_bert": bert,
        "text_present": [True, True, True, False],
        "regression_labels": np.zeros(4),
    }
    np.savez(tmp_path / "train.npz", **fields)
    split = load_corpus(tmp_path / "train.npz")["train"]
    assert split.tokens.lengths.tolist() == [6, 2, 0, 0] == split.features["language"].lengths.tolist()
    assert_array_equal(split.tokens.values[:, 0], [*bert[0, 0], *bert[1, 0, :2]])
    assert split.tokens.values.dtype == np.int64
    assert_array_equal(split.features["language"].values, [*text[0], *text[1, :2]])
    corpus = load_corpus(tmp_path / "train.npz")
    write_store(corpus, tmp_path / "store")
    assert_array_equal(load_corpus(tmp_path / "store")["train"].tokens.values, split.tokens.values)
    bert[1, 0, 1] = 2.5
    np.savez(tmp_path / "train.npz", **fields)
    with pytest.raises(ImderError, match=r"train.npz: text_bert: sample 'train-1': 2.5 is not a token id"):
        load_corpus(tmp_path / "train.npz")


def test_rotations_over_speakers_keep_tokens(corpus):
    rotated = fold_of(corpus, 0, 3)
    rotated_tokens = {i: s.tokens[k].tolist() for s in rotated.splits.values() for k, i in enumerate(s.ids)}
    assert rotated_tokens == {i: s.tokens[k].tolist() for s in corpus.splits.values() for k, i in enumerate(s.ids)}


def test_texts_under_many_masks_are_encoded_once_in_validation(corpus, bert, tmp_path):
    ids = with_token_ids(corpus)
    encoder = LanguageEncoder(bert)
    inner = build("late-fusion", load_config("late-fusion", overrides=LATE).model, encoder.spec(ids.spec))
    pair = WithLanguageEncoder(inner, encoder, LanguageEncoderConfig(str(bert)), tmp_path / "language").eval()
    rows = np.tile(np.arange(len(ids["valid"])), 3)
    batch = collate(ids["valid"], rows, ids["valid"].present[rows])
    texts = []
    encoder.module.register_forward_pre_hook(
        lambda module, args, kwargs: texts.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    with torch.no_grad():
        once, again = (float(pair.losses(batch, "stage1", 0)["task"].total) for _ in range(2))
    assert texts == [int(ids["valid"].present[:, 0].sum())]
    assert once == again
    learned = pair.losses(batch, "stage1", 0)["task"].total.item()
    assert learned == pytest.approx(once, rel=1e-5)
    with torch.no_grad():  # something may have been learned in between
        pair.losses(batch, "stage1", 0)
    assert texts == [texts[0], 3 * texts[0], texts[0]]
