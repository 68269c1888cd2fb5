"""The system: draws of raw features from an exactly linear-Gaussian corpus, labels or none, and what users may rely on."""

from pathlib import Path

import numpy as np
import pytest
import torch

import imder
from imder.data.loader import collate
from imder.models.imputer.imputer import Imputer
from imder.types import Batch, ImderError

UNLABELLED = {"model.network.hidden": 32, "training.imputation.max_epochs": 3}
SHORT = UNLABELLED | {"model.members": 2, "training.stage1.max_epochs": 2}


def corpus(n: int = 400, labelled: bool = True) -> imder.Corpus:
    """Vision is twice audio plus noise; the class shifts both."""
    rng = np.random.default_rng(0)
    splits = {}
    for name, size in {"train": n, "valid": 100, "test": 60}.items():
        label = rng.integers(0, 2, size)
        audio = rng.standard_normal((size, 1, 3)) + label[:, None, None]
        vision = 2 * audio[:, :, :2] + 0.5 * rng.standard_normal((size, 1, 2)) + 5
        splits[name] = {"audio": audio.astype(np.float32), "vision": vision.astype(np.float32)}
        splits[name] |= {"labels": label} if labelled else {}
    return imder.Corpus.from_arrays(splits, task="classification" if labelled else "none", name="pairs")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[imder.Corpus, Imputer]:
    """An imputer of the labelled corpus."""
    data = corpus()
    model = imder.train(data, tmp_path_factory.mktemp("imputer") / "run", preset="imputer", overrides=SHORT)
    assert isinstance(model, Imputer)
    return data, model


def without(data: imder.Corpus, missing: str) -> Batch:
    """The test split without one modality."""
    split = data["test"]
    available = np.ones((len(split), 2), dtype=bool)
    available[:, data.spec.names.index(missing)] = False
    return collate(split, np.arange(len(split)), available)


def test_draws_have_the_conditional_mean_and_deviation(trained: tuple[imder.Corpus, Imputer]) -> None:
    data, model = trained
    drawn = model.impute(without(data, "vision"), draws=64)["vision"]
    audio = torch.from_numpy(np.stack([data["test"].features["audio"][i] for i in range(60)]))
    assert drawn.features.shape == (64, 60, 1, 2)
    error = drawn.features.mean(0) - (2 * audio[:, :, :2] + 5)
    assert float(error.square().mean().sqrt()) < 0.25
    assert abs(float(drawn.features.std(0).mean()) - 0.5) < 0.15


def test_draws_depend_on_seed_and_key_not_on_the_batch(trained: tuple[imder.Corpus, Imputer]) -> None:
    data, model = trained
    batch, rows = without(data, "vision"), torch.tensor([41, 3, 17])
    everything, some = model.impute(batch, 4, seed=5)["vision"], model.impute(batch.take(rows), 4, seed=5)["vision"]
    assert torch.allclose(everything.features[:, rows], some.features, atol=1e-4)
    assert not torch.allclose(everything.features, model.impute(batch, 4, seed=6)["vision"].features)


def test_only_missing_modalities_are_drawn(trained: tuple[imder.Corpus, Imputer]) -> None:
    data, model = trained
    batch = without(data, "vision")
    batch.available[:10] = True
    drawn = model.impute(batch, 2)
    assert set(drawn) == {"vision"}
    assert drawn["vision"].rows.tolist() == list(range(10, 60))


def test_features_of_missing_modalities_are_never_read(trained: tuple[imder.Corpus, Imputer]) -> None:
    data, model = trained
    batch = without(data, "vision")
    before = model.impute(batch, 2)["vision"].features
    batch.features["vision"].fill_(torch.nan)
    assert torch.equal(before, model.impute(batch, 2)["vision"].features)


def test_saved_and_loaded_draws_are_the_same(trained: tuple[imder.Corpus, Imputer], tmp_path: Path) -> None:
    data, model = trained
    model.save_pretrained(tmp_path)
    loaded = Imputer.from_pretrained(tmp_path)
    batch = without(data, "audio")
    assert torch.equal(model.impute(batch, 3)["audio"].features, loaded.impute(batch, 3)["audio"].features)


def test_without_labels_it_imputes_and_refuses_to_predict(tmp_path: Path) -> None:
    data = corpus(labelled=False)
    model = imder.train(data, tmp_path / "run", overrides=UNLABELLED)
    assert isinstance(model, Imputer)
    assert model.predictor is None
    assert model.calibration is None
    assert model.impute(without(data, "vision"), 2)["vision"].features.shape == (2, 60, 1, 2)
    with pytest.raises(ImderError, match="without labels"):
        imder.predict(tmp_path / "run", data, split="test")


def test_a_corpus_with_labels_can_be_read_without_them(tmp_path: Path) -> None:
    model = imder.train(corpus(), tmp_path / "run", task="none", overrides=UNLABELLED)
    assert model.spec.task == "none"
    assert (tmp_path / "run" / "metrics.json").exists()


def test_systems_that_learn_from_labels_refuse_task_none(tmp_path: Path) -> None:
    with pytest.raises(ImderError, match="imder learns from labels"):
        imder.train(corpus(labelled=False), tmp_path / "run", preset="fast")
    assert not (tmp_path / "run").exists()


def test_a_language_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImderError, match="no language encoder"):
        imder.train(corpus(), tmp_path / "run", preset="imputer", language_encoder="somebody/model")


def test_pairs_of_draws_average_closer_to_the_mean(trained: tuple[imder.Corpus, Imputer]) -> None:
    data, model = trained
    batch = without(data, "vision")
    spreads = []
    for antithetic in (True, False):
        model.recovery.antithetic = antithetic
        drawn = model.impute(batch, 64)["vision"].features[:, :, 0]
        pairs = drawn.reshape(32, 2, 60, 2)
        spreads.append((float(pairs.mean(1).var(0).mean()), float(drawn.var(0).mean())))
    model.recovery.antithetic = True
    assert spreads[0][0] < 0.5 * spreads[1][0]
    assert spreads[0][1] == pytest.approx(spreads[1][1], rel=0.15)
