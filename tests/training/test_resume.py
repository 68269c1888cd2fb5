"""Interrupted training, resumed, reaches the same end to the bit."""

import json
import time
from dataclasses import replace

import lightning as L
import pytest
import torch

from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config
from imder.training.train import train
from imder.types import ImderError
from processes import dead_process
from small_training import CPU, PHASES, Epochs, Stop, assert_same_end, assert_same_weights, tiny, weights


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
    "lnln": {
        "model": {"width": 4, "tokens": 2, "heads": 1, "head_width": 4, "depth": 1, "fusion_depth": 1, "dropout": 0.1},
        "training": {"stage1": {"max_epochs": 3, "batch_size": 16, "validate_every": 1}},
    },
}


@pytest.mark.parametrize("system", ["mmin", "gcnet", pytest.param("lnln", marks=pytest.mark.slow)])
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
    for phase, epoch in (("stage1", 3), ("score", 1), ("score", 2), ("score", 3)):
        with pytest.raises(KeyboardInterrupt):
            train(corpus, out, resume=True, engine=CPU, callbacks=[Stop(phase, epoch)])
    train(corpus, out, resume=True, engine=CPU)
    assert_same_end(tmp_path / "whole", out)


@pytest.mark.slow
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
    (out / f".running-stage1.ckpt.{dead_process()}-ab.part").write_bytes(left[:100])
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
