"""Commands as a user types them, on a small corpus of npz files."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
from safetensors.numpy import load_file

import imder
import imder.cli.demo
from command_line import imder_, rows_of
from imder.cli import main
from imder.data.store import read_store, write_store
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config

SMALL = [
    *("--model.encoder.width", "8", "--model.encoder.steps", "6", "--model.recovery.network.widths", "[8]"),
    *("--model.recovery.network.heads", "2", "--model.recovery.network.embedding", "8"),
    *("--model.recovery.evaluations", "2", "--model.refinement.channels", "8", "--model.refinement.blocks", "1"),
    *("--model.refinement.reduction", "4", "--model.num_samples", "2", "--model.fusion.hidden", "8"),
    *("--training.stage1.max_epochs", "1", "--training.score.max_epochs", "1", "--training.recovery.max_epochs", "1"),
    *("--engine.accelerator", "cpu"),
]
WEIGHTS = "model.safetensors"


def write_npz(corpus, folder, *, labels=True, columns=None):
    """A folder of npz files; ``columns``: of each modality only the first so many."""
    folder.mkdir()
    for name, split in corpus.splits.items():
        fields = {"id": np.array(split.ids)}
        for modality, ragged in split.features.items():
            padded = np.zeros((len(split), ragged.lengths.max(), ragged.dim), np.float32)
            for i in range(len(split)):
                padded[i, : ragged.lengths[i]] = ragged[i]
            fields[modality] = padded[:, :, :columns]
            fields[f"{modality}_lengths"] = ragged.lengths
        if labels:
            key = "regression_labels" if corpus.spec.task == "regression" else "classification_labels"
            fields[key] = split.labels
            if corpus.spec.classes:
                fields["label_names"] = np.array(corpus.spec.classes)
        np.savez(folder / f"{name}.npz", **fields)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Corpora of both tasks, one without labels, one of other dims."""
    place = tmp_path_factory.mktemp("cli")
    truth = KnownTruth.standard()
    corpus = truth.corpus(48, 16, 16)
    write_npz(corpus, place / "corpus")
    write_npz(corpus, place / "unlabelled", labels=False)
    write_npz(corpus, place / "narrow", columns=5)
    write_store(truth.corpus(48, 16, 16, task="classification"), place / "classes")
    return place


@pytest.fixture(scope="module")
def run(place):
    """A trained model."""
    assert main(["train", str(place / "corpus"), "--out", str(place / "run"), *SMALL]) == 0
    return place / "run"


@pytest.fixture(scope="module")
def classifier(place):
    assert main(["train", str(place / "classes"), "--out", str(place / "classifier"), *SMALL]) == 0
    return place / "classifier"


def weights(run):
    return load_file(run / WEIGHTS)


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


def snapshot(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


# Train.


def test_train(run, capsys):
    config = load_config(file=run / "config.yaml")
    assert (config.preset, config.model.encoder.width, config.model.num_samples) == ("fast", 8, 2)
    assert config.model.recovery.network.widths == (8,)
    assert config.training.score.max_epochs == 1
    preset = load_config("fast")  # what wasn't mentioned is the preset's, not the default of a dataclass
    assert config.training.score.learning_rate == preset.training.score.learning_rate
    assert config.model.recovery.noise_levels_per_sample == preset.model.recovery.noise_levels_per_sample


def test_train_says_what_it_reached(place, tmp_path, capsys):
    assert imder_("train", place / "corpus", "--out", tmp_path / "run", *SMALL) == 0
    out = capsys.readouterr().out
    assert all(phase in out for phase in ("stage1", "score", "recovery"))
    assert "mae" in out
    assert "saved in" in out


def test_the_configuration_of_a_run_gives_the_same_run(place, run, tmp_path):
    assert imder_("train", place / "corpus", "--out", tmp_path / "b", "--config", run / "config.yaml") == 0
    assert same(weights(run), weights(tmp_path / "b"))
    words = ["--config", run / "config.yaml", "--training.seed", "3"]
    assert imder_("train", place / "corpus", "--out", tmp_path / "c", *words) == 0
    assert not same(weights(run), weights(tmp_path / "c"))


def test_resume_goes_on(place, run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run")
    for name in (WEIGHTS, "metrics.json", "phases/recovery.safetensors"):
        (tmp_path / "run" / name).unlink()
    assert imder_("train", place / "corpus", "--resume", tmp_path / "run", "--engine.accelerator", "cpu") == 0
    assert same(weights(run), weights(tmp_path / "run"))
    assert imder_("train", place / "corpus", "--resume", tmp_path / "run") == 0  # finished: nothing to do


def test_a_capped_run_can_be_resumed_and_repeated(place, tmp_path):
    words = ["--preset", "zero-fill", "--max-epochs", "1", "--model.encoder.width", "4"]
    assert imder_("train", place / "corpus", "--out", tmp_path / "run", *words) == 0
    assert imder_("train", place / "corpus", "--resume", tmp_path / "run") == 0
    again = ["--out", tmp_path / "again", f"--config={tmp_path / 'run' / 'config.yaml'}"]
    assert imder_("train", place / "corpus", *again) == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "again"))


