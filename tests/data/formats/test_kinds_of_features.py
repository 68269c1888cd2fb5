"""Features of every kind are read, from files and from memory by the same rules; what isn't read is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import imder_
from corpus_files import Fields, fields, save, without
from imder.benchmarking.cell import Source
from imder.data.compatible import check_compatible
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.types import ImderError

N, T, D = 6, 4, 3
WHOLE = np.random.default_rng(1).integers(0, 100, (N, T, D))
FLAGS = WHOLE > 50
FLAGS[:, -1] = True
MISSING = 2


def with_missing(value: Any) -> list[Any]:
    return [value if i == MISSING else x.astype(np.float32) for i, x in enumerate(WHOLE)]


def rows_of_nan() -> np.ndarray:
    x = WHOLE.astype(np.float32)
    x[MISSING] = np.nan
    return x


COMPLETE = {
    "int8": WHOLE.astype(np.int8),
    "uint8": WHOLE.astype(np.uint8),
    "integers in lists": WHOLE.tolist(),
    "(N, T, 1, D)": WHOLE[:, :, None].astype(np.float32),
    "(N, 1, T, D)": WHOLE[:, None].astype(np.float64),
    "(1, T, D) in a list": [x[None].astype(np.float32) for x in WHOLE],
    "(T, 1, D) in a list": [x[:, None] for x in WHOLE],
    "big-endian": WHOLE.astype(">i4"),
}
INCOMPLETE = {
    "NaN": with_missing(float("nan")),
    "a NaN of numpy": with_missing(np.float32("nan")),
    "None": with_missing(None),
    "an empty array": with_missing(np.zeros((0, D))),
    "an empty list": with_missing([]),
    "an array of NaN": with_missing(np.full((T, D), np.nan)),
    "a row of infinities": with_missing(np.full((T, D), np.inf)),
    "rows of NaN": rows_of_nan(),
}
REMARK = "vision: 1 of 6 samples have no finite value and count as missing"


def in_memory(given: Fields) -> Corpus:
    renamed = {"regression_labels": "labels", "id": "ids"}
    return Corpus.from_arrays({"all": {renamed.get(key, key): value for key, value in given.items()}})


def both(given: Fields, tmp_path: Path) -> list[Corpus]:
    return [load_corpus(save(tmp_path / "one.pkl", given)), in_memory(given)]


@pytest.mark.parametrize("kind", [*COMPLETE, *INCOMPLETE, "bool"])
def test_the_same_from_files_and_from_memory(kind: str, tmp_path: Path) -> None:
    given = ({"bool": FLAGS} | COMPLETE | INCOMPLETE)[kind]
    expected = FLAGS if kind == "bool" else WHOLE
    file, memory = both(fields(N, vision=given), tmp_path)
    for corpus in (file, memory):
        split = corpus["all"]
        assert corpus.spec.names == ("language", "vision", "audio")
        assert split.features["vision"].dim == D
        for i in range(N):
            is_missing = kind in INCOMPLETE and i == MISSING
            np.testing.assert_array_equal(split.features["vision"][i], expected[i][: 0 if is_missing else T])
    assert file.remarks == memory.remarks
    assert file.remarks == ((REMARK,) if kind in ("an array of NaN", "a row of infinities", "rows of NaN") else ())


def test_remarks_are_logged_once_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path / "one.pkl", fields(N, vision=rows_of_nan()))
    source = Source(str(path))
    corpus = source.load()
    assert caplog.messages == [f"{path}: {REMARK}"]
    assert source.load(quiet=True) is corpus
    assert len(caplog.messages) == 1
    assert check_compatible(corpus.spec, corpus).remarks == (REMARK,)


@pytest.mark.parametrize("wrong", ["a string", "ragged rows", "four axes"])
def test_the_same_mistakes_in_files_and_in_memory(wrong: str, tmp_path: Path) -> None:
    given = {
        "a string": [*WHOLE[1:], "x"],
        "ragged rows": [*WHOLE[1:], [[1.0], [2.0, 3.0]]],
        "four axes": np.ones((N, 2, 2, 2)),
    }[wrong]
    messages = []
    for read in (lambda x: load_corpus(save(tmp_path / "one.pkl", x)), in_memory):
        with pytest.raises(ImderError) as caught:
            read(fields(N, vision=given))
        messages.append(str(caught.value).partition("vision: ")[2])
    assert messages[0] == messages[1]
    assert messages[0].startswith(("sample 'train5': an array (T, D)", "an array (N, T, D) or (N, D)"))


def test_zeros_behind_the_text_are_padding_in_samples_too(tmp_path: Path) -> None:
    given = fields(N, vision=WHOLE + 1.0)
    given["text"] = given["text"][:, :T]
    given["audio"] = given["audio"][:, :T]
    for name in ("vision", "text", "audio"):
        given[name][1, 2:] = 0
    samples = [{name: given[name][i] for name in ("text", "vision", "audio")} | {"label": float(i)} for i in range(N)]
    by_padding = {
        padding: Corpus.from_dataset(samples, padding=padding)["train"].features["vision"].lengths[1]  # type: ignore[arg-type]
        for padding in ("auto", "none")
    }
    file, memory = both(given, tmp_path)
    assert by_padding == {"auto": 2, "none": T}
    assert file.remarks == memory.remarks
    assert len(file.remarks) == 3
    with pytest.raises(ImderError, match="padding: 'zero' is unknown; use auto, zeros, none"):
        Corpus.from_dataset(samples, padding="zero")  # type: ignore[arg-type]


def split_of(size: int, text: Any) -> Fields:
    return without(fields(size), "text") | {"vision": np.ones((size, T, D), np.float32), "text": text}


def ids_up_to(largest: int, size: int, form: str) -> Any:
    ids = np.random.default_rng(size).integers(0, largest, (size, T))
    ids[0, 0] = largest
    if "tables" in form:
        tables = np.stack([ids, np.ones_like(ids), np.zeros_like(ids)], axis=1)
        return tables.astype(np.float32) if form == "tables of floats" else tables
    return {"array": ids, "lists": ids.tolist(), "columns": ids[..., None], "floats": ids.astype(np.float32)}[form]


@pytest.mark.parametrize("form", ["array", "lists", "columns", "tables", "tables of floats", "floats"])
def test_token_ids_are_told_by_the_whole_corpus(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    largest = 30521 if form == "floats" else 143
    corpus = {"train": split_of(12, ids_up_to(largest, 12, form)), "valid": split_of(8, ids_up_to(71, 8, form))}
    path = save(tmp_path / "corpus.pkl", corpus)
    remark = (
        "field 'text' is not read: whole numbers, one for each token, are token ids; they go to text_bert (N, 3, T)"
    )
    loaded = load_corpus(path)
    assert loaded.spec.names == ("vision", "audio")
    assert loaded.remarks == (remark,)
    assert [split.unread for split in loaded.splits.values()] == [(remark,)] * 2
    with pytest.raises(
        ImderError, match=r"text: whole numbers, one for each token, are token ids; they go to text_bert"
    ):
        Corpus.from_arrays({name: {"text": x["text"], "audio": x["audio"]} for name, x in corpus.items()})
    assert imder_("data", "inspect", path) == 0
    assert remark in " ".join(capsys.readouterr().out.split())


def test_token_ids_without_features_of_language_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tables = ids_up_to(143, N, "tables")
    splits = {s: without(fields(N, s, vision=WHOLE, text_bert=tables), "text") for s in ("train", "valid", "test")}
    path = save(tmp_path / "corpus.pkl", splits)
    remark = "text_bert holds token ids, but no field features of language: only a language encoder reads them"
    assert imder_("data", "inspect", path) == 0
    assert remark in " ".join(capsys.readouterr().out.split())
    assert imder_("train", path, "--out", tmp_path / "run", "--preset", "ridge", "--threads", 1) == 0
    assert sum(remark in message for message in caplog.messages) == 1


@pytest.mark.parametrize(("largest", "form"), [(99, "array"), (999, "floats")])
def test_counts_are_features_of_language(largest: int, form: str, tmp_path: Path) -> None:
    path = save(tmp_path / "corpus.pkl", {"train": split_of(12, ids_up_to(largest, 12, form))})
    assert load_corpus(path)["train"].features["language"].dim == T


@pytest.mark.parametrize("kind", ["int8", "(1, T, D) in a list", "NaN", "rows of NaN", "strings", "token ids"])
def test_inspect_and_training_use_or_name_a_modality(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    value = {"strings": list("abcdef"), "token ids": np.arange(N * T).reshape(N, T) * 10}.get(kind)
    field = "vision" if value is None else "text"
    value = (COMPLETE | INCOMPLETE)[kind] if value is None else value
    more = {field: value, "gaze": np.ones((N, T, 2), np.float32)}
    path = save(tmp_path / "corpus.pkl", {name: fields(N, name, **more) for name in ("train", "valid", "test")})
    assert imder_("data", "inspect", path) == 0
    out = " ".join(capsys.readouterr().out.split())
    named = {
        "strings": "field 'text' is not read: it holds strings, not features",
        "token ids": "field 'text' is not read: whole numbers, one for each token, are token ids",
        "rows of NaN": "vision: 3 of 18 samples have no finite value and count as missing",
    }.get(kind)
    assert ("language" in out) == (field == "vision")
    assert named is None or named in out
    caplog.clear()
    assert imder_("train", path, "--out", tmp_path / "run", "--preset", "ridge", "--threads", 1) == 0
    assert sum("count as missing" in m or "is not read" in m for m in caplog.messages) == (named is not None)
    assert named is None or any(named in message for message in caplog.messages)


def test_masked_values_are_not_read() -> None:
    masked = np.ma.masked_array(WHOLE, mask=np.zeros(WHOLE.shape, bool))
    masked[0] = np.ma.masked
    masked[1, 2, 1] = np.ma.masked
    for given in (masked, list(masked)):
        corpus = Corpus.from_arrays({"all": {"vision": given, "audio": np.ones((N, 2))}})
        assert corpus["all"].features["vision"].lengths.tolist() == [0, *[T] * (N - 1)]
        assert corpus["all"].nonfinite["vision"] == 1
        assert corpus["all"].features["vision"][1][2].tolist() == [WHOLE[1, 2, 0], 0, WHOLE[1, 2, 2]]


@pytest.mark.parametrize("form", ["sparse", "float8", "gradient"])
def test_tensors_that_numpy_lacks(form: str) -> None:
    dense = torch.tensor([[1.0, 0, 2], [0, 0, 4]])
    given = {
        "sparse": dense.to_sparse(),
        "float8": dense.to(torch.float8_e4m3fn),
        "gradient": dense.requires_grad_(),
    }[form]
    corpus = Corpus.from_arrays({"all": {"vision": given, "audio": torch.ones(2, 2)}})
    assert corpus["all"].features["vision"].values.tolist() == [[1, 0, 2], [0, 0, 4]]


def test_matrices_of_numpy_are_arrays() -> None:
    matrix = np.matrix([[1.0, 2.0]] * 2)
    for given in (matrix, [matrix, matrix]):
        corpus = Corpus.from_arrays({"all": {"vision": given, "audio": np.ones((2, 2))}})
        assert corpus["all"].features["vision"][1].tolist() == [[1, 2]] * (1 if given is matrix else 2)


def test_tensors_in_lists() -> None:
    given = [torch.ones(1, T, D), None, torch.zeros(T, D, dtype=torch.int8)]
    corpus = Corpus.from_arrays({"all": {"vision": given, "audio": torch.ones(3, 1, 2, dtype=torch.bfloat16)}})
    assert corpus["all"].features["vision"].lengths.tolist() == [T, 0, T]


@pytest.mark.parametrize("field", ["id", "raw_text", "speaker"])
def test_bytes_of_another_encoding_are_one_line(field: str, tmp_path: Path) -> None:
    strings = [b"caf\xe9", *(f"clip{i}".encode() for i in range(N - 1))]
    where = {"id": "ids", "raw_text": "texts"}.get(field, field)
    path = save(tmp_path / "one.pkl", fields(N, **{field: strings}))
    with pytest.raises(ImderError, match=rf"one\.pkl: {field}: row 0: b'caf\\xe9' is no valid Unicode; decode it as"):
        load_corpus(path)
    with pytest.raises(ImderError, match=rf"arrays \[all\]: {where}: row 0: b'caf\\xe9' is no valid Unicode"):
        Corpus.from_arrays({"all": {"text": np.ones((N, 2)), "audio": np.ones((N, 2)), where: strings}})
    valid = fields(N, **{field: [f"café {i}".encode() for i in range(N)]})
    assert load_corpus(save(tmp_path / "one.pkl", valid))["all"].ids[0] == ("café 0" if field == "id" else "train0")


def test_bytes_of_another_encoding_in_ids_of_three_parts_and_in_labels(tmp_path: Path) -> None:
    ids = [(b"caf\xe9", b"0", b"1")] + [(b"v", str(i).encode(), b"9") for i in range(N - 1)]
    with pytest.raises(ImderError, match=r"id: row 0: b'caf\\xe9' is no valid Unicode"):
        load_corpus(save(tmp_path / "one.pkl", fields(N, id=ids)))
    given = {"text": np.ones((2, 2)), "audio": np.ones((2, 2)), "labels": [b"gl\xfccklich", b"traurig"]}
    with pytest.raises(ImderError, match=r"labels: sample 'all-0': b'gl\\xfccklich' is no valid Unicode"):
        Corpus.from_arrays({"all": given})
