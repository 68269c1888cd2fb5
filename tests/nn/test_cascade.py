"""MMIN's layers against what they say, worked out frame by frame and block by block."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imder.nn.cascade import CascadeAutoencoder
from imder.nn.perceptron import Perceptron
from imder.nn.sequence import MaxLSTM, MeanOverTime, TextCNN

LENGTHS = [1, 2, 3, 4, 5, 9]


def sequences():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 6, generator=generator) for n in LENGTHS]


def readers():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {"lstm": MaxLSTM(6, 8), "text": TextCNN(6, 8, (2, 3, 5)), "mean": MeanOverTime(6)}


def padded(frames, length=12):
    return torch.stack([F.pad(x, (0, 0, 0, length - len(x))) for x in frames])


@pytest.mark.parametrize("name", ["lstm", "text", "mean"])
def test_a_batch_of_padded_sequences_is_each_by_itself(name):
    reader, frames = readers()[name], sequences()
    together = reader(padded(frames), torch.tensor(LENGTHS))
    assert together.shape == (len(LENGTHS), reader.width)
    for x, n, found in zip(frames, LENGTHS, together, strict=True):
        torch.testing.assert_close(reader(x[None], torch.tensor([n]))[0], found)


def test_what_is_read():
    frames, found = sequences()[-1], readers()
    length = torch.tensor([len(frames)])
    lstm, text = found["lstm"], found["text"]
    torch.testing.assert_close(lstm(frames[None], length)[0], lstm.rnn(frames)[0].max(0).values)
    torch.testing.assert_close(found["mean"](frames[None], length)[0], frames.mean(0))
    expected = []
    for conv in text.convs:
        kernel = conv.kernel_size[0]
        responses = [
            (conv.weight * frames[t : t + kernel].T).sum((1, 2)) + conv.bias for t in range(len(frames) - kernel + 1)
        ]
        expected.append(torch.stack(responses).relu().max(0).values)
    torch.testing.assert_close(text(frames[None], length)[0], torch.cat(expected))


def test_a_cascade_corrects_what_its_blocks_left():
    cascade = CascadeAutoencoder(10, (7, 3), 4)
    x = torch.randn(5, 10)
    restored, latent = cascade(x)
    assert latent.shape == (5, cascade.latent) == (5, 12)
    total, found = x, []
    for encode, decode in zip(cascade.encoders, cascade.decoders, strict=True):
        assert [type(m) for m in encode] == [nn.Linear, nn.LeakyReLU, nn.Linear]
        assert [type(m) for m in decode] == [nn.Linear, nn.ReLU, nn.Linear]
        found.append(encode(total))
        total = total + decode(found[-1])
    torch.testing.assert_close(latent, torch.cat(found, 1))
    torch.testing.assert_close(restored, cascade.transition(total))


def test_perceptron():
    net = Perceptron(4, (3, 2), 5, 0.5).eval()
    x = torch.randn(6, 4)
    first, second = net.hidden[0], net.hidden[3]
    torch.testing.assert_close(net(x), net.out(second(first(x).relu()).relu()))
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    linear = Perceptron(4, (), 5)
    torch.testing.assert_close(linear(x), linear.out(x))
