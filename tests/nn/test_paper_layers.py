"""Properties of the published layers. Parity with the recorded numbers: tests/interop/test_official_imder.py."""

import math

import pytest
import torch

from imder.models.imder.conditions import SubsetCondition
from imder.models.parts.fusions import FUSIONS, build_fusion
from imder.models.parts.fusions.base import AVAILABLE, MISSING, FusionConfig
from imder.models.parts.fusions.multimodal_transformer import MulTFusion
from imder.nn.attention import MultiHeadAttention, causal_mask
from imder.nn.embedding import GaussianFourier, sinusoidal_positions
from imder.nn.rcab import ResidualChannelAttention
from imder.nn.score import PaperScoreNetwork
from imder.nn.transformer import CrossModalEncoder
from imder.types import ImderError


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


# ------------------------------------------------------------------------------------------------ attention
def test_attention_is_the_formula():
    layer = MultiHeadAttention(12, 3).eval()
    x, s = random(2, 4, 12), random(2, 6, 12, seed=1)
    wq, wk, wv = layer.qkv.weight.chunk(3)
    expected = []
    for h in range(3):
        head = slice(4 * h, 4 * h + 4)
        weights = ((x @ wq[head].T) @ (s @ wk[head].T).transpose(1, 2) / math.sqrt(4)).softmax(-1)
        expected.append(weights @ (s @ wv[head].T))
    torch.testing.assert_close(layer(x, s), layer.out(torch.cat(expected, -1)))
    torch.testing.assert_close(layer(x), layer(x, x))


@pytest.mark.parametrize("lengths", [(5, 5), (3, 5), (5, 3)])
def test_causal_attention_looks_no_further_than_its_mask(lengths):
    queries, keys = lengths
    layer = MultiHeadAttention(8, 2).eval()
    x, s = random(1, queries, 8), random(1, keys, 8, seed=1)
    before = layer(x, s, causal=True)
    allowed = causal_mask(queries, keys)
    assert torch.equal(~allowed, torch.ones(queries, keys).triu(1 + abs(queries - keys)).bool())
    for j in range(keys):
        changed = s.clone()
        changed[:, j] += 1
        moved = (layer(x, changed, causal=True) - before).abs().amax(-1)[0] > 1e-6
        assert torch.equal(moved, allowed[:, j])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_ignores_padding(causal):
    layer = MultiHeadAttention(8, 2).eval()
    x, s = random(2, 4, 8), random(2, 4, 8, seed=1)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    padded = torch.where(mask[..., None], s, 1e4)
    torch.testing.assert_close(layer(x, padded, causal, mask)[:1, :2], layer(x[:1, :2], s[:1, :2], causal))
    torch.testing.assert_close(layer(x, padded, causal, mask)[1], layer(x, s, causal)[1])


def test_a_query_that_may_look_nowhere_reads_zero():
    layer = MultiHeadAttention(8, 2)
    out = layer(random(1, 3, 8), random(1, 5, 8), mask=torch.zeros(1, 5, dtype=torch.bool))
    torch.testing.assert_close(out, layer.out.bias.expand(1, 3, 8))
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


def test_heads_must_divide_the_width():
    with pytest.raises(ImderError, match="8 heads do not divide a width of 12"):
        MultiHeadAttention(12, 8)


# ------------------------------------------------------------------------------------------------ embeddings
@pytest.mark.parametrize("width", [1, 2, 7, 32])
def test_positions(width):
    table = sinusoidal_positions(6, width)
    assert table.shape == (6, width)
    half = width // 2
    for p in range(6):
        for i in range(half):
            angle = (p + 1) * 10000 ** (-i / max(half - 1, 1))
            assert table[p, i] == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[p, half + i] == pytest.approx(math.cos(angle), abs=1e-5)
    torch.testing.assert_close(sinusoidal_positions(9, width)[:6], table)


