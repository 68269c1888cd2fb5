"""Which frames of padded features are valid, where a file doesn't say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from command_line import imder_
from corpus_files import Fields, objects, save, without
from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.types import ImderError

FRAMES = 12
WORDS = [4, 7, 12, 1, 9, 3]
WIDTHS = {"text": 8, "vision": 3, "audio": 5}


def aligned(at_end: bool = False, frames: int = FRAMES, **more: Any) -> Fields:
    """A split as in ``aligned_50.pkl``: texts of `WORDS` tokens, vision and audio of as many frames, and no lengths.

    Row j of sample i holds the number 100 i + j + 1 in every modality, so that frames which belong together are known.
    ``at_end`` puts the padding at the start.
    """
    data: Fields = {name: np.zeros((len(WORDS), frames, dim), np.float32) for name, dim in WIDTHS.items()}
    bert = np.zeros((len(WORDS), 3, frames))
    for i, n in enumerate(WORDS):
        rows = slice(frames - n, frames) if at_end else slice(0, n)
        bert[i, :2, rows] = np.array([[101] * n, [1] * n])
        for name in WIDTHS:
            data[name][i, rows] = (100 * i + np.arange(n) + 1)[:, None]
    return data | {"text_bert": bert, "regression_labels": np.linspace(-1, 1, len(WORDS))} | more


def load(tmp_path: Path, data: Fields, **options: Any) -> Corpus:
    return load_corpus(save(tmp_path / "aligned.pkl", data), **options)


def lengths(corpus: Corpus) -> dict[str, list[int]]:
    return {name: r.lengths.tolist() for name, r in corpus["all"].features.items()}


def check_in_step(corpus: Corpus) -> None:
    """All modalities have the frames of the texts, and the same number in frames that belong together."""
    assert lengths(corpus) == dict.fromkeys(("language", "vision", "audio"), WORDS)
    language, vision, audio = (r.values[:, 0].tolist() for r in corpus["all"].features.values())
    assert language == vision == audio == [100 * i + j + 1 for i, n in enumerate(WORDS) for j in range(n)]


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, list, lambda x: objects(*x), lambda x: x.tolist()])
def test_modalities_without_lengths_are_in_step_with_the_text(at_end: bool, kind: Any, tmp_path: Path) -> None:
    data = aligned(at_end)
    for name in WIDTHS:
        data[name] = kind(data[name])
    check_in_step(load(tmp_path, data))


def test_one_modality_may_be_padded_at_the_other_side(tmp_path: Path) -> None:
    check_in_step(load(tmp_path, aligned() | {"vision": aligned(at_end=True)["vision"]}))


def test_the_length_of_the_text_may_come_from_a_field(tmp_path: Path) -> None:
    check_in_step(load(tmp_path, without(aligned(), "text_bert") | {"text_lengths": WORDS}))


@pytest.mark.parametrize("at_end", [False, True])
def test_without_any_length_all_end_where_the_last_of_them_ends(at_end: bool, tmp_path: Path) -> None:
    data = without(aligned(at_end), "text_bert")
    data["audio"][4, [0, 1, -1, -2]] = 0  # audio begins late and ends early: frames in step with the text
    assert lengths(load(tmp_path, data)) == dict.fromkeys(("language", "vision", "audio"), WORDS)


def test_zero_frames_within_the_text_are_kept(tmp_path: Path) -> None:
    data = aligned()
    data["vision"][0] = 0
    data["vision"][1, :6] = 0
    data["audio"][4, 3:] = 0
    corpus = load(tmp_path, data)
    assert lengths(corpus) == dict.fromkeys(("language", "vision", "audio"), WORDS)
    assert corpus["all"].features["vision"][1][:, 0].tolist() == [0] * 6 + [107]
    assert (
        "vision: 1 of 6 samples hold only zeros; if they lack the modality, say so in vision_present" in corpus.remarks
    )


def test_frames_of_nan_behind_the_text_are_padding(tmp_path: Path) -> None:
    data = aligned()
    for i, n in enumerate(WORDS):
        data["audio"][i, n:] = np.nan
    corpus = load(tmp_path, data)
    check_in_step(corpus)
    assert corpus["all"].nonfinite["audio"] == 0


def test_values_beyond_the_text_are_read_and_named(tmp_path: Path) -> None:
    data = aligned()
    data["audio"][3, 1] = 5
    corpus = load(tmp_path, data)
    assert lengths(corpus)["audio"] == [4, 7, 12, 2, 9, 3]
    assert "audio: 1 of 6 samples hold values beyond the frames of language, which are read" in corpus.remarks


def test_other_numbers_of_frames_are_read_as_they_are(tmp_path: Path) -> None:
    data = aligned() | {"audio": np.concatenate([aligned()["audio"], np.zeros((len(WORDS), 8, 5), np.float32)], axis=1)}
    corpus = load(tmp_path, data)
    assert lengths(corpus) == {"language": WORDS, "vision": WORDS, "audio": [20] * len(WORDS)}
    (remark,) = (r for r in corpus.remarks if r.startswith("audio"))
    assert remark.startswith(
        "audio: 84 of 120 frames (70 %) are zeros, the last ones of their samples, and are read; if"
    )
    assert lengths(load(tmp_path, data, padding="zeros"))["audio"] == WORDS


def test_remarks_say_what_was_assumed_and_an_option_overrides_it(tmp_path: Path, capsys, caplog) -> None:
    path = save(tmp_path / "aligned_50.pkl", {"train": aligned(), "valid": aligned(id=list("abcdef"))})
    text = "vision: 72 of 144 frames (50 %) are zeros behind those of language and count as padding"
    assert load_corpus(path).remarks[0] == f"{text}; padding='none' (imder data convert --padding none) keeps them"
    assert f"{path}: {text}" in caplog.text
    assert imder_("data", "inspect", path, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert [remark.split(";")[0] for remark in summary["remarks"]] == [text, text.replace("vision", "audio")]
    assert summary["splits"]["train"]["lengths"]["vision"]["frames"] == sum(WORDS)
    assert imder_("data", "inspect", path) == 0
    assert text in " ".join(capsys.readouterr().out.split())
    assert load_corpus(path, padding="none")["train"].features["vision"].lengths.tolist() == [FRAMES] * 6
    assert imder_("data", "convert", path, tmp_path / "store", "--padding", "none") == 0
    assert load_corpus(tmp_path / "store")["train"].features["audio"].lengths.tolist() == [FRAMES] * 6
    with pytest.raises(ImderError, match="padding: 'yes' is unknown; use auto, zeros, none"):
        load_corpus(path, padding="yes")  # type: ignore[arg-type]


def test_lengths_of_features_padded_at_the_start_count_from_their_end(tmp_path: Path) -> None:
    given = {f"{name}_lengths": WORDS for name in WIDTHS}
    corpus = load(tmp_path, without(aligned(at_end=True), "text_bert") | given)
    check_in_step(corpus)
    assert any(
        r.startswith("audio: the 5 samples shorter than the array are padded at the start") for r in corpus.remarks
    )
    plain = load(tmp_path, aligned(at_end=True) | given, padding="none")["all"].features["audio"]
    assert (plain[0] == 0).all()
    ragged = {"audio": [x[3:] if n < 9 else x for x, n in zip(aligned(at_end=True)["audio"], WORDS, strict=True)]}
    assert_array_equal(
        load(tmp_path, aligned(at_end=True) | given | ragged)["all"].features["audio"].values,
        corpus["all"].features["audio"].values,
    )


def test_lengths_that_count_zeros_only_are_an_error(tmp_path: Path) -> None:
    data = aligned() | {"audio_lengths": WORDS}
    data["audio"][1] = aligned(at_end=True)["audio"][1] * 0
    data["audio"][1, 8:11] = 1
    with pytest.raises(
        ImderError, match=r"audio_lengths: sample 'all-1': 7 frames of audio are valid, but they are zer"
    ):
        load(tmp_path, data)
    assert lengths(load(tmp_path, data, padding="none"))["audio"] == WORDS
    absent = load(tmp_path, data | {"audio_present": [1, 0, 1, 1, 1, 1]})
    assert lengths(absent)["audio"] == [4, 0, 12, 1, 9, 3]


def test_values_beyond_lengths_are_named(tmp_path: Path) -> None:
    data = aligned() | {"audio_lengths": [4, 6, 12, 1, 9, 0]}
    corpus = load(tmp_path, data)
    assert lengths(corpus)["audio"] == [4, 6, 12, 1, 9, 0]
    assert "audio: 2 of 6 samples hold values beyond audio_lengths, which are not read" in corpus.remarks
    assert not any("audio" in r for r in load(tmp_path, aligned() | {"audio_lengths": WORDS}).remarks)


def test_samples_marked_absent_stay_absent(tmp_path: Path) -> None:
    corpus = load(tmp_path, aligned(vision_present=[1, 1, 0, 1, 1, 0], text_present=[0, 1, 1, 1, 1, 1]))
    assert lengths(corpus) == {"language": [0, *WORDS[1:]], "vision": [4, 7, 0, 1, 9, 0], "audio": WORDS}


def test_vectors_and_features_without_zeros_are_left_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = {"text": rng.normal(size=(4, 6, 3)), "audio": rng.normal(size=(4, 6, 2)), "vision": np.zeros((4, 3))}
    corpus = load(tmp_path, data)
    assert lengths(corpus) == {"language": [6] * 4, "vision": [1] * 4, "audio": [6] * 4}
    assert corpus.remarks == (
        "vision: 4 of 4 samples hold only zeros; if they lack the modality, say so in vision_present",
    )


def test_arrays_in_memory_are_read_alike() -> None:
    data = {"language" if k == "text" else k: v for k, v in without(aligned(), "regression_labels").items()}
    check_in_step(Corpus.from_arrays({"all": data}))
    kept = Corpus.from_arrays({"all": data}, padding="none")
    assert kept["all"].features["audio"].lengths.tolist() == [FRAMES] * 6
