from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from imder.data.corpus import Corpus
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config
from imder.training.train import train
from imder.tuning import space as search
from imder.tuning.space import SPACES, Dimension, space_of
from imder.types import ImderError

optuna = pytest.importorskip("optuna", reason="optuna isn't installed (pip install '.[tune]')")

from imder.tuning import tune as tuning  # noqa: E402
from imder.tuning.tune import tune  # noqa: E402

TINY = {"encoder": {"width": 4}}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    lengths = {"language": (2, 3), "vision": (2, 3), "audio": (2, 2)}
    return KnownTruth.standard(lengths=lengths).corpus(64, 32, 8)


def trials(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("preset", list(SPACES))
def test_every_space_fits_its_preset(preset: str) -> None:
    space = space_of(preset)
    assert {"learning_rate", "weight_decay", "dropout", "width"} <= space.keys()
    assert space.keys() <= SPACES["fast"].keys()


def test_unknown_keys_are_errors(monkeypatch) -> None:
    monkeypatch.setattr(search, "SPACES", {"fast": {"x": Dimension(("model.fusion.hiden",), 1, 2)}})
    with pytest.raises(ImderError, match=r"model\.fusion\.hiden"):
        space_of("fast")
    with pytest.raises(ImderError, match="no search space"):
        space_of("paper-mosi")


def test_the_better_of_two_and_going_on(corpus: Corpus, tmp_path: Path, monkeypatch) -> None:
    """One learning rate learns nothing in these epochs, the other does."""
    rates = Dimension(("training.stage1.learning_rate",), choices=(0, 1), relative=True)
    monkeypatch.setattr(search, "SPACES", {"zero-fill": {"learning_rate": replace(rates, choices=(0, 5))}})
    seen: list[tuple[int, int]] = []
    told = {"max_epochs": 3, "seed": 1}
    tune("zero-fill", corpus, tmp_path, trials=3, report=lambda done, total, _: seen.append((done, total)), **told)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    best = tune("zero-fill", corpus, tmp_path, trials=5, **told)
    found = trials(tmp_path)
    assert [row["trial"] for row in found] == list("01234")
    losses = {row["learning_rate"]: float(row["valid"]) for row in found}
    assert set(losses) == {"0", "5"}
    assert losses["5"] < losses["0"]
    assert best == yaml.safe_load((tmp_path / "best.yaml").read_text())
    start = load_config("zero-fill").training.stage1.learning_rate
    assert load_config(file=tmp_path / "best.yaml").training.stage1.learning_rate == pytest.approx(5 * start)
    assert list((tmp_path / "trials").iterdir()) == []
    before = trials(tmp_path)
    tune("zero-fill", corpus, tmp_path, trials=5, **told)
    assert trials(tmp_path) == before
    with pytest.raises(ImderError, match="another max_epochs"):
        tune("zero-fill", corpus, tmp_path, trials=5, max_epochs=2, seed=1)


def test_the_first_trial_is_the_preset(corpus: Corpus, tmp_path: Path) -> None:
    tune("zero-fill", corpus, tmp_path / "tune", trials=1, max_epochs=1)
    train(corpus, tmp_path / "run", preset="zero-fill", max_epochs=1)
    reached = json.loads((tmp_path / "run" / "metrics.json").read_text())["phases"]["stage1"]["valid"]
    assert float(trials(tmp_path / "tune")[0]["valid"]) == pytest.approx(reached, abs=1e-6)


def test_the_test_split_is_not_needed(corpus: Corpus, tmp_path: Path) -> None:
    splits = {name: corpus[name] for name in ("train", "valid")}
    tune("zero-fill", replace(corpus, splits=splits), tmp_path, trials=1, max_epochs=1)


def test_failed_trials_are_counted(corpus: Corpus, tmp_path: Path, monkeypatch) -> None:
    broken = Dimension(("training.stage1.learning_rate",), choices=(10**30,), relative=True)
    monkeypatch.setattr(search, "SPACES", {"zero-fill": {"learning_rate": broken}})
    with pytest.raises(ImderError, match="none of 2 trials"):
        tune("zero-fill", corpus, tmp_path, trials=2, max_epochs=2)
    assert [row["state"] for row in trials(tmp_path)] == ["fail", "fail"]


def test_an_interrupted_trial_counts_for_nothing(corpus: Corpus, tmp_path: Path, monkeypatch) -> None:
    """Every system gets as many trials as was said, the first of them its own preset."""
    rates: list[float] = []

    def interrupted_once(known, path, config, engine) -> float:
        rates.append(config.training.stage1.learning_rate)
        if len(rates) == 1:
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr(tuning, "_loss", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        tune("zero-fill", corpus, tmp_path, trials=3)
    tune("zero-fill", corpus, tmp_path, trials=3)
    assert len(rates) == 1 + 3
    assert rates[1] == rates[0] == load_config("zero-fill").training.stage1.learning_rate
    assert [row["state"] for row in trials(tmp_path)] == ["fail", *["complete"] * 3]


@pytest.mark.slow
def test_a_killed_trial_counts_for_nothing(corpus: Corpus, tmp_path: Path, monkeypatch) -> None:
    """Its heart has stopped: the preset itself is tried again."""
    monkeypatch.setattr(tuning, "HEARTBEAT", 1)
    monkeypatch.setattr(tuning, "DEAD_AFTER", 2)
    write_store(corpus, tmp_path / "corpus")
    killed = (
        "import os, sys\n"
        "from imder.data.formats.load import load_corpus\n"
        "from imder.tuning import tune as tuning\n"
        "tuning.HEARTBEAT, tuning.DEAD_AFTER = 1, 2\n"
        "tuning._loss = lambda *_: os._exit(9)\n"
        "tuning.tune('zero-fill', load_corpus(sys.argv[1]), sys.argv[2], trials=2)\n"
    )
    out = tmp_path / "tune"
    ended = subprocess.run([sys.executable, "-c", killed, str(tmp_path / "corpus"), str(out)], check=False)
    assert ended.returncode == 9
    time.sleep(4)  # the storage counts whole seconds
    rates: list[float] = []

    def loss(known, path, config, engine) -> float:
        rates.append(config.training.stage1.learning_rate)
        return 1.0

    monkeypatch.setattr(tuning, "_loss", loss)
    tune("zero-fill", load_corpus(tmp_path / "corpus"), out, trials=2)
    assert len(rates) == 2
    assert rates[0] == load_config("zero-fill").training.stage1.learning_rate
    assert [row["state"] for row in trials(out)] == ["fail", "complete", "complete"]


def test_command(corpus: Corpus, tmp_path: Path, capsys) -> None:
    from imder.cli import main

    write_store(corpus, tmp_path / "corpus")
    words = ["tune", "zero-fill", str(tmp_path / "corpus"), "--out", str(tmp_path / "tune"), "--max-epochs", "1"]
    assert main([*words, "--trials", "1"]) == 0
    config = ["--config", str(tmp_path / "tune" / "best.yaml"), "--max-epochs", "1"]
    assert main(["train", str(tmp_path / "corpus"), "--out", str(tmp_path / "run"), *config]) == 0
    capsys.readouterr()
    assert main(["tune", "nothing", str(tmp_path / "corpus"), "--out", str(tmp_path / "x")]) == 2
    assert "no search space" in capsys.readouterr().err
    assert main([*words, "--storage", "nonsense://x", "--trials", "1"]) == 2
    assert "storage nonsense" in capsys.readouterr().err


def test_a_path_will_do_and_a_corpus_without_labels_will_not(corpus: Corpus, tmp_path: Path) -> None:
    write_store(corpus, tmp_path / "corpus")
    best = tune("zero-fill", tmp_path / "corpus", tmp_path / "tune", trials=1, max_epochs=1)
    assert best["preset"] == "zero-fill"
    with pytest.raises(ImderError, match="needs the splits train and valid"):
        tune("zero-fill", replace(corpus, splits={"test": corpus["test"]}), tmp_path / "other", trials=1)
