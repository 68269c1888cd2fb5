"""How sure a system is, where it is as sure of one row as of another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imder.evaluation.constant import constant_rows
from imder.evaluation.protocol import EvaluationProtocol
from imder.synthetic.known_truth import KnownTruth
from imder.types import Task


@pytest.mark.parametrize(("task", "metric"), [("regression", "selective_mae"), ("classification", "selective_error")])
def test_the_order_of_the_file_does_not_choose_the_most_certain(task: Task, metric: str) -> None:
    """The constant is equally sure of all rows: its error on the most certain ones is its error."""
    corpus = KnownTruth.standard(lengths={"language": (1, 1), "vision": (1, 1), "audio": (1, 1)}).corpus(
        300, 150, 101, task=task
    )
    test = corpus["test"]
    assert test.labels is not None
    for order in (np.argsort(test.labels, kind="stable"), np.argsort(-test.labels, kind="stable")):
        turned = replace(corpus, splits={**corpus.splits, "test": test.take(order)})
        row = constant_rows(turned, EvaluationProtocol(rates=(0.0,), draws=1), calibrated=True)[0]
        whole = row["mae"] if task == "regression" else 1 - row["accuracy"]
        assert row[metric] == pytest.approx(whole, rel=1e-6)
