"""The language encoder of a run: saved, moved, resumed, reused and in the commands."""

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest

pytest.importorskip("transformers")

from imder.cli import main
from imder.data.store import write_store
from imder.evaluation.evaluate import evaluate
from imder.inference.predict import predict
from imder.media.predictor import Predictor
from imder.models.base import Model
from imder.models.language.encoder import LanguageEncoder
from imder.training.config import load_config
from imder.training.train import train
from imder.types import ImderError
from small_language import (
    CPU,
    FAST,
    LATE,
    changed,
    config_of,
    weights,
    without_tokens,
)


def test_a_saved_run_works_offline(corpus, tuned, bert, tmp_path, monkeypatch):
    out, model = tuned
    assert {p.name for p in (out / "language").iterdir()} == {"config.json", "model.safetensors", "vocab.txt"}
    assert not [p for p in out.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".ckpt")]
    shutil.copytree(out, tmp_path / "moved")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    predictor = Predictor(tmp_path / "moved")
    assert predictor.predict(corpus) == predict(model, corpus)
    assert predictor.predict(corpus["test"]) == predict(model, corpus)
    write_store(corpus, tmp_path / "store")
    assert predictor.predict(tmp_path / "store") == predict(model, corpus)
    assert evaluate(predictor.model, corpus, draws=2) == evaluate(model, corpus, draws=2)
    test = corpus["test"]
    silent = replace(test, features={k: test.features[k] for k in ("vision", "audio")}, tokens=None)
    assert {row["available"] for row in predictor.predict(silent)} == {"vision+audio"}


def test_saving_elsewhere_takes_it_along(corpus, tuned, tmp_path):
    _, model = tuned
    for _ in range(2):  # over itself too
        model.save_pretrained(tmp_path / "copy")
    again = Model.from_pretrained(tmp_path / "copy")
    assert predict(again, corpus) == predict(model, corpus)
    shutil.rmtree(tmp_path / "copy" / "language")
    with pytest.raises(ImderError, match="the folder 'language', which holds the model's language encoder, is missing"):
        Model.from_pretrained(tmp_path / "copy")


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_its_files_get_the_permissions_that_the_umask_leaves(bert, tmp_path, umask):
    before = os.umask(umask)
    try:
        for _ in range(2):  # over itself too
            LanguageEncoder(bert).save(tmp_path / "model" / "language")
    finally:
        os.umask(before)
    folder = tmp_path / "model" / "language"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "vocab.txt"} <= modes.keys()
    assert set(modes.values()) == {0o666 & ~umask}
    assert [path.name for path in folder.parent.iterdir()] == ["language"]


class Stop(L.Callback):
    def __init__(self, phase, epoch):
        self.where = (phase, epoch)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (pl_module.phase, trainer.current_epoch, batch_idx) == (*self.where, 1):
            raise KeyboardInterrupt


@pytest.mark.parametrize("where", [("stage1", 1), ("score", 0)])
def test_resuming_gives_the_same(corpus, tuned, bert, tmp_path, where):
    out, _ = tuned
    config = config_of(bert, "fast", FAST, learning_rate=1e-3)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[Stop(*where)])
    assert (tmp_path / "run" / "language").exists() == (where[0] != "stage1")
    with pytest.raises(ImderError, match="there are no token ids"):
        train(without_tokens(corpus), tmp_path / "run", resume=True, engine=CPU)
    train(corpus, tmp_path / "run", resume=True, engine=CPU)
    assert not changed(weights(out), weights(tmp_path / "run"))
    assert not changed(weights(out / "language"), weights(tmp_path / "run" / "language"))
    train(corpus, tmp_path / "run", resume=True, engine=CPU)


def test_another_run_s_stage_1_comes_with_its_encoder(corpus, tuned, bert, tmp_path):
    out, _ = tuned
    config = config_of(bert, "late-fusion", LATE)
    model = train(corpus, tmp_path / "run", config=config, stage1=out, engine=CPU)
    assert not changed(weights(out / "language"), weights(tmp_path / "run" / "language"))
    assert len(predict(model, corpus)) == len(corpus["test"])
    with pytest.raises(ImderError, match="its stage 1 belongs to a language encoder; add --language-encoder"):
        train(corpus, tmp_path / "a", config=load_config("late-fusion", overrides=LATE), stage1=out, engine=CPU)
    train(corpus, tmp_path / "plain", config=load_config("late-fusion", overrides=LATE), engine=CPU)
    with pytest.raises(ImderError, match="its stage 1 has no language encoder; leave --language-encoder out"):
        train(corpus, tmp_path / "a", config=config, stage1=tmp_path / "plain", engine=CPU)
    assert not (tmp_path / "a").exists()


def test_the_commands(corpus, bert, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_store(corpus, "store")
    small = [
        "--preset",
        "late-fusion",
        "--model.encoder.width",
        "4",
        "--max-epochs",
        "2",
        "--engine.accelerator",
        "cpu",
    ]
    encoder = ["--language-encoder", str(bert), "--training.language_encoder.frozen_layers", "1"]
    assert main(["train", "store", "--out", "run", *small, *encoder]) == 0
    assert main(["train", "store", "--resume", "run"]) == 0
    assert main(["evaluate", "run", "store", "--protocol", "fixed"]) == 0
    assert main(["predict", "run", "store", "--out", "predictions.csv"]) == 0
    write_store(without_tokens(corpus), "bare")
    capsys.readouterr()
    for words in (
        ["train", "bare", "--out", "other", *small, *encoder],
        ["predict", "run", "bare", "--out", "other"],
        ["evaluate", "run", "bare", "--out", "other"],
    ):
        assert main(words) == 2
        message = capsys.readouterr().err
        assert "language: there are no token ids; a language encoder needs them: use a corpus with the" in message
        assert message.count("\n") == 1
    assert main(["train", "store", "--resume", "run", "--language-encoder", str(bert)]) == 2
    assert "leave out --language-encoder" in capsys.readouterr().err
    assert not Path("other").exists()
