"""A corpus, and systems that impute it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import imder
from imder.data.corpus import Corpus, Ragged, spec_of
from linear_imputer import register


def rich(task="regression", absent=True):
    """A small known-truth corpus with every column, language in half precision, audio of one frame, and absent cells."""
    made = imder.KnownTruth.standard().corpus(40, 20, 20, task=task)
    rng = np.random.default_rng(0)
    splits = {}
    for name, split in made.splits.items():
        features = dict(split.features)
        n = len(split)
        audio = features["audio"]
        features["audio"] = Ragged(np.stack([audio[i].mean(0) for i in range(n)]), np.arange(n + 1))
        language = features["language"]
        features["language"] = Ragged(language.values.astype(np.float16), language.offsets)
        if absent:
            lacking = rng.random((n, 3)) < 0.25
            lacking[lacking.all(1), 0] = False
            for k, (key, ragged) in enumerate(features.items()):
                rows = [ragged[i][: 0 if lacking[i, k] else None] for i in range(n)]
                features[key] = Ragged.from_list(rows, ragged.dim)
        labels = split.labels.copy()
        labels[0] = np.nan if task == "regression" else -1
        tokens = Ragged.from_list(
            [np.arange(1 + i % 3)[:, None] * (features["language"].lengths[i] > 0) + 5 for i in range(n)], 1
        )
        lengths = np.where(features["language"].lengths > 0, tokens.lengths, 0)
        tokens = Ragged.from_list([tokens[i][: lengths[i]] for i in range(n)], 1)
        splits[name] = replace(
            split,
            features=features,
            labels=labels,
            texts=tuple(f"clip {i}, schön" for i in range(n)),
            dialogue=tuple(f"d{i // 4}" for i in range(n)),
            position=np.arange(n) * 3,
            speaker=tuple(f"s{i % 3}" for i in range(n)),
            tokens=tokens,
        )
    return Corpus("rich", spec_of(splits, task, made.spec.classes), splits)


@pytest.fixture(scope="session")
def corpora():
    """Corpora with absent modalities, by task."""
    return {task: rich(task) for task in ("regression", "classification")}


@pytest.fixture(scope="session")
def runs(corpora, tmp_path_factory):
    """Trained runs, by task."""
    folder = tmp_path_factory.mktemp("imputers")
    with pytest.MonkeyPatch.context() as patch:
        preset = register(patch)
        for task, corpus in corpora.items():
            imder.train(corpus, folder / task, preset=preset, logger=False)
    return {task: folder / task for task in corpora}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The small system is known by name in every test."""
    return register(monkeypatch)
