"""Names of splits: the field's, in any case, the same in files, folders, memory and manifests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from command_line import imder_
from corpus_files import fields, save
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.data.split_names import OTHER_NAMES
from imder.extract.manifest import read_source
from imder.types import ImderError


@pytest.mark.parametrize(
    ("name", "split"), [*OTHER_NAMES.items(), ("Train", "train"), ("TEST", "test"), ("Dev", "valid")]
)
def test_the_same_names_everywhere(name: str, split: str, tmp_path: Path) -> None:
    assert list(load_corpus(save(tmp_path / "a.pkl", {name: fields()}))) == [split]
    assert list(load_corpus(save(tmp_path / "files" / f"{name}.npz", fields()))) == [split]
    assert list(load_corpus(tmp_path / "files")) == [split]
    assert list(Corpus.from_arrays({name: {"a": np.ones((2, 3)), "b": np.ones((2, 3))}})) == [split]
    (tmp_path / "manifest.csv").write_text(f"text,split\nhello,{name}\n")
    assert read_source(tmp_path / "manifest.csv")[0].split == split


def test_splits_come_in_their_order(tmp_path: Path) -> None:
    data = {"Test": fields(2, "c"), "dev": fields(3, "b"), "TRAIN": fields(4, "a")}
    corpus = load_corpus(save(tmp_path / "a.pkl", data))
    assert {name: len(split) for name, split in corpus.items()} == {"train": 4, "valid": 3, "test": 2}


def test_two_names_of_one_split_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImderError, match=r"a\.pkl: 'dev' and 'val' are both the split valid; keep one of them"):
        load_corpus(save(tmp_path / "a.pkl", {"train": fields(), "dev": fields(), "val": fields()}))
    for name in ("valid", "dev"):
        save(tmp_path / "folder" / f"{name}.npz", fields())
    with pytest.raises(ImderError, match=r"folder: 'dev' and 'valid' are both the split valid"):
        load_corpus(tmp_path / "folder")
    columns = {"a": np.ones((2, 3)), "b": np.ones((2, 3))}
    with pytest.raises(ImderError, match="arrays: 'dev' and 'valid' are both the split valid"):
        Corpus.from_arrays({"dev": columns, "valid": columns})


def test_a_split_called_all_stands_alone(tmp_path: Path) -> None:
    assert list(load_corpus(save(tmp_path / "a.pkl", {"all": fields()}))) == ["all"]
    with pytest.raises(ImderError, match="unknown split 'all'"):
        load_corpus(save(tmp_path / "a.pkl", {"train": fields(), "all": fields()}))
    columns = {"a": np.ones((2, 3)), "b": np.ones((2, 3))}
    with pytest.raises(ImderError, match="unknown split 'all'"):
        Corpus.from_arrays({"train": columns, "all": columns})


def test_files_of_a_folder_that_are_not_read_are_named(tmp_path: Path, capsys, caplog) -> None:
    for name in ("train", "DEV", "fold1", "extra"):
        save(tmp_path / "folder" / f"{name}.npz", fields())
    save(tmp_path / "folder" / "test.pkl", fields())
    corpus = load_corpus(tmp_path / "folder")
    assert list(corpus) == ["train", "valid"]
    assert corpus.remarks[0].startswith("extra.npz, fold1.npz, test.pkl are not read: splits are train, valid, test (")
    assert "extra.npz" in caplog.text
    assert imder_("data", "inspect", tmp_path / "folder") == 0
    assert "extra.npz, fold1.npz, test.pkl are not read" in " ".join(capsys.readouterr().out.split())
    assert imder_("data", "convert", tmp_path / "folder", tmp_path / "store") == 0
    assert caplog.text.count("extra.npz, fold1.npz, test.pkl are not read") == 2


def test_a_folder_without_splits_names_its_files(tmp_path: Path) -> None:
    save(tmp_path / "mosi.pkl", fields())
    with pytest.raises(ImderError, match=r"nor a folder of train\.npz, .*; to read a file of it, name that: mosi\.pkl"):
        load_corpus(tmp_path)


def test_endings_in_capitals(tmp_path: Path) -> None:
    assert list(load_corpus(save(tmp_path / "a.pkl", fields()).rename(tmp_path / "a.PKL"))) == ["all"]
    assert list(load_corpus(save(tmp_path / "b.npz", fields()).rename(tmp_path / "b.NPZ"))) == ["all"]
