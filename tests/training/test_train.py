"""`train` on a small corpus whose distribution is known, with networks too small to learn much."""

import csv
import json
import time
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from imder.data.corpus import Corpus, Ragged
from imder.data.loader import collate
from imder.models.base import Model
from imder.models.presets import preset_names
from imder.models.registry import system_class
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, PhaseConfig, TrainingConfig, load_config
from imder.training.masks import (
    hide_labels,
    natural_loader,
    permanent_mask,
    training_loader,
    validation_loader,
)
from imder.training.train import train
from imder.types import ImderError

PHASES = ("stage1", "score", "recovery")
NETWORK = {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2}
TINY = {
    "model": {
        "encoder": {"width": 4, "steps": 6},
        "recovery": {"evaluations": 2, "network": NETWORK},
        "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "fusion": {"hidden": 8},
        "num_samples": 2,
    },
    "training": {
        "stage1": {"max_epochs": 3, "batch_size": 16},
        "score": {"max_epochs": 3, "batch_size": 16, "validate_every": 1, "warmup": 2},
        "recovery": {"max_epochs": 3, "batch_size": 16},
    },
}
CPU = EngineConfig(accelerator="cpu", checkpoint_seconds=0)


def tiny(**more):
    """The small configuration with overrides, ``training__seed=1`` for ``training.seed``."""
    return load_config(overrides=TINY | {key.replace("__", "."): value for key, value in more.items()})


def weights(run):
    return load_file(Path(run) / "model.safetensors")


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    different = [k for k in first if not torch.equal(first[k], second[k])]
    assert not different


def assert_same_end(first, second):
    """Two runs ended alike, to the last bit."""
    assert_same_weights(weights(first), weights(second))
    assert reached(first) == reached(second)


def reached(run):
    """What is in metrics.json, but the times."""
    data = json.loads((Path(run) / "metrics.json").read_text())
    for timed in (data, *data["phases"].values()):
        assert timed.pop("seconds") >= 0
    return data


def batch_of(corpus, split="test"):
    data = corpus[split]
    available = np.array([[True, False, True], [False, True, False], [True, True, True]])[np.arange(len(data)) % 3]
    return collate(data, np.arange(len(data)), available)


class Stop(L.Callback):
    """Breaks off in the middle of an epoch, or at its end."""

    def __init__(self, phase, epoch, batch=1, error=KeyboardInterrupt, at_end=False):
        self.where = (phase, epoch, batch)
        self.error = error
        self.at_end = at_end

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.at_end and (pl_module.phase, trainer.current_epoch, batch_idx) == self.where:
            raise self.error

    def on_fit_end(self, trainer, pl_module):
        if self.at_end and pl_module.phase == self.where[0]:
            raise self.error


class Epochs(L.Callback):
    """Counts epochs and remembers the highest rate of learning."""

    def __init__(self):
        self.count = {}
        self.rates = {}

    def on_train_epoch_start(self, trainer, pl_module):
        self.count[pl_module.phase] = self.count.get(pl_module.phase, 0) + 1
        self.rates.setdefault(pl_module.phase, []).append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.fixture(scope="module")
def corpus():
    return KnownTruth.standard().corpus(48, 24, 24)


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """An uninterrupted run and its model."""
    out = tmp_path_factory.mktemp("train") / "run"
    return out, train(corpus, out, config=tiny(), engine=CPU)


# What a run leaves behind.


def test_the_run_directory_is_complete(finished, corpus):
    out, _ = finished
    files = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    expected = {
        "config.yaml",
        "config.json",
        "model.safetensors",
        "metrics.json",
        "environment.json",
        "trained_on.json",
    }
    expected |= {f"phases/{phase}.safetensors" for phase in PHASES}
    assert expected <= files
    for phase in PHASES:
        with open(out / "logs" / phase / "csv" / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows if row["valid"]] == ["0", "1", "2"]
        assert any(name.startswith("train/") for name in rows[0])
        assert list((out / "logs" / phase / "tensorboard").glob("events.out.tfevents.*"))
    plain = (".yaml", ".json", ".safetensors", ".csv")
    assert all(name.endswith(plain) or "events.out.tfevents" in name for name in files)
    environment = json.loads((out / "environment.json").read_text())
    assert environment["torch"] == torch.__version__


