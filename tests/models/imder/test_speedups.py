"""Every speed-up gives what the plain version gives.

Others are tested where they live: a gathered batch of mixed patterns against row after row in
`test_network.test_a_prediction_belongs_to_its_sample`, unmasked attention in `test_paper_layers.test_attention_is_the_formula`,
one noise level for all rows in `test_loss.test_edm_denoiser_takes_one_level_for_all_rows`.

Where both versions do the same arithmetic on tensors of the same shape, results are equal. Otherwise a matrix product may
add its terms in another order: 1e-5 allows a hundred roundings of numbers of size one, and 1e-4 the growth of such
differences through the evaluations of a sampler. A wrong result is off by a tenth or more.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from batches import take
from imder.missingness.subsets import every_subset
from imder.models.imder import recovery
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.recovery import DRAW_STEP
from imder.models.parts.fusions.base import AVAILABLE, MISSING, RECOVERED, FusionConfig
from imder.models.parts.fusions.pooled import PooledFusion, pool
from imder.models.registry import build
from imder.nn.attention import MultiHeadAttention, causal_mask
from imder.nn.standardize import Standardizer
from imder.nn.unet import CrossAttention, TimeConv, UNet, UNetConfig
from imder.training.config import load_config
from imder.types import Batch, Modality, Spec

SPEC = Spec((Modality("language", 6, 7), Modality("vision", 4, 9), Modality("audio", 3, 1)))
NETWORK = {"widths": (8, 16), "heads": 2, "attention_layers": 1, "embedding": 8}
COMMON = {"refinement": {"channels": 8, "blocks": 1, "reduction": 4}}
FAST = COMMON | {
    "members": 1,
    "context": {"direction": "none"},
    "encoder": {"width": 8, "steps": 5},
    "recovery": {"evaluations": 4, "network": NETWORK | {"condition_width": 8}},
    "fusion": {"hidden": 16},
}
PUBLISHED = COMMON | {
    "encoder": {"width": 8, "steps": 8},
    "recovery": {"evaluations": 4, "network": NETWORK},
    "fusion": {"heads": 2, "layers": 1},
}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def scrambled(module):
    """Weights and statistics unlike their start: nothing is multiplied by zero."""
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        scale = 1 / math.sqrt(p[0].numel()) if p.ndim > 1 else 0.2
        p.add_(scale * torch.randn(p.shape, generator=generator))
    for part in module.modules():
        if isinstance(part, Standardizer):
            part.mean.copy_(torch.randn(part.mean.shape, generator=generator))
            part.std.copy_(0.5 + torch.rand(part.std.shape, generator=generator))
    return module.eval()


@pytest.fixture(params=["fast", "paper-mosi", "official-mosi"])
def model(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        changes = {"model": FAST if request.param == "fast" else PUBLISHED}
        return scrambled(build("imder", load_config(request.param, overrides=changes).model, SPEC))


def all_patterns(copies=2):
    """Rows of each pattern of availability, the complete one included."""
    available = torch.tensor([[bool(bits >> k & 1) for k in range(3)] for bits in range(1, 8)]).repeat(copies, 1)
    rows = len(available)
    features = {m.name: random(rows, m.length, m.dim, seed=i) for i, m in enumerate(SPEC.modalities)}
    lengths = {m.name: torch.full((rows,), m.length) for m in SPEC.modalities}
    keys = torch.arange(rows) * 7919
    return Batch(features, lengths, torch.ones_like(available), available, keys, random(rows, seed=9))


def counted(monkeypatch, owner, name):
    """A list that grows by one entry, the arguments, at each call of a method."""
    calls, method = [], getattr(owner, name)

    def counting(*args, **kwargs):
        calls.append(args)
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, counting)
    return calls


# ------------------------------------------------------------------------------------------------ layers
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_convolution_as_one_product(stride, length):
    layer = scrambled(TimeConv(4, 6, stride))
    x = random(3, length, 4)
    plain = F.conv1d(x.transpose(1, 2), layer.weight.permute(0, 2, 1), layer.bias, stride, padding=1).transpose(1, 2)
    torch.testing.assert_close(layer(x), plain, rtol=1e-5, atol=1e-5)


def written_out(query, key, value, allowed):
    """softmax(q k^T / sqrt(C)) v over what is allowed; 0 where nothing is."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = torch.where(allowed, scores, -math.inf).softmax(-1).nan_to_num()
    return weights @ value


