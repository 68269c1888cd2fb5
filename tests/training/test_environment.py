"""``environment.json``: enough to explain a number later."""

import json
import subprocess
import sys

import torch

from imder.data.fingerprint import fingerprint
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig
from imder.training.environment import git_commit, hardware
from imder.training.train import train


def test_a_run_knows_its_command_commit_machine_and_corpus(tmp_path, monkeypatch):
    corpus = KnownTruth.standard().corpus(24, 16, 8)
    monkeypatch.setattr(sys, "argv", ["imder", "train", "my corpus"])
    out = tmp_path / "run"
    train(corpus, out, preset="constant", engine=EngineConfig(accelerator="cpu"))
    environment = json.loads((out / "environment.json").read_text())
    assert environment["command"] == "imder train 'my corpus'"
    assert environment["corpus_fingerprint"] == fingerprint(corpus)
    assert environment["git_commit"] == git_commit()
    assert environment["hardware"] == hardware()
    assert environment["torch"] == torch.__version__


def test_the_commit_is_that_of_the_folder(tmp_path):
    assert git_commit(tmp_path / "nowhere") is None

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert git_commit(tmp_path) is None  # no commit yet
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert git_commit(tmp_path) == git("rev-parse", "HEAD")


def test_hardware_has_a_processor_and_memory():
    found = hardware()
    assert found["cpus"] >= 1
    assert found["memory_gib"] > 0.1
    assert (found["accelerator"] is not None) == (torch.cuda.is_available() or torch.backends.mps.is_available())
