"""``imder predict`` of corpora, and ``imder recover``; of media: tests/media."""

import numpy as np
import pytest

from command_line import imder_, rows_of
from imder.data.store import read_store
from imder.missingness.masks import mask_seed
from imder.missingness.protocols import RandomMissing
from imder.models.base import Model


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


def test_the_last_line_counts_samples_without_a_prediction(folder, run, tmp_path, capsys):
    with np.load(folder / "corpus" / "test.npz") as fields:
        present = np.arange(len(fields["id"])) % 4 > 0
        np.savez(tmp_path / "some.npz", **fields, audio_present=present)
    words = ["predict", run, tmp_path / "some.npz", "--samples", 1, "--available", "audio", "--out", tmp_path / "p.csv"]
    assert imder_(*words) == 0
    assert "12 predictions, 4 samples have nothing available, saved in" in " ".join(capsys.readouterr().out.split())
    assert [row["prediction"] == "" for row in rows_of(tmp_path / "p.csv")] == (~present).tolist()


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


def test_what_may_be_used(folder, run, tmp_path):
    words = ["predict", run, folder / "corpus", "--samples", 1, "--out", tmp_path / "p.csv"]
    assert imder_(*words, "--available", "language,audio") == 0
    rows = rows_of(tmp_path / "p.csv")
    assert {(row["available"], row["missing"]) for row in rows} == {("language+audio", "vision")}
    assert all(row["recovered"] == ("vision" if float(row["recovery_weight"]) > 0 else "") for row in rows)
    assert all(float(row["true_label"]) == pytest.approx(float(row["true_label"])) for row in rows)
    assert imder_(*words, "--protocol", "random", "--rates", "0.5", "--seed", 3) == 0
    rows = rows_of(tmp_path / "p.csv")
    assert sum(row["available"].count("+") + 1 for row in rows) == 24  # half of 48 cells
    corpus = read_store(write_store_of(folder, tmp_path))["test"]
    mask = RandomMissing(0.5).sample(corpus.present, mask_seed(3, 0))
    names = list(corpus.features)
    assert [row["available"] for row in rows] == ["+".join(np.array(names)[row]) for row in mask]


def write_store_of(folder, tmp_path):
    assert imder_("data", "convert", folder / "corpus", tmp_path / "store") == 0
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rates", "0.5"], "give --protocol too"),
        (["--protocol", "random"], "give one missing rate"),
        (["--protocol", "random", "--rates", "0.1,0.2"], "give one missing rate"),
        (["--protocol", "natural", "--rates", "0.1"], "leave out --rates"),
        (["--protocol", "fixed"], "say one with --available"),
        (["--protocol", "natural", "--available", "audio"], "leave one out"),
        (["--available", "smell"], "smell"),
    ],
)
def test_what_may_not_be_used_together(words, message, folder, run, tmp_path, capsys):
    for command in ("predict", "recover"):
        assert imder_(command, run, folder / "corpus", "--out", tmp_path / "out", *words) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_recovery_weights_are_printed(folder, run, tmp_path, capsys):
    weights = Model.from_pretrained(run).recovery_weights()
    assert weights
    for words in (["evaluate", run, folder / "corpus", "--protocol", "natural"], ["predict", run, folder / "corpus"]):
        assert imder_(*words, "--samples", 1, "--out", tmp_path / "p.csv") == 0
        shown = capsys.readouterr().out
        assert "recovery: weight" in shown
        *incomplete, (everything, second_fusion) = weights.items()
        assert everything == "language+vision+audio"
        assert all(f"{pattern} {w:g}" in shown for pattern, w in incomplete) or not any(w for _, w in incomplete)
        assert (f"second fusion has weight {second_fusion:g}" in shown) == (second_fusion > 0)
