"""Search spaces: the settings of each preset that `imder tune` varies, one row of `SPACES` for each preset.

All spaces have the same dimensions, so that no system is tuned in more ways than another: learning rate, weight decay,
input dropout, inner dropout, and one width. A dimension sets one or several keys of a configuration (`imder train --help`
lists them); relative ones multiply the preset's values, so that phases keep their proportions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imder.training.config import RunConfig, load_config
from imder.types import ImderError


@dataclass(frozen=True)
class Dimension:
    """A setting that is varied.

    Attributes:
        keys: dotted keys of the configuration, all set to the same value or, if relative, scaled by the same factor.
        low, high: the range of values, both included.
        log: whether values are spread evenly in the logarithm.
        choices: values, instead of a range.
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
    """The common dimensions, given the keys that they set in a system."""
    return {
        "learning_rate": Dimension(tuple(f"training.{p}.learning_rate" for p in phases), 0.2, 5.0, True, relative=True),
        "weight_decay": Dimension(tuple(f"training.{p}.weight_decay" for p in decayed), 1e-5, 1e-1, True),
        "input_dropout": Dimension(tuple(inputs), 0.0, 0.5),
        "dropout": Dimension(tuple(inside), 0.0, 0.6),
        "width": Dimension(tuple(widths), choices=(32, 64, 128)),
    }


def _fusing(*phases: str) -> Space:
    """The space of a system with the encoders and pooled fusion of preset fast."""
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
    "lnln": _space(("stage1",), ("stage1",), ("model.feature_dropout",), ("model.dropout",), ("model.width",)),
    "emt-dlfr": _space(
        ("stage1",),
        ("stage1",),
        ("model.fusion.embedding_dropout",),
        ("model.dropout",),
        ("model.fusion.width",),
    ),
    "gcnet": _space(("stage1",), ("stage1",), (), ("model.dropout",), ("model.hidden",)),
}
"""The space of each preset. A dimension without keys is left out: the system has no such part."""


def space_of(preset: str) -> Space:
    """The space of a preset.

    Raises:
        ImderError: it has no space, or its configuration lacks keys of it.

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
    """Dotted keys and their values, given the values of dimensions; relative ones scale those of ``config``."""
    out = {}
    for name, value in values.items():
        for key in space[name].keys:
            out[key] = value * _value(config, key) if space[name].relative else value
    return out


def first_value(dimension: Dimension, config: RunConfig) -> Any:
    """The value of a configuration in a dimension, or the nearest one that the dimension allows."""
    value = 1.0 if dimension.relative else _value(config, dimension.keys[0])
    if dimension.choices:
        return min(dimension.choices, key=lambda choice: abs(choice - value))
    return float(min(max(value, dimension.low), dimension.high))


def _value(config: RunConfig, key: str) -> Any:
    """The value under a dotted key of a configuration.

    Raises:
        ImderError: it has no such key.
    """
    found: Any = config
    for part in key.split("."):
        if not hasattr(found, part):
            raise ImderError(f"search space: {config.system} has no key {key}")
        found = getattr(found, part)
    return found
