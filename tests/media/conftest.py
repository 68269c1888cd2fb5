"""Clips, stores of them for both kinds of labels, and trained runs."""

import pytest
from safetensors.numpy import load_file, save_file

import imder
from command_line import imder_
from media_runs import SMALL, WORDS, table
from tiny_media import tiny_bert, tone, write_manifest, write_wav


@pytest.fixture(scope="session", autouse=True)
def packages():
    """Every test here reads real files."""
    for package in ("soundfile", "av", "transformers"):
        pytest.importorskip(package)


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """Clips with everything, stores of them for both kinds of labels, and a trained run of each."""
    media = tmp_path_factory.mktemp("media")
    bert = tiny_bert(media / "bert")
    rows = [("id", "audio", "text", "openface", "label", "split")]
    for i in range(24):
        write_wav(media / f"{i}.wav", tone(0.1 + 0.01 * i, seed=i))
        table(media / f"{i}.csv", 3 + i % 3, seed=i)
        split = "train" if i < 14 else "valid" if i < 20 else "test"
        rows.append((f"c{i}", f"{i}.wav", WORDS[i % 4], f"{i}.csv", (i % 5) - 2.0, split))
    write_manifest(media / "numbers.csv", rows)
    classes = [rows[0], *((*row[:4], ("sad", "glad")[i % 2], row[5]) for i, row in enumerate(rows[1:]))]
    write_manifest(media / "classes.csv", classes)
    options = ("--language", bert, "--audio", "mel64", "--vision", "pose+aus")
    for name in ("numbers", "classes"):
        assert imder_("extract", media / f"{name}.csv", media / name, *options) == 0
    assert imder_("train", media / "numbers", "--out", media / "run", *SMALL) == 0
    assert imder_("train", media / "classes", "--out", media / "ridge", "--preset", "ridge") == 0
    weights = load_file(media / "run" / "model.safetensors")
    (mix,) = (name for name in weights if name.split(".")[-1] == "branch_weight")
    weights[mix][:] = 0.5  # so that recoveries count, whatever validation found: their noise must be the same too
    save_file(weights, media / "run" / "model.safetensors")
    return media


@pytest.fixture(scope="session")
def predictor(media):
    return imder.Predictor(media / "run")


@pytest.fixture(scope="session")
def long(media):
    """6.25 s of sound and of a face that is lost from 2 s to 4.5 s."""
    write_wav(media / "long.wav", tone(6.25))
    table(media / "long.csv", 187, untracked=range(60, 135))
    return {"audio": media / "long.wav", "openface": media / "long.csv"}


@pytest.fixture(scope="session")
def tuned(media):
    """A run whose transformer learned in stage 1: what the store's recipe gives is no longer what it reads."""
    words = ("--preset", "late-fusion", "--language-encoder", media / "bert", "--training.stage1.max_epochs", "2")
    rate = ("--training.language_encoder.learning_rate", "0.05", "--engine.accelerator", "cpu")
    assert imder_("train", media / "numbers", "--out", media / "tuned", *words, *rate) == 0
    return media / "tuned"
