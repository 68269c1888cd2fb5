"""Keyed noise: normal, independent in every direction, and a function of (seed, key) alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from imder.diffusion import KeyedNoise

INT64 = st.integers(-(2**63), 2**63 - 1)


def keys_of(count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, count))


def test_draws_are_standard_normal():
    x = KeyedNoise(keys_of(400), seed=3, dtype=torch.float64).normal((400, 1000)).numpy()
    assert stats.kstest(x.ravel(), "norm").pvalue > 0.01
    n = x.size
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):  # of x^power, standard normal
        assert abs((x**power).mean() - moment) < 4 * np.sqrt(variance / n), power
    rows = [stats.kstest(row, "norm").pvalue for row in x]  # every row by itself: p-values are uniform
    assert stats.kstest(rows, "uniform").pvalue > 0.01


def test_draws_reach_into_the_tails():
    x = KeyedNoise(keys_of(1000), seed=0).normal((1000, 1000))
    for threshold in (3.0, 4.0):
        expected = 2 * stats.norm.sf(threshold) * x.numel()
        assert abs(int((x.abs() > threshold).sum()) - expected) < 5 * np.sqrt(expected)
    assert torch.isfinite(x).all()


def test_uniforms():
    x = KeyedNoise(keys_of(300), seed=1).uniform((300, 200))
    assert stats.kstest(x.numpy().ravel(), "uniform").pvalue > 0.01
    assert x.min() > 0
    assert x.max() <= 1


@pytest.mark.parametrize("keys", [torch.arange(2000), keys_of(2000), torch.arange(2000) * 2**40])
def test_keys_calls_seeds_and_elements_are_independent(keys):
    """Also for keys and seeds that differ in one bit: correlations of values, and of their sizes."""

    def draws(seed):
        noise = KeyedNoise(keys, seed)
        return [noise.normal((2000, 8)) for _ in range(3)]

    variables = []
    for seed in (0, 1, 2, -1):
        for draw in draws(seed):
            variables += [draw[:, 0], draw[:, 1], draw[:, 7], draw[:, 0].roll(1), draw[:, 0].roll(2)]
    for values in (torch.stack(variables), torch.stack(variables).square()):
        correlation = torch.corrcoef(values).fill_diagonal_(0) * np.sqrt(2000)  # standard normal if independent
        assert correlation.abs().max() < 4.8  # 3540 of them


def test_nothing_repeats():
    noise = KeyedNoise(torch.arange(500), seed=0)
    seen = [noise._hash(200) for _ in range(3)]
    seen += [KeyedNoise(torch.arange(500), seed=seed)._hash(200) for seed in (1, 2)]
    hashes = torch.cat([h.flatten() for h in seen])
    assert len(hashes.unique()) == len(hashes)  # 500 000 of 2^64


@given(st.lists(INT64, min_size=1, max_size=6, unique=True), INT64, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_noise_belongs_to_the_key(keys, seed, random):
    """Whatever the order, the company, or the shape of the rest."""

    def draws(keys):
        noise = KeyedNoise(torch.tensor(keys), seed)
        return [noise.normal((len(keys), 3, 5)), noise.uniform((len(keys),)), noise.normal((len(keys), 2))]

    together = draws(keys)
    order = list(range(len(keys)))
    random.shuffle(order)
    for whole, shuffled in zip(together, draws([keys[i] for i in order])):
        assert torch.equal(whole[order], shuffled)
    for i, key in enumerate(keys):
        for whole, alone in zip(together, draws([key])):
            assert torch.equal(whole[i : i + 1], alone)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 7), (3, 2, 5), (3, 0)])
def test_shapes_and_types(shape):
    keys = torch.arange(3)
    assert KeyedNoise(keys, 0).normal(shape).shape == shape
    assert KeyedNoise(keys, 0).normal(shape).dtype == torch.float32
    assert KeyedNoise(keys, 0, torch.float64).normal(shape).dtype == torch.float64
    assert KeyedNoise(keys, 0).uniform(shape).shape == shape


@pytest.mark.parametrize("seed", [0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**80])
def test_any_integer_is_a_seed(seed):
    keys = keys_of(50)
    assert torch.equal(KeyedNoise(keys, seed).normal((50, 4)), KeyedNoise(keys, seed).normal((50, 4)))
    assert not torch.equal(KeyedNoise(keys, seed).normal((50, 4)), KeyedNoise(keys, seed + 1).normal((50, 4)))
