"""Samples without labels, and training with a share of the labels."""

from dataclasses import replace

import numpy as np
import torch

from imder.data.corpus import Corpus
from imder.models.base import Model
from imder.training.config import PhaseConfig, TrainingConfig
from imder.training.masks import (
    hide_labels,
    training_loader,
)
from imder.training.train import train
from small_training import CPU, tiny


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
