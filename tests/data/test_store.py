"""The store: what goes in comes out, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from imder.data import store_writer as store_module
from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.data.store import is_store, read_store, write_store
from imder.types import ImderError

TEXT = st.text(max_size=5)
NAME = st.text(min_size=1, max_size=6).filter(lambda name: not set(name) & set(".+") and name not in ("type", "names"))


def ragged(lengths: list[int], dim: int, dtype: Any = np.float32, seed: int = 0) -> Ragged:
    rng = np.random.default_rng(seed)
    return Ragged.from_list([rng.normal(size=(t, dim)).astype(dtype) for t in lengths], dim)


def small(**more: Any) -> Corpus:
    def split(name: str, lengths: list[int]) -> Split:
        n = len(lengths)
        options = {"labels": np.arange(n, dtype=np.float32), **more}
        return Split(
            ids=tuple(f"{name}{i}" for i in range(n)),
            features={"language": ragged(lengths, 3), "audio": ragged([1] * n, 2, np.float16)},
            **options,
        )

    splits = {"train": split("a", [2, 0, 5]), "test": split("b", [1, 1])}
    return Corpus("small", spec_of(splits, "regression"), splits)


def assert_same(a: Corpus, b: Corpus) -> None:
    assert (a.name, a.spec, list(a.splits)) == (b.name, b.spec, list(b.splits))
    for name, x in a.splits.items():
        y = b.splits[name]
        for key in ("ids", "texts", "dialogue", "speaker", "nonfinite", "dropped"):
            assert getattr(x, key) == getattr(y, key), key
        for key in ("labels", "position"):
            p, q = getattr(x, key), getattr(y, key)
            assert (p is None) == (q is None), key
            if p is not None:
                assert_array_equal(p, q)
                assert p.dtype == q.dtype
        assert list(x.features) == list(y.features)
        for modality, r in x.features.items():
            assert_array_equal(r.offsets, y.features[modality].offsets)
            assert_array_equal(r.values.astype(y.features[modality].values.dtype), y.features[modality].values)


@st.composite
def corpora(draw: st.DrawFn, width: int) -> Corpus:
    names = draw(st.lists(NAME, min_size=2, max_size=3, unique=True))
    dims = {name: draw(st.integers(1, 3)) for name in names}
    classes = draw(st.sampled_from([(), ("no", "yes", "é")]))
    splits = {}
    for split in draw(st.sampled_from([("train", "valid", "test"), ("test",), ("all",)])):
        n = draw(st.integers(0, 4))
        features = {}
        for name, dim in dims.items():
            lengths = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
            element = st.floats(-6e4, 6e4, width=width)
            values = draw(arrays(np.float32, (sum(lengths), dim), elements=element))
            features[name] = Ragged(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        label = st.integers(-1, 2) if classes else st.floats(width=32, allow_infinity=False)
        strings = st.one_of(st.none(), st.lists(TEXT, min_size=n, max_size=n).map(tuple))
        splits[split] = Split(
            ids=tuple(draw(st.lists(TEXT, min_size=n, max_size=n, unique=True))),
            features=features,
            labels=draw(st.one_of(st.none(), arrays(np.int64 if classes else np.float32, n, elements=label))),
            texts=draw(strings),
            dialogue=draw(strings),
            position=draw(st.one_of(st.none(), arrays(np.int64, n))),
            speaker=draw(strings),
            nonfinite={name: draw(st.integers(0, 9)) for name in names},
            dropped=draw(st.integers(0, 3)),
        )
    return Corpus(draw(TEXT), spec_of(splits, "classification" if classes else "regression", classes), splits)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), dtype=st.sampled_from(["float16", "float32"]))
def test_round_trip(tmp_path: Path, data: st.DataObject, dtype: Any) -> None:
    corpus = data.draw(corpora(16 if dtype == "float16" else 32))
    write_store(corpus, tmp_path / "store", dtype)
    again = read_store(tmp_path / "store")
    assert_same(corpus, again)
    for split in again.splits.values():
        assert all(r.values.dtype == np.dtype(dtype) for r in split.features.values())


def test_files_are_safetensors_and_memory_maps(tmp_path: Path) -> None:
    corpus = small(texts=None, position=None)
    write_store(corpus, tmp_path / "store")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store"]
    assert {p.name for p in (tmp_path / "store").iterdir()} == {
        "corpus.json",
        "train.json",
        "train.safetensors",
        "test.json",
        "test.safetensors",
    }
    tensors = safetensors.numpy.load_file(tmp_path / "store" / "train.safetensors")
    assert set(tensors) == {"values.language", "values.audio", "offsets.language", "offsets.audio", "labels"}
    assert_array_equal(tensors["values.language"], corpus["train"].features["language"].values)
    values = read_store(tmp_path / "store")["train"].features["language"].values
    assert isinstance(values, np.memmap)
    assert not values.flags.writeable
    assert values.flags.aligned


def test_reads_what_the_safetensors_library_writes(tmp_path: Path) -> None:
    write_store(small(), tmp_path / "store")
    path = tmp_path / "store" / "train.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path, metadata={"by": "another"})
    assert_same(small(), read_store(tmp_path / "store"))


def test_large_arrays_go_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_CHUNK", 4)
    write_store(small(), tmp_path / "store")
    assert_same(small(), read_store(tmp_path / "store"))


def test_a_part_of_an_array_is_written_from_its_offset(tmp_path: Path) -> None:
    whole = small()
    r = whole["train"].features["language"]
    part = Split(("x", "y"), {"language": Ragged(r.values, r.offsets[1:]), "audio": ragged([1, 1], 2)})
    write_store(Corpus("part", spec_of({"all": part}, "regression"), {"all": part}), tmp_path / "store")
    again = read_store(tmp_path / "store")["all"].features["language"]
    assert again.lengths.tolist() == [0, 5]
    assert_array_equal(again[1], r[2])


def test_replaces_a_store_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    write_store(small(), folder)
    first = read_store(folder)
    other = Corpus("other", small().spec, {"test": small()["test"]})
    write_store(other, folder)
    assert_same(other, read_store(folder))
    assert_same(small(), first)  # its maps outlive the files
    write_store(read_store(folder), folder)
    assert_same(other, read_store(folder))
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ImderError, match=r"store: holds 'notes\.txt', which is no part of a store"):
        write_store(small(), folder)
    assert_same(other, read_store(folder))
    (tmp_path / "work").mkdir()
    write_store(small(), tmp_path / "work")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "corpus.json").write_text("{}")
    with pytest.raises(ImderError, match=r"data: holds 'corpus\.json'"):
        write_store(small(), tmp_path / "data")
    with pytest.raises(ImderError, match=r"train\.npz: is a file"):
        write_store(small(), save_file(tmp_path / "train.npz"))
    write_store(small(), tmp_path / "new" / "folders" / "store")
    with pytest.raises(ImderError, match="cannot be written"):
        write_store(small(), tmp_path / "train.npz" / "store")


@pytest.mark.parametrize("claim", ["beside", "splits", "splits with a pair of files", "link", "folder"])
def test_deletes_only_what_it_wrote(tmp_path: Path, claim: str) -> None:
    """A corpus.json of somebody else's may claim anything: files that aren't a store's are neither replaced nor removed."""
    folder = tmp_path / "store"
    write_store(small(), folder)
    about = json.loads((folder / "corpus.json").read_text())
    mine = folder / "thesis"
    if claim in ("beside", "folder"):
        mine.mkdir()
        (mine / "chapter.tex").write_text("years of work")
        about["beside"] = ["thesis", "../thesis"]
    elif claim == "splits":
        (folder / "thesis.json").write_text('{"years": "of work"}')
        about["splits"]["thesis"] = {"n": 0, "dropped": 0, "nonfinite": {}}
    elif claim == "splits with a pair of files":
        (folder / "thesis.json").write_text('{"ids": 3}')
        (folder / "thesis.safetensors").write_bytes(b"mine")
        about["splits"]["thesis"] = {"n": 0, "dropped": 0, "nonfinite": {}}
    else:
        (tmp_path / "outside.csv").write_text("mine")
        (folder / "failures.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "corpus.json").write_text(json.dumps(about))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ImderError, match="no part of a store; it is not overwritten"):
        write_store(small(), folder)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def save_file(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


def with_value(value: float, dtype: Any = np.float32) -> Corpus:
    values = ragged([2, 0, 3], 2, dtype)
    values.values[3, 1] = value
    split = Split(("a", "b", "c"), {"language": ragged([1] * 3, 2), "audio": values})
    return Corpus("c", spec_of({"train": split}, "regression"), {"train": split})


def test_values_that_do_not_fit(tmp_path: Path) -> None:
    write_store(small(), tmp_path / "store")
    with pytest.raises(ImderError, match=r"train: audio: sample 'c': the value 70000 does not fit float16; .* float32"):
        write_store(with_value(70000), tmp_path / "store", "float16")
    with pytest.raises(ImderError, match="train: audio: sample 'c': the value nan is not finite"):
        write_store(with_value(np.nan), tmp_path / "store")
    assert_same(small(), read_store(tmp_path / "store"))
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    write_store(with_value(70000), tmp_path / "other")
    write_store(with_value(65504), tmp_path / "other", "float16")
    with pytest.raises(ImderError, match="unknown dtype 'float8'"):
        write_store(small(), tmp_path / "store", "float8")  # type: ignore[arg-type]


def test_a_failure_while_renaming_keeps_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "store"
    write_store(small(), folder)
    rename = Path.rename
    failures: list[Path] = []

    def fail(self: Path, target: Path) -> Path:
        if (self / "corpus.json").exists() and target == folder and not failures:
            failures.append(self)
            raise OSError(28, os.strerror(28))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ImderError, match="store: cannot be written"):
        write_store(with_value(1), folder)
    assert failures
    assert_same(small(), read_store(folder))
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


# --- damage


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def put(path: Path, head: Any, rest: bytes) -> None:
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + rest)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(small(texts=None), tmp_path / "store")
    return tmp_path / "store"


