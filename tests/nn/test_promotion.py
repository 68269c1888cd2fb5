"""Mutual promotion: the layer's equations, sharing, and padding."""

import pytest
import torch
from torch.nn import functional as F

from imder.nn.embedding import sinusoidal_positions
from imder.nn.promotion import Dropouts, MutualPromotion, PromotionUnit
from imder.types import ImderError

EVERYTHING = ("direction", "modality", "layer")


def inputs(lengths=(4, 1, 3), width=8, rows=2):
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(rows, len(lengths), width, generator=generator)
    sequences = [torch.randn(rows, n, width, generator=generator) for n in lengths]
    return context, sequences, [torch.ones(rows, n, dtype=torch.bool) for n in lengths]


def attend(layer, query, source):
    """Attention head by head, without the layer's own code."""
    q, k, v = (w @ x.T for w, x in zip(layer.qkv.weight.chunk(3), (query, source, source), strict=True))
    heads = []
    for a, b, c in zip(q.chunk(layer.heads), k.chunk(layer.heads), v.chunk(layer.heads), strict=True):
        heads.append(((a.T @ b) / len(a) ** 0.5).softmax(1) @ c.T)
    return torch.cat(heads, 1) @ layer.out.weight.T + layer.out.bias


def test_a_unit_reads_the_source_then_itself():
    torch.manual_seed(0)
    unit = PromotionUnit(8, 2, 3, Dropouts(attention=0.5, forward=0.5)).eval()
    target, source = torch.randn(5, 8), torch.randn(3, 8)
    x = target + attend(unit.cross, unit.target_norm(target), unit.source_norm(source))
    normed = unit.self_norm(x)
    x = x + attend(unit.inner, normed, normed)
    value, gate = unit.expand(unit.forward_norm(x)).split(24, dim=1)
    expected = x + unit.contract(value * F.gelu(gate))
    torch.testing.assert_close(unit(target[None], source[None])[0], expected)
    assert unit.cross.qkv.bias is None


def test_a_layer_promotes_both_sides_from_its_input():
    torch.manual_seed(0)
    layer = MutualPromotion(3, 8, 2, 1)
    context, sequences, masks = inputs()
    new, promoted = layer(context, sequences, masks)
    contexts = []
    for i, x in enumerate(sequences):
        x = x + sinusoidal_positions(x.shape[1], 8)
        torch.testing.assert_close(promoted[i], layer.unit(0, i, 0)(x, context))
        contexts.append(layer.unit(0, i, 1)(context, x))
    scores = torch.cat([layer.scores[0](g.flatten(1)) for g in contexts], 1)
    weights = torch.exp(scores) / torch.exp(scores).sum(1, keepdim=True)
    expected = sum(weights[:, i, None, None] * g for i, g in enumerate(contexts))
    torch.testing.assert_close(new, expected)


@pytest.mark.parametrize(
    ("shared", "units"), [((), 12), (("direction",), 6), (("modality",), 4), (("layer",), 6), (EVERYTHING, 1)]
)
def test_units_may_be_shared(shared, units):
    layers = MutualPromotion(3, 8, 2, 2, shared=shared)
    assert len(layers.units) == units
    assert len(layers.scores) == (1 if "layer" in shared else 2)
    used = {layers.unit(n, k, way) for n in range(2) for k in range(3) for way in range(2)}
    assert used == set(layers.units)
    assert (layers.unit(0, 0, 0) is layers.unit(0, 0, 1)) == ("direction" in shared)
    assert (layers.unit(0, 0, 0) is layers.unit(0, 1, 0)) == ("modality" in shared)
    assert (layers.unit(0, 0, 0) is layers.unit(1, 0, 0)) == ("layer" in shared)


def test_padding_has_no_effect_and_the_context_needs_no_last_sequences():
    torch.manual_seed(0)
    layers = MutualPromotion(3, 8, 2, 2, shared=("modality",)).eval()
    context, sequences, masks = inputs()
    new, promoted = layers(context, sequences, masks)
    padded = [torch.cat([x, torch.full((2, 2, 8), 7.0)], 1) for x in sequences]
    again, longer = layers(context, padded, [F.pad(mask, (0, 2)) for mask in masks])
    torch.testing.assert_close(again, new)
    for x, y in zip(promoted, longer, strict=True):
        torch.testing.assert_close(y[:, :-2], x)
    alone, none = layers(context, sequences, masks, context_only=True)
    assert torch.equal(alone, new)
    assert none == []


def test_heads_must_divide_the_width():
    with pytest.raises(ImderError, match="3 heads do not divide a width of 8"):
        MutualPromotion(2, 8, 3, 1)
