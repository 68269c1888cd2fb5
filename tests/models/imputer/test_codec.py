"""Feature codec: round trips, statistics of decoded draws, kinds of features, and independence from the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from imder.data.split import Ragged
from imder.diffusion.noise import KeyedNoise
from imder.models.imputer.codec import CodecConfig, FeatureCodec
from imder.models.imputer.residual import time_moments
from imder.synthetic.known_truth import KnownTruth
from imder.types import ImderError, Modality


def fitted(clips: list[np.ndarray], length: int | None = None, config: CodecConfig | None = None) -> FeatureCodec:
    dim = clips[0].shape[1]
    longest = max(len(clip) for clip in clips) if length is None else length
    codec = FeatureCodec(Modality("audio", dim, longest), config or CodecConfig())
    codec.fit(Ragged.from_list([clip.astype(np.float32) for clip in clips], dim), seed=0)
    return codec


def padded(clips: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    tensors = [torch.from_numpy(clip.astype(np.float32)) for clip in clips]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), torch.tensor([len(clip) for clip in clips])


def noise_of(rows: int, seed: int = 0) -> KeyedNoise:
    return KeyedNoise(torch.arange(rows), seed)


def round_trip(codec: FeatureCodec, clips: list[np.ndarray], seed: int = 0) -> tuple[Tensor, Tensor]:
    codes = codec.encode(*padded(clips))
    assert codes.dtype == torch.float32
    assert codes.shape == (len(clips), codec.width)
    assert codes.isfinite().all()
    return codec.decode(codes, noise_of(len(clips), seed))


def walks(n: int, dim: int, rng: np.random.Generator, shortest: int = 5, longest: int = 30) -> list[np.ndarray]:
    """Clips with levels, loudness and smoothness of their own."""
    clips = []
    for length in rng.integers(shortest, longest + 1, n):
        e, rho = rng.standard_normal((length, dim)), rng.uniform(0, 0.8, dim)
        for t in range(1, length):
            e[t] = rho * e[t - 1] + np.sqrt(1 - rho**2) * e[t]
        clips.append(rng.standard_normal(dim) + np.exp(0.5 * rng.standard_normal(dim)) * e)
    return clips


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return walks(200, 3, np.random.default_rng(0))


def test_vectors_of_continuous_features_come_back_exactly() -> None:
    x = [row[None] for row in np.random.default_rng(0).standard_normal((50, 6)) * 100 + 7]
    features, lengths = round_trip(fitted(x), x)
    torch.testing.assert_close(features, padded(x)[0], rtol=1e-5, atol=1e-4)
    assert lengths.tolist() == [1] * 50


def test_columns_of_the_code_are_standardised(clips: list[np.ndarray]) -> None:
    codes = fitted(clips).encode(*padded(clips)).double()
    assert codes.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(codes.std(0, unbiased=False), torch.ones(codes.shape[1]).double(), rtol=1e-3, atol=1e-3)


def test_decoded_clips_have_the_mean_and_deviation_of_their_clip(clips: list[np.ndarray]) -> None:
    x, lengths = padded(clips)
    codec = fitted(clips)
    decoded, decoded_lengths = round_trip(codec, clips)
    assert torch.equal(decoded_lengths, lengths)
    inside = (decoded > codec.marginals.low) & (decoded < codec.marginals.high)
    mask = torch.arange(x.shape[1])[None] < lengths[:, None]
    unlimited = (inside | ~mask[..., None]).all(1)
    assert unlimited.float().mean() > 0.9
    mean = [torch.stack([c[:n].mean(0) for c, n in zip(each, lengths, strict=True)]) for each in (x, decoded)]
    torch.testing.assert_close(mean[0][unlimited], mean[1][unlimited], rtol=1e-3, atol=1e-3)
    variance, rough = zip(*(time_moments(each, lengths) for each in (x, decoded)), strict=True)
    torch.testing.assert_close(variance[0][unlimited], variance[1][unlimited], rtol=0.03, atol=0.03)
    assert rough[1].mean() == pytest.approx(float(rough[0].mean()), rel=0.05)


def test_a_row_does_not_depend_on_its_batch(clips: list[np.ndarray]) -> None:
    codec = fitted(clips)
    codes = codec.encode(*padded(clips))
    rows = torch.tensor([5, 17, 3])
    alone = codec.encode(*padded([clips[int(row)] for row in rows]))
    torch.testing.assert_close(alone, codes[rows], rtol=1e-4, atol=1e-4)
    whole, lengths = codec.decode(codes, noise_of(len(codes)))
    part, part_lengths = codec.decode(codes[rows], KeyedNoise(rows, 0))
    assert torch.equal(part_lengths, lengths[rows])
    torch.testing.assert_close(part, whole[rows, : part.shape[1]], rtol=1e-4, atol=1e-3)
    assert not whole[rows, part.shape[1] :].any()


def test_draws_of_one_code_differ_in_noise_alone(clips: list[np.ndarray]) -> None:
    codec = fitted(clips)
    codes = codec.encode(*padded(clips[:4]))
    first, again, other = (codec.decode(codes, noise_of(4, seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_given_lengths_are_kept(clips: list[np.ndarray]) -> None:
    codec = fitted(clips)
    features, lengths = codec.decode(torch.randn(3, codec.width), noise_of(3), torch.tensor([2, 40, 1]))
    assert lengths.tolist() == [2, 40, 1]
    assert features.shape == (3, 40, 3)
    assert features.isfinite().all()
    assert not features[0, 2:].any()


def test_a_saved_state_loads_into_a_codec_that_was_never_fitted(clips: list[np.ndarray]) -> None:
    codec = fitted(clips)
    fresh = FeatureCodec(Modality("audio", 3, 30), CodecConfig())
    fresh.load_state_dict(codec.state_dict())
    codes = codec.encode(*padded(clips))
    assert torch.equal(fresh.encode(*padded(clips)), codes)
    assert torch.equal(fresh.decode(codes, noise_of(200))[0], codec.decode(codes, noise_of(200))[0])


@pytest.mark.parametrize("length", [1, 9])
def test_without_training_clips_codes_and_draws_are_zero(length: int) -> None:
    codec = FeatureCodec(Modality("audio", 4, length), CodecConfig())
    codec.fit(Ragged.from_list([np.zeros((0, 4), np.float32)] * 3, 4), seed=0)
    assert not codec.encode(torch.randn(2, length, 4), torch.tensor([length, 0])).any()
    features, lengths = codec.decode(torch.randn(2, codec.width), noise_of(2))
    assert lengths.tolist() == [1, 1]
    assert features.shape == (2, 1, 4)
    assert not features.any()


@pytest.mark.parametrize(
    "x",
    [
        np.ones((1, 1, 1)),
        np.ones((5, 7, 2)),
        np.arange(3.0).reshape(3, 1, 1),
        np.random.default_rng(0).standard_normal((2, 3, 1)) * 1e30,
        np.random.default_rng(0).standard_normal((4, 20, 5)) * 3e37,
        np.random.default_rng(0).standard_normal((1, 12, 4)),
        np.random.default_rng(0).standard_normal((6, 2, 90)),
    ],
)
@pytest.mark.parametrize("longest", [1, 25])
def test_degenerate_clips_give_finite_draws_within_the_training_range(x: np.ndarray, longest: int) -> None:
    clips = [clip[:longest] for clip in x]
    codec = fitted(clips, longest)
    round_trip(codec, clips)
    features, lengths = codec.decode(3 * torch.randn(8, codec.width), noise_of(8))
    frames = np.concatenate(clips).astype(np.float32)
    for clip, n in zip(features, lengths, strict=True):
        assert clip.isfinite().all()
        assert (clip[:n].numpy() >= frames.min(0)).all()
        assert (clip[:n].numpy() <= frames.max(0)).all()


def test_settings_are_checked() -> None:
    with pytest.raises(ImderError, match=r"model\.codec\.knots: expected a whole number, at least 1, got 0"):
        CodecConfig(knots=0)


@pytest.mark.parametrize("name", ["language", "audio"])
def test_decoded_clips_of_the_known_truth_have_its_variance_and_autocorrelation(name: str) -> None:
    truth = KnownTruth.standard()
    train, test = (truth.sample(1000, seed).features[name] for seed in (1, 2))
    codec = FeatureCodec(Modality(name, train.dim, int(train.lengths.max())), CodecConfig())
    codec.fit(train, seed=0)
    clips = [test[i] for i in range(len(test))]
    x, lengths = padded(clips)
    decoded, _ = codec.decode(codec.encode(x, lengths), noise_of(len(clips)), lengths)
    variance, lagged = zip(*(pooled_moments(each, lengths) for each in (x, decoded)), strict=True)
    torch.testing.assert_close(variance[0], variance[1], rtol=0.03, atol=0)
    torch.testing.assert_close(lagged[0] / variance[0], lagged[1] / variance[1], rtol=0.03, atol=0.01)


def pooled_moments(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and lag-1 autocovariance of each feature over all clips and frames."""
    mask = (torch.arange(x.shape[1])[None] < lengths[:, None])[..., None]
    mean = (x * mask).sum((0, 1)) / mask.sum()
    centred = (x - mean) * mask
    lagged = (centred[:, 1:] * centred[:, :-1]).sum((0, 1)) / mask[:, 1:].sum()
    return centred.square().sum((0, 1)) / mask.sum(), lagged


