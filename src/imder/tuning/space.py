"""Search spaces: what `imder tune` varies of each preset.

All have the same shape, so that no system is tuned in more ways than another: learning rate, weight decay, dropout of the
input, dropout inside, and one width. A dimension sets one or several keys of a configuration (`imder train --help` lists
them); relative ones multiply what the preset has, so that phases keep their proportions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imder.training.config import RunConfig, load_config
from imder.types import ImderError


@dataclass(frozen=True)
class Dimension:
    """One thing that is varied.

    Attributes:
        keys: dotted keys that it sets, all to the same (or, relative, in the same proportion).
        low, high: of the values, both included.
        log: whether they are spread evenly in the logarithm.
        choices: instead of a range.
        relative: whether values multiply the preset's.
    """

    keys: tuple[str, ...]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[int, ...] = ()
    relative: bool = False


Space = Mapping[str, Dimension]


def _space(
    phases: Sequence[str], decayed: Sequence[str], inputs: Sequence[str], inside: Sequence[str], widths: Sequence[str]
) -> Space:
    """The common shape, from the keys that it means in a system."""
    return {
        "learning_rate": Dimension(tuple(f"training.{p}.learning_rate" for p in phases), 0.2, 5.0, True, relative=True),
        "weight_decay": Dimension(tuple(f"training.{p}.weight_decay" for p in decayed), 1e-5, 1e-1, True),
        "input_dropout": Dimension(tuple(inputs), 0.0, 0.5),
        "dropout": Dimension(tuple(inside), 0.0, 0.6),
        "width": Dimension(tuple(widths), choices=(32, 64, 128)),
    }


def _fusing(*phases: str) -> Space:
    """Of a system with fast's encoders and pooled fusion."""
    return _space(
        phases,
        [phase for phase in phases if phase != "score"],
        ("model.encoder.feature_dropout",),
        ("model.fusion.dropout",),
        ("model.fusion.hidden",),
    )


SPACES: Mapping[str, Space] = {
    "fast": _fusing("stage1", "score", "recovery"),
    "regression": _fusing("stage1", "score", "recovery"),
    "late-fusion": _fusing("stage1"),
    "zero-fill": _fusing("stage1"),
    "language-only": _fusing("stage1"),
    "mult": _space(
        ("stage1",),
        ("stage1",),
        ("model.encoder.feature_dropout",),
        ("model.fusion.dropout",),
        ("model.encoder.width",),
    ),
    "mmin": _space(
        ("stage1", "joint"),
        ("stage1", "joint"),
        ("model.encoder.text_dropout",),
        ("model.dropout",),
        ("model.encoder.width",),
    ),
    "gcnet": _space(("stage1",), ("stage1",), (), ("model.dropout",), ("model.hidden",)),
}
"""For each preset its space. Where a system has no such part, the dimension is left out."""


def space_of(preset: str) -> Space:
    """The space of a preset.

    Raises:
        ImderError: it has none, or one that its configuration doesn't have the keys for.

    >>> sorted(space_of("gcnet"))
    ['dropout', 'learning_rate', 'weight_decay', 'width']
    """
    if preset not in SPACES:
        raise ImderError(f"preset {preset!r} has no search space; those of {', '.join(SPACES)} have one")
    space = {name: dimension for name, dimension in SPACES[preset].items() if dimension.keys}
    start = load_config(preset)
    load_config(preset, overrides=overrides(space, {k: first_value(d, start) for k, d in space.items()}, start))
    return space


def overrides(space: Space, values: Mapping[str, Any], config: RunConfig) -> dict[str, Any]:
    """Dotted keys and what they become under some values of the dimensions; ``config`` is where it starts from."""
    out = {}
    for name, value in values.items():
        for key in space[name].keys:
            out[key] = value * _value(config, key) if space[name].relative else value
    return out


def first_value(dimension: Dimension, config: RunConfig) -> Any:
    """What a configuration itself has in a dimension, or the nearest that the dimension allows."""
    value = 1.0 if dimension.relative else _value(config, dimension.keys[0])
    if dimension.choices:
        return min(dimension.choices, key=lambda choice: abs(choice - value))
    return float(min(max(value, dimension.low), dimension.high))


def _value(config: RunConfig, key: str) -> Any:
    """What a configuration has under a dotted key.

    Raises:
        ImderError: it has no such key.
    """
    found: Any = config
    for part in key.split("."):
        if not hasattr(found, part):
            raise ImderError(f"search space: {config.system} has no key {key}")
        found = getattr(found, part)
    return found
