"""Training that is refused or stops: losses that are not finite, existing runs, missing labels."""

from dataclasses import replace

import lightning as L
import numpy as np
import pytest
import torch

from imder.data.corpus import Corpus, Ragged
from imder.synthetic.known_truth import KnownTruth
from imder.training.train import train
from imder.types import ImderError
from small_training import CPU, PHASES, assert_same_end, tiny


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


def test_modalities_that_training_never_sees_are_said(tmp_path, caplog):
    corpus = KnownTruth.standard().corpus(30, 20, 20)
    vision = corpus["train"].features["vision"]
    nothing = Ragged(vision.values[:0], np.zeros(31, np.int64))
    train_split = replace(corpus["train"], features={**corpus["train"].features, "vision": nothing})
    splits = {**corpus.splits, "train": train_split}
    train(replace(corpus, splits=splits), tmp_path / "run", preset="constant", engine=CPU)
    assert "no training sample has vision" in caplog.text
    assert "has audio" not in caplog.text


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
