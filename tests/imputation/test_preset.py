"""The preset `imputer` behind everything that users call."""

import numpy as np
import pytest

import imder
from command_line import imder_
from imder.imputation import pooled, pooled_sizes


@pytest.fixture(scope="module")
def trained(corpora, tmp_path_factory):
    """Short trainings: of classes, and without labels."""
    folder = tmp_path_factory.mktemp("preset")
    corpus = corpora["classification"]
    options = {"preset": "imputer", "max_epochs": 1, "logger": False}
    imder.train(corpus, folder / "classes", **options)
    imder.train(corpus, folder / "none", task="none", **options)
    return folder


@pytest.mark.parametrize("run", ["classes", "none"])
def test_draws_are_those_of_the_sample_whatever_the_batch(run, trained, corpora):
    corpus = corpora["classification"]
    whole = imder.impute(trained / run, corpus, draws=3, available=imder.RandomMissing(0.4))
    one = imder.impute(trained / run, corpus, draws=3, available=imder.RandomMissing(0.4), batch_size=4)
    for name, draws in whole.drawn.items():
        for a, b in zip(draws, one.drawn[name], strict=True):
            np.testing.assert_array_equal(a.lengths, b.lengths)
            np.testing.assert_allclose(a.values, b.values, rtol=1e-3, atol=1e-3)
    labels = [split.labels for split in whole]
    assert all((y == corpus["test"].labels).all() for y in labels)
    assert whole.drawn["vision"][0].lengths.min() >= 1
    assert (whole.drawn["audio"][0].lengths == 1).all()


@pytest.mark.parametrize("run", ["classes", "none"])
def test_a_clip_with_nothing_available_is_drawn_too(run, trained, corpora):
    split = corpora["classification"]["test"]
    alone = imder.Split(split.ids, split.features)  # without dialogues
    imputed = imder.impute(trained / run, alone, draws=4, available="vision")
    assert (~split.present[:, 1]).any()
    for filled in imputed:
        assert filled.present.all()


def test_on_the_command_line(trained, corpora, tmp_path):
    corpora["classification"].save(tmp_path / "corpus")
    words = ["impute", trained / "none", tmp_path / "corpus", "--out", tmp_path / "out", "--draws", 2]
    assert imder_(*words, "--format", "npz") == 0
    loaded = imder.load_corpus(tmp_path / "out" / "draw-01", task="classification")
    assert loaded["test"].present.all()
    assert loaded.spec.classes == corpora["classification"].spec.classes


@pytest.mark.parametrize("labelled", [False, True])
def test_blocks_of_columns(labelled):
    corpus = imder.KnownTruth.standard().corpus(60, 20, 20)
    x = pooled(corpus["train"])
    imputer = imder.MissingModalityImputer(pooled_sizes(corpus.spec), draws=4, max_epochs=1)
    imputer.fit(x, corpus["train"].labels if labelled else None)
    assert imputer.model_.spec.task == ("regression" if labelled else "none")
    holed = pooled(corpus["test"])
    holed[::2, : pooled_sizes(corpus.spec)[0]] = np.nan
    holed[3] = np.nan
    kept = ~np.isnan(holed)
    draws = imputer.sample_posterior(holed)
    assert np.isfinite(draws).all()
    assert (draws[:, kept] == holed[kept]).all()


def test_labels_of_clips_with_nothing_available_are_drawn_as_in_training():
    import torch

    from imder.models.imputer.labels import LabelDesign
    from imder.types import Modality, Output, Spec

    modalities = (Modality("audio", 1, 1), Modality("vision", 1, 1))
    available = torch.tensor([[False, False]] * 2000 + [[True, False]])
    keys = torch.arange(2001)
    classes = LabelDesign(Spec(modalities, "classification", ("a", "b")))
    classes.fit([torch.tensor([0, 1, 1, 1, -1])])
    sure = torch.tensor([1.0, 0.0]).expand(1, 2001, 2)
    drawn = classes.draw(Output(sure[0], sure), available, keys, 2, 0, None)
    assert drawn[:, :2000, 1].mean() == pytest.approx(0.75, abs=0.03)
    assert (drawn[:, 2000, 1] == 0).all()
    numbers = LabelDesign(Spec(modalities))
    numbers.fit([torch.tensor([-1.0, 0.0, 1.0, 2.0, float("nan")])])
    zero = torch.zeros(1, 2001)
    values = numbers.draw(Output(zero[0], zero), available, keys, 2, 0, None)[..., 0] * numbers.scale + numbers.mean
    assert sorted(set(values[:, :2000].round().unique().tolist())) == [-1, 0, 1, 2]
    assert values[:, :2000].mean() == pytest.approx(0.5, abs=0.1)
    assert values[:, 2000].tolist() == [0, 0]
