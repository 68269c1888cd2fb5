"""The script that makes the project's tables of fixed models."""

from __future__ import annotations

import sys

import fixed_models
import pytest

from benchmark_setup import with_speakers
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth


def test_the_script_prints_tables(tmp_path, monkeypatch, capsys):
    truth = KnownTruth.standard(lengths={"language": (2, 3), "vision": (2, 3), "audio": (2, 2)})
    write_store(with_speakers(truth.corpus(40, 20, 20, task="classification")), tmp_path / "corpus")
    words = f"--out {tmp_path / 'out'} --models linear --fillers mean,linear-gaussian --draws 1,2 --resamples 20"
    rotated = "--folds 5 --order names --refit --pooled"
    monkeypatch.setattr(sys, "argv", ["fixed_models.py", str(tmp_path / "corpus"), *words.split(), *rotated.split()])
    fixed_models.main()
    shown = capsys.readouterr().out
    assert "## fixed model linear on known-truth" in shown
    assert "Rotation over speakers in 5 folds of consecutive names" in shown
    assert "Training clips include those of validation" in shown
    assert "**" in shown


def test_unknown_orders_are_refused(tmp_path):
    with pytest.raises(SystemExit):
        fixed_models.compare([str(tmp_path), "--out", str(tmp_path), "--order", "magic"])
