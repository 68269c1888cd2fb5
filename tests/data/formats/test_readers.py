"""A format of corpora is one file and one row of `READERS`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import imder
from imder.data.formats.assemble import Contents, assemble
from imder.data.formats.raw import Raw
from imder.data.formats.readers import READERS, Reader
from imder.types import ImderError


def is_json(path: Path) -> bool:
    return path.suffix == ".json"


def read_json(path: Path, options) -> Contents:
    splits = json.loads(path.read_text())
    fields = {key: {name: np.asarray(x, float) for name, x in split.items()} for key, split in splits.items()}
    return assemble([Raw(f"{path} [{key}]", key, split) for key, split in fields.items()], options)


def test_another_format_is_a_reader_and_a_row(tmp_path, monkeypatch) -> None:
    split = {"audio": [[1.0, 2.0]], "vision": [[3.0]], "regression_labels": [0.5]}
    (tmp_path / "mine.json").write_text(json.dumps({"train": split, "test": split}))
    with pytest.raises(
        ImderError, match=r"unknown type of file '.json': it is JSON; .*; known are: store .*\.npz; \.pkl"
    ):
        imder.load_corpus(tmp_path / "mine.json")
    monkeypatch.setattr("imder.data.formats.readers.READERS", [*READERS, Reader(".json", is_json, read_json)])
    corpus = imder.load_corpus(tmp_path / "mine.json")
    assert list(corpus) == ["train", "test"]
    assert corpus["test"][0].label == 0.5
    assert corpus["test"][0].features["audio"].tolist() == [[1, 2]]


def test_a_path_is_needed() -> None:
    with pytest.raises(
        ImderError, match=r"a Corpus or the path of one is needed, got dict; see imder.Corpus.from_arrays"
    ):
        imder.load_corpus({})  # type: ignore[arg-type]
