"""``imder info``: facts for a bug report, and no path beyond the one that was typed."""

import json
import shutil
from importlib.metadata import version

import torch

from command_line import imder_


def test_versions_and_devices(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert imder_("info") == 0
    shown = capsys.readouterr().out
    assert f"imder {version('imder')}" in shown
    assert f"torch {torch.__version__}" in shown
    assert "(OMP_NUM_THREADS=1)" in shown
    assert "GPU: " in shown


def test_a_run(folder, run, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert imder_("info", "run") == 0
    shown = capsys.readouterr().out
    assert "run run: system imder, preset fast, seed 0" in shown
    assert all(f"phase {phase}: valid " in shown for phase in ("stage1", "score", "recovery"))
    assert "on validation: acc2" in shown
    assert str(folder) not in shown
    assert imder_("info", "run", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["run"]["corpus"]["modalities"]["language"] == [24, 20]
    assert facts["run"]["valid"] == json.loads((run / "metrics.json").read_text())["valid"]
    assert str(folder) not in json.dumps(facts)


def test_a_run_that_is_not_finished(run, tmp_path, capsys):
    (tmp_path / "begun").mkdir()
    for name in ("config.yaml", "trained_on.json"):
        shutil.copy(run / name, tmp_path / "begun" / name)
    assert imder_("info", tmp_path / "begun") == 0
    assert "training has not finished" in capsys.readouterr().out


def test_a_corpus(folder, capsys):
    assert imder_("info", folder / "classes") == 0
    shown = capsys.readouterr().out
    assert "known-truth: classification, classes " in shown
    assert "train: 48 samples, 48 labelled, present: language 48" in shown
    assert imder_("info", folder / "lacking.npz", "--json") == 0
    corpus = json.loads(capsys.readouterr().out)["corpus"]
    assert [split["present"]["audio"] for split in corpus["splits"].values()] == [8]


def test_neither_a_run_nor_a_corpus(tmp_path, capsys):
    assert imder_("info", tmp_path / "nowhere") == 2
    assert "no such file" in capsys.readouterr().err
