"""A new protocol is one class and one row: evaluation, tables and training all have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import ArrayLike

from imder.evaluation.cells import sample_cells
from imder.evaluation.evaluate import evaluate
from imder.evaluation.rendering import render_markdown
from imder.evaluation.results import summarise
from imder.evaluation.tables import make_table
from imder.missingness.masks import Mask, check_present, stream
from imder.missingness.protocols import PROTOCOLS, MissingProtocol, for_each_rate
from imder.training.config import PhaseConfig, TrainingConfig
from imder.training.masks import training_loader
from imder.types import ImderError
from tiny_models import Summing, tiny_corpus


@dataclass(frozen=True)
class FirstMissing:
    """The first modality is missing in a share of the samples that hold another one."""

    rate: float
    protocol: ClassVar[str] = "first"

    def sample(self, present: ArrayLike, seed: int) -> Mask:
        available = check_present(present).copy()
        drop = stream("first", seed, self.rate).random(len(available)) < self.rate
        available[drop & available[:, 1:].any(1), 0] = False
        return available


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> str:
    def make(rate: float, batch_size: int) -> FirstMissing:
        return FirstMissing(rate)

    monkeypatch.setitem(PROTOCOLS, "first", MissingProtocol(for_each_rate(make), make, has_rates=True, repeated=True))
    return "first"


def test_it_evaluates(added: str) -> None:
    corpus = tiny_corpus(test=40)
    rows = evaluate(Summing(corpus.spec), corpus, protocol=added, rates=(0.0, 0.5), draws=3)
    assert [(row["protocol"], row["rate"], row["draw"]) for row in rows] == [
        ("first", rate, draw) for rate in (0.0, 0.5) for draw in range(3)
    ]
    assert all(0 < row["effective_rate"] < 1 / 3 for row in rows[3:])
    table = render_markdown(make_table(summarise(rows), added)).splitlines()
    assert table[0].startswith("| MR | eff. MR |")


def test_its_masks_are_its_own(added: str) -> None:
    present = np.ones((40, 3), dtype=bool)
    first = [sample_cells(present, "abc", protocol=added, rates=(0.5,), draws=1, seed=s)[0].mask for s in (0, 0, 1)]
    assert (first[0] == first[1]).all()
    assert (first[0] != first[2]).any()
    assert first[0][:, 1:].all()


def test_training_draws_from_it(added: str) -> None:
    split = tiny_corpus(test=40)["train"]
    training = TrainingConfig(missing_rate=added, nominal_rate=1.0)
    loader = training_loader(split, PhaseConfig(missing="rate"), training, 0)
    assert not loader.available[:, 0].any()
    assert loader.available[:, 1:].any(1).all()


def test_an_unknown_name_lists_the_protocols() -> None:
    with pytest.raises(ImderError, match="unknown protocol 'first'; use one of random, fixed, natural, official"):
        sample_cells(np.ones((4, 3), dtype=bool), "abc", protocol="first")
    with pytest.raises(ImderError, match="one of 'random', 'official', 'any', got 'fixed'"):
        TrainingConfig(missing_rate="fixed")
