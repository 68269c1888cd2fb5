"""Standardisation: exact statistics in one pass, and columns that only seem to vary."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from imder.nn.standardize import Standardizer


@given(st.lists(st.integers(0, 7), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 1), st.integers(0, 2**16))
def test_chunks_as_scikit_learn(sizes: list[int], seed: int) -> None:
    """However the rows are cut into chunks, mean and deviation are those of all of them."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(3, 2, (sum(sizes), 4)).astype(np.float32)
    ours = Standardizer(4)
    ours.fit(torch.from_numpy(part) for part in np.split(rows, np.cumsum(sizes)[:-1]))
    expected = StandardScaler().fit_transform(rows.astype(np.float64))
    torch.testing.assert_close(ours(torch.from_numpy(rows)).double(), torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


def test_rounding_is_not_a_feature() -> None:
    """A column of half-precision dust beside real ones is only centred, whatever the common unit of all columns."""
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(200, 3, generator=rng)
    dust = (2e-8 * torch.randn(200, 1, generator=rng)).half().float()
    constant = torch.full((200, 1), 0.1)
    assert dust.std() > 0
    for unit in (1e-4, 1.0, 1e4):
        s = Standardizer(5)
        s.fit([unit * torch.cat([real, dust, constant], dim=1)])
        assert s.std[3:].tolist() == [1, 1]
        torch.testing.assert_close(s.std[:3], unit * real.std(0, correction=0))


def test_small_units_are_features() -> None:
    """Columns of very different scales (a rate of .01 beside a coefficient of hundreds) each come out with deviation 1."""
    rng = torch.Generator().manual_seed(1)
    scales = torch.tensor([1e-3, 1.0, 500.0])
    rows = scales * torch.randn(500, 3, generator=rng) + torch.tensor([1.0, 0.0, -300.0])
    s = Standardizer(3)
    s.fit([rows])
    torch.testing.assert_close(s(rows).std(0, correction=0), torch.ones(3), rtol=1e-3, atol=0)


def test_nothing_varies() -> None:
    """Only constant columns: centred, and still finite."""
    s = Standardizer(2)
    s.fit([torch.tensor([[0.0, 5.0]] * 3)])
    assert s(torch.tensor([[0.0, 5.0]])).tolist() == [[0, 0]]
    assert s.std.tolist() == [1, 1]


def test_every_float_is_standardised_to_a_finite_number() -> None:
    largest = torch.finfo(torch.float32).max
    column = torch.tensor([[0.0], [1.0], [1e30], [-largest], [largest], [1e-44]])
    for unit in (1.0, 1e-30, 1e-44, 1e30):
        s = Standardizer(1)
        s.fit([unit * torch.tensor([[1.0], [2.0], [4.0]])])
        assert s(column).isfinite().all()
        assert s.std > 0
