"""What a run leaves behind."""

import csv
import json

import numpy as np
import pytest
import torch

from imder.data.loader import collate
from imder.models.base import Model
from imder.models.presets import preset_names
from imder.models.registry import system_class
from imder.training.config import EngineConfig, load_config
from imder.training.train import train
from small_training import CPU, PHASES, Epochs, assert_same_weights, reached, tiny, weights


def batch_of(corpus, split="test"):
    data = corpus[split]
    available = np.array([[True, False, True], [False, True, False], [True, True, True]])[np.arange(len(data)) % 3]
    return collate(data, np.arange(len(data)), available)


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
    plain = (".yaml", ".json", ".safetensors", ".csv", ".md")
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


def test_no_phase_is_longer_than_max_epochs(corpus, tmp_path):
    epochs = Epochs()
    config = tiny(training__recovery={"max_epochs": 1})
    train(corpus, tmp_path / "run", config=config, engine=CPU, max_epochs=2, callbacks=[epochs])
    assert epochs.count == {"stage1": 2, "score": 2, "recovery": 1, "control": 1}
    assert load_config(file=tmp_path / "run" / "config.yaml").training.stage1.max_epochs == 2


def test_epochs_after_the_last_validation_are_not_trained(corpus, tmp_path):
    """A cosine then ends at the last validation: the run equals one that asks for that many epochs."""
    runs, counts = (tmp_path / "five", tmp_path / "four"), [Epochs(), Epochs()]
    for run, max_epochs, epochs in zip(runs, (5, 4), counts, strict=True):
        stage1 = {"max_epochs": max_epochs, "validate_every": 2, "patience": 0, "cosine": True}
        config = load_config("late-fusion", overrides={"training": {"stage1": stage1}})
        train(corpus, run, config=config, engine=CPU, callbacks=[epochs])
    assert counts[0].count == {"stage1": 4}
    assert counts[0].rates == counts[1].rates
    assert reached(runs[0]) == reached(runs[1])
    assert_same_weights(*map(weights, runs))


def test_a_phase_shorter_than_the_time_between_validations_is_validated_at_its_end(corpus, tmp_path):
    stage1 = {"max_epochs": 2, "validate_every": 4}
    config = load_config("late-fusion", overrides={"training": {"stage1": stage1}})
    train(corpus, tmp_path / "run", config=config, engine=CPU)
    assert {k: reached(tmp_path / "run")["phases"]["stage1"][k] for k in ("epochs", "best_epoch")} == {
        "epochs": 2,
        "best_epoch": 1,
    }


@pytest.mark.parametrize("preset", preset_names())
def test_presets_end_with_a_validation(preset):
    config = load_config(preset)
    system = system_class(config.system)
    for phase in system.phases(config.model):
        settings = config.training.phase(system.settings_of(phase))
        assert settings.epochs == settings.max_epochs


def test_training_stops_when_nothing_improves(corpus, tmp_path):
    epochs = Epochs()
    stage1 = {"max_epochs": 50, "patience": 2, "learning_rate": 3.0, "ema": 0.0}
    config = load_config("zero-fill", overrides={"model": {"encoder": {"width": 4}}, "training": {"stage1": stage1}})
    train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[epochs])
    stage1_metrics = reached(tmp_path / "run")["phases"]["stage1"]
    assert stage1_metrics["epochs"] == epochs.count["stage1"] == stage1_metrics["best_epoch"] + 3 < 50
