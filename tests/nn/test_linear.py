"""The linear map of inference equals torch's, and has a gradient where one is needed."""

import pytest
import torch
import torch.nn.functional as F

from imder.nn.linear import linear


@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (2, 7, 5), (0, 5)])
def test_it_is_the_formula(shape):
    generator = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(s, generator=generator, dtype=torch.float64) for s in (shape, (4, 5), (4,)))
    exact = F.linear(x, w, b)
    with torch.no_grad():
        assert torch.equal(linear(x, w, b), exact)
        torch.testing.assert_close(linear(x.float(), w.float(), b.float()), exact.float())
        torch.testing.assert_close(linear(x.float().mT.contiguous().mT, w.float(), b.float()), exact.float())


def test_gradients_are_torchs():
    x, w, b = torch.randn(3, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True), torch.zeros(4)
    weights = torch.arange(12.0).reshape(3, 4)
    (weights * linear(x, w, b)).sum().backward()
    torch.testing.assert_close(x.grad, weights @ w.detach())
    torch.testing.assert_close(w.grad, weights.T @ x.detach())


def test_what_is_not_a_number_stays_so():
    """oneDNN's product with a fused ReLU would turn it into 0, and a prediction that means nothing would look finite."""
    with torch.no_grad():
        assert F.relu(linear(torch.full((2, 3), torch.nan), torch.ones(4, 3), None)).isnan().all()
