"""Standardisation by speaker: held to numpy, and features that were standardised kept apart from others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from command_line import imder_
from imder.data.compatible import check_recipe
from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.data.inspect import inspect_corpus
from imder.data.speaker_norm import CONSTANT, by_speaker, speaker_norm_note, standardised
from imder.data.store import read_store, write_store
from imder.synthetic.known_truth import KnownTruth
from imder.types import ImderError

SPEAKERS = {"train": ("ann", "bob", "ann", "bob", "cy"), "test": ("bob", "dee", "bob")}
LENGTHS = {"train": (3, 1, 0, 4, 5), "test": (2, 6, 0)}


def corpus_of(dtype: Any = np.float32, **more: Any) -> Corpus:
    """Two splits that share bob; ann's second and bob's last clip have no sound."""
    rng = np.random.default_rng(0)
    splits = {}
    for name, speakers in SPEAKERS.items():
        n = len(speakers)
        centre = {who: 10.0 * i for i, who in enumerate(("ann", "bob", "cy", "dee"))}
        audio = [
            rng.normal(centre[who], 1 + i, (t, 3)).astype(dtype)
            for i, (who, t) in enumerate(zip(speakers, LENGTHS[name], strict=True))
        ]
        splits[name] = Split(
            ids=tuple(f"{name}{i}" for i in range(n)),
            features={
                "language": Ragged.from_list([rng.normal(size=(2, 4)).astype(dtype) for _ in range(n)], 4),
                "audio": Ragged.from_list(audio, 3),
            },
            labels=np.arange(n, dtype=np.float32),
            speaker=speakers,
        )
    return replace(Corpus("small", spec_of(splits, "regression"), splits), **more)


def frames_by_speaker(corpus: Corpus, name: str) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {}
    for split in corpus.splits.values():
        for i, who in enumerate(split.speaker or ()):
            found.setdefault(who, []).append(split.features[name][i].astype(np.float64))
    return {who: np.concatenate(parts) for who, parts in found.items()}


def check_oracle(before: Corpus, after: Corpus, name: str, **tolerance: float) -> None:
    frames = frames_by_speaker(before, name)
    for key, split in before.splits.items():
        assert_array_equal(after[key].features[name].lengths, split.features[name].lengths)
        for i, who in enumerate(split.speaker or ()):
            expected = (split.features[name][i] - frames[who].mean(axis=0)) / frames[who].std(axis=0)
            assert_allclose(after[key].features[name][i], expected, **tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("in_files", [False, True])
def test_oracle(tmp_path: Path, dtype: Any, in_files: bool) -> None:
    corpus = corpus_of(dtype)
    made = by_speaker(corpus, ["audio"], tmp_path if in_files else None)
    check_oracle(corpus, made, "audio", atol=1e-6)
    for key, split in corpus.splits.items():
        assert made[key].features["audio"].values.dtype == np.float32
        assert made[key].features["language"] is split.features["language"]
        assert list(made[key].features) == list(split.features)
        assert_array_equal(made[key].present, split.present)
        assert (made[key].ids, made[key].speaker) == (split.ids, split.speaker)
        assert_array_equal(made[key].labels, split.labels)
    assert (made.spec, made.recipe, corpus.recipe) == (corpus.spec, {"by_speaker": ["audio"]}, None)
    assert len(list(tmp_path.iterdir())) == (2 if in_files else 0)


def test_no_label_is_looked_at() -> None:
    corpus = corpus_of()
    other = {key: replace(split, labels=None) for key, split in corpus.splits.items()}
    one, two = by_speaker(corpus, ["audio"]), by_speaker(replace(corpus, splits=other), ["audio"])
    for key in corpus.splits:
        assert_array_equal(one[key].features["audio"].values, two[key].features["audio"].values)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_through_stores(tmp_path: Path, dtype: Any) -> None:
    """From a memory-mapped store into another one, both of either type; a sliced array too."""
    recipe = {"format": 1, "audio": {"rate": 22050}, "versions": {}}
    write_store(corpus_of(recipe=recipe), tmp_path / "a", dtype)
    mapped = read_store(tmp_path / "a")
    write_store(by_speaker(mapped, ["audio"]), tmp_path / "b", dtype)
    made = read_store(tmp_path / "b")
    check_oracle(mapped, made, "audio", atol=1e-6 if dtype == "float32" else 2e-3)
    assert made.recipe == recipe | {"by_speaker": ["audio"]}
    both = by_speaker(made, ["language"])
    assert both.recipe == recipe | {"by_speaker": ["language", "audio"]}
    assert by_speaker(mapped, ["audio", "language"]).recipe == both.recipe


def test_views_of_larger_arrays() -> None:
    """Offsets need not begin at 0."""
    corpus = corpus_of()
    audio = corpus["train"].features["audio"]
    shifted = Ragged(np.concatenate([np.full((2, 3), 1e6, np.float32), audio.values]), audio.offsets + 2)
    train = replace(corpus["train"], features={**corpus["train"].features, "audio": shifted})
    made = by_speaker(replace(corpus, splits={**corpus.splits, "train": train}), ["audio"])
    check_oracle(corpus, made, "audio", atol=1e-6)


@given(
    values=arrays(np.float32, (12, 2), elements=st.floats(-1e3, 1e3, width=32)),
    owners=st.lists(st.sampled_from("xyz"), min_size=6, max_size=6),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
)
@settings(deadline=None)
def test_every_speaker_ends_with_mean_0_and_deviation_1_or_0(
    values: np.ndarray, owners: list[str], scale: float
) -> None:
    values = (values * np.float32(scale)).astype(np.float32)
    audio = Ragged(values, np.arange(0, 13, 2))
    split = Split(tuple("abcdef"), {"audio": audio, "text": audio}, speaker=tuple(owners))
    corpus = Corpus("c", spec_of({"all": split}, "regression"), {"all": split})
    before = frames_by_speaker(corpus, "audio")
    for who, frames in frames_by_speaker(by_speaker(corpus, ["audio"]), "audio").items():
        assert_allclose(frames.mean(axis=0), 0, atol=1e-5)
        varies = before[who].std(axis=0) > CONSTANT * np.sqrt(np.square(before[who]).mean(axis=0))
        assert_allclose(frames.std(axis=0), varies.astype(float), atol=1e-5)
        assert np.abs(frames).max() <= np.sqrt(len(frames)) * (1 + 1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1234.567, 1e30])
def test_what_does_not_vary_becomes_zero(value: float) -> None:
    """Also where it varies for others, and where only rounding moves it."""
    corpus = corpus_of()
    for split in corpus.splits.values():
        for i, who in enumerate(split.speaker or ()):
            if who == "bob":
                column = split.features["audio"][i][:, 1]
                column[:] = np.float32(value)
                column[::2] = np.nextafter(column[::2], np.float32(np.inf)) if value else 0.0
    made = by_speaker(corpus, ["audio"])
    frames = frames_by_speaker(made, "audio")
    assert (frames["bob"][:, 1] == 0).all()
    assert_allclose(frames["bob"][:, [0, 2]].std(axis=0), 1, atol=1e-6)
    assert_allclose(frames["dee"].std(axis=0), 1, atol=1e-6)


def test_a_large_mean_costs_no_digits() -> None:
    """Two passes: a mean of 1e6 deviations leaves the deviation as it is."""
    steps = np.float32(1e5) + np.float32(0.25) * np.arange(20, dtype=np.float32)[:, None]
    audio = Ragged(steps, np.array([0, 10, 20]))
    split = Split(("a", "b"), {"audio": audio, "text": audio}, speaker=("x", "x"))
    made = by_speaker(Corpus("c", spec_of({"all": split}, "regression"), {"all": split}), ["audio"])
    expected = (np.arange(20) - 9.5) / np.arange(20).std()
    assert_allclose(made["all"].features["audio"].values[:, 0], expected, atol=1e-6)


def test_mistakes() -> None:
    corpus = corpus_of()
    with pytest.raises(ImderError, match=r"^small: by speaker: unknown modality 'smell'; it has language, audio$"):
        by_speaker(corpus, ["audio", "smell"])
    unknown = replace(corpus["test"], speaker=None)
    with pytest.raises(ImderError, match=r"^small \[test\]: speaker: the split has no speakers"):
        by_speaker(replace(corpus, splits={**corpus.splits, "test": unknown}), ["audio"])
    nameless = replace(corpus["train"], speaker=("ann", "bob", "", "", "cy"))
    lacking = replace(corpus, splits={**corpus.splits, "train": nameless})
    with pytest.raises(ImderError, match=r"^small \[train\]: speaker: clip 'train3' has audio but no speaker$"):
        by_speaker(lacking, ["audio"])  # not 'train2', which has no sound
    done = by_speaker(corpus, ["audio"])
    with pytest.raises(ImderError, match=r"^small: audio: is already standardised by speaker$"):
        by_speaker(done, ["language", "audio"])
    with pytest.raises(ImderError, match="a list of modalities is needed"):
        standardised({"by_speaker": "audio"})


# Kept apart from other features.

EXTRACTED = {"format": 1, "audio": {"rate": 22050}, "versions": {}}


@pytest.mark.parametrize("recipe", [None, EXTRACTED])
def test_the_check_of_recipes(recipe: dict[str, Any] | None) -> None:
    plain = corpus_of(recipe=recipe)
    moved = by_speaker(plain, ["audio"])
    more = by_speaker(moved, ["language"])
    for corpus in (plain, moved, more):
        check_recipe(corpus.recipe or {}, corpus, "runs/a")
        check_recipe(None, corpus, "model.safetensors")  # of a model alone nothing is known
    with pytest.raises(
        ImderError, match=r"audio isn't standardised by speaker, unlike what runs/a .*--by-speaker audio$"
    ):
        check_recipe(moved.recipe, plain, "runs/a")
    with pytest.raises(ImderError, match=r"--by-speaker language$"):
        check_recipe(more.recipe, moved, "runs/a")
    with pytest.raises(
        ImderError, match="audio is standardised by speaker, unlike what runs/a was trained on; use the"
    ):
        check_recipe(recipe or {}, moved, "runs/a")
    # what isn't there at all is of no kind, and one side that wasn't extracted here says nothing of the other
    silent = {
        key: replace(s, features={**s.features, "audio": Ragged(np.zeros((0, 3)), np.zeros(len(s) + 1, np.int64))})
        for key, s in plain.splits.items()
    }
    check_recipe(moved.recipe, replace(plain, splits=silent), "runs/a")
    check_recipe(EXTRACTED | {"by_speaker": ["audio"]}, moved, "runs/a")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Convert, inspect, train, evaluate; and what doesn't belong together is refused, either way."""
    corpus = KnownTruth.standard().corpus(24, 12, 12)
    splits = {key: replace(s, speaker=tuple(f"s{i % 4}" for i in range(len(s)))) for key, s in corpus.splits.items()}
    write_store(replace(corpus, splits=splits), tmp_path / "plain")
    convert = ("data", "convert", tmp_path / "plain")
    assert imder_(*convert, tmp_path / "moved", "--by-speaker", "audio, vision") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "vision, audio: features standardised by speaker, over all clips of each" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["moved", "plain"]
    check_oracle(read_store(tmp_path / "plain"), read_store(tmp_path / "moved"), "audio", atol=1e-6)
    assert imder_("data", "inspect", tmp_path / "moved") == 0
    assert speaker_norm_note({"by_speaker": ["vision", "audio"]}) in " ".join(capsys.readouterr().out.split())
    assert inspect_corpus(read_store(tmp_path / "moved"))["by_speaker"] == ["vision", "audio"]
    assert imder_(*convert, tmp_path / "deep" / "bad", "--by-speaker", "smell") == 2
    assert "unknown modality 'smell'" in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()
    for name in ("plain", "moved"):
        assert imder_("train", tmp_path / name, "--preset", "ridge", "--out", tmp_path / f"run-{name}") == 0
        capsys.readouterr()
        assert imder_("evaluate", tmp_path / f"run-{name}", tmp_path / name, "--protocol", "fixed") == 0
        said = " ".join(capsys.readouterr().out.split())
        assert (speaker_norm_note({"by_speaker": ["vision", "audio"]}) in said) == (name == "moved")
    about = json.loads((tmp_path / "run-moved" / "trained_on.json").read_text())
    assert about["recipe"] == {"by_speaker": ["vision", "audio"]}
    for run, store, advice in (("moved", "plain", "--by-speaker audio,vision"), ("plain", "moved", "converted from")):
        for words in (
            ("evaluate", tmp_path / f"run-{run}", tmp_path / store),
            ("predict", tmp_path / f"run-{run}", tmp_path / store, "--out", tmp_path / "p.csv"),
            ("train", tmp_path / store, "--stage1", tmp_path / f"run-{run}", "--out", tmp_path / "new"),
            ("train", tmp_path / store, "--resume", tmp_path / f"run-{run}"),
        ):
            assert imder_(*words) == 2, words
            error = capsys.readouterr().err
            assert "standardised by speaker" in error
            assert advice in error
            assert error.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "p.csv").exists()
    assert imder_("predict", tmp_path / "run-moved", "--text", "a day") == 2
    assert "was trained on features that `imder extract` didn't make" in capsys.readouterr().err
    grid = ("--models", "ridge", "--seeds", 1, "--rates", "0", "--draws", 1, "--protocols", "fixed", "--resamples", 2)
    assert imder_("benchmark", tmp_path / "moved", "--out", tmp_path / "grid", *grid, "--threads", 1) == 0
    tables = (tmp_path / "grid" / "tables.md").read_text()
    assert (
        tables.count(speaker_norm_note({"by_speaker": ["vision", "audio"]})) == tables.count("## ") + 1
    )  # the notes on top
