"""Convolutions over windows against explicit loops over edges; recurrence and attention that ignore padding."""

import pytest
import torch

from imder.nn.graph import (
    BiLSTM,
    GraphBranch,
    GraphConv,
    RelationalConv,
    UtteranceAttention,
    neighbours,
    speaker_relations,
    temporal_relations,
    window_edges,
)
from imder.nn.resample import frame_mask

LENGTHS = torch.tensor([6, 1, 4, 2])
VALID = frame_mask(LENGTHS, 6)
SPEAKERS = torch.randint(0, 3, (4, 6), generator=torch.Generator().manual_seed(0))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def edges_of(window):
    """(dialogue, target, source) of every edge."""
    return [
        (b, t, s)
        for b, length in enumerate(LENGTHS.tolist())
        for t in range(length)
        for s in range(length)
        if abs(t - s) <= window
    ]


@pytest.mark.parametrize("window", [0, 1, 2, 5])
def test_a_window_holds_every_edge_once(window):
    found = window_edges(VALID, window)
    offsets = torch.arange(-window, window + 1)
    b, t, w = found.nonzero(as_tuple=True)
    assert sorted(zip(b.tolist(), t.tolist(), (t + offsets[w]).tolist(), strict=True)) == edges_of(window)
    x = random(4, 6, 3)
    for b, t, s in edges_of(window):
        assert torch.equal(neighbours(x, window)[b, t, :, s - t + window], x[b, s])


def test_relations():
    kinds = speaker_relations(SPEAKERS, 3, 2)
    times = temporal_relations(2)
    for b, t, s in edges_of(2):
        assert kinds[b, t, s - t + 2] == 3 * SPEAKERS[b, t] + SPEAKERS[b, s]
        assert times[s - t + 2] == (0 if s < t else 1 if s == t else 2)


@pytest.mark.parametrize("kind", ["temporal", "speaker"])
@pytest.mark.parametrize("window", [1, 2])
def test_relational_convolution_is_the_loop_over_edges(kind, window):
    count = 3 if kind == "temporal" else 9
    layer = RelationalConv(5, 4, count)
    torch.nn.init.normal_(layer.bias)
    x = random(4, 6, 5) * VALID[..., None]
    relations = temporal_relations(window) if kind == "temporal" else speaker_relations(SPEAKERS, 3, window)
    expected = x @ layer.root + layer.bias
    for b, t in VALID.nonzero().tolist():
        by_kind: dict[int, list[int]] = {}
        for _, _, s in (edge for edge in edges_of(window) if edge[:2] == (b, t)):
            time = 0 if s < t else 1 if s == t else 2
            by_kind.setdefault(time if kind == "temporal" else int(3 * SPEAKERS[b, t] + SPEAKERS[b, s]), []).append(s)
        for r, sources in by_kind.items():
            expected[b, t] += x[b, sources].mean(0) @ layer.weight[r]
    out = layer(x, window_edges(VALID, window), relations)
    torch.testing.assert_close(out[VALID], expected[VALID])


def test_graph_convolution_is_the_loop_over_edges():
    layer = GraphConv(5, 4)
    x = random(4, 6, 5)
    total = torch.zeros_like(x)
    for b, t, s in edges_of(2):
        total[b, t] += x[b, s]
    expected = total @ layer.neighbours.weight.T + layer.neighbours.bias + x @ layer.root.weight.T
    torch.testing.assert_close(layer(x, window_edges(VALID, 2))[VALID], expected[VALID])


def test_attention_reads_valid_steps():
    layer = UtteranceAttention(5)
    x = random(4, 6, 5)
    out = layer(x, VALID)
    for b, length in enumerate(LENGTHS.tolist()):
        for t in range(length):
            query = layer.transform.weight @ x[b, t] + layer.transform.bias
            share = torch.tanh(x[b, :length] @ query).softmax(0)
            torch.testing.assert_close(out[b, t], share @ x[b, :length])


def test_an_lstm_reads_each_sequence_to_its_own_end():
    layer = BiLSTM(5, 3)
    x = random(4, 6, 5)
    out = layer(x, LENGTHS)
    assert out.shape == (4, 6, 6)
    assert not out[~VALID].any()
    for b, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(out[b, :length], layer(x[b : b + 1, :length], LENGTHS[b : b + 1])[0])
    padded = layer(x * VALID[..., None], LENGTHS, read_padding=True)
    torch.testing.assert_close(padded[0], out[0])  # the longest has no padding
    assert not torch.allclose(padded[2, :4], out[2, :4], atol=1e-4)


@pytest.mark.parametrize("attention", [False, True])
def test_a_branch_does_not_depend_on_padding(attention):
    layer = GraphBranch(8, 3, attention, 0.0)
    x = random(4, 6, 8) * VALID[..., None]
    times = temporal_relations(2)
    out = layer(x, LENGTHS, VALID, times, 2)
    assert out.shape == (4, 6, 10)
    for b, length in enumerate(LENGTHS.tolist()):
        alone = layer(x[b : b + 1, :length], LENGTHS[b : b + 1], VALID[b : b + 1, :length], times, 2)
        torch.testing.assert_close(out[b, :length], alone[0])
