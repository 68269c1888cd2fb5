"""Token encoders, on tiny tensors."""

import torch

from imder.nn.reversal import reverse_gradient
from imder.nn.tokens import TokenEncoder


def test_tokens_stand_before_the_sequence_and_summarise_it():
    torch.manual_seed(0)
    encoder = TokenEncoder(steps=5, tokens=2, width=4, heads=2, head_width=3, depth=2)
    x = torch.randn(3, 4, 4)
    states = encoder.states(x)
    assert [s.shape for s in states] == [(3, 6, 4)] * 3
    torch.testing.assert_close(states[0][:, :2], encoder.positions[:2].expand(3, -1, -1))  # tokens start as zeros
    torch.testing.assert_close(states[0][:, 2:], x + encoder.positions[2:6])
    torch.testing.assert_close(states[2], encoder.layers[1](states[1]))
    assert torch.equal(encoder(x), states[2][:, :2])
    changed = x.clone()
    changed[0, 3] += 1
    assert (encoder(changed) != encoder(x)).any(2).any(1).tolist() == [True, False, False]


def test_without_tokens_the_sequence_itself_is_encoded():
    encoder = TokenEncoder(steps=3, tokens=0, width=4, heads=1, head_width=4, depth=1)
    x = torch.randn(2, 3, 4)
    assert torch.equal(encoder(x), encoder.states(x)[-1])
    assert encoder(x).shape == x.shape


def test_a_reversed_gradient_is_the_negated_one():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reverse_gradient(x)
    assert torch.equal(y, x)
    (y.square() * torch.tensor([3.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [-6.0, 20.0]
