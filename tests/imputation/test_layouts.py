"""Draws as files: every layout is read back equal, wherever the corpus had something."""

import json
import pickle

import numpy as np
import pytest

import imder
import imder.data.store_writer
from command_line import imder_
from imder.data.formats.unpickle import restricted_load
from imder.data.safetensors_file import read_tensors
from imder.imputation.fields import fields_of
from imder.imputation.layouts import layout_of

LAYOUTS = {"store": "draw-01", "npz": "draw-01", "pickle": "draw-01.pkl"}


def save_given(corpus, folder, layout):
    """The corpus in a layout, absent modalities marked as in the field's files; returns its path."""
    if layout == "store":
        imder.data.store_writer.write_store(corpus, folder / "given", None)
        return folder / "given"
    data = {}
    for name, split in corpus.splits.items():
        fields = fields_of(split, corpus.spec)
        for modality, ragged in split.features.items():
            fields[f"{'text' if modality == 'language' else modality}_present"] = ragged.lengths > 0
        fields["annotations_of_others"] = np.arange(len(split))
        data[name] = fields
    if layout == "npz":
        (folder / "given").mkdir()
        for name, fields in data.items():
            np.savez(folder / "given" / f"{name}.npz", **fields)
        return folder / "given"
    (folder / "given.pkl").write_bytes(pickle.dumps(data))
    return folder / "given.pkl"


def check_equal_where_available(split, given, filled):
    """``split`` is ``given`` wherever it has something and ``filled`` (N, K) is False."""
    for column in ("ids", "texts", "dialogue", "speaker"):
        assert getattr(split, column) == getattr(given, column)
    assert split.labels.dtype == given.labels.dtype
    np.testing.assert_array_equal(split.labels, given.labels)
    np.testing.assert_array_equal(split.position, given.position)
    assert list(split.features) == list(given.features)
    assert split.present.all()
    for k, (name, ragged) in enumerate(given.features.items()):
        loaded = split.features[name]
        assert loaded.values.dtype == ragged.values.dtype
        assert loaded.dim == ragged.dim
        kept = np.flatnonzero(~filled[:, k])
        np.testing.assert_array_equal(loaded.lengths[kept], ragged.lengths[kept])
        assert all(np.asarray(loaded[i]).tobytes() == np.asarray(ragged[i]).tobytes() for i in kept)
        np.testing.assert_array_equal(split.filled[name], filled[:, k])
        if name == "language":
            np.testing.assert_array_equal(split.tokens.lengths, np.where(filled[:, k], 0, given.tokens.lengths))
            assert all(split.tokens[i].tolist() == given.tokens[i].tolist() for i in kept)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_draws_are_read_back_as_they_were_given(layout, task, corpora, runs, tmp_path):
    path = save_given(corpora[task], tmp_path, layout)
    given = imder.load_corpus(path, task=task)
    imputed = imder.impute(runs[task], path, tmp_path / "out", draws=2, available=imder.RandomMissing(0.4))
    assert json.loads((tmp_path / "out" / "imputed.json").read_text())["layout"] == layout
    loaded = imder.load_corpus(tmp_path / "out" / LAYOUTS[layout], task=task)
    assert list(loaded) == ["test"]
    assert loaded.spec.task == task
    assert loaded.spec.classes == given.spec.classes
    assert loaded["test"].unread == given["test"].unread
    check_equal_where_available(loaded["test"], given["test"], imputed.filled)
    for name, ragged in imputed.split(1).features.items():
        np.testing.assert_array_equal(loaded["test"].features[name].values, ragged.values)


def test_files_have_the_names_and_frames_of_the_file_given(corpora, runs, tmp_path):
    split = corpora["regression"]["test"]
    longest = int(split.features["vision"].lengths.max()) + 7
    fields = fields_of(split, corpora["regression"].spec)
    vision = np.zeros((len(split), longest, split.features["vision"].dim), np.float32)
    vision[:, : fields["vision"].shape[1]] = fields["vision"]
    del fields["vision"]
    fields |= {"video": vision, "video_present": split.present[:, 1], "audio_present": split.present[:, 2]}
    fields |= {"video_lengths": fields.pop("vision_lengths"), "text_present": split.present[:, 0]}
    np.savez(tmp_path / "clips.npz", **fields)
    imder.impute(runs["regression"], tmp_path / "clips.npz", tmp_path / "out", draws=1)
    with np.load(tmp_path / "out" / "draw-00.npz") as made:
        assert made["video"].shape == vision.shape
        assert made["audio"].ndim == 2
        assert made["text"].dtype == np.float16
        assert made["video_filled"].dtype == bool
        assert made["video_lengths"].min() > 0
    assert list(imder.load_corpus(tmp_path / "out" / "draw-00.npz")) == ["all"]


def test_pickles_hold_plain_arrays(corpora, runs, tmp_path):
    imder.impute(runs["regression"], corpora["regression"], tmp_path / "out", draws=1, layout="pickle")
    data = restricted_load(tmp_path / "out" / "draw-00.pkl")
    assert list(data) == ["test"]
    assert {type(value) for value in data["test"].values()} == {np.ndarray, list}
    assert all(isinstance(x, str) for x in data["test"]["raw_text"])


def test_stores_keep_the_type_of_each_modality(corpora, runs, tmp_path):
    imder.impute(runs["regression"], corpora["regression"], tmp_path / "out", draws=1)
    tensors = read_tensors(tmp_path / "out" / "draw-00" / "test.safetensors")
    assert tensors["values.language"].dtype == np.float16
    assert tensors["values.audio"].dtype == np.float32
    assert tensors["filled.audio"].dtype == bool


