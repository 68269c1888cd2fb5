"""The summary of a corpus, checked by hand."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from imder.data import inspect as inspect_module
from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.data.inspect import constant_columns, inspect_corpus
from imder.data.inspect_render import notes, render


def ragged(*lengths: int, dim: int = 3) -> Ragged:
    values = np.random.default_rng(0).normal(size=(sum(lengths), dim)).astype(np.float32)
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def example() -> Corpus:
    audio = ragged(1, 1, 0, 1)
    audio.values[:, 1] = 7
    train = Split(
        ids=("a", "b", "c", "d"),
        features={"language": ragged(2, 0, 5, 4), "audio": audio},
        labels=np.array([-1, 0.4, np.nan, 1.6], np.float32),
        texts=("", "", "", ""),
        dialogue=("x", "x", "y", "z"),
        speaker=("1", "1", "2", "2"),
        nonfinite={"audio": 3},
        dropped=2,
    )
    test = Split(
        ids=("d", "e"),
        features={"language": ragged(1, 1), "audio": ragged(0, 0)},
        dialogue=("y", "z"),
        speaker=("3", "4"),
    )
    splits = {"train": train, "test": test}
    return Corpus("example", spec_of(splits, "regression"), splits)


def test_summary_by_hand() -> None:
    summary = inspect_corpus(example())
    assert json.loads(json.dumps(summary)) == summary
    assert summary["modalities"] == {
        "language": {"dim": 3, "length": 5, "dtype": "float32"},
        "audio": {"dim": 3, "length": 1, "dtype": "float32"},
    }
    labels = summary["splits"]["train"].pop("labels")
    assert summary["splits"]["train"] == {
        "n": 4,
        "dropped": 2,
        "labelled": 3,
        "present": {"language": 3, "audio": 3},
        "patterns": {"language+audio": 2, "audio": 1, "language": 1},
        "lengths": {
            "language": {"min": 2, "median": 4.0, "max": 5, "frames": 11},
            "audio": {"min": 1, "median": 1.0, "max": 1, "frames": 3},
        },
        "nonfinite": {"language": 0, "audio": 3},
        "texts": True,
        "dialogues": 3,
        "speakers": 2,
        "neighbours": None,
    }
    assert labels["counts"] == {"-1": 1, "0": 1, "1": 0, "2": 1}
    assert (labels["min"], labels["median"]) == (-1, pytest.approx(0.4))
    test = summary["splits"]["test"]
    assert test["labels"] is None
    assert test["lengths"]["audio"] == {"min": 0, "median": 0.0, "max": 0, "frames": 0}
    assert summary["constant"] == {
        "split": "train",
        "modalities": {"language": {"n": 0, "columns": []}, "audio": {"n": 1, "columns": [1]}},
    }
    assert summary["shared"] == {
        "ids": {"train and test": {"n": 1, "examples": ["d"]}},
        "dialogues": {"train and test": {"n": 2, "examples": ["y", "z"]}},
        "speakers": {},
    }


def test_classes_and_histograms() -> None:
    corpus = example()
    split = Split(("a", "b", "c"), {"x": ragged(1, 1, 1), "y": ragged(1, 1, 1)}, labels=np.array([2, -1, 2]))
    classes = Corpus("c", spec_of({"all": split}, "classification", ("no", "may", "yes")), {"all": split})
    about = inspect_corpus(classes)["splits"]["all"]
    assert about["labelled"] == 2
    assert about["labels"] == {"counts": {"no": 0, "may": 0, "yes": 2}}
    wide: dict[str, Any] = {"labels": np.arange(0, 100, 25, dtype=np.float32)}
    train = Split(corpus["train"].ids, corpus["train"].features, **wide)
    counts = inspect_corpus(Corpus("c", corpus.spec, {"train": train}))["splits"]["train"]["labels"]["counts"]
    assert len(counts) == 10
    assert sum(counts.values()) == 4


def test_constant_columns_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_module, "_CHUNK", 6)
    values = np.ones((9, 3), np.float32)
    values[8, 2] = 0
    assert constant_columns(Ragged(values, np.array([0, 9]))) == [0, 1]
    assert constant_columns(Ragged(values, np.array([0, 8]))) == [0, 1, 2]
    assert constant_columns(Ragged(values, np.array([0, 1]))) == []


def test_tables() -> None:
    summary = inspect_corpus(example())
    console = Console(file=io.StringIO(), width=160)
    console.print(render(summary))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for word in ("example (regression)", "language+audio", "nearest to", "75 %", "test"):
        assert word in printed
    assert notes(summary) == [
        "audio: 1 constant columns in train: 1",
        "train and test share 1 ids: d",
        "train and test share 2 dialogues: y, z",
        "train: dialogues without positions (field 'position'): no clip has neighbours",
        "test: dialogues without positions (field 'position'): no clip has neighbours",
    ]
    assert notes({"constant": {"modalities": {}}, "shared": {}})[0].startswith("No constant columns")


def test_neighbours() -> None:
    """Clips that share a dialogue; a clip without one stands alone, and two at one position have no order."""
    names = ("x",) * 5 + ("y",) * 2 + ("", "", "z")
    split = Split(
        tuple(f"{i}" for i in range(10)),
        {"language": ragged(*[1] * 10), "audio": ragged(*[1] * 10)},
        dialogue=names,
        position=np.arange(10),
    )
    doubled = replace(split, ids=tuple(f"t{i}" for i in range(10)), position=np.zeros(10, np.int64))
    corpus = Corpus("c", spec_of({"train": split}, "regression"), {"train": split, "test": doubled})
    summary = inspect_corpus(corpus)
    lengths = {"1": 3, "2 to 4": 1, "5 to 9": 1, "10 to 19": 0, "20 to 49": 0, "50 or more": 0}
    assert summary["splits"]["train"]["neighbours"] == {"clips": 7, "dialogues": lengths}
    assert summary["splits"]["test"]["neighbours"] is None
    (remark,) = summary["unordered"]
    assert remark.startswith("test: samples 't0' and 't1' both have position 0 of dialogue 'x'")
    assert remark in notes(summary)
    console = Console(file=io.StringIO(), width=160)
    console.print(render(summary))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "7 (70 %)" in printed
    assert "2 to 4" in printed
    assert "10 to 19" not in printed


def test_an_empty_split_and_names_with_brackets() -> None:
    split = Split((), {"[red]x": ragged(), "y": ragged()}, labels=np.zeros(0, np.float32))
    corpus = Corpus("[b]", spec_of({"all": split}, "regression"), {"all": split})
    console = Console(file=io.StringIO(), width=160)
    console.print(render(inspect_corpus(corpus)))
    assert "[red]x" in console.file.getvalue()  # type: ignore[attr-defined]
