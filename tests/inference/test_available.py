"""Predictions under a mask, a protocol or a subset of modalities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.evaluation.cells import sample_cells
from imder.inference.predict import predict
from imder.inference.selection import available_mask
from imder.missingness.protocols import FixedMissing, NaturalMissing, RandomMissing
from imder.types import ImderError, Output
from tiny_models import ABSENT, NAMES, Summing, sums, tiny_corpus

PRESENT = tiny_corpus(absent=ABSENT)["test"].present


@pytest.mark.parametrize(
    "available",
    [
        "language+audio",
        "audio, language",
        "text,audio",
        ("text", "audio"),
        ("language", "audio"),
        ["audio", "language"],
        FixedMissing((True, False, True)),
        np.tile([True, False, True], (5, 1)),
        torch.tensor([[True, False, True]]).repeat(5, 1),
        [[True, False, True]] * 5,
    ],
)
def test_every_way_to_name_a_subset(available) -> None:
    assert (available_mask(available, PRESENT, NAMES) == PRESENT & [True, False, True]).all()


def test_rows_say_what_was_available_and_are_those_of_the_mask() -> None:
    corpus = tiny_corpus(absent=ABSENT)
    rows = predict(Summing(corpus.spec), corpus, available="language+audio", samples=4)
    mask = corpus["test"].present & [True, False, True]
    assert [row["id"] for row in rows] == list(corpus["test"].ids)
    for row, kept, expected in zip(rows, mask, sums(corpus, mask=mask), strict=True):
        assert row["available"] == "+".join(np.array(NAMES)[kept])
        assert row["missing"] == "+".join(np.array(NAMES)[~kept])
        if not kept.any():  # sample 2 has vision alone
            assert row["prediction"] is row["std"] is None
            assert row["text"]
        else:
            assert row["std"] > 0
            assert row["prediction"] == pytest.approx(expected + 0.5 * (~kept).sum(), abs=1e-5)
    assert rows["prediction"].count(None) == 1
    assert {tuple(row) for row in rows} == {rows.columns}


def test_a_protocol_gives_the_masks_of_an_evaluation() -> None:
    corpus = tiny_corpus(test=12)
    rows = predict(Summing(corpus.spec), corpus, available=RandomMissing(0.5), seed=3)
    cell = sample_cells(corpus["test"].present, NAMES, protocol="random", rates=(0.5,), draws=1, seed=3)[0]
    assert [row["available"] for row in rows] == ["+".join(np.array(NAMES)[kept]) for kept in cell.mask]
    assert predict(Summing(corpus.spec), corpus, available=NaturalMissing()) == predict(Summing(corpus.spec), corpus)


class Weighing(Summing):
    """Trusts its recoveries only where audio is available."""

    def predict(self, batch, *, samples=None, seed=0) -> Output:
        weight = 0.25 * batch.available[:, 2] * (~batch.available).any(1)
        return replace(super().predict(batch, samples=samples, seed=seed), recovery_weight=weight)


def test_recovered_lists_only_what_entered_the_prediction() -> None:
    corpus = tiny_corpus()
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    rows = predict(Weighing(corpus.spec), corpus, available=mask)
    assert list(rows[0])[:5] == ["id", "available", "missing", "recovered", "recovery_weight"]
    assert [row["missing"] for row in rows][:4] == ["", "vision", "audio", "language+vision"]
    assert rows["recovered"] == ["", "vision", "", "language+vision", None]
    assert rows["recovery_weight"] == [0, 0.25, 0, 0.25, None]


@pytest.mark.parametrize(
    ("available", "message"),
    [
        (np.ones((4, 3), bool), r"a bool mask of shape \(5, 3\).*got ndarray of bool \(4, 3\)"),
        (np.ones((5, 3)), r"got ndarray of float64 \(5, 3\)"),
        ([True, False], r"got list of bool \(2,\)"),
        ([[True], [True, False]], "got list of object"),
        (np.zeros((5, 3), bool), "no sample has anything available"),
        (3, "got int of int64"),
        (RandomMissing, "got type"),
        ("smell", "unknown modality 'smell'"),
        (("audio", "smell"), "unknown modality 'smell'"),
        (FixedMissing((True, False)), "a subset of 2 modalities was given for a corpus of 3"),
    ],
)
def test_mistakes_are_one_error(available, message: str) -> None:
    corpus = tiny_corpus()
    with pytest.raises(ImderError, match=message):
        predict(Summing(corpus.spec), corpus, available=available)
