"""IMDer with small networks of every kind, `fast`, `fast` with three members, `paper` and `official`, and batches for it."""

import math

import torch

from golden_rule import assert_parity
from imder.models.configuration import from_mapping
from imder.models.imder.config import IMDerConfig
from imder.models.imder.training import IMDer
from imder.models.presets import read_preset
from imder.nn.standardize import Standardizer
from imder.types import Batch, Modality, Spec

KINDS = ("fast", "members", "paper", "official")
MEMBERS = {"fast": 1, "members": 3, "paper": 1, "official": 1}
SPEC = Spec((Modality("language", 6, 7), Modality("audio", 3, 1), Modality("vision", 4, 9)))
SMALL = {
    "encoder": {"width": 8},
    "recovery": {"network": {"widths": (8, 16), "heads": 2, "attention_layers": 1, "embedding": 8}},
    "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
    "fusion": {"heads": 2, "layers": 1},
}
SMALL_FAST = {
    "encoder": {"steps": 5},
    "recovery": {"evaluations": 3, "network": {"condition_width": 8}},
    "fusion": {"hidden": 16},
    "context": {"direction": "none"},
    "num_samples": 3,
    "cached_draws": 2,
}
SMALL_OFFICIAL = {"encoder": {"steps": 8}, "recovery": {"evaluations": 4}}


def merged(first, *others):
    out = dict(first)
    for other in others:
        for key, value in other.items():
            out[key] = merged(out.get(key, {}), value) if isinstance(value, dict) else value
    return out


def small_config(kind):
    """A preset with small networks; everything else is as the preset says."""
    if kind in ("fast", "members"):
        changes = merged(SMALL_FAST, {"members": MEMBERS[kind]})
        return from_mapping(IMDerConfig, merged(read_preset("fast")["model"], SMALL, changes))
    return from_mapping(IMDerConfig, merged(read_preset(f"{kind}-mosi")["model"], SMALL, SMALL_OFFICIAL))


def small_model(kind, spec=SPEC, config=None):
    """With weights, statistics and mixing weights as unlike their start as training leaves them."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = IMDer(spec, small_config(kind) if config is None else config)
        for p in model.parameters():
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=generator) / math.sqrt(p[0].numel()))
            else:
                p.add_(0.2 * torch.randn(p.shape, generator=generator))
        model.branch_weight.copy_(
            torch.rand(model.branch_weight.shape, generator=generator)
            if model.config.two_branches
            else model.branch_weight
        )
        for module in model.modules():
            if isinstance(module, Standardizer):
                module.mean.copy_(torch.randn(module.mean.shape, generator=generator))
                module.std.copy_(0.5 + torch.rand(module.std.shape, generator=generator))
    return model.eval()


def patterns(count):
    """Every non-empty subset of ``count`` modalities."""
    return torch.tensor([[bool(bits >> k & 1) for k in range(count)] for bits in range(1, 2**count)])


def make_batch(spec=SPEC, copies=2, seed=0):
    """Every pattern of availability ``copies`` times; zeros wherever nothing may be read."""
    generator = torch.Generator().manual_seed(seed)
    available = patterns(len(spec.names)).repeat(copies, 1)
    rows = len(available)
    features, lengths = {}, {}
    for m in spec.modalities:
        lengths[m.name] = torch.randint(1, m.length + 1, (rows,), generator=generator)
        lengths[m.name][0] = m.length
        valid = torch.arange(m.length)[None] < lengths[m.name][:, None]
        features[m.name] = torch.randn(rows, m.length, m.dim, generator=generator) * valid[..., None]
    keys = torch.randint(-(2**63), 2**63 - 1, (rows,), generator=generator)
    if spec.task == "classification":
        labels = torch.randint(0, spec.outputs, (rows,), generator=generator)
    else:
        labels = torch.randn(rows, generator=generator)
    return Batch(features, lengths, torch.ones_like(available), available, keys, labels)


def assert_same(ours, theirs, rows=None):
    """Two outputs agree to 1e-4; ``rows``: the second is of these rows of the first."""
    rows = torch.arange(len(ours.prediction)) if rows is None else torch.as_tensor(rows)
    torch.testing.assert_close(theirs.prediction, ours.prediction[rows], rtol=1e-4, atol=1e-4)
    spread = theirs.spread.expand_as(ours.spread[:, rows])  # one, where a batch lacks nothing
    torch.testing.assert_close(spread, ours.spread[:, rows], rtol=1e-4, atol=1e-4)
    for name, recovery in theirs.recovered.items():
        place = {int(row): i for i, row in enumerate(ours.recovered[name].rows)}
        found = [place[int(rows[row])] for row in recovery.rows]
        for part in ("sampled", "refined"):
            assert_parity(getattr(recovery, part), getattr(ours.recovered[name], part)[:, found], f"{part} {name}")