def test_wide_vectors_keep_their_variance_through_few_components() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 40)) + 0.5 * rng.standard_normal((400, 40))
    clips = [row[None] for row in x]
    codec = fitted(clips, config=CodecConfig(max_width=3))
    assert codec.width == 3
    decoded, _ = round_trip(codec, clips)
    np.testing.assert_allclose(decoded[:, 0].numpy().var(0), x.var(0), rtol=0.15)
    assert np.corrcoef(decoded[:, 0].numpy().ravel(), x.ravel())[0, 1] > 0.9
    np.testing.assert_allclose(np.cov(decoded[:, 0].numpy().T), np.cov(x.T), atol=0.6)


def test_lengths_of_normal_codes_have_the_training_distribution(clips: list[np.ndarray]) -> None:
    codec = fitted(clips)
    codes = torch.randn(4000, codec.width, generator=torch.Generator().manual_seed(0))
    _, lengths = codec.decode(codes, noise_of(4000))
    trained = np.array([len(clip) for clip in clips])
    assert np.isin(lengths.numpy(), trained).all()
    np.testing.assert_allclose(np.quantile(lengths, [0.1, 0.5, 0.9]), np.quantile(trained, [0.1, 0.5, 0.9]), atol=1)


def test_absent_rows_have_code_0_and_padding_has_no_effect(clips: list[np.ndarray]) -> None:
    codec = fitted(clips)
    x, lengths = padded(clips[:3])
    codes = codec.encode(x, lengths)
    spoilt = torch.nn.functional.pad(x, (0, 0, 0, 4), value=float("nan"))
    spoilt[1] = float("nan")
    spoilt_codes = codec.encode(spoilt, lengths * torch.tensor([1, 0, 1]))
    assert not spoilt_codes[1].any()
    torch.testing.assert_close(spoilt_codes[[0, 2]], codes[[0, 2]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_codes_and_clips_do_not_depend_on_the_batch(length: int) -> None:
    """Clips of few frames vary in few directions; what is left over is rounding, which no code may magnify."""
    rng = np.random.default_rng(length)
    clips = [1000 + rng.standard_normal((int(rng.integers(1, length + 1)), 17)) for _ in range(60)]
    codec = fitted(clips[:50], length)
    features, lengths = padded([*clips[40:], 1e8 * clips[0], -1e8 * clips[1]])
    codes = codec.encode(features, lengths)
    assert codes.abs().max() < 1000
    clip, frames = codec.decode(codes, noise_of(len(codes)), lengths)
    for i, n in enumerate(lengths.tolist()):
        alone = codec.encode(features[i : i + 1, :n], lengths[i : i + 1])
        torch.testing.assert_close(alone[0], codes[i], rtol=1e-4, atol=1e-3)
        noise = KeyedNoise(torch.tensor([i]), 0)
        torch.testing.assert_close(
            codec.decode(codes[i : i + 1], noise, frames[i : i + 1])[0][0, :n], clip[i, :n], rtol=1e-3, atol=1e-2
        )


@pytest.mark.parametrize("length", [1, 30])
def test_no_rows_decode_to_no_clips(clips: list[np.ndarray], length: int) -> None:
    codec = fitted([clip[:length] for clip in clips], length)
    features, lengths = codec.decode(torch.zeros(0, codec.width), noise_of(0))
    assert features.shape == (0, 1, 3)
    assert lengths.shape == (0,)
    assert codec.encode(torch.zeros(0, 5, 3), lengths).shape == (0, codec.width)


def test_vectors_with_atoms_come_back_through_the_standardised_code() -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.random((500, 20)) < rng.uniform(0, 0.95, 20), 0, 0.2 + rng.exponential(1, (500, 20)))
    clips = [row[None] for row in x]
    decoded, _ = round_trip(fitted(clips), clips)
    torch.testing.assert_close(decoded, padded(clips)[0], rtol=1e-4, atol=1e-4)
