"""Random corpora: a small campaign, and that the campaign notices what it counts."""

from __future__ import annotations

import json
import sys

import corpora
import corpus_checks
import numpy as np
import pytest
import torch
from corpus_checks import SYSTEMS, Fault, check_predictions, run_case, systems_of
from random_corpus import VALUES, make_corpus, random_recipe

from imder.types import ImderError, Output
from tiny_models import Summing, tiny_corpus


class Faulty(Summing):
    """Predicts the sum of what is available, and a function of the batch and of the number of the call."""

    def __init__(self, spec, fault):
        super().__init__(spec)
        self.fault, self.calls = fault, 0

    def predict(self, batch, *, samples=None, seed=0):
        self.calls += 1
        parts = [
            (batch.features[name] * (torch.arange(batch.features[name].shape[1]) < length[:, None])[..., None]).sum(
                (1, 2)
            )
            for name, length in batch.lengths.items()
        ]
        values = (torch.stack(parts, 1) * batch.available).sum(1) + self.fault(batch, self.calls)
        return Output(values, values[None])


FAULTS = {
    "": lambda batch, call: 0,
    "isn't finite": lambda batch, call: torch.inf,
    "batch size: ": lambda batch, call: len(batch) > 3,
    "order: ": lambda batch, call: call > 1 + 6 + 2,  # after batches of 6, 1 and 3 samples
    "padding: ": lambda batch, call: sum(x.sum((1, 2)) - x[:, :4].sum((1, 2)) for x in batch.features.values()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault):
    corpus = tiny_corpus(test=6)
    model, present = Faulty(corpus.spec, FAULTS[fault]), corpus["test"].present
    if not fault:
        return check_predictions(model, corpus, present)
    with pytest.raises(ImderError if fault == "isn't finite" else Fault, match=fault):
        check_predictions(model, corpus, present)


def test_a_corpus_is_given_by_its_number():
    recipes = [random_recipe(np.random.default_rng([3, number])) for number in range(150)]
    assert {kind for recipe in recipes for kind in recipe.values} == set(VALUES)
    assert {len(recipe.names) for recipe in recipes} == {2, 3, 4, 5, 6, 7}
    assert {recipe.classes for recipe in recipes} >= {0, 2, 50}
    first, second = (make_corpus(recipes[1], np.random.default_rng(0)) for _ in range(2))
    for name in first.spec.names:
        np.testing.assert_array_equal(
            first["train"].features[name].values, second["train"].features[name].values, strict=True
        )


def test_every_system_has_its_turn():
    turns = [system for number in range(len(SYSTEMS)) for system in systems_of(number, 3)]
    assert {turns.count(system) for system in SYSTEMS} == {3}


def test_outcomes(tmp_path, monkeypatch):
    for error, outcome in (
        (ImderError("a\nb"), "refused"),
        (ZeroDivisionError(), "traceback"),
        (Fault("order", "x"), "order"),
        (TimeoutError(), "hang"),
    ):
        monkeypatch.setattr(corpus_checks, "check", lambda *_, error=error: (_ for _ in ()).throw(error))
        assert run_case(0, 0, "constant", tmp_path)[0] == outcome


@pytest.mark.slow
def test_random_corpora_are_learnt_from_or_refused(tmp_path, monkeypatch, capsys):
    out = tmp_path / "cases.json"
    command = ["corpora.py", "--corpora", "26", "--seed", "2", "--each", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    assert corpora.main() == 0, [case for case in json.loads(out.read_text())["rows"] if case["outcome"] != "equal"]
    cases = json.loads(out.read_text())["rows"]
    assert len(cases) == 52
    assert all(any(case["outcome"] == "equal" for case in cases if case["system"] == system) for system in SYSTEMS)
    table = capsys.readouterr().out
    assert corpora.main() == 0
    assert capsys.readouterr().out == table  # finished: nothing is run again