def test_stage_1_of_another_run(place, run, tmp_path):
    words = ["--stage1", run, "--seed", 7, *SMALL]
    assert imder_("train", place / "corpus", "--out", tmp_path / "run", *words) == 0
    ours, theirs = weights(run), weights(tmp_path / "run")
    assert np.array_equal(ours["fusion.head.weight"], theirs["fusion.head.weight"])
    assert not same(ours, theirs)
    assert load_config(file=tmp_path / "run" / "config.yaml").training.seed == 7


@pytest.mark.parametrize(("rate", "expected"), [("0.3", 0.3), ("any", "any"), ("official", "official"), ("0", 0.0)])
def test_missing_rates(rate, expected, place, tmp_path):
    words = ["--preset", "zero-fill", "--max-epochs", "1", "--missing-rate", rate, "--training.stage1.missing", "rate"]
    assert imder_("train", place / "corpus", "--out", tmp_path / "run", *words) == 0
    found = load_config(file=tmp_path / "run" / "config.yaml").training.missing_rate
    assert found == expected
    assert isinstance(found, type(expected))


# Evaluate.


@pytest.mark.parametrize(("protocol", "cells"), [("random", 4), ("fixed", 7), ("natural", 1), ("official", 4)])
def test_evaluate(protocol, cells, place, run, tmp_path, capsys):
    out = tmp_path / "results.csv"
    words = ["--protocol", protocol, "--rates", "0,0.5", "--draws", 2, "--out", out, "--samples", 1]
    assert imder_("evaluate", run, place / "corpus", *words) == 0
    rows = rows_of(out)
    assert {row["model"] for row in rows} == {"imder", "constant"}
    assert len(rows) == 2 * cells
    leading = "model,run,corpus,split,protocol,rate,effective_rate,available,draw,seed,n"
    assert ",".join(rows[0]).startswith(leading + ",")
    assert {"mae", "acc2", "f1", "acc7", "corr"} <= rows[0].keys()
    assert all(row["protocol"] == protocol and row["split"] == "test" for row in rows)
    shown = capsys.readouterr().out
    assert "imder" in shown
    assert "constant" in shown


def test_evaluate_is_the_same_every_time(place, run, tmp_path):
    words = ["evaluate", run, place / "corpus", "--rates", "0.4", "--draws", 1, "--samples", 2, "--split", "valid"]
    assert imder_(*words, "--out", tmp_path / "a.csv") == 0
    assert imder_(*words, "--out", tmp_path / "b.csv", "--batch-size", 7) == 0
    for first, second in zip(rows_of(tmp_path / "a.csv"), rows_of(tmp_path / "b.csv"), strict=True):
        assert float(first["mae"]) == pytest.approx(float(second["mae"]), abs=1e-4)


def test_evaluate_a_classifier(place, classifier, tmp_path):
    out = tmp_path / "results.csv"
    words = ["--protocol", "natural", "--samples", 1, "--out", out]
    assert imder_("evaluate", classifier, place / "classes", *words) == 0
    assert "balanced_accuracy" in rows_of(out)[0]


# Predict and recover.


