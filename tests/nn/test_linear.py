"""The linear map of inference equals torch's, and has a gradient where one is needed."""

import pytest
import torch
import torch.nn.functional as F

from imder.nn.linear import linear


@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (2, 7, 5), (0, 5)])
@pytest.mark.parametrize("relu", [False, True])
def test_it_is_the_formula(shape, relu):
    generator = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(s, generator=generator, dtype=torch.float64) for s in (shape, (4, 5), (4,)))
    exact = F.relu(F.linear(x, w, b)) if relu else F.linear(x, w, b)
    with torch.no_grad():
        assert torch.equal(linear(x, w, b, relu=relu), exact)
        torch.testing.assert_close(linear(x.float(), w.float(), b.float(), relu=relu), exact.float())
        torch.testing.assert_close(linear(x.float().mT.contiguous().mT, w.float(), b.float(), relu=relu), exact.float())


def test_gradients_are_torchs():
    x, w, b = torch.randn(3, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True), torch.zeros(4)
    linear(x, w, b, relu=True).sum().backward()
    kept = (F.linear(x, w, b) > 0).float().detach()
    torch.testing.assert_close(x.grad, kept @ w.detach())
    torch.testing.assert_close(w.grad, kept.T @ x.detach())
