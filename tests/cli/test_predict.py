"""``imder predict`` of corpora, and ``imder recover``; of media: tests/media."""

import numpy as np
import pytest

from command_line import imder_, rows_of
from imder.data.store import read_store


def test_predict(folder, run, tmp_path):
    words = ["predict", run, folder / "unlabelled", "--samples", 2]
    assert imder_(*words, "--out", tmp_path / "p.csv") == 0
    rows = rows_of(tmp_path / "p.csv")
    assert len(rows) == 16
    assert all(row["id"].startswith("test") for row in rows)
    assert all(-10 < float(row["prediction"]) < 10 for row in rows)
    assert imder_(*words, "--out", tmp_path / "deep" / "valid.csv", "--split", "valid") == 0  # makes the folder
    assert len(rows_of(tmp_path / "deep" / "valid.csv")) == 16


def test_predict_with_one_modality(folder, run, tmp_path):
    with np.load(folder / "corpus" / "test.npz") as fields:
        np.savez(tmp_path / "one.npz", id=fields["id"], audio=fields["audio"])
    assert imder_("predict", run, tmp_path / "one.npz", "--samples", 3, "--out", tmp_path / "p.csv") == 0
    rows = rows_of(tmp_path / "p.csv")
    assert {row["available"] for row in rows} == {"audio"}


def test_predict_classes(folder, classifier, tmp_path):
    out = tmp_path / "p.csv"
    assert imder_("predict", classifier, folder / "classes", "--samples", 2, "--out", out) == 0
    classes = read_store(folder / "classes").spec.classes
    for row in rows_of(out):
        shares = {name: float(row[f"p_{name}"]) for name in classes}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert row["label"] == max(shares, key=shares.get)
        assert float(row["entropy"]) >= 0


def test_recover(folder, run, tmp_path):
    with np.load(folder / "corpus" / "test.npz") as fields:
        present = np.arange(len(fields["id"])) % 2 == 0
        np.savez(tmp_path / "some.npz", **fields, audio_present=present)
    assert imder_("recover", run, tmp_path / "some.npz", "--samples", 2, "--out", tmp_path / "store") == 0
    made = read_store(tmp_path / "store")
    assert any("audio" in name for name in made.spec.names)