def test_predict(place, run, tmp_path):
    words = ["predict", run, place / "unlabelled", "--samples", 2]
    assert imder_(*words, "--out", tmp_path / "p.csv") == 0
    rows = rows_of(tmp_path / "p.csv")
    assert len(rows) == 16
    assert all(row["id"].startswith("test") for row in rows)
    assert all(-10 < float(row["prediction"]) < 10 for row in rows)
    assert imder_(*words, "--out", tmp_path / "deep" / "valid.csv", "--split", "valid") == 0  # makes the folder
    assert len(rows_of(tmp_path / "deep" / "valid.csv")) == 16


def test_predict_with_one_modality(place, run, tmp_path):
    with np.load(place / "corpus" / "test.npz") as fields:
        np.savez(tmp_path / "one.npz", id=fields["id"], audio=fields["audio"])
    assert imder_("predict", run, tmp_path / "one.npz", "--samples", 3, "--out", tmp_path / "p.csv") == 0
    rows = rows_of(tmp_path / "p.csv")
    assert {row["available"] for row in rows} == {"audio"}


def test_predict_classes(place, classifier, tmp_path):
    out = tmp_path / "p.csv"
    assert imder_("predict", classifier, place / "classes", "--samples", 2, "--out", out) == 0
    classes = read_store(place / "classes").spec.classes
    for row in rows_of(out):
        shares = {name: float(row[f"p_{name}"]) for name in classes}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert row["label"] == max(shares, key=shares.get)
        assert float(row["entropy"]) >= 0


def test_recover(place, run, tmp_path):
    with np.load(place / "corpus" / "test.npz") as fields:
        present = np.arange(len(fields["id"])) % 2 == 0
        np.savez(tmp_path / "some.npz", **fields, audio_present=present)
    assert imder_("recover", run, tmp_path / "some.npz", "--samples", 2, "--out", tmp_path / "store") == 0
    made = read_store(tmp_path / "store")
    assert any("audio" in name for name in made.spec.names)


# Data.