@pytest.mark.parametrize("draws", [1, 3])
def test_fused_cross_attention(draws):
    layer = scrambled(CrossAttention(8, 6, 2))
    x, tokens = random(4 * draws, 5, 8), random(4, 7, 6, seed=1)
    mask = torch.rand(4, 7, generator=torch.Generator().manual_seed(2)) < 0.5
    mask[:, 0] = True
    ours = layer(x, layer.project(tokens), mask[:, None, None, :])
    query = layer.query(layer.norm(x))
    key, value = layer.key_value(tokens.repeat_interleave(draws, 0)).chunk(2, dim=-1)
    allowed = mask.repeat_interleave(draws, 0)[:, None, :]
    heads = [written_out(query[..., h], key[..., h], value[..., h], allowed) for h in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(ours, x + layer.out(torch.cat(heads, -1)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("keys", [5, 7])
def test_fused_masked_attention(causal, masked, keys):
    layer = scrambled(MultiHeadAttention(8, 2))
    x, source = random(3, 5, 8), random(3, keys, 8, seed=1)
    mask = torch.arange(keys)[None] < torch.tensor([keys, 3, 0])[:, None] if masked else None
    query, key, value = (part(y) for part, y in zip(_projections(layer), (x, source, source)))
    allowed = torch.ones(3, 5, keys, dtype=torch.bool) if mask is None else mask[:, None].expand(3, 5, keys)
    allowed = allowed & causal_mask(5, keys) if causal else allowed
    heads = [written_out(query[..., h], key[..., h], value[..., h], allowed) for h in (slice(0, 4), slice(4, 8))]
    plain = layer.out(torch.cat(heads, -1))
    torch.testing.assert_close(layer(x, source, causal, mask), plain, rtol=1e-5, atol=1e-5)


def _projections(layer):
    """Query, key and value of a packed layer, one after the other."""
    weights, biases = layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3)
    return [lambda y, w=w, b=b: y @ w.T + b for w, b in zip(weights, biases)]


def test_draws_and_noise_levels_share_a_condition():
    """A condition of R rows for R * S sequences is the condition of every row repeated S times."""
    network = scrambled(UNet(4, 9, UNetConfig((8, 16), condition_width=6, heads=2, embedding=8, patch=2)))
    x, noise = random(6, 4, 9), random(6, seed=1)
    tokens, mask = random(2, 5, 6, seed=2), torch.tensor([[True] * 5, [True, False, True, False, False]])
    repeated = network.prepare(tokens.repeat_interleave(3, 0), mask.repeat_interleave(3, 0))
    ours = network(x, noise, network.prepare(tokens, mask))
    torch.testing.assert_close(ours, network(x, noise, repeated), rtol=1e-5, atol=1e-5)
    shared = network(x, noise[:1], repeated)
    torch.testing.assert_close(shared, network(x, noise[:1].expand(6), repeated), rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------ recovery
def test_the_condition_is_prepared_once(model, monkeypatch):
    """Against a denoiser that is built anew, its keys and values with it, at every evaluation."""
    batch, drawing = all_patterns(), model.recovery
    parts = drawing.networks.values() if hasattr(drawing, "networks") else [drawing]
    method = "prepare" if hasattr(drawing, "networks") else "groups"
    calls = [counted(monkeypatch, part, method) for part in parts]
    once = model.recover(batch, samples=2)
    assert sum(map(len, calls)) == 3  # modalities
    build_denoiser = drawing.denoiser
    monkeypatch.setattr(drawing, "denoiser", lambda *given: lambda x, sigma: build_denoiser(*given)(x, sigma))
    again = model.recover(batch, samples=2)
    assert sum(map(len, calls)) == 3 + 3 * 4  # evaluations
    for name, found in once.items():
        assert torch.equal(found.sampled, again[name].sampled)


@pytest.mark.parametrize("preset", ["paper-mosi", "official-mosi"])
def test_patterns_share_an_evaluation_of_the_published_network(preset, monkeypatch):
    """Against rows of one pattern at a time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = scrambled(build("imder", load_config(preset, overrides={"model": PUBLISHED}).model, SPEC))
    batch = all_patterns()
    calls = counted(monkeypatch, model.recovery, "_score")
    together = model.recover(batch, seed=3)
    assert len(calls) == 3 * 4  # modalities, evaluations: each row has another modality
    for name, found in together.items():
        for pattern in torch.unique(batch.available[found.rows], dim=0):
            rows = (batch.available == pattern).all(1).nonzero().squeeze(1)
            alone = model.recover(take(batch, rows), seed=3)[name].sampled
            mixed = found.sampled[:, (batch.available[found.rows] == pattern).all(1)]
            scale = float(alone.std())
            torch.testing.assert_close(mixed / scale, alone / scale, rtol=1e-4, atol=1e-4)


def test_all_draws_in_one_batch(model):
    """Against one call for each draw, with the noise that belongs to it."""
    batch, draws = all_patterns(), 3
    encodings = {name: e.detach() for name, e in model.encode(batch).items()}
    observed = ObservedEncodings(encodings, batch.available)
    for name in SPEC.names:
        together = model.recovery.sample(name, observed, batch.keys, draws=draws, seed=2)
        for s in range(draws):
            odd = s % 2 if model.recovery.antithetic else 0  # the second of a pair comes with the first only
            keys = batch.keys + (s - odd) * len(SPEC.names) * DRAW_STEP
            alone = model.recovery.sample(name, observed, keys, draws=1 + odd, seed=2)[-1]
            scale = float(alone.std())  # an untrained score's samples may be large
            torch.testing.assert_close(together[s] / scale, alone / scale, rtol=1e-4, atol=1e-4)


def test_large_batches_are_drawn_in_parts(model, monkeypatch):
    batch = all_patterns()
    whole = model.recover(batch, samples=2)
    calls = counted(monkeypatch, model.recovery, "denoiser")
    monkeypatch.setattr(recovery, "CPU_ROWS", 9)  # four samples of two draws
    for name, found in model.recover(batch, samples=2).items():
        scale = float(found.sampled.std())
        torch.testing.assert_close(found.sampled / scale, whole[name].sampled / scale, rtol=1e-4, atol=1e-4)
    assert [len(observed) for _, observed, _ in calls] == 3 * [4, 2]  # six lack each modality


@pytest.mark.parametrize("samples", [1, 3])
def test_rows_that_lack_nothing_are_computed_once(model, samples, monkeypatch):
    """And rows and draws are fused side by side: against every row, draw after draw."""
    batch = all_patterns()
    model.branch_weight.fill_(1.0)  # the branch that uses recoveries, alone
    branches = model.config.two_branches
    branch = model.recovery_branch.fusion if branches else model.fusion
    calls = counted(monkeypatch, branch, "vectors" if branches else "forward")
    output = model.predict(batch, samples=samples)
    lacking = int((~batch.available).any(1).sum())
    assert sum(len(state) for _, state, *_ in calls) == lacking * samples + 2
    encodings = model.encode(batch)
    for s in range(samples):
        state = torch.where(batch.available, 1, 2)
        if branches:
            drawn = {name: (found.rows, found.refined[s]) for name, found in output.recovered.items()}
            plain = branch.vectors(encodings, state, None, drawn).output.mean(0)
        else:
            filled = {k: e.detach().clone() for k, e in encodings.items()}
            for name, found in output.recovered.items():
                filled[name][found.rows] = found.refined[s]
            plain = branch(filled, state)
        torch.testing.assert_close(output.spread[s], plain[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", ["fast"], indirect=True)
def test_recoveries_drawn_once_are_those_drawn_again(model, monkeypatch):
    """The losses of a phase that keeps its recoveries, against the same with everything forgotten in between."""
    batch = all_patterns()
    other = batch.with_available(batch.available.flip(0))
    model.on_phase_start("recovery", [batch], seed=3)
    calls = counted(monkeypatch, model.recovery, "sample")
    kept = [model.losses(b, "recovery", seed=0) for b in (batch, other, batch, other)]
    assert len(calls) == 6  # three modalities for each of two sets of masks, then nothing
    for b, losses in zip((batch, other, batch, other), kept):
        model.on_phase_start("recovery", [batch], seed=3)
        fresh = model.losses(b, "recovery", seed=0)
        for name, loss in losses.items():
            torch.testing.assert_close(loss.total, fresh[name].total, rtol=1e-4, atol=1e-4)
            assert loss.count == fresh[name].count


@pytest.mark.parametrize(
    ("name", "members"), [*((name, m) for name in ("fast", "late-fusion", "zero-fill") for m in (1, 3)), ("mult", 1)]
)
def test_a_row_is_encoded_and_pooled_once_for_all_its_patterns(name, members):
    """Loss and gradients are those of a batch that repeats a row for each subset of what it has."""
    overrides = {"model.encoder.width": 8, "model.encoder.steps": 5, "model.encoder.feature_dropout": 0.0}
    if name != "mult":
        overrides |= {"model.members": members, "model.context.direction": "none"}
    system = load_config(name).system
    model = scrambled(build(system, load_config(name, overrides=overrides).model, SPEC)).train(members > 1)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    batch = all_patterns()
    batch = replace(batch, present=batch.available)
    rows, masks = every_subset(batch.available, batch.keys)
    assert len(rows) == 2 * (3 * 1 + 3 * 3 + 7)
    repeated = take(batch, rows).with_available(masks)
    got = model.losses(batch, "stage1", 0, all_subsets=True)["task"]
    plain = model.losses(repeated, "stage1", 0)["task"]
    assert got.count == plain.count == len(rows)
    torch.testing.assert_close(got.total, plain.total, rtol=1e-5, atol=0)
    weights = [p for part in model.trainable_modules("stage1") for p in part.parameters()]
    found = torch.autograd.grad(got.total, weights, allow_unused=True)
    for a, b in zip(found, torch.autograd.grad(plain.total, weights, allow_unused=True), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()) + 1e-6)


def test_what_is_meant_several_times_is_pooled_once(monkeypatch):
    fusion = scrambled(PooledFusion({"a": 5, "b": 1}, 4, 1, FusionConfig(hidden=8)))
    encodings = {"a": random(3, 4, 5), "b": random(3, 4, 1, seed=1)}
    rows = torch.tensor([[0, 2], [0, 1], [2, 2], [2, 0]])
    state = torch.tensor([[AVAILABLE, RECOVERED], [RECOVERED, MISSING], [AVAILABLE, AVAILABLE], [MISSING, AVAILABLE]])
    plain = fusion({k: e[rows[:, i]] for i, (k, e) in enumerate(encodings.items())}, state)
    pooled = []
    monkeypatch.setattr("imder.models.parts.fusions.pooled.pool", lambda *a: pooled.append(len(a[0])) or pool(*a))
    torch.testing.assert_close(fusion(encodings, state, rows), plain, rtol=1e-5, atol=1e-6)
    assert pooled == [2, 2]


def test_the_deviation_of_pooling_is_the_population_one():
    x = random(4, 3, 6).double()
    expected = torch.cat(
        [x.mean(2), (x.var(2, correction=0) + 1e-6).sqrt(), (x.diff(dim=2).square().mean(2) + 1e-6).sqrt()], 1
    )
    torch.testing.assert_close(pool(x)[0], expected)
