"""Batches of whole dialogues, and small systems that read neighbouring clips, with weights unlike their start."""

import math
from dataclasses import replace

import torch

from imder.models.imder.linear_mean import LinearMean
from imder.models.registry import build
from imder.nn.standardize import Standardizer
from imder.training.config import load_config
from imder.types import Batch, Modality, Spec

SPEC = Spec((Modality("language", 5, 6), Modality("audio", 3, 1), Modality("vision", 4, 7)))
CLASSES = replace(SPEC, task="classification", classes=("calm", "sad", "glad"))
DIALOGUES = (5, 1, 3, 7)
FUSING = {"model.encoder": {"width": 6, "steps": 4}, "model.fusion.hidden": 8, "model.context.hidden": 6}
RECOVERING = FUSING | {
    "model.recovery": {
        "evaluations": 2,
        "network": {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2},
    },
    "model.refinement": {"channels": 8, "blocks": 1, "reduction": 4},
    "model.num_samples": 2,
}
PRESETS = {"late-fusion": FUSING, "zero-fill": FUSING, "fast": RECOVERING, "regression": RECOVERING}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def config_of(preset, members=1, direction="both", window=2, *, training=None, **more):
    """The configuration of a small system; ``fusion__kind="mult"`` overrides ``model.fusion.kind``."""
    context = {"model.members": members, "model.context.direction": direction, "model.context.window": window}
    overrides = {"model." + key.replace("__", "."): value for key, value in more.items()}
    return load_config(preset, overrides=PRESETS[preset] | context | overrides | {"training": training or {}})


@torch.no_grad()
def scrambled(module, seed=0):
    """Weights and statistics unlike their start: nothing is multiplied by zero."""
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        scale = 1 / math.sqrt(p[0].numel()) if p.ndim > 1 else 0.2
        p.add_(scale * torch.randn(p.shape, generator=generator))
    for part in module.modules():
        if isinstance(part, Standardizer):
            part.mean.copy_(torch.randn(part.mean.shape, generator=generator))
            part.std.copy_(0.5 + torch.rand(part.std.shape, generator=generator))
        if isinstance(part, LinearMean):
            part.weight.copy_(0.3 * torch.randn(part.weight.shape, generator=generator))
    return module.eval()


def system_of(preset, members=1, direction="both", window=2, spec=SPEC, **more):
    """A small system in evaluation mode; recoveries enter its predictions."""
    config = config_of(preset, members, direction, window, **more)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = scrambled(build(config.system, config.model, spec))
    if hasattr(model, "branch_weight"):
        model.branch_weight.copy_(torch.linspace(0.3, 1, len(model.branch_weight)))
    return model


def batch_of(lengths=DIALOGUES, spec=SPEC, seed=0, empty=0.15, alone=False):
    """Dialogues in any order of rows, positions with gaps; some clips have nothing available.

    Args:
        lengths: clips of each dialogue.
        spec: of the corpus.
        seed: of everything.
        empty: share of clips with nothing available.
        alone: the same clips without dialogues.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, count = sum(lengths), len(spec.names)
    order = torch.randperm(rows, generator=generator)
    dialogue = torch.repeat_interleave(torch.tensor([9, 4, 70, 2, 31][: len(lengths)]), torch.tensor(lengths))[order]
    gaps = torch.randint(1, 4, (rows,), generator=generator).cumsum(0)  # positions rise, with gaps
    features, sizes = {}, {}
    for m in spec.modalities:
        sizes[m.name] = torch.randint(1, m.length + 1, (rows,), generator=generator)
        valid = torch.arange(m.length)[None] < sizes[m.name][:, None]
        features[m.name] = torch.randn(rows, m.length, m.dim, generator=generator) * valid[..., None]
    available = torch.rand(rows, count, generator=generator) < 0.6
    available[torch.arange(rows), torch.randint(0, count, (rows,), generator=generator)] = True
    available[torch.rand(rows, generator=generator) < empty] = False
    keys = torch.randint(-(2**63), 2**63 - 1, (rows,), generator=generator)
    if spec.task == "classification":
        labels = torch.randint(0, spec.outputs, (rows,), generator=generator)
    else:
        labels = torch.randn(rows, generator=generator)
    batch = Batch(features, sizes, torch.ones_like(available), available, keys, labels, dialogue, gaps[order])
    return replace(batch, dialogue=None, position=None) if alone else batch


def dialogues_of(batch):
    """The rows of each dialogue, by its number."""
    return {int(d): (batch.dialogue == d).nonzero().squeeze(1) for d in batch.dialogue.unique()}


def in_time(batch, dialogue):
    """The rows of a dialogue in order of their positions."""
    rows = (batch.dialogue == dialogue).nonzero().squeeze(1)
    return rows[batch.position[rows].argsort()].tolist()