def test_inspect(place, capsys):
    assert imder_("data", "inspect", place / "corpus") == 0
    shown = capsys.readouterr().out
    assert "language" in shown
    assert "train" in shown
    assert imder_("data", "inspect", place / "corpus", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert isinstance(summary, dict)


def test_a_converted_corpus_trains_the_same_model(place, run, tmp_path, capsys):
    assert imder_("data", "convert", place / "corpus", tmp_path / "store") == 0
    assert "80 samples" in capsys.readouterr().out
    assert imder_("train", tmp_path / "store", "--out", tmp_path / "run", *SMALL) == 0
    assert same(weights(run), weights(tmp_path / "run"))


# Mistakes.


TRAIN = ["train", "{place}/corpus", "--out", "{out}/run"]
EVALUATE = ["evaluate", "{place}/run", "{place}/corpus", "--samples", "1", "--out", "{out}/r.csv"]
PREDICT = ["predict", "{place}/run", "{place}/corpus", "--out", "{out}/p.csv"]
MISTAKES = {
    "no command": ([], ""),
    "unknown command": (["trian"], "trian"),
    "no such corpus": (["train", "{place}/nowhere", "--out", "{out}/run"], "no such file"),
    "no corpus": (["train", "--out", "{out}/run"], "corpus"),
    "unknown preset": ([*TRAIN, "--preset", "fastest"], "no preset 'fastest'"),
    "unknown key": ([*TRAIN, "--model.encoder.depth", "3"], "depth"),
    "unknown option": ([*TRAIN, "--epochs", "3"], "epochs"),
    "phase of another preset": ([*TRAIN, "--training.joint.max_epochs", "3"], "no such phase"),
    "wrong type": ([*TRAIN, "--training.score.max_epochs", "few"], "max_epochs"),
    "value out of range": ([*TRAIN, "--training.stage1.max_epochs", "0"], "at least 1"),
    "no epochs": ([*TRAIN, "--max-epochs", "0"], "at least 1"),
    "negative seed": ([*TRAIN, "--seed", "-1"], "seed"),
    "no labels": (["train", "{place}/unlabelled", "--out", "{out}/run"], "labels"),
    "out and resume": ([*TRAIN, "--resume", "{place}/run"], "--resume"),
    "neither out nor resume": (["train", "{place}/corpus"], "--out"),
    "no run to resume": (["train", "{place}/corpus", "--resume", "{out}/run"], "no run here"),
    "resume with another corpus": (["train", "{place}/narrow", "--resume", "{place}/run"], "another corpus"),
    "run exists": (["train", "{place}/corpus", "--out", "{place}/run"], "holds a run already"),
    "out below a file": (["train", "{place}/corpus", "--out", "{place}/run/config.yaml/x"], "config.yaml"),
    "bad rate": ([*TRAIN, "--missing-rate", "often"], "--missing-rate"),
    "rate out of range": ([*TRAIN, "--missing-rate", "1.5"], "missing_rate"),
    "strict without a rate": ([*TRAIN, "--training.permanently_missing", "true"], "missing_rate"),
    "no such stage 1": ([*TRAIN, "--stage1", "{out}/other", *SMALL], "stage 1"),
    "stage 1 of other sizes": ([*TRAIN, "--stage1", "{place}/run"], "another configuration"),
    "no such config": ([*TRAIN, "--config", "{out}/c.yaml"], "c.yaml"),
    "broken config": ([*TRAIN, "--config", "{place}/broken.yaml"], "broken.yaml"),
    "no devices": ([*TRAIN, *SMALL, "--engine.devices", "0"], "engine"),
    "unknown device": ([*TRAIN, *SMALL, "--engine.accelerator", "abacus"], "abacus"),
    "evaluate: no rates": ([*EVALUATE, "--rates", ""], "--rates"),
    "evaluate: bad rate": ([*EVALUATE, "--rates", "0,many"], "--rates"),
    "evaluate: rate out of range": ([*EVALUATE, "--rates", "0,1.5"], "1.5"),
    "evaluate: no draws": ([*EVALUATE, "--draws", "0"], "draw"),
    "evaluate: no such split": ([*EVALUATE, "--split", "dev"], "no split 'dev'"),
    "evaluate: unknown protocol": ([*EVALUATE, "--protocol", "chance"], "protocol"),
    "evaluate: metrics of another task": ([*EVALUATE, "--metrics", "classification"], "classification"),
    "evaluate: other dims": (["evaluate", "{place}/run", "{place}/narrow", "--out", "{out}/r.csv"], "made for"),
    "evaluate: no labels": (["evaluate", "{place}/run", "{place}/unlabelled", "--out", "{out}/r.csv"], "label"),
    "evaluate: no such run": (["evaluate", "{out}/none", "{place}/corpus"], "no such folder"),
    "evaluate: not a run": (["evaluate", "{place}/corpus", "{place}/corpus"], "config.json"),
    "predict: other dims": (["predict", "{place}/run", "{place}/narrow", "--out", "{out}/p.csv"], "made for"),
    "predict: no samples": ([*PREDICT, "--samples", "0"], "at least one recovery"),
    "predict: negative seed": ([*PREDICT, "--seed", "-1"], "seed"),
    "predict: no batches": ([*PREDICT, "--batch-size", "0"], "batch"),
    "predict: no out": (["predict", "{place}/run", "{place}/corpus"], "out"),
    "predict: out below a file": ([*PREDICT, "--out", "{place}/run/config.yaml/p.csv"], "cannot be written"),
    "recover: out holds something": (
        ["recover", "{place}/run", "{place}/lacking.npz", "--out", "{place}/run"],
        "not overwritten",
    ),
    "convert: no such corpus": (["data", "convert", "{place}/nowhere", "{out}/store"], "no such file"),
    "convert: out holds something": (["data", "convert", "{place}/corpus", "{place}/run"], "not overwritten"),
    "inspect: not a corpus": (["data", "inspect", "{place}/run"], "neither a store"),
    "data: no action": (["data"], ""),
    "demo: not a demo's folder": (["demo", "--out", "{place}/run"], "not empty"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_changes_nothing(name, place, run, tmp_path, capfd, monkeypatch):
    def offline(*args, **more):
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    (place / "broken.yaml").write_text("model: [1\n")
    with np.load(place / "corpus" / "test.npz") as fields:
        lacking = np.arange(len(fields["id"])) % 2 == 0
        np.savez(place / "lacking.npz", **fields, audio_present=lacking)
    words, message = MISTAKES[name]
    before = snapshot(place)
    capfd.readouterr()
    code = main([w.format(place=place, out=tmp_path) for w in words])
    out, err = capfd.readouterr()
    assert code == 2, err
    line = err.splitlines()[-1]
    assert line.startswith("imder: error: ")
    assert message in line
    assert out == ""
    bars = [x for x in err.splitlines()[:-1] if "%" not in x]
    assert bars == []
    assert snapshot(place) == before
    assert not list(tmp_path.iterdir())


# Asking for help.


@pytest.mark.parametrize(
    "words",
    [["--help"], ["train", "--help"], ["evaluate", "--help"], ["data", "--help"], ["data", "convert", "--help"]],
)
def test_help(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: imder" in shown
    if words[0] == "train":
        assert "--model.encoder.width" in shown
        assert "--training.score.max_epochs" in shown


def test_help_of_another_preset_shows_its_keys(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--preset", "zero-fill", "--help"])
    shown = capsys.readouterr().out
    assert "--model.fusion.hidden" in shown
    assert "--model.recovery" not in shown


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "imder", "--version"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert version("imder") in done.stdout


# The demo.


def shrunk(name="fast", file=None, overrides=None):
    """Presets with one epoch for each phase, and small networks."""
    training = {"stage1": {"max_epochs": 1}}
    model = {"encoder": {"width": 4, "steps": 6}}
    if name == "fast":
        training |= {phase: {"max_epochs": 1} for phase in ("score", "recovery")}
        network = {"widths": [8], "heads": 2, "embedding": 8}
        model |= {"recovery": {"evaluations": 2, "network": network}, "refinement": {"channels": 8, "blocks": 1}}
    return load_config(name, file, {"model": model, "training": training} | dict(overrides or {}))


def test_the_demo(tmp_path, monkeypatch, capsys):
    for name, value in {"TRAIN": 48, "VALID": 16, "TEST": 16, "DRAWS": 2, "load_config": shrunk}.items():
        monkeypatch.setattr(imder.cli.demo, name, value)
    out = tmp_path / "demo"
    assert imder_("demo", "--out", out) == 0
    rows = rows_of(out / "results.csv")
    assert {(r["model"], r["protocol"]) for r in rows} == {
        (model, protocol) for model in ("imder", "zero-fill", "Bayes-optimal") for protocol in ("random", "fixed")
    }
    assert len(rows) == 3 * (7 + 8 * 2)
    assert (out / "mae.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "imder" / WEIGHTS).exists()
    shown = capsys.readouterr().out
    assert "Bayes-optimal" in shown
    assert imder_("demo", "--out", out, "--seed", 1) == 0  # again, in place of the last
    assert rows_of(out / "results.csv") != rows


def test_features_of_another_recipe_are_refused(place, tmp_path, capsys):
    """A run remembers how its features were made; without a recipe on either side nothing can be said."""
    corpus = imder.load_corpus(place / "corpus")
    for rate in (16000, 22050):
        recipe = {"format": 1, "audio": {"rate": rate}, "versions": {}}
        write_store(replace(corpus, recipe=recipe), tmp_path / str(rate))
    words = ("train", tmp_path / "16000", "--out", tmp_path / "run", "--preset", "ridge")
    assert imder_(*words) == 0
    trained = json.loads((tmp_path / "run" / "trained_on.json").read_text())
    assert trained["recipe"]["audio"] == {"rate": 16000}
    for same in (tmp_path / "16000", place / "corpus"):
        assert imder_("predict", tmp_path / "run", same, "--out", tmp_path / "p.csv") == 0
    capsys.readouterr()
    assert imder_("predict", tmp_path / "run", tmp_path / "22050", "--out", tmp_path / "q.csv") == 2
    assert "another recipe" in capsys.readouterr().err
    assert not (tmp_path / "q.csv").exists()
