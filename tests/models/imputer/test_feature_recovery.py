"""Draws of features: independent of the label's noise and of the batch, with lengths that fit the available modalities."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import imder
from imder.data.loader import available_loader, collate
from imder.diffusion import KeyedNoise
from imder.models.imputer import feature_recovery
from imder.models.imputer.config import ImputerConfig
from imder.models.imputer.imputer import Imputer
from imder.models.imputer.joint_gaussian import JointGaussian
from imder.types import Batch


def fitted(data: imder.Corpus, config: ImputerConfig | None = None) -> Imputer:
    """An imputer with codecs and the Gaussian of a corpus, whose networks never learned."""
    model = Imputer(data.spec, config or ImputerConfig(label=False))
    train = data["train"]
    model.on_phase_start("imputation", available_loader(train, train.present, 256), seed=0)
    return model


def masked(data: imder.Corpus, available: list[list[bool]]) -> Batch:
    """The first clips of a corpus under some masks."""
    return collate(data["train"], np.arange(len(available)), np.array(available))


@pytest.fixture(scope="module")
def aligned() -> imder.Corpus:
    """Sequences of three modalities, those of a clip equally long."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 12, 200)
    clips = {name: [rng.standard_normal((n, d)) for n in lengths] for name, d in {"a": 2, "b": 3, "c": 1}.items()}
    return imder.Corpus.from_arrays({"train": clips}, task="none")


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """All normal draws of a test, in order."""
    draws: list[torch.Tensor] = []
    normal = KeyedNoise.normal
    monkeypatch.setattr(KeyedNoise, "normal", lambda *args: draws.append(normal(*args)) or draws[-1])
    return draws


def vectors(labels: bool) -> imder.Corpus:
    """Two modalities of independent vectors."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((64, 1, 2)).astype(np.float32) for name in ("a", "b")}
    if not labels:
        return imder.Corpus.from_arrays({"train": arrays}, task="none")
    return imder.Corpus.from_arrays({"train": arrays | {"labels": np.arange(64) % 2}}, task="classification")


def test_noise_does_not_depend_on_the_label(noise: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    data, labels = vectors(labels=True), []
    model = fitted(data, ImputerConfig())
    draw = model.labels.draw
    monkeypatch.setattr(model.labels, "draw", lambda *args: labels.append(draw(*args)) or labels[-1])
    batch = masked(data, [[False, True]]).take(torch.zeros(8000, dtype=torch.int64))
    noise.clear()
    model.impute(replace(batch, keys=torch.arange(8000) * 0x9E3779B97F4A7C1), draws=1)
    for label in (0, 1):
        assert float(noise[0][labels[0][0, :, label] == 1].std()) == pytest.approx(1, abs=0.05)


def test_no_noise_of_one_seed_comes_again_with_another(noise: list[torch.Tensor]) -> None:
    data = vectors(labels=False)
    model, batch = fitted(data), masked(data, [[False, True]] * 20)
    noise.clear()
    for seed in range(4):
        model.impute(batch, 4, seed)
    pairs = torch.cat([draws[:, :2] for draws in noise]).abs()  # opposite noise comes in pairs
    assert len(pairs) == 4 * 2 * 80
    assert len(pairs.unique(dim=0)) == len(pairs) / 2


def test_lengths_are_those_of_an_equally_long_modality_whatever_the_batch(aligned: imder.Corpus) -> None:
    model = fitted(aligned)
    batch = masked(aligned, [[False, True, True], [False, True, False], [False, False, True], [True, False, False]])
    drawn = model.impute(batch, 3)
    for i, name in enumerate("abc"):
        for row, lengths in zip(drawn[name].rows.tolist(), drawn[name].lengths.T, strict=True):
            assert not batch.available[row, i]
            assert lengths.tolist() == [aligned["train"].features["a"].lengths[row]] * 3
    alone = model.impute(batch.take(torch.tensor([1])), 3)
    together = drawn["a"].features[:, 1, : alone["a"].features.shape[2]]
    torch.testing.assert_close(alone["a"].features[:, 0], together, rtol=1e-4, atol=1e-4)


def test_drawn_lengths_of_aligned_modalities_agree(aligned: imder.Corpus) -> None:
    model = fitted(aligned)
    drawn = model.impute(masked(aligned, [[False, False, False]] * 30), 4)
    assert len(drawn["a"].lengths.unique()) > 3
    assert torch.equal(drawn["a"].lengths, drawn["b"].lengths)
    assert torch.equal(drawn["a"].lengths, drawn["c"].lengths)


def test_rows_decoded_in_parts_are_those_decoded_at_once(
    aligned: imder.Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = fitted(aligned), masked(aligned, [[False, True, True]] * 9 + [[False, False, False]] * 2)
    whole = model.impute(batch, 3)
    monkeypatch.setattr(feature_recovery, "DECODED", 70)  # two rows of the longest
    parts = model.impute(batch, 3)
    for name, drawn in whole.items():
        assert torch.equal(drawn.lengths, parts[name].lengths)
        torch.testing.assert_close(drawn.features, parts[name].features, rtol=1e-4, atol=1e-4)


def test_conditionals_follow_their_gaussian_to_another_device() -> None:
    gaussian = JointGaussian({"a": 2, "b": 3}, labels=0, context=False, factors=3)
    assert gaussian.conditional(0, 0b10).coef.device.type == "cpu"
    assert gaussian.to("meta").conditional(0, 0b10).coef.device.type == "meta"
