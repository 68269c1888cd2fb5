"""Words are erased before the text encoder reads them: as the unknown token, between both ends of a text."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("transformers")

from imder.data.corpus import Ragged
from imder.data.loader import collate
from imder.data.token_ids import with_token_ids
from imder.evaluation.evaluate import evaluate
from imder.missingness.frame_missing import FrameMissing
from imder.models.language.encoder import LanguageEncoder
from imder.models.language.with_encoder import WithLanguageEncoder
from imder.training.train import train
from imder.types import ImderError
from small_language import CPU, WORDS, config_of, directly, tiny_bert

UNKNOWN = 1


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A transformer whose tokenizer has an unknown token."""
    folder = tiny_bert(tmp_path_factory.mktemp("unknown") / "bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(5, WORDS))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    return folder


def test_features_are_those_of_the_remaining_words(corpus, encoder_folder):
    encoder = LanguageEncoder(encoder_folder)
    assert encoder.unknown_token == UNKNOWN
    test = encoder.encode(with_token_ids(corpus))["test"]
    missing = FrameMissing(0.5)
    erasure = missing.erasure(test.present, 2)
    rows = np.array([7, 0, 3, 12])
    batch = collate(test, rows, test.present[rows], erasure=erasure.take(rows), complete=True)
    lengths = batch.lengths["language"].tolist()
    assert lengths[1] == 0  # a sample without language
    texts = []
    for i, row in enumerate(rows):
        erased = batch.erased["language"][i, : lengths[i]].numpy()
        if lengths[i]:
            assert not erased[0]
            assert not erased[-1]
        ids = corpus["test"].tokens[row] if lengths[i] else np.zeros((0, 1), np.int64)
        texts.append(np.where(erased[:, None], UNKNOWN, ids))
    assert batch.erased["language"].any()
    for i, truth in enumerate(directly(encoder_folder, Ragged.from_list(texts, 1))):
        assert_allclose(batch.features["language"][i, : lengths[i]].numpy(), truth, atol=1e-5)
        assert not batch.features["language"][i, lengths[i] :].any()
        whole = test.features["language"][rows[i]]
        assert_array_equal(batch.complete["language"][i, : lengths[i]].numpy(), whole)
    part = test.take(rows)
    again = collate(part, np.arange(4), part.present, erasure=erasure.take(rows))
    assert torch.equal(again.features["language"], batch.features["language"])


def test_a_tokenizer_without_the_token_is_refused(corpus, bert):
    test = LanguageEncoder(bert).encode(with_token_ids(corpus))["test"]
    none = collate(test, np.arange(3), test.present[:3], erasure=FrameMissing(0.0).erasure(test.present[:3], 0))
    assert not none.erased["language"].any()
    with pytest.raises(ImderError, match="its tokenizer has no unknown token"):
        collate(test, np.arange(3), test.present[:3], erasure=FrameMissing(0.9).erasure(test.present[:3], 0))


def test_an_encoder_is_tuned_and_used_on_the_remaining_words(corpus, encoder_folder, tmp_path, monkeypatch):
    batches = []
    losses = WithLanguageEncoder.losses

    def recorded(self, batch, *args, **options):
        batches.append(batch)
        return losses(self, batch, *args, **options)

    monkeypatch.setattr(WithLanguageEncoder, "losses", recorded)
    config = config_of(encoder_folder, learning_rate=1e-3)
    config = config.with_max_epochs(1)
    config = replace(config, training=replace(config.training, protocol="frames", missing_rate=0.6))
    model = train(corpus, tmp_path / "run", config=config, engine=CPU)
    assert batches
    for batch in batches:
        ids, before, erased = (x["language"] for x in (batch.features, batch.complete, batch.erased))
        assert torch.equal(ids[..., 0], before[..., 0].masked_fill(erased, UNKNOWN))
        assert not erased[:, 0].any()
    rows = evaluate(model, corpus, "frames", rates=(0.0, 0.8), draws=2)
    assert rows[0]["mae"] == rows[1]["mae"]
    assert rows[2]["mae"] != rows[3]["mae"]