def test_fourier_features_are_fixed_and_saved():
    first, again = (GaussianFourier(10, 30.0, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.W, again.W)
    assert list(first.state_dict()) == ["W"]
    assert not list(first.parameters())
    t = torch.tensor([0.0, 0.3])
    out = first(t)
    assert out.shape == (2, 10)
    torch.testing.assert_close(out[0], torch.tensor([0.0] * 5 + [1.0] * 5))
    torch.testing.assert_close(out[1, :5], torch.sin(2 * math.pi * 0.3 * first.W))
    assert GaussianFourier(4000, 30.0).W.std() == pytest.approx(30, rel=0.1)
    with pytest.raises(ImderError, match="even"):
        GaussianFourier(5)


# ------------------------------------------------------------------------------------------------ transformer
def test_encoder_keeps_the_layout():
    encoder = CrossModalEncoder(16, 4, 2).eval()
    query, source = random(3, 16, 5), random(3, 16, 9, seed=1)
    assert encoder(query, source).shape == (3, 16, 5)
    assert encoder(query).shape == (3, 16, 5)
    assert not torch.allclose(encoder(query), encoder(query, query))  # self-attention reads what the layers made of it


def test_encoder_knows_the_order_of_the_source():
    encoder = CrossModalEncoder(16, 4, 1).eval()
    query, source = random(1, 16, 5), random(1, 16, 9, seed=1)
    assert not torch.allclose(encoder(query, source), encoder(query, source.flip(-1)), atol=1e-4)


def test_causal_encoder_sees_no_future():
    encoder = CrossModalEncoder(16, 4, 3, causal=True).eval()
    x, changed = random(2, 16, 6), random(2, 16, 6)
    changed[..., 4:] += random(2, 16, 2, seed=1)
    torch.testing.assert_close(encoder(x)[..., :4], encoder(changed)[..., :4])
    assert not torch.allclose(encoder(x)[..., 4:], encoder(changed)[..., 4:])


def test_source_padding_is_ignored():
    encoder = CrossModalEncoder(16, 4, 2).eval()
    query, source = random(1, 16, 5), random(1, 16, 9, seed=1)
    mask = torch.arange(9)[None] < 6
    torch.testing.assert_close(encoder(query, source, mask), encoder(query, source[..., :6]))


def test_zero_is_padding_takes_positions_away_only_where_the_first_channel_is_zero():
    x = random(2, 16, 6)
    plain, released = (CrossModalEncoder(16, 4, 2, zero_is_padding=flag).eval() for flag in (False, True))
    released.load_state_dict(plain.state_dict())
    torch.testing.assert_close(plain(x), released(x))
    x[1, 0, 3:] = 0
    torch.testing.assert_close(plain(x)[0], released(x)[0])
    torch.testing.assert_close(released._embed(x)[1, 3:], 4 * x[1, :, 3:].T)
    torch.testing.assert_close(released._embed(x)[1, :3], plain._embed(x)[1, :3])


@pytest.mark.parametrize("kind", ["attention_dropout", "embedding_dropout", "dropout"])
def test_each_dropout_acts_in_training_only(kind):
    encoder = CrossModalEncoder(16, 4, 1, **{kind: 0.5})
    x = random(1, 16, 6)
    assert not torch.allclose(encoder(x), encoder(x))
    encoder.eval()
    torch.testing.assert_close(encoder(x), encoder(x))


# ------------------------------------------------------------------------------------------------ score network
@pytest.mark.parametrize(
    ("width", "widths", "length"), [(32, (32, 64, 128, 256), 16), (8, (16, 24), 6), (4, (8,), 5), (6, (8, 8, 16), 4)]
)
def test_score_network_of_any_widths(width, widths, length):
    network = PaperScoreNetwork(width, widths, heads=2, embedding=16)
    x, c = random(2, width, length), random(2, width, length, seed=1)
    t, std = torch.tensor([0.1, 0.9]), torch.tensor([0.5, 2.0])
    conditional, free = network(x, t, std, c), network(x, t, std)
    assert conditional.shape == free.shape == x.shape
    assert not torch.allclose(conditional, free)
    torch.testing.assert_close(network(x, t, 2 * std, c), conditional / 2)
    torch.testing.assert_close(network(x[1:], t[1:], std[1:], c[1:]), conditional[1:], rtol=1e-4, atol=1e-5)
    conditional.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_score_network_has_the_published_size():
    assert sum(p.numel() for p in PaperScoreNetwork().parameters()) == pytest.approx(3.46e6, rel=0.01)
    assert sum(p.numel() for p in ResidualChannelAttention().parameters()) == pytest.approx(0.52e6, rel=0.01)
    fusion = MulTFusion(dict.fromkeys(("language", "audio", "vision"), 48), 32, 1, FusionConfig(kind="mult"))
    assert sum(p.numel() for p in fusion.parameters()) == pytest.approx(0.98e6, rel=0.01)


@pytest.mark.parametrize("length", [0, 20, 47])
def test_score_network_refuses_lengths_it_cannot_halve(length):
    network = PaperScoreNetwork(8, (8, 8, 8, 8), heads=2, embedding=8)
    with pytest.raises(ImderError, match=f"multiple of 8, got {length}"):
        network(torch.zeros(1, 8, length), torch.ones(1), torch.ones(1))


# ------------------------------------------------------------------------------------------------ refinement
def test_padding_never_influences_the_refinement():
    network = ResidualChannelAttention(6, 12, 3, 4)
    lengths = torch.tensor([7, 3, 1, 0])
    mask = (torch.arange(7)[None] < lengths[:, None])[:, None]
    x = torch.where(mask, random(4, 6, 7), torch.nan).requires_grad_()
    refined = network(x, mask)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(refined[row, :, length:], torch.zeros(6, 7 - length))
        if length:
            alone = network(x[row : row + 1, :, :length])[0]
            torch.testing.assert_close(refined[row, :, :length], alone)
    torch.testing.assert_close(refined[0], network(x[:1])[0])
    refined.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


# ------------------------------------------------------------------------------------------------ fusion
@pytest.mark.parametrize("count", [2, 3, 4])
def test_fusion_of_any_number_of_modalities_and_lengths(count):
    names = [f"m{i}" for i in range(count)]
    config = FusionConfig(kind="mult", heads=2, layers=2, dropout=0.0)
    fusion = MulTFusion(dict.fromkeys(names, 4), 8, 5, config).eval()
    encodings = {name: random(3, 8, 4 + i, seed=i) for i, name in enumerate(names)}
    state = torch.full((3, count), AVAILABLE)
    output, readout = fusion(encodings, state), fusion.readout(encodings)
    assert output.shape == (3, 5)
    assert readout.shape == (3, count * (count - 1) * 8)
    for name in names:  # every modality matters
        changed = encodings | {name: encodings[name] + random(3, 8, 1, seed=9)}
        assert not torch.allclose(fusion(changed, state), output)
    block = (count - 1) * 8
    informed = torch.cat([fusion.cross[f"m0+{n}"](encodings["m0"], encodings[n]) for n in names[1:]], 1)
    torch.testing.assert_close(readout[:, :block], fusion.memory["m0"](informed)[..., -1])


def test_attention_dropout_goes_by_source():
    config = FusionConfig(kind="mult", heads=2, layers=1, audio_dropout=0.2, embedding_dropout=0.1, dropout=0.3)
    fusion = MulTFusion(dict.fromkeys(("a", "audio", "c"), 4), 8, 1, config)
    rates = {key: encoder.layers[0].attention.dropout for key, encoder in fusion.cross.items()}
    assert rates == {"a+audio": 0.2, "a+c": 0, "audio+a": 0, "audio+c": 0, "c+a": 0, "c+audio": 0.2}
    assert {encoder.layers[0].attention.dropout for encoder in fusion.memory.values()} == {0.3}
    assert {encoder.embedding_dropout for encoder in (*fusion.cross.values(), *fusion.memory.values())} == {0.1}


def test_missing_encodings_are_zeros_to_the_multimodal_transformer():
    """Whatever they hold, and whichever of several rows is meant."""
    fusion = MulTFusion(dict.fromkeys(("a", "b"), 3), 8, 1, FusionConfig(kind="mult", heads=2, layers=1)).eval()
    encodings = {"a": random(2, 8, 3), "b": random(2, 8, 3, seed=1)}
    rows = torch.tensor([[1, 0], [0, 0], [1, 1]])
    state = torch.tensor([[AVAILABLE, MISSING], [AVAILABLE, AVAILABLE], [MISSING, AVAILABLE]])
    zero = torch.zeros(8, 3)
    plain = {
        "a": torch.stack([encodings["a"][1], encodings["a"][0], zero]),
        "b": torch.stack([zero, encodings["b"][0], encodings["b"][1]]),
    }
    torch.testing.assert_close(fusion(encodings, state, rows), fusion(plain, torch.full_like(state, AVAILABLE)))


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("language", "vision", "audio"), ("language", "audio", "vision")),
        (("language", "vision"), ("language", "vision")),
        (("language", "vision", "audio", "face"), ("language", "vision", "audio", "face")),
    ],
)
def test_a_readout_order_is_for_its_own_modalities(names, order):
    config = FusionConfig(kind="mult", heads=2, layers=1, readout_order=("language", "audio", "vision"))
    assert MulTFusion(dict.fromkeys(names, 3), 8, 1, config).order == order


