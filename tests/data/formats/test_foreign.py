"""Files and layouts that are no corpora: said by name, with what to do."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from command_line import imder_
from corpus_files import fields, objects, save, without
from imder.data.formats.load import load_corpus
from imder.types import ImderError

PAGE = b"\n\n<!DOCTYPE html>\n<html><body>Virus scan warning</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 367000000\n"


def torch_file() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"text": torch.ones(2)}, file)
    return file.getvalue()


def old_torch_file() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"text": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, text=np.ones((2, 3)))
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones((2, 3)))
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("aligned_50.pkl", pickle.dumps({}))
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as t:
        t.addfile(tarfile.TarInfo("aligned_50.pkl"))
    return file.getvalue()


CONTENTS = {
    "lfs": (LFS, "a pointer of Git LFS in place of the file; fetch the file with: git lfs pull"),
    "page": (PAGE, "a web page, not the file; its download failed"),
    "page with a mark": (b"\xef\xbb\xbf<html>", "a web page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a web page"),
    "server": (b"Quota exceeded for this file", "text that begins 'Quota exceeded for this file'"),
    "json": (b'{"message": "Not Found", "status": "404"}', "text that begins"),
    "csv": (b"id, text, label\n1, a, 2\n", "text that begins 'id, text, label 1, a, 2'"),
    "gzip": (gzip.compress(pickle.dumps({"a": 1}), mtime=0), "compressed by gzip"),
    "zlib": (zlib.compress(pickle.dumps({"a": 1})), "compressed by zlib, as joblib does"),
    "xz": (lzma.compress(b"a"), "compressed by xz"),
    "zip": (archive(), "a zip archive; unpack it first"),
    "tar": (tar(), "a tar archive"),
    "npz": (npz(), "an npz file; name it .npz"),
    "npy": (npy(), "a single array"),
    "torch": (torch_file(), r"a file of torch\.save"),
    "old torch": (old_torch_file(), r"a file of torch\.save"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file, such as a .csd of the CMU Multimodal SDK"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: PCWIN64" + bytes(99), "a MATLAB file"),
    "half a zip": (npz()[:60], "an incomplete zip archive"),
    "empty": (b"", "an empty file"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_files_that_are_no_pickles(kind: str, tmp_path: Path) -> None:
    content, message = CONTENTS[kind]
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(ImderError, match=rf"a\.pkl: not a pickle, but {message}") as caught:
        load_corpus(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["lfs", "page", "server", "gzip", "zip", "tar", "npy", "torch", "hdf5", "empty"])
def test_files_that_are_no_npz_files(kind: str, tmp_path: Path) -> None:
    content, message = CONTENTS[kind]
    path = tmp_path / "train.npz"
    path.write_bytes(content)
    with pytest.raises(ImderError, match=rf"train\.npz: not an? (complete )?npz file, but {message}"):
        load_corpus(path)


def test_a_pickle_called_npz_and_a_damaged_pickle(tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    path.write_bytes(pickle.dumps(fields()))
    with pytest.raises(ImderError, match=r"not a complete npz file, but a pickle; name it \.pkl"):
        load_corpus(path)
    cut = tmp_path / "cut.pkl"
    cut.write_bytes(pickle.dumps(fields())[:-20])
    with pytest.raises(ImderError, match=r"cut\.pkl: not a complete pickle of arrays and plain containers"):
        load_corpus(cut)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mosi.csd", b"\x89HDF\r\n\x1a\n", "it is an HDF5 file, such as a .csd"),
        ("mosi.h5", b"?", r"it is an HDF5 file; read it in Python, .* \(h5py\.File\)"),
        ("a.mat", b"MATLAB 5.0 MAT-file", r"it is a MATLAB file; .*scipy\.io\.loadmat"),
        ("a.json", b"{}", "it is JSON"),
        ("a.csv", b"id,text", "it is a table; a manifest of recordings goes to imder extract"),
        ("a.pt", torch_file(), r"it is a file of torch\.save"),
        ("mosi_data", pickle.dumps({"a": 1}), r"it is a pickle; name it \.pkl"),
        ("a.pkl.gz", gzip.compress(b"a", mtime=0), "it is compressed by gzip"),
        ("a.bin", b"\x00\x01", r"unknown type of file '\.bin'; known are"),
        ("nothing.bin", b"", "it is an empty file"),
    ],
)
def test_other_types_of_files(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImderError, match=message):
        load_corpus(tmp_path / name)


def test_objects_in_npz_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "train.npz", fields(id=objects("a", "b", "c", "d")))
    with pytest.raises(
        ImderError, match=r"id: an array of Python objects .*; save numbers as numbers and words as str"
    ):
        load_corpus(path)
    path = save(tmp_path / "train.npz", fields(audio=objects(*(np.ones((n, 3)) for n in (1, 2, 3, 4)))))
    assert imder_("data", "inspect", path) == 2
    assert "pad features to (N, T, D) and give audio_lengths (N,), or save the fields as a pickle" in " ".join(
        capsys.readouterr().err.split()
    )
    save(tmp_path / "train.npz", fields(id=np.array(objects("a", "b", "c", "d").tolist())))
    assert load_corpus(tmp_path / "train.npz")["train"].ids == ("a", "b", "c", "d")


def tuples(n: int = 3) -> list[tuple[object, ...]]:
    features = (np.arange(5), np.ones((5, 3)), np.ones((5, 2)))
    return [(features, np.array([[0.5]]), f"clip{i}") for i in range(n)]


SAMPLES = {f"video{i}": {"text": np.ones((4, 3)), "audio": np.ones((4, 2)), "label": 0.5} for i in range(3)}
SEQUENCES = {
    name: {f"video{i}": {"features": np.ones((4, 3)), "intervals": np.ones((4, 2))} for i in range(3)}
    for name in ("glove", "covarep", "labels")
}
DIALOGUES = ({"d1": ["u1", "u2"]}, {"d1": ["M", "F"]}, {"d1": [0, 1]}, {"d1": [np.ones(3), np.ones(3)]}, ["d1"], [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": tuples(), "dev": tuples(), "test": tuples()}, r"samples are lists or tuples, as in .* MAG-BERT"),
        (tuples(), r"found a list in which samples are lists or tuples"),
        (SAMPLES, r"samples are dicts by id; imder\.Corpus\.from_dataset takes"),
        ([*SAMPLES.values()], r"found a list of samples; imder\.Corpus\.from_dataset takes"),
        (SEQUENCES, "each field is a dict by id, as computational sequences of the CMU Multimodal SDK"),
        (DIALOGUES, "found a list of dicts by dialogue, as in the files of DialogueRNN and MMGCN"),
        ({"text": {"train": np.ones((3, 2))}, "audio": {"train": np.ones((3, 2))}}, "fields hold splits"),
        ({"train": np.ones((3, 2)), "test": np.ones((3, 2))}, "each split must be a dict of fields"),
        ({"train": fields(), "test": [1, 2]}, "the split 'test' is list where a dict of fields is needed"),
        ({"fold1": fields(), "fold2": fields()}, "unknown split 'fold1'; known are train, valid, test"),
        (np.ones((3, 2)), "a dict of splits or fields is needed, found ndarray"),
        ([], "found list"),
        ({}, "no field holds features; it has none"),
        (None, "found NoneType"),
    ],
)
def test_layouts_of_the_field_are_named(data: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImderError, match=rf"a\.pkl: .*{message}") as caught:
        load_corpus(save(tmp_path / "a.pkl", data))
    assert "\n" not in str(caught.value)


def test_entries_beside_splits_or_fields(tmp_path: Path) -> None:
    corpus = load_corpus(
        save(tmp_path / "a.pkl", {"train": fields(), "config": {"seed": 1}, "version": 3, "test": None})
    )
    assert list(corpus) == ["train"]
    assert corpus.remarks == tuple(f"{name!r} beside the splits is not read" for name in ("config", "version", "test"))
    corpus = load_corpus(save(tmp_path / "b.pkl", fields(config={"seed": 1})))
    assert list(corpus) == ["all"]
    assert corpus.remarks == ("field 'config' is not read: it is a dict",)


def test_tables_of_pandas_and_tensors_are_refused_with_advice(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = save(tmp_path / "a.pkl", without(fields(), "id") | {"id": pandas.Series(list("abcd"))})
    with pytest.raises(ImderError, match=r"refused pandas\..*; if you trust the file, read it in Python, and give its"):
        load_corpus(path)
