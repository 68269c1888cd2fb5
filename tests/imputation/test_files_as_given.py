"""Draws are written as the file given holds its samples: only what was drawn changes."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import imder
from imder.data.formats.unpickle import restricted_load
from imder.imputation.impute import impute_splits

N, FRAMES = 20, 30


def arrays(corpus, *, at_end=False, dtype=np.float32):
    """The fields of the test split as others write them: padded arrays of a type, padding behind or before the frames."""
    split = corpus["test"]
    fields = {"id": np.array(split.ids), "regression_labels": np.asarray(split.labels, np.float64)}
    for field, name in {"text": "language", "vision": "vision", "audio": "audio"}.items():
        ragged = split.features[name]
        table = np.zeros((N, FRAMES, ragged.dim), dtype)
        for i in range(N):
            n = len(ragged[i])
            table[i, FRAMES - n if at_end else 0 : FRAMES if at_end else n] = ragged[i].astype(np.float32) + 0.1
        fields |= {field: table, f"{field}_lengths": ragged.lengths}
    return fields


def written(run, path, tmp_path, **options):
    """The fields of the one draw, and the draw in memory."""
    imputed = imder.impute(run, path, tmp_path / "out", draws=1, **options)
    made = tmp_path / "out" / f"draw-00{path.suffix}"
    if path.suffix == ".npz":
        with np.load(made) as file:
            fields = dict(file)
    else:
        fields = restricted_load(made)
    loaded = imder.load_corpus(made, quiet=True)["all"]
    for name, ragged in imputed.split(0).features.items():
        np.testing.assert_array_equal(loaded.features[name].values, ragged.values)
        np.testing.assert_array_equal(loaded.features[name].lengths, ragged.lengths)
    return fields, imputed


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_was_not_drawn_is_the_same_to_the_bit(at_end, dtype, corpora, runs, tmp_path):
    given = arrays(corpora["regression"], at_end=at_end, dtype=dtype)
    np.savez(tmp_path / "clips.npz", **given)
    fields, imputed = written(runs["regression"], tmp_path / "clips.npz", tmp_path)
    for k, field in enumerate(("text", "vision", "audio")):
        drawn = imputed.filled[:, k]
        assert drawn.any()
        assert fields[field].dtype == dtype
        assert fields[field].shape == given[field].shape
        assert fields[field][~drawn].tobytes() == given[field][~drawn].tobytes()
        edge = fields[field][drawn][:, -1 if at_end else 0]
        assert (edge != 0).any(axis=1).all()
        assert not fields[field][drawn][:, 0 if at_end else -1].any()


def test_fields_that_are_not_read_go_along(corpora, runs, tmp_path):
    given = arrays(corpora["regression"]) | {
        "classification_labels": np.arange(N) % 3,
        "annotations": np.array(["sad", "so-so", "glad"])[np.arange(N) % 3],
        "regression_labels_T": np.linspace(-1, 1, N),
        "version": np.array(3),
        "made_by": np.array("us"),
    }
    np.savez(tmp_path / "clips.npz", **given)
    fields, _ = written(runs["regression"], tmp_path / "clips.npz", tmp_path)
    for name in (
        "classification_labels",
        "annotations",
        "regression_labels",
        "regression_labels_T",
        "version",
        "made_by",
    ):
        assert fields[name].dtype == given[name].dtype
        assert fields[name].tobytes() == given[name].tobytes()


def test_rows_that_are_left_out_are_left_out_of_every_field(corpora, runs, tmp_path):
    given = arrays(corpora["regression"]) | {"number": np.arange(N), "names": np.array([f"n{i}" for i in range(N)])}
    for field in ("text", "vision", "audio"):
        given[f"{field}_lengths"] = np.where(np.arange(N) == 4, 0, given[f"{field}_lengths"])
    np.savez(tmp_path / "clips.npz", **given)
    fields, _ = written(runs["regression"], tmp_path / "clips.npz", tmp_path, drop_empty=True)
    assert fields["number"].tolist() == [i for i in range(N) if i != 4]
    assert "n4" not in fields["names"].tolist()


def test_pickles_keep_lists(corpora, runs, tmp_path, caplog):
    split = corpora["regression"]["test"]
    given = {"id": list(split.ids), "regression_labels": split.labels.tolist(), "note": ["x", None] * (N // 2)}
    for field, name in {"text": "language", "vision": "vision", "audio": "audio"}.items():
        rows = [np.asarray(split.features[name][i], np.float64) + 0.1 for i in range(N)]
        given[field] = [x[0] if len(x) else None for x in rows] if field == "audio" else rows
    given["model"] = [{"nested": 1}] * N
    (tmp_path / "clips.pkl").write_bytes(pickle.dumps(given))
    fields, imputed = written(runs["regression"], tmp_path / "clips.pkl", tmp_path)
    assert fields["note"] == given["note"]
    assert fields["id"] == given["id"]
    assert "model" not in fields
    assert "left out, since pickle files hold numbers and strings: model" in caplog.text
    for k, field in enumerate(("text", "vision", "audio")):
        assert isinstance(fields[field], list)
        for i in range(N):
            if not imputed.filled[i, k]:
                np.testing.assert_array_equal(fields[field][i], given[field][i])
                assert fields[field][i].dtype == np.float64
    assert {x.ndim for x in fields["audio"]} == {1}


def test_whole_numbers_stay_such_where_the_draws_are_whole(corpora, runs, tmp_path):
    given = arrays(corpora["regression"])
    given["audio"] = np.round(10 * given["audio"]).astype(np.int32)
    np.savez(tmp_path / "clips.npz", **given)
    fields, imputed = written(runs["regression"], tmp_path / "clips.npz", tmp_path, available="language+vision+audio")
    kept = ~imputed.filled[:, 2]
    np.testing.assert_array_equal(fields["audio"][kept], given["audio"][kept])
    assert fields["audio"].dtype == np.float32  # this system draws no whole numbers


def test_token_ids_of_the_file_stay(corpora, runs, tmp_path):
    given = arrays(corpora["regression"])
    table = np.zeros((N, 3, 12), np.float64)
    table[:, 0, :5], table[:, 1, :5], table[:, 2, :] = 7, 1, 1
    given["text_bert"] = table
    np.savez(tmp_path / "clips.npz", **given)
    fields, imputed = written(runs["regression"], tmp_path / "clips.npz", tmp_path)
    drawn = imputed.filled[:, 0]
    np.testing.assert_array_equal(fields["text_bert"], np.where(drawn[:, None, None], 0, table))


@pytest.mark.parametrize("layout", ["npz", "pickle", "store"])
def test_every_split_in_one_corpus(layout, corpora, runs, tmp_path):
    corpus = corpora["regression"]
    whole = replace(
        corpus["valid"],
        features={k: r.take(np.zeros(20, int)) for k, r in corpus["train"].take(full(corpus)).features.items()},
    )
    corpus = imder.Corpus("some", corpus.spec, {**corpus.splits, "valid": whole})
    parts = impute_splits(runs["regression"], corpus, tmp_path / "out", draws=2, layout=layout)
    assert list(parts) == ["train", "valid", "test"]
    assert not parts["valid"].filled.any()
    loaded = imder.load_corpus(tmp_path / "out" / ("draw-01.pkl" if layout == "pickle" else "draw-01"), quiet=True)
    assert list(loaded) == ["train", "valid", "test"]
    for name, part in parts.items():
        assert loaded[name].present.all()
        one = imder.impute(runs["regression"], corpus, split=name, draws=2)
        for modality, ragged in one.split(1).features.items():
            np.testing.assert_array_equal(loaded[name].features[modality].values, ragged.values)
            np.testing.assert_array_equal(part.split(1).features[modality].values, ragged.values)


def full(corpus):
    """Rows of the training samples that lack nothing."""
    return np.flatnonzero(corpus["train"].present.all(axis=1))


def test_a_corpus_that_lacks_nothing_in_any_split(corpora, runs, tmp_path):
    corpus = corpora["regression"]
    some = imder.Corpus("some", corpus.spec, {name: corpus["train"].take(full(corpus)) for name in ("train", "test")})
    with pytest.raises(imder.ImderError, match="splits 'train', 'test': no sample lacks a modality"):
        impute_splits(runs["regression"], some, tmp_path / "out")
    none = imder.Corpus("none", corpus.spec, {"test": corpus["test"].take(np.zeros(0, int))})
    with pytest.raises(imder.ImderError, match="split 'test': there are no samples"):
        imder.impute(runs["regression"], none, tmp_path / "out")
    assert not (tmp_path / "out").exists()
