"""The residual denoiser: at first exactly that of a standard normal code."""

from functools import partial

import pytest
import torch

from imder.diffusion import KeyedNoise, VESchedule, edm_denoiser
from imder.diffusion.sample import sample
from imder.models.imputer.clustered_mean import clustered_mean
from imder.models.imputer.denoiser import DenoiserConfig, ResidualDenoiser
from imder.types import ImderError


def test_it_starts_as_the_exact_denoiser_of_a_standard_normal() -> None:
    network = ResidualDenoiser(5, 3, DenoiserConfig(hidden=16)).eval()
    denoise = edm_denoiser(partial(network, condition=network.condition(torch.randn(4, 3))))
    x, sigma = torch.randn(4, 5), torch.tensor(2.0)
    assert torch.allclose(denoise(x, sigma), x / 5)


def test_its_first_draws_are_standard_normal() -> None:
    network = ResidualDenoiser(3, 2, DenoiserConfig(hidden=16)).eval()
    keys = torch.arange(20_000)
    with torch.no_grad():
        denoise = edm_denoiser(partial(network, condition=network.condition(torch.zeros(len(keys), 2))))
        drawn = sample(denoise, (len(keys), 3), KeyedNoise(keys, 0), VESchedule(25.0), "dpmpp_2m", 16)
    assert torch.allclose(drawn.mean(0), torch.zeros(3), atol=0.03)
    assert torch.allclose(drawn.std(0), torch.ones(3), atol=0.03)


def test_repeated_values_of_a_clip_add_no_certainty() -> None:
    values, keys = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.arange(50)
    once = clustered_mean(values, keys)
    assert once == pytest.approx((float(values.mean()), float(values.std()) / 50**0.5), rel=1e-5)
    order = torch.randperm(150)
    assert clustered_mean(values.repeat(3)[order], keys.repeat(3)[order]) == pytest.approx(once, rel=1e-5)
    assert clustered_mean(values[:3], torch.zeros(3, dtype=torch.int64))[1] == float("inf")


def test_an_odd_embedding_is_refused() -> None:
    with pytest.raises(ImderError, match="even"):
        ResidualDenoiser(3, 2, DenoiserConfig(embedding=7))