def test_an_imputed_corpus_is_trained_on_and_imputed_again(corpora, runs, tmp_path):
    corpus = corpora["regression"]
    imputed = imder.impute(runs["regression"], corpus, tmp_path / "out", draws=1, split="train")
    loaded = imder.load_corpus(tmp_path / "out" / "draw-00")
    both = imder.Corpus("both", corpus.spec, {"train": loaded["train"], "valid": corpus["valid"]})
    imder.train(both, tmp_path / "run", preset="ridge", logger=False)
    again = imder.impute(runs["regression"], loaded, draws=1, available="language+audio")
    np.testing.assert_array_equal(again.split(0).filled["audio"], imputed.filled[:, 2])
    assert again.split(0).filled["vision"].all()


def test_classes_without_samples_keep_their_names(corpora, runs, tmp_path):
    corpus = corpora["classification"]
    few = corpus["test"][corpus["test"].labels < 1]
    some = imder.Corpus("few", corpus.spec, {"test": few})
    for layout, name in LAYOUTS.items():
        imder.impute(runs["classification"], some, tmp_path / layout, draws=2, layout=layout)
        assert imder.load_corpus(tmp_path / layout / name, task="classification").spec.classes == corpus.spec.classes


def test_only_earlier_draws_are_replaced(corpora, runs, tmp_path):
    run, corpus, out = runs["regression"], corpora["regression"], tmp_path / "out"
    out.mkdir()
    imder.impute(run, corpus, out, draws=3)  # an empty folder is no loss
    with pytest.raises(imder.ImderError, match=r"holds earlier draws; replace them with force=True \(--force\)"):
        imder.impute(run, corpus, out, draws=1)
    for layout in ("npz", "pickle", "store"):
        imder.impute(run, corpus, out, draws=2, layout=layout, force=True)
        assert len(list(out.iterdir())) == 3
    for foreign in (out / "notes.txt", out / "draw-00" / "notes.txt", out / "draw-99.csv"):
        foreign.write_text("mine")
        with pytest.raises(imder.ImderError, match="which is no draw of imder impute; it is not overwritten"):
            imder.impute(run, corpus, out, draws=1, force=True)
        foreign.unlink()
    (out / "imputed.json").write_text("{}")
    with pytest.raises(imder.ImderError, match="not overwritten"):
        imder.impute(run, corpus, out, draws=1, force=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(imder.ImderError, match="is a file; draws go to a folder"):
        imder.impute(run, corpus, tmp_path / "file", force=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_draw_that_is_not_finished_leaves_nothing(corpora, runs, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imder.imputation.layouts.write_store", full)
    with pytest.raises(imder.ImderError, match="out: cannot be written"):
        imder.impute(runs["regression"], corpora["regression"], tmp_path / "out", draws=2)
    assert list(tmp_path.iterdir()) == []


def test_a_split_of_another_name_goes_to_a_store(corpora, runs, tmp_path):
    corpus = corpora["regression"]
    clips = imder.Corpus("clips", corpus.spec, {"clips": corpus["test"]})
    with pytest.raises(imder.ImderError, match=r"split 'clips': npz files have the splits .*--format store"):
        imder.impute(runs["regression"], clips, tmp_path / "out", draws=1, layout="npz")
    imder.impute(runs["regression"], clips, tmp_path / "out", draws=1)
    assert list(imder.load_corpus(tmp_path / "out" / "draw-00")) == ["clips"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_is_that_of_the_corpus(layout, corpora, tmp_path):
    assert layout_of(save_given(corpora["regression"], tmp_path, layout)) == layout
    assert layout_of(corpora["regression"]) == "store"


def test_on_the_command_line(corpora, runs, tmp_path, capsys):
    path = save_given(corpora["regression"], tmp_path, "npz")
    words = ["impute", runs["regression"], path, "--out", tmp_path / "out"]
    assert imder_(*words, "--draws", 2, "--protocol", "random", "--rates", "0.5", "--seed", 4) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("20 samples of test: filled language in")
    assert shown.endswith(f"2 draws saved in {tmp_path / 'out'}, each a corpus, such as {tmp_path / 'out' / 'draw-00'}")
    imputed = imder.impute(runs["regression"], path, draws=2, available=imder.RandomMissing(0.5), seed=4)
    loaded = imder.load_corpus(tmp_path / "out" / "draw-01")["test"]
    for name, ragged in imputed.split(1).features.items():
        np.testing.assert_allclose(loaded.features[name].values, ragged.values, rtol=1e-4, atol=1e-5)
    assert imder_(*words) == 2
    assert "--force" in capsys.readouterr().err
    assert imder_(*words, "--force", "--draws", 1, "--format", "pickle", "--split", "valid", "--available", "text") == 0
    assert list(imder.load_corpus(tmp_path / "out" / "draw-00.pkl")) == ["valid"]
    assert imder_("data", "inspect", tmp_path / "out" / "draw-00.pkl") == 0
    capsys.readouterr()
    assert imder_(*words, "--force", "--draws", 1, "--split", "all") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:3]] == [
        f"{n} samples of {name}" for n, name in ((40, "train"), (20, "valid"), (20, "test"))
    ]
    assert list(imder.load_corpus(tmp_path / "out" / "draw-00")) == ["train", "valid", "test"]
    assert imder_("impute", tmp_path, path, "--out", tmp_path / "x") == 2
    assert not (tmp_path / "x").exists()