def test_the_configuration_can_be_loaded_again(finished, tmp_path):
    out, _ = finished
    assert load_config(file=out / "config.yaml") == tiny()


def test_metrics_of_each_phase_and_of_validation(finished):
    data = json.loads((finished[0] / "metrics.json").read_text())
    assert list(data["phases"]) == list(PHASES)
    assert all(p["epochs"] == 3 and 0 <= p["best_epoch"] < 3 and p["valid"] > 0 for p in data["phases"].values())
    assert {"mae", "corr", "acc2"} <= data["valid"].keys()


def test_the_saved_model_predicts_the_same(finished, corpus):
    out, model = finished
    batch = batch_of(corpus)
    ours, theirs = model.predict(batch, seed=3), Model.from_pretrained(out).predict(batch, seed=3)
    assert torch.equal(ours.prediction, theirs.prediction)
    assert torch.equal(ours.spread, theirs.spread)


def test_the_same_seed_gives_the_same_weights(finished, corpus, tmp_path):
    out, _ = finished
    torch.rand(3)  # the caller's generator plays no part
    before = torch.get_rng_state()
    train(corpus, tmp_path / "again", config=tiny(), engine=EngineConfig(accelerator="cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_weights(weights(out), weights(tmp_path / "again"))
    assert reached(out) == reached(tmp_path / "again")
    train(corpus, tmp_path / "other", config=tiny(training__seed=1), engine=CPU)
    ours, theirs = weights(out), weights(tmp_path / "other")
    assert not torch.equal(ours["fusion.head.weight"], theirs["fusion.head.weight"])


def test_the_path_of_a_corpus_will_do(finished, corpus, tmp_path):
    from imder.data.store import write_store

    write_store(corpus, tmp_path / "store")
    train(tmp_path / "store", tmp_path / "run", config=tiny(), engine=CPU)
    assert_same_weights(weights(finished[0]), weights(tmp_path / "run"))


# Interruption.


@pytest.mark.parametrize(
    ("phase", "epoch"), [("stage1", 0), ("stage1", 2), ("score", 1), ("recovery", 0), ("recovery", 2)]
)
def test_an_interrupted_run_reaches_the_same_end(phase, epoch, finished, corpus, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(corpus, out, config=tiny(), engine=CPU, callbacks=[Stop(phase, epoch)])
    assert (out / f"running-{phase}.ckpt").exists() == (epoch > 0)
    assert not (out / "model.safetensors").exists()
    epochs = Epochs()
    train(corpus, out, resume=True, engine=CPU, callbacks=[epochs])
    assert epochs.count[phase] == 3 - epoch
    assert list(epochs.count) == list(PHASES[PHASES.index(phase) :])
    assert_same_end(finished[0], out)
    assert not [f for f in out.iterdir() if ".ckpt" in f.name]


SMALL = {
    "mmin": {
        "model": {"encoder": {"width": 6}, "cascade": {"layers": [12, 6], "blocks": 2}, "head": [6]},
        "training": {phase: {"max_epochs": 3, "batch_size": 16} for phase in ("stage1", "joint")},
    },
    "gcnet": {"model": {"hidden": 4}, "training": {"stage1": {"max_epochs": 3, "batch_size": 4}}},
}


@pytest.mark.parametrize("system", SMALL)
def test_compared_systems_reach_the_same_end(system, corpus, tmp_path):
    config = load_config(system, overrides=SMALL[system])
    train(corpus, tmp_path / "whole", config=config, engine=CPU)
    for phase in SMALL[system]["training"]:
        out = tmp_path / phase
        with pytest.raises(KeyboardInterrupt):
            train(corpus, out, config=config, engine=CPU, callbacks=[Stop(phase, 2)])
        torch.rand(3)  # nothing depends on the caller's generator
        train(corpus, out, resume=True, engine=CPU)
        assert_same_end(tmp_path / "whole", out)


def test_recoveries_that_find_no_room_change_nothing(finished, corpus, tmp_path, monkeypatch):
    from imder.models.imder import pool as module
    from imder.models.imder.pool import RecoveryCache

    monkeypatch.setattr(module, "RecoveryCache", lambda: RecoveryCache(limit=8000))
    whole, out = tmp_path / "whole", tmp_path / "run"
    train(corpus, whole, config=tiny(), engine=CPU)
    ours, theirs = weights(whole), weights(finished[0])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # drawn in other company: other rounding
    with pytest.raises(KeyboardInterrupt):
        train(corpus, out, config=tiny(), engine=CPU, callbacks=[Stop("recovery", 2)])
    train(corpus, out, resume=True, engine=CPU)
    assert_same_end(whole, out)


@pytest.mark.parametrize("phase", ["score", "recovery"])
def test_interrupted_after_the_last_epoch(phase, finished, corpus, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(corpus, out, config=tiny(), engine=CPU, callbacks=[Stop(phase, 2, at_end=True)])
    train(corpus, out, resume=True, engine=CPU)
    assert_same_end(finished[0], out)


def test_interrupted_twice_with_rare_checkpoints_and_rare_validation(corpus, tmp_path):
    config = tiny(training__score={"validate_every": 2, "max_epochs": 5}, training__stage1={"max_epochs": 4})
    train(corpus, tmp_path / "whole", config=config, engine=CPU)
    out = tmp_path / "run"
    rare = replace(CPU, checkpoint_seconds=1e6)
    with pytest.raises(KeyboardInterrupt):  # without any checkpoint
        train(corpus, out, config=config, engine=rare, callbacks=[Stop("stage1", 2)])
    for phase, epoch in (("stage1", 3), ("score", 1), ("score", 2), ("score", 4)):
        with pytest.raises(KeyboardInterrupt):
            train(corpus, out, resume=True, engine=CPU, callbacks=[Stop(phase, epoch)])
    train(corpus, out, resume=True, engine=CPU)
    assert_same_end(tmp_path / "whole", out)


def test_the_time_of_all_processes_is_counted(corpus, tmp_path):
    """What a phase took before the checkpoint that its training goes on from."""

    class Slow(L.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 0:
                time.sleep(2)

    config = tiny(training__stage1={"max_epochs": 3})
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[Slow(), Stop("stage1", 2)])
    begun = time.monotonic()
    train(corpus, tmp_path / "run", resume=True, engine=CPU)
    took = time.monotonic() - begun
    data = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert data["phases"]["stage1"]["seconds"] >= 2
    assert took + 1.5 <= data["seconds"]


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_plateau_schedule_survives_an_interruption(epoch, corpus, tmp_path):
    """A rate so high that nothing improves, so that each validation lowers it."""
    stage1 = {"max_epochs": 5, "plateau_patience": 1, "learning_rate": 0.5, "ema": 0.0}
    config = load_config("zero-fill", overrides={"model": {"encoder": {"width": 4}}, "training": {"stage1": stage1}})
    whole, rest = Epochs(), Epochs()
    train(corpus, tmp_path / "whole", config=config, engine=CPU, callbacks=[whole])
    assert len(set(whole.rates["stage1"])) > 1
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[Stop("stage1", epoch, batch=0)])
    train(corpus, tmp_path / "run", resume=True, engine=CPU, callbacks=[rest])
    assert rest.rates["stage1"] == whole.rates["stage1"][epoch:]
    assert_same_weights(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_the_engine_leaves_the_interrupt_signal_as_it_was(corpus, tmp_path):
    import signal

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", config=tiny(), engine=CPU, callbacks=[Stop("stage1", 0)])
    assert signal.getsignal(signal.SIGINT) is before


def test_a_checkpoint_that_outlived_its_phase_is_not_taken_for_the_next(finished, corpus, tmp_path):
    """Killed between the writing of a phase's weights and the removal of its checkpoint."""
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(corpus, out, config=tiny(), engine=CPU, callbacks=[Stop("stage1", 2)])
    left = (out / "running-stage1.ckpt").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        train(corpus, out, resume=True, engine=CPU, callbacks=[Stop("score", 0)])
    (out / "running-stage1.ckpt").write_bytes(left)
    (out / ".running-stage1.ckpt.12-ab.part").write_bytes(left[:100])
    train(corpus, out, resume=True, engine=CPU)
    assert_same_weights(weights(finished[0]), weights(out))
    assert not [f for f in out.iterdir() if ".ckpt" in f.name]


def test_resuming_a_finished_run_only_loads_it(finished, corpus):
    out, model = finished
    before = (out / "metrics.json").stat().st_mtime_ns
    again = train(corpus, out, resume=True, engine=CPU)
    assert_same_weights(model.state_dict(), again.state_dict())
    assert (out / "metrics.json").stat().st_mtime_ns == before


def test_resuming_needs_a_run_on_the_same_corpus(finished, tmp_path):
    other = KnownTruth.standard(dims={"audio": 5}).corpus(48, 24, 24)
    with pytest.raises(ImderError, match="another corpus"):
        train(other, finished[0], resume=True)
    with pytest.raises(ImderError, match="no run here"):
        train(other, tmp_path, resume=True)


# Stage 1 of another run.


def test_stage_1_of_another_run_is_used_as_it_is(finished, corpus, tmp_path):
    out, _ = finished
    epochs = Epochs()
    config = tiny(training__seed=5)
    train(corpus, tmp_path / "run", config=config, engine=CPU, stage1=out, callbacks=[epochs])
    assert list(epochs.count) == ["score", "recovery"]
    ours, theirs = load_file(out / "phases" / "stage1.safetensors"), weights(tmp_path / "run")
    kept = [k for k in ours if k.startswith(("encoders.", "fusion."))]
    assert len({k.split(".")[0] for k in kept}) == 2
    assert all(torch.equal(ours[k], theirs[k]) for k in kept)
    assert reached(tmp_path / "run")["phases"]["stage1"] == {"from": str(out)}


def test_stage_1_must_fit(finished, corpus, tmp_path):
    for stage1, config, message in (
        (tmp_path / "nowhere", tiny(), "no stage 1"),
        (finished[0], tiny(model__encoder={"width": 8}), "another configuration"),
    ):
        with pytest.raises(ImderError, match=message):
            train(corpus, tmp_path / "run", config=config, engine=CPU, stage1=stage1)
        assert not (tmp_path / "run").exists()


# What is refused.


@pytest.mark.parametrize("phase", PHASES)
def test_a_loss_that_is_not_finite_stops_the_run(phase, finished, corpus, tmp_path):
    class Spoil(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if (pl_module.phase, trainer.current_epoch, batch_idx) == (phase, 1, 2):
                with torch.no_grad():
                    for parameter in pl_module._parts[0].parameters():
                        parameter.fill_(torch.nan)

    out = tmp_path / "run"
    with pytest.raises(ImderError, match=rf"phase {phase}, epoch 1, batch 2: .*checkpoint"):
        train(corpus, out, config=tiny(), engine=CPU, callbacks=[Spoil()])
    assert (out / f"running-{phase}.ckpt").exists()
    train(corpus, out, resume=True, engine=CPU)
    assert_same_end(finished[0], out)


def test_an_existing_run_is_not_overwritten(finished, corpus, tmp_path):
    out, _ = finished
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    with pytest.raises(ImderError, match="holds a run already"):
        train(corpus, out, config=tiny(), engine=CPU)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ImderError):
            train(corpus, path, config=tiny(), engine=CPU)


def test_classes_that_training_never_sees_are_said(tmp_path, caplog):
    corpus = KnownTruth.standard().corpus(30, 20, 20, task="classification")
    name = corpus.spec.classes[0]
    labels = np.where(corpus["train"].labels == 0, 1, corpus["train"].labels)
    splits = {**corpus.splits, "train": replace(corpus["train"], labels=labels)}
    train(replace(corpus, splits=splits), tmp_path / "run", preset="constant", engine=CPU)
    assert f"no training sample is labelled {name}" in caplog.text


@pytest.mark.parametrize("name", ["train", "valid"])
def test_a_corpus_without_labels_is_refused(name, corpus, tmp_path):
    nan = np.full(len(corpus[name]), np.nan, np.float32)
    for labels in (None, nan):
        unlabelled = {**corpus.splits, name: replace(corpus[name], labels=labels)}
        with pytest.raises(ImderError, match=f"{name!r} has no labels"):
            train(Corpus("c", corpus.spec, unlabelled), tmp_path / "run", config=tiny())
    without = {k: v for k, v in corpus.splits.items() if k != name}
    with pytest.raises(ImderError, match="training needs the splits train and valid"):
        train(Corpus("c", corpus.spec, without), tmp_path / "run", config=tiny())
    assert not (tmp_path / "run").exists()


def test_samples_without_a_label_are_left_out(corpus, tmp_path):
    def blanked(split):
        labels = split.labels.copy()
        labels[::3] = np.nan
        return replace(split, labels=labels)

    partly = Corpus("c", corpus.spec, {k: blanked(v) for k, v in corpus.splits.items()})
    model = train(partly, tmp_path / "run", config=tiny(), engine=CPU, max_epochs=1)
    assert all(v.isfinite().all() for v in model.state_dict().values())
    made = training_loader(partly["train"], PhaseConfig(missing="any"), TrainingConfig(), 0)
    assert (made.rows % 3 != 0).all()

    everything = training_loader(partly["train"], PhaseConfig(missing="any"), TrainingConfig(), 0, unlabelled=True)
    assert sorted(everything.rows) == list(range(len(partly["train"])))


def test_a_share_of_labels_belongs_to_the_seed_and_spoils_nothing_else(corpus, tmp_path):
    split = corpus["train"]
    kept = [np.flatnonzero(hide_labels(split, 0.25, seed).labelled) for seed in (0, 0, 1)]
    assert len(kept[0]) == round(0.25 * len(split))
    assert (kept[0] == kept[1]).all()
    assert set(kept[0]) != set(kept[2])
    assert (hide_labels(split, 0.25, 0).labels[kept[0]] == split.labels[kept[0]]).all()
    assert hide_labels(split, 1.0, 0) is split

    # Hidden by share or absent from the corpus: the same training.
    hidden = replace(corpus, splits={**corpus.splits, "train": hide_labels(split, 0.25, 0)})
    config = tiny()
    shared = replace(config, training=replace(config.training, label_share=0.25))
    one = train(corpus, tmp_path / "share", config=shared, engine=CPU, max_epochs=1).state_dict()
    two = train(hidden, tmp_path / "hidden", config=config, engine=CPU, max_epochs=1).state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_score_networks_learn_from_unlabelled_samples_too(corpus, tmp_path):
    few = hide_labels(corpus["train"], 0.25, 0)
    hidden = replace(corpus, splits={**corpus.splits, "train": few})
    poorer = replace(corpus, splits={**corpus.splits, "train": few.take(np.flatnonzero(few.labelled))})
    train(hidden, tmp_path / "a", config=tiny(), engine=CPU, max_epochs=1)
    train(hidden, tmp_path / "b", config=tiny(), engine=CPU, max_epochs=1, stage1=tmp_path / "a")
    train(poorer, tmp_path / "c", config=tiny(), engine=CPU, max_epochs=1, stage1=tmp_path / "a")
    a, b, c = (Model.from_pretrained(tmp_path / k).recovery.state_dict() for k in "abc")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert any(not torch.equal(a[k], c[k]) for k in a if "networks" in k)


# What a run may see.


def spoiled(split, hidden, value):
    """The split with another value in every frame of the cells marked."""
    features = {}
    for k, (name, ragged) in enumerate(split.features.items()):
        values = ragged.values.copy()
        for row in np.flatnonzero(hidden[:, k]):
            values[ragged.offsets[row] : ragged.offsets[row + 1]] = value
        features[name] = Ragged(values, ragged.offsets)
    return replace(split, features=features)


def test_strict_training_uses_nothing_that_its_mask_drops(corpus, tmp_path):
    config = tiny(training__permanently_missing=True, training__missing_rate=0.4)
    hidden = ~permanent_mask(corpus["train"], config.training)
    assert hidden.any()
    assert not np.all(hidden, axis=1).any()
    other = {**corpus.splits, "train": spoiled(corpus["train"], hidden, 1e6)}
    train(corpus, tmp_path / "a", config=config, engine=CPU)
    train(Corpus("c", corpus.spec, other), tmp_path / "b", config=config, engine=CPU)
    assert_same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    train(Corpus("c", corpus.spec, other), tmp_path / "c", config=tiny(training__missing_rate=0.4), engine=CPU)
    assert not torch.equal(weights(tmp_path / "b")["fusion.head.weight"], weights(tmp_path / "c")["fusion.head.weight"])


@pytest.mark.parametrize("rate", ["any", "official", 0.0, 0.5])
def test_missing_rates(rate, corpus, tmp_path):
    config = tiny(training__missing_rate=rate, training__recovery={"missing": "rate"})
    train(corpus, tmp_path / "run", config=config, engine=CPU, max_epochs=1)
    assert reached(tmp_path / "run")["phases"]["recovery"]["epochs"] == 1


def test_strict_needs_a_number():
    with pytest.raises(ImderError, match="numeric missing_rate"):
        tiny(training__permanently_missing=True)


# How long it trains.


def test_no_phase_is_longer_than_max_epochs(corpus, tmp_path):
    epochs = Epochs()
    config = tiny(training__recovery={"max_epochs": 1})
    train(corpus, tmp_path / "run", config=config, engine=CPU, max_epochs=2, callbacks=[epochs])
    assert epochs.count == {"stage1": 2, "score": 2, "recovery": 1}
    assert load_config(file=tmp_path / "run" / "config.yaml").training.stage1.max_epochs == 2


def test_training_stops_when_nothing_improves(corpus, tmp_path):
    epochs = Epochs()
    stage1 = {"max_epochs": 50, "patience": 2, "learning_rate": 3.0, "ema": 0.0}
    config = load_config("zero-fill", overrides={"model": {"encoder": {"width": 4}}, "training": {"stage1": stage1}})
    train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[epochs])
    found = reached(tmp_path / "run")["phases"]["stage1"]
    assert found["epochs"] == epochs.count["stage1"] == found["best_epoch"] + 3 < 50


# Masks and batches.


def rate(value, **more):
    return TrainingConfig(missing_rate=value, **more)


@pytest.mark.parametrize("missing", ["any", "every", "none", "rate"])
@pytest.mark.parametrize("all_patterns", [True, False])
@pytest.mark.parametrize("value", ["any", "official", 0.5])
def test_validation_masks_are_always_the_same(missing, all_patterns, value, corpus):
    phase = PhaseConfig(missing=missing)
    first = validation_loader(corpus["valid"], phase, rate(value), all_patterns=all_patterns)
    second = validation_loader(corpus["valid"], phase, rate(value, seed=9), all_patterns=all_patterns)
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.available, second.available)
    assert first.available.any(1).all()
    if missing == "none":
        assert first.available.all()
        assert len(first.rows) == 24
    elif all_patterns and value != 0.5:  # a number wins over what the phase says
        assert len(first.rows) == 7 * 24
    else:
        assert len(first.rows) == 3 * 24


@pytest.mark.parametrize("value", ["any", "official", 0.5])
def test_training_masks_and_order_are_drawn_anew_each_epoch(value, corpus):
    split, phase = corpus["train"], PhaseConfig(batch_size=4)

    def masks(epoch, **more):
        made = training_loader(split, phase, rate(value, **more), epoch)
        order = np.argsort(made.rows)
        assert np.array_equal(made.rows[order], np.arange(len(split)))
        return made.rows, made.available[order]

    (rows, first), (other_rows, second) = masks(0), masks(1)
    assert not np.array_equal(rows, other_rows)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, masks(0, seed=1)[1])
    assert np.array_equal(first, masks(0)[1])


def test_strict_masks_are_drawn_once(corpus):
    training = rate(0.5, permanently_missing=True)
    seen = permanent_mask(corpus["train"], training)
    for epoch in (0, 1):
        fixed = training_loader(corpus["train"], PhaseConfig(missing="rate"), training, epoch)
        assert np.array_equal(fixed.available, seen[fixed.rows])
        drawn = training_loader(corpus["train"], PhaseConfig(missing="any"), training, epoch)
        assert not (drawn.available & ~seen[drawn.rows]).any()
    batch = next(iter(natural_loader(corpus["train"], training)))
    assert np.array_equal(batch.present.numpy(), seen[: len(batch)])
    for k, name in enumerate(corpus.spec.names):
        assert not batch.features[name][~batch.present[:, k]].any()


def test_processes_share_the_batches_of_one(corpus):
    split, training = corpus["train"], rate("any")
    whole = training_loader(split, PhaseConfig(batch_size=10), training, 3)
    parts = [training_loader(split, PhaseConfig(batch_size=5), training, 3, rank, 2) for rank in (0, 1)]
    assert len(whole) == len(parts[0]) == len(parts[1])
    for batch, first, second in zip(whole, *parts, strict=True):
        keys = torch.cat([first.keys, second.keys])
        order, expected = torch.argsort(keys), torch.argsort(batch.keys)
        assert torch.equal(keys[order], batch.keys[expected])
        available = torch.cat([first.available, second.available])
        assert torch.equal(available[order], batch.available[expected])
        labels = torch.cat([first.labels, second.labels])
        assert torch.equal(labels[order], batch.labels[expected])
    assert split.labelled.all()


# Configurations.


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_configuration(name, tmp_path):
    import yaml

    config = load_config(name)
    system = system_class(config.system)
    assert isinstance(config.model, system.config_type)
    assert config.preset == name
    assert system.phases(config.model)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    assert load_config(file=tmp_path / "config.yaml") == config


def test_overrides_may_be_dotted_or_nested():
    dotted = load_config(overrides={"model.recovery.network.heads": 2, "training.score.max_epochs": 1})
    nested = load_config(
        overrides={"model": {"recovery": {"network": {"heads": 2}}}, "training": {"score": {"max_epochs": 1}}}
    )
    assert dotted == nested
    assert dotted.model.recovery.network.heads == 2
    assert dotted.model.recovery.network.widths == load_config().model.recovery.network.widths


def test_a_file_lies_over_the_preset_and_overrides_lie_over_both(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("preset: zero-fill\ntraining:\n  seed: 4\n  stage1: {max_epochs: 7}\n")
    config = load_config("fast", path, {"training.seed": 5})
    assert (config.system, config.preset) == ("zero-fill", "zero-fill")
    assert (config.training.seed, config.training.stage1.max_epochs) == (5, 7)
    assert config.training.stage1.ema == load_config("zero-fill").training.stage1.ema


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.encoder.depth": 3}, "model.encoder.depth"),
        ({"model": {"nothing": None}}, "model.nothing"),
        ({"training.stage3.max_epochs": 3}, "training.stage3"),
        ({"trainer.seed": 3}, "trainer"),
        ({"training.joint.max_epochs": 3}, "no such phase"),
        ({"training.seed": "often"}, "seed"),
        ({"training.score.max_epochs": 1.5}, "max_epochs"),
        ({"training.score": 3}, "score"),
        ({"model.encoder": 3}, "encoder"),
        ({"model": 3}, "model"),
        ({"training": None}, "training"),
        ({"model.encoder.time_grid": "lunar"}, "time_grid"),
        ({"training.missing_rate": "sometimes"}, "missing_rate"),
        ({"training.missing_rate": 1.5}, "missing_rate"),
        ({"training.score.missing": "every"}, "stage1 only"),
        ({"training.stage1.max_epochs": 0}, "at least 1"),
        ({"training.stage1.clip_value": 1.0}, "by norm or by value"),
        ({"training.score.plateau_patience": 1}, "two schedules"),
    ],
)
def test_bad_overrides(overrides, message):
    with pytest.raises(ImderError, match=message) as caught:
        load_config(overrides=overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "mapping"),
        ("seed: 1\n", "unknown key seed"),
        ("preset: none-such\n", "no preset"),
        ("system: zero-fill\n", "configures"),
        ("model: [1\n", "cannot read"),
        ("model: 3\n", "model"),
        ("training: [1]\n", "training"),
    ],
)
def test_bad_files(text, message, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ImderError, match=message) as caught:
        load_config(file=path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ImderError, match="cannot read"):
        load_config(file=tmp_path / "nowhere.yaml")