def test_truncated_tensors(folder: Path) -> None:
    path = folder / "train.safetensors"
    data = path.read_bytes()
    for end in (0, 4, 8, 50):
        path.write_bytes(data[:end])
        with pytest.raises(ImderError, match=r"train\.safetensors: (truncated|the header is damaged)"):
            read_store(folder)
    path.write_bytes(data[:-1])
    with pytest.raises(ImderError, match=r"train\.safetensors: labels: truncated: it ends at byte"):
        read_store(folder)
    path.unlink()
    with pytest.raises(ImderError, match=r"train\.safetensors: cannot be read"):
        read_store(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "F64"}, "values.language: its entry in the header is damaged"),
        ({"shape": [-7, -3]}, "values.language: its entry"),
        ({"shape": [7, 3.0]}, "values.language: its entry"),
        ({"data_offsets": [4, 3]}, "values.language: its entry"),
        ({"data_offsets": None}, "values.language: its entry"),
        ({"data_offsets": [10**9, 10**9 + 84]}, "values.language: truncated"),
        ({"shape": [3, 7]}, "values.language: float32 of shape"),
        ({"shape": [21]}, "values.language: float32 of shape"),
    ],
)
def test_damaged_headers(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "train.safetensors"
    head, rest = header(path)
    head["values.language"] |= change
    put(path, head, rest)
    with pytest.raises(ImderError, match=rf"train\.safetensors: {message}"):
        read_store(folder)


def test_contradictions(folder: Path) -> None:
    path = folder / "train.safetensors"
    head, rest = header(path)
    for junk in (b"[1]", b"nothing", b"[" * 5000):
        put(path, junk, rest)
        with pytest.raises(ImderError, match=r"train\.safetensors: the header is damaged"):
            read_store(folder)
    put(path, {k: v for k, v in head.items() if k != "offsets.audio"}, rest)
    with pytest.raises(ImderError, match=r"train\.safetensors: offsets\.audio: missing"):
        read_store(folder)
    place = head["offsets.language"]["data_offsets"][0]
    for offsets in ([1, 2, 2, 7], [0, 3, 2, 7], [0, 2, 2, 8]):
        raw = np.array(offsets, "<i8").tobytes()
        put(path, head, rest[:place] + raw + rest[place + len(raw) :])
        with pytest.raises(ImderError, match=r"train\.safetensors: offsets\.language: they don't divide the 7 frames"):
            read_store(folder)
    put(path, head, rest)
    names = json.loads((folder / "train.json").read_text())
    for change, message in (
        ({"ids": ["a", "a", "b"]}, "ids: 3 different ids"),
        ({"ids": ["a", "b"]}, "ids: 3 strings"),
        ({"texts": [1, 2, 3]}, "texts: 3 strings"),
        ({"ids": None}, "ids: 3 different"),
    ):
        (folder / "train.json").write_text(json.dumps({**names, **change}))
        with pytest.raises(ImderError, match=rf"train\.json: {message}"):
            read_store(folder)


def test_class_labels_out_of_range(tmp_path: Path) -> None:
    split = Split(("a", "b"), {"x": ragged([1, 1], 2), "y": ragged([1, 1], 2)}, labels=np.array([0, 5]))
    write_store(Corpus("c", spec_of({"all": split}, "classification", ("0", "1")), {"all": split}), tmp_path / "store")
    with pytest.raises(ImderError, match=r"all\.safetensors: labels: sample 'b': 5 is out of range"):
        read_store(tmp_path / "store")


def test_descriptions(folder: Path) -> None:
    path = folder / "corpus.json"
    about = json.loads(path.read_text())
    outside = {"../train": about["splits"]["train"]}
    for change, message in (
        ({"format": "other"}, "not the description of a store"),
        ({"version": 99}, "version 99; this library reads 1"),
        ({"spec": {}}, "damaged"),
        ({"spec": {**about["spec"], "task": "x"}}, "damaged .*unknown task"),
        ({"splits": {}}, "damaged"),
        ({"splits": outside}, "damaged"),
        ({"splits": {"train": 3}}, "damaged"),
    ):
        path.write_text(json.dumps({**about, **change}))
        with pytest.raises(ImderError, match=rf"corpus\.json: {message}"):
            read_store(folder)
    for junk in ("[]", "{", ""):
        path.write_text(junk)
        with pytest.raises(ImderError, match=r"corpus\.json: damaged"):
            read_store(folder)
    assert is_store(folder)
    path.unlink()
    assert not is_store(folder)
    with pytest.raises(ImderError, match=r"corpus\.json: cannot be read"):
        read_store(folder)


def test_tokens_recipe_and_other_files(tmp_path: Path) -> None:
    """What extraction adds: token ids, how features were made, lists beside; a store written over takes them along."""
    tokens = Ragged(np.arange(5)[:, None], np.array([0, 2, 2, 5]))
    corpus = small()
    train = dataclasses.replace(corpus["train"], tokens=tokens)
    recipe = {"format": 1, "audio": {"rate": 22050}}
    corpus = dataclasses.replace(corpus, splits={**corpus.splits, "train": train}, recipe=recipe)
    write_store(corpus, tmp_path / "store", notes={"failures.csv": "id\n"})
    again = read_store(tmp_path / "store")
    assert again.recipe == recipe
    assert again["test"].tokens is None
    found = again["train"].take(np.array([2, 0])).tokens
    assert found is not None
    assert (found.values.tolist(), found.values.dtype, found.lengths.tolist()) == (
        [[2], [3], [4], [0], [1]],
        np.int64,
        [3, 2],
    )
    assert (tmp_path / "store" / "failures.csv").read_text() == "id\n"
    write_store(corpus, tmp_path / "store")
    assert not (tmp_path / "store" / "failures.csv").exists()