@pytest.mark.parametrize("kind", FUSIONS)
def test_fusion_says_what_is_wrong(kind):
    with pytest.raises(ImderError, match="two modalities"):
        build_fusion({"a": 3}, 8, 1, FusionConfig(kind=kind))


def test_a_missing_encoding_is_named():
    fusion = MulTFusion(dict.fromkeys(("a", "b"), 3), 8, 1, FusionConfig(kind="mult", heads=2, layers=1))
    with pytest.raises(ImderError, match=r"no encoding of \['b'\]"):
        fusion.readout({"a": torch.zeros(1, 8, 3)})


def test_conditions():
    names = ("a", "b", "c", "d")
    condition = SubsetCondition(names, 4)
    assert set(condition.fuse) == {
        "a+b", "a+c", "a+d", "b+c", "b+d", "c+d", "a+b+c", "a+b+d", "a+c+d", "b+c+d",
    }  # fmt: skip
    x = {name: random(2, 4, 3, seed=i) for i, name in enumerate(names)}
    assert condition({"c": x["c"]}) is x["c"]
    both = condition({"d": x["d"], "b": x["b"]})
    torch.testing.assert_close(both, condition.fuse["b+d"](torch.cat([x["b"], x["d"]], 1)))
    assert not list(SubsetCondition(("a", "b")).parameters())
    for wrong in ({}, x, {"e": x["a"]}):
        with pytest.raises(ImderError, match="some but not all"):
            condition(wrong)
