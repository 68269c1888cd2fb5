"""An extractor is one file and one row of `EXTRACTORS`, or a package with an entry point."""

from __future__ import annotations

import sys

import numpy as np
import pytest

for package in ("soundfile", "av"):
    pytest.importorskip(package)

from command_line import imder_  # noqa: E402
from imder.data.formats.load import load_corpus  # noqa: E402
from imder.extract import extractors  # noqa: E402
from imder.extract.extractor import Extractor, sound_extractor  # noqa: E402
from imder.extract.extractors import EXTRACTORS, find_extractor, require_packages  # noqa: E402
from imder.extract.recipe import AudioRecipe  # noqa: E402
from imder.types import ImderError  # noqa: E402
from tiny_media import openface_columns, openface_rows, tone, write_manifest, write_openface, write_wav  # noqa: E402

OUTSIDE = """
import numpy as np
from imder.extract.extractor import sound_extractor
from imder.extract.recipe import AudioRecipe

def loudness(sound, recipe):
    signal = np.concatenate([*sound.chunks()])
    frames = np.array_split(signal, 1 + len(signal) // recipe.hop)
    return np.array([[np.sqrt(np.mean(x**2))] for x in frames], np.float32)

LOUDNESS = sound_extractor(AudioRecipe("loudness", 8000, 800, 800, 1), loudness)
NOT_ONE = 3
"""


def rms(sound, recipe):
    """The mean square of each frame."""
    signal = np.concatenate([*sound.chunks()])
    return np.array([[np.mean(x**2)] for x in np.array_split(signal, 1 + len(signal) // recipe.hop)], np.float32)


@pytest.fixture
def manifest(tmp_path):
    rows = [("id", "audio", "openface", "label")]
    for i in range(3):
        write_wav(tmp_path / f"{i}.wav", tone(0.5, seed=i))
        columns = openface_columns("pose+aus")
        write_openface(tmp_path / f"{i}.csv", openface_rows(4, columns, seed=i), columns)
        rows.append((f"c{i}", f"{i}.wav", f"{i}.csv", i))
    return write_manifest(tmp_path / "m.csv", rows)


def extract(manifest, out, audio: str) -> int:
    return imder_("extract", manifest, out, "--audio", audio, "--vision", "pose", "--language", "none")


def test_a_row_is_an_extractor(manifest, tmp_path, monkeypatch) -> None:
    row = sound_extractor(AudioRecipe("rms", 8000, 400, 400, 1), rms)
    monkeypatch.setattr(extractors, "EXTRACTORS", [*EXTRACTORS, row])
    assert extract(manifest, tmp_path / "store", "rms") == 0
    corpus = load_corpus(tmp_path / "store")
    assert corpus.recipe["audio"]["kind"] == "rms"
    assert corpus["all"][0].features["audio"].shape == (11, 1)
    assert (corpus["all"][0].features["audio"] > 0).all()


def test_a_package_from_outside_is_an_extractor(manifest, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "loud_voices.py").write_text(OUTSIDE)
    info = tmp_path / "site" / "loud_voices-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud-voices\nVersion: 1.0\n")
    points = "loudness = loud_voices:LOUDNESS\nbroken = loud_voices:GONE\nwrong = loud_voices:NOT_ONE\n"
    (info / "entry_points.txt").write_text(f"[{extractors.GROUP}]\n{points}")
    assert extract(manifest, tmp_path / "store", "loudness") == 2  # it isn't installed yet
    assert "unknown kind 'loudness'" in capsys.readouterr().err
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    try:
        assert extract(manifest, tmp_path / "store", "loudness") == 0
        assert load_corpus(tmp_path / "store")["all"][1].features["audio"].shape == (6, 1)
        with pytest.raises(ImderError, match="package loud-voices: its extractor 'broken' can't be loaded"):
            find_extractor("audio", "broken")
        with pytest.raises(ImderError, match=r"'wrong' is no imder.extract.extractor.Extractor"):
            find_extractor("audio", "wrong")
    finally:
        sys.modules.pop("loud_voices", None)


def test_a_package_that_is_needed_is_named() -> None:
    row = Extractor("x", "audio", *[lambda *given: None] * 3, needs=("no_such_package",), extra="egemaps")
    with pytest.raises(ImderError, match=r"--audio x needs no_such_package: pip install '.\[egemaps\]'"):
        require_packages(row)
