"""Every mistake is one line that says what is wrong, where and what to do, and changes nothing."""

import os
import subprocess
import sys

import pytest

from command_line import SMALL
from imder.cli import main


def snapshot(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


TRAIN = ["train", "{folder}/corpus", "--out", "{out}/run"]
EVALUATE = ["evaluate", "{folder}/run", "{folder}/corpus", "--samples", "1", "--out", "{out}/r.csv"]
PREDICT = ["predict", "{folder}/run", "{folder}/corpus", "--out", "{out}/p.csv"]
MISTAKES = {
    "no command": ([], ""),
    "unknown command": (["trian"], "trian"),
    "no such corpus": (["train", "{folder}/nowhere", "--out", "{out}/run"], "no such file"),
    "no corpus": (["train", "--out", "{out}/run"], "CORPUS missing"),
    "unknown preset": ([*TRAIN, "--preset", "fastest"], "no preset 'fastest'"),
    "unknown key": ([*TRAIN, "--model.encoder.depth", "3"], "unknown option --model.encoder.depth"),
    "unknown option": ([*TRAIN, "--epochs", "3"], "unknown option --epochs"),
    "abbreviated key": (
        [*TRAIN, "--model.recovery.evaluation", "4"],
        "--model.recovery.evaluation; did you mean --model.recovery.evaluations?",
    ),
    "abbreviated key with =": ([*TRAIN, "--model.recovery.evaluation=4"], "mean --model.recovery.evaluations?"),
    "abbreviated group": ([*TRAIN, "--model.recov.evaluations", "4"], "mean --model.recovery.evaluations?"),
    "abbreviated phase": ([*TRAIN, "--training.rec.max_epochs", "4"], "unknown option --training.rec.max_epochs"),
    "abbreviated engine": ([*TRAIN, "--engine.accel", "cpu"], "did you mean --engine.accelerator?"),
    "abbreviated option": ([*TRAIN, "--max-epoch", "4"], "did you mean --max-epochs?"),
    "misspelt key in a mapping": (
        [*TRAIN, "--model", '{{"recovery": {{"evaluation": 4}}}}'],
        "evaluation; did you mean",
    ),
    "misspelt key in a configuration": ([*TRAIN, "--config", "{folder}/typo.yaml"], "evaluation"),
    "abbreviated command": (["eval"], "did you mean evaluate?"),
    "abbreviated action": (["data", "insp", "{folder}/corpus"], "choose one of inspect, convert"),
    "unknown action": (["data", "show", "{folder}/corpus"], "choose one of inspect, convert"),
    "one argument too many": (["data", "inspect", "{folder}/corpus", "{folder}/corpus"], "unexpected argument"),
    "an option without a value": ([*TRAIN, "--preset"], "--preset: give a value"),
    "phase of another preset": ([*TRAIN, "--training.joint.max_epochs", "3"], "no such phase"),
    "wrong type": ([*TRAIN, "--training.score.max_epochs", "few"], "max_epochs"),
    "value out of range": ([*TRAIN, "--training.stage1.max_epochs", "0"], "at least 1"),
    "no epochs": ([*TRAIN, "--max-epochs", "0"], "at least 1"),
    "negative seed": ([*TRAIN, "--seed", "-1"], "seed"),
    "unknown logger": ([*TRAIN, "--logger", "csv,paper"], "no logger 'paper'"),
    "no labels": (["train", "{folder}/unlabelled", "--out", "{out}/run"], "labels"),
    "out and resume": ([*TRAIN, "--resume", "{folder}/run"], "--resume"),
    "neither out nor resume": (["train", "{folder}/corpus"], "--out"),
    "no run to resume": (["train", "{folder}/corpus", "--resume", "{out}/run"], "no run here"),
    "resume with another corpus": (["train", "{folder}/narrow", "--resume", "{folder}/run"], "another corpus"),
    "run exists": (["train", "{folder}/corpus", "--out", "{folder}/run"], "holds a run already"),
    "out below a file": (["train", "{folder}/corpus", "--out", "{folder}/run/config.yaml/x"], "config.yaml"),
    "bad rate": ([*TRAIN, "--missing-rate", "often"], "--missing-rate"),
    "rate out of range": ([*TRAIN, "--missing-rate", "1.5"], "missing_rate"),
    "strict without a rate": ([*TRAIN, "--training.permanently_missing", "true"], "missing_rate"),
    "no such stage 1": ([*TRAIN, "--stage1", "{out}/other", *SMALL], "stage 1"),
    "stage 1 of other sizes": ([*TRAIN, "--stage1", "{folder}/run"], "another configuration"),
    "no such config": ([*TRAIN, "--config", "{out}/c.yaml"], "c.yaml"),
    "broken config": ([*TRAIN, "--config", "{folder}/broken.yaml"], "broken.yaml"),
    "no number": ([*TRAIN, "--training.stage1.learning_rate", "big"], "learning_rate: 'big' is not a number"),
    "negative learning rate": ([*TRAIN, "--training.stage1.learning_rate", "-1"], "a number, at least 0, got -1"),
    "unknown choice": (
        [*TRAIN, "--training.stage1.missing", "some"],
        "--training.stage1.missing: 'some' is not known; choose from every, any, none, rate",
    ),
    "unknown recovery": ([*TRAIN, "--recovery", "men"], "recovery 'men' is not known; choose from conditional"),
    "recovery of a system without": (
        [*TRAIN, "--preset", "late-fusion", "--recovery", "mean"],
        "recovery 'mean': preset 'late-fusion' recovers nothing",
    ),
    "command of a group": (["inspect", "{folder}/corpus"], "did you mean data inspect?"),
    "evaluate: corpus before run": (["evaluate", "{folder}/corpus", "{folder}/run"], "give the run first"),
    "predict: corpus before run": (
        ["predict", "{folder}/corpus", "{folder}/run", "--out", "{out}/p.csv"],
        "give the run first",
    ),
    "evaluate: mistyped run": (["evaluate", "{folder}/runs/x", "{folder}/corpus"], "there is no such folder here"),
    "convert: out holds a store": (["data", "convert", "{folder}/corpus", "{folder}/classes"], "(--force)"),
    "recover: out holds a store": (
        ["recover", "{folder}/run", "{folder}/lacking.npz", "--out", "{folder}/classes"],
        "(--force)",
    ),
    "no devices": ([*TRAIN, *SMALL, "--engine.devices", "0"], "engine"),
    "unknown device": ([*TRAIN, *SMALL, "--engine.accelerator", "abacus"], "abacus"),
    "evaluate: abbreviated option": ([*EVALUATE, "--protoc", "fixed"], "did you mean --protocol?"),
    "benchmark: abbreviated option": (["benchmark", "{folder}/corpus", "--resample", "9"], "did you mean --resamples?"),
    "tune: abbreviated option": (["tune", "fast", "{folder}/corpus", "--trial", "2"], "did you mean --trials?"),
    "evaluate: no rates": ([*EVALUATE, "--rates", ""], "--rates"),
    "evaluate: bad rate": ([*EVALUATE, "--rates", "0,many"], "--rates"),
    "evaluate: rate out of range": ([*EVALUATE, "--rates", "0,1.5"], "1.5"),
    "evaluate: no draws": ([*EVALUATE, "--draws", "0"], "draw"),
    "evaluate: no such split": ([*EVALUATE, "--split", "dev"], "no split 'dev'"),
    "evaluate: unknown protocol": ([*EVALUATE, "--protocol", "chance"], "protocol"),
    "evaluate: metrics of another task": ([*EVALUATE, "--metrics", "classification"], "classification"),
    "evaluate: other dims": (["evaluate", "{folder}/run", "{folder}/narrow", "--out", "{out}/r.csv"], "expects"),
    "evaluate: no labels": (["evaluate", "{folder}/run", "{folder}/unlabelled", "--out", "{out}/r.csv"], "label"),
    "evaluate: no such run": (["evaluate", "{out}/none", "{folder}/corpus"], "no such folder"),
    "evaluate: not a run": (["evaluate", "{folder}/corpus", "{folder}/corpus"], "is no run and no model"),
    "evaluate: schedule of another protocol": (
        [*EVALUATE, "--official-batch-size", "16"],
        "is for --protocol official",
    ),
    "train: steps of a closed form": (
        [*TRAIN, "--preset", "ridge", "--training.stage1.learning_rate", "0.1"],
        "fitted in closed form",
    ),
    "predict: other dims": (["predict", "{folder}/run", "{folder}/narrow", "--out", "{out}/p.csv"], "expects"),
    "predict: no samples": ([*PREDICT, "--samples", "0"], "--samples: expected a whole number, at least 1"),
    "predict: negative seed": ([*PREDICT, "--seed", "-1"], "seed"),
    "predict: no batches": ([*PREDICT, "--batch-size", "0"], "batch"),
    "predict: no out": (["predict", "{folder}/run", "{folder}/corpus"], "out"),
    "predict: out below a file": ([*PREDICT, "--out", "{folder}/run/config.yaml/p.csv"], "cannot be written"),
    "recover: out holds something": (
        ["recover", "{folder}/run", "{folder}/lacking.npz", "--out", "{folder}/run"],
        "not overwritten",
    ),
    "convert: no such corpus": (["data", "convert", "{folder}/nowhere", "{out}/store"], "no such file"),
    "convert: out holds something": (["data", "convert", "{folder}/corpus", "{folder}/run"], "not overwritten"),
    "inspect: not a corpus": (["data", "inspect", "{folder}/run"], "neither a store"),
    "data: no action": (["data"], ""),
    "demo: not a demo's folder": (["demo", "--out", "{folder}/run"], "not empty"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_changes_nothing(name, folder, run, tmp_path, capfd, monkeypatch):
    def offline(*args, **more):
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    (folder / "broken.yaml").write_text("model: [1\n")
    (folder / "typo.yaml").write_text("model: {recovery: {evaluation: 4}}\n")
    words, message = MISTAKES[name]
    before = snapshot(folder)
    capfd.readouterr()
    code = main([w.format(folder=folder, out=tmp_path) for w in words])
    out, err = capfd.readouterr()
    assert code == 2, err
    line = err.splitlines()[-1]
    assert line.startswith("imder: error: ")
    assert message in line
    assert out == ""
    progress = [x for x in err.splitlines()[:-1] if " elapsed" not in x]
    assert progress == []
    assert snapshot(folder) == before
    assert not list(tmp_path.iterdir())


def test_a_terminal_of_ascii_shows_escapes(tmp_path):
    """Names and signs outside of ASCII are no error, and the message stays one line."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0", "LC_ALL": "C"}
    words = [sys.executable, "-m", "imder", "data", "inspect", str(tmp_path / "Zoë")]
    done = subprocess.run(words, capture_output=True, env=environment, timeout=300)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert rb"Zo\xeb" in done.stderr or rb"Zo\udcc3\udcab" in done.stderr
