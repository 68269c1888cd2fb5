"""Layers of several members: one matrix product, against a loop of ordinary layers."""

import pytest
import torch
from torch import nn

from imder.nn.members import MemberLinear


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def separate(layer):
    """An `nn.Linear` for each member, with its weights."""
    out = []
    for i, weight in enumerate(layer.weight):
        single = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None)
        state = {"weight": weight} if layer.bias is None else {"weight": weight, "bias": layer.bias[i]}
        single.load_state_dict(state)
        out.append(single)
    return out


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("members", [1, 4])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_members_are_a_loop_of_linear_layers(members, bias, rows):
    layer = MemberLinear(members, 6, 3, bias=bias)
    x = random(members, rows, 6).requires_grad_()
    out = layer(x)
    assert out.shape == (members, rows, 3)
    weights = random(members, rows, 3, seed=1)
    (out * weights).sum().backward()
    for i, single in enumerate(separate(layer)):
        alone = x.detach()[i].clone().requires_grad_()
        expected = single(alone)
        torch.testing.assert_close(out[i], expected, rtol=1e-5, atol=1e-6)
        (expected * weights[i]).sum().backward()
        torch.testing.assert_close(x.grad[i], alone.grad, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.weight.grad[i], single.weight.grad, rtol=1e-5, atol=1e-6)
        if bias:
            torch.testing.assert_close(layer.bias.grad[i], single.bias.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_members_start_as_linear_layers_made_one_after_the_other(bias):
    """One member thus starts with the weights of `nn.Linear` under the same seed."""
    torch.manual_seed(3)
    layer = MemberLinear(3, 5, 2, bias=bias)
    after = torch.rand(1)
    torch.manual_seed(3)
    for i in range(3):
        single = nn.Linear(5, 2, bias=bias)
        assert torch.equal(layer.weight[i], single.weight)
        if bias:
            assert torch.equal(layer.bias[i], single.bias)
    assert torch.equal(after, torch.rand(1))  # and nothing else was drawn
    assert (layer.bias is None) == (not bias)
    assert not torch.equal(layer.weight[0], layer.weight[1])


def test_a_member_reads_its_own_rows_alone():
    layer, x = MemberLinear(3, 4, 2), random(3, 5, 4)
    changed = x.clone()
    changed[1] = torch.nan
    before, after = layer(x), layer(changed)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert after[1].isnan().all()
