"""Corpora whose labels are of another task than the model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from imder.data.store import write_store
from imder.evaluation.evaluate import evaluate
from imder.inference.predict import predict
from imder.types import ImderError
from tiny_models import Summing, tiny_corpus


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("kind", ["corpus", "split", "store"])
def test_labels_of_another_task(task: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = "classification" if task == "regression" else "regression"
    model, corpus = Summing(tiny_corpus(task).spec), tiny_corpus(other)
    mismatch = {
        "regression": "its labels are classes, the model predicts numbers",
        "classification": "its labels are numbers, the model predicts classes",
    }[task]
    write_store(corpus, tmp_path / "store")
    data = {"corpus": corpus, "split": corpus["test"], "store": tmp_path / "store"}[kind]
    rows = predict(model, data)
    assert len(rows) == 5
    assert len(caplog.messages) == 1
    assert f"{mismatch}; its labels are not used" in caplog.messages[0]
    if kind != "split":
        with pytest.raises(ImderError, match=rf"\[test\]: {mismatch}$"):
            evaluate(model, data, "natural")


def test_labels_of_the_same_task_need_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    corpus = tiny_corpus()
    predict(Summing(corpus.spec), corpus)
    predict(Summing(corpus.spec), corpus["test"])
    assert not caplog.messages
