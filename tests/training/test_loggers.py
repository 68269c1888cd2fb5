"""Loggers and callbacks of Lightning pass through `train`; mistakes are one error before anything is written."""

import lightning as L
import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger

from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig
from imder.training.loggers import chosen_loggers
from imder.training.train import train
from imder.types import ImderError

ONE_EPOCH = {"preset": "late-fusion", "max_epochs": 1, "engine": EngineConfig(accelerator="cpu")}


@pytest.fixture(scope="module")
def corpus():
    return KnownTruth.standard().corpus(24, 16, 8)


def test_names_choose_the_files(corpus, tmp_path):
    train(corpus, tmp_path / "csv", logger="csv", **ONE_EPOCH)
    assert [p.name for p in (tmp_path / "csv" / "logs" / "stage1").iterdir()] == ["csv"]
    train(corpus, tmp_path / "none", logger="none", **ONE_EPOCH)
    assert not (tmp_path / "none" / "logs").exists()


@pytest.mark.parametrize("choice", [False, "none", ["none"], ("none",), []])
def test_none_is_spelt_as_on_the_command_line(choice):
    assert chosen_loggers(choice) == ()


def test_objects_are_used_as_they_are(corpus, tmp_path):
    own = CSVLogger(tmp_path, name="own", version="1")
    train(corpus, tmp_path / "run", logger=[own, "csv"], **ONE_EPOCH)
    assert "valid/task" in (tmp_path / "own" / "1" / "metrics.csv").read_text()
    assert (tmp_path / "run" / "logs" / "stage1" / "csv" / "metrics.csv").exists()


def test_callbacks_see_every_epoch(corpus, tmp_path):
    class Counting(L.Callback):
        epochs = 0

        def on_train_epoch_end(self, trainer, pl_module):
            self.epochs += 1

    counting = Counting()
    train(corpus, tmp_path / "run", callbacks=[counting], **ONE_EPOCH)
    assert counting.epochs == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"logger": "tensorbord"},
            "there is no logger 'tensorbord'; choose from csv, tensorboard, wandb, mlflow, or none",
        ),
        ({"logger": ["none", "csv"]}, "'none' stands alone, not beside others"),
        ({"logger": "mlflow"}, "pip install mlflow"),
        ({"logger": [3]}, "a Lightning logger or a name is needed, got int"),
        ({"callbacks": ["x"]}, "callbacks is a sequence of lightning.Callback objects"),
        ({"resume": True, "max_epochs": 3}, "resume uses the run's own settings"),
    ],
)
def test_mistakes_are_one_error(corpus, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr("imder.training.loggers.find_spec", lambda name: None)
    with pytest.raises(ImderError, match=message):
        train(corpus, tmp_path / "run", **(ONE_EPOCH | arguments))
    assert not (tmp_path / "run").exists()


def test_a_sequence_may_mix_names_and_objects():
    own = DummyLogger()
    assert chosen_loggers([own, "csv"]) == (own, "csv")
    assert chosen_loggers(own) == (own,)
