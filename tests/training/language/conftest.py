"""A corpus of words, a tiny transformer and a run that tuned it."""

import pytest

from imder.data.corpus import Corpus, spec_of
from imder.training.train import train
from small_language import (
    CPU,
    FAST,
    config_of,
    split_of,
    tiny_bert,
)


@pytest.fixture(scope="session")
def corpus():
    splits = {"train": split_of(40, 1), "valid": split_of(20, 2), "test": split_of(20, 3)}
    return Corpus("words", spec_of(splits, "regression"), splits)


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def tuned(corpus, bert, tmp_path_factory):
    """A run of ``fast``, all phases."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    return out, train(corpus, out, config=config_of(bert, "fast", FAST, learning_rate=1e-3), engine=CPU)
