"""The small corpus and a finished run on it."""

import pytest

from imder.synthetic.known_truth import KnownTruth
from imder.training.train import train
from small_training import CPU, tiny


@pytest.fixture(scope="session")
def corpus():
    return KnownTruth.standard().corpus(48, 24, 24)


@pytest.fixture(scope="session")
def finished(corpus, tmp_path_factory):
    """An uninterrupted run and its model."""
    out = tmp_path_factory.mktemp("train") / "run"
    return out, train(corpus, out, config=tiny(), engine=CPU)
