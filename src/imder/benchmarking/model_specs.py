"""What ``--models`` may name: presets, variants of presets, configuration files.

``imder`` is the preset for use; any other preset goes by its own name. ``name:variant`` changes a few keys of a preset, and
which is one table: `VARIANTS`. A path that ends in ``.yaml`` or ``.yml`` is a configuration file and goes by the file's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imder.evaluation.tables import REFERENCES
from imder.models.presets import preset_names, tuned_names
from imder.models.registry import system_note
from imder.training.config import RunConfig, load_config
from imder.types import ImderError

DEFAULT_MODELS = (
    "imder",
    "imder:unconditional",
    "imder:mean",
    "regression",
    "late-fusion",
    "zero-fill",
    "mult",
    "mmin",
    "gcnet",
    "language-only",
    "ridge",
)
"""What is compared unless told otherwise: every system in the configuration for everyday use."""

PRESETS: Mapping[str, str] = {"imder": "fast"}
"""Systems whose preset goes by another name."""

VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "imder": {
        "unconditional": {"model.recovery.kind": "unconditional"},
        "mean": {"model.recovery.kind": "mean"},
        "train-mean": {"model.recovery.kind": "train-mean"},
        "zero": {"model.recovery.kind": "zero"},
        "one-draw": {"model.num_samples": 1},
    },
}
"""For each name its variants, and the keys that make them."""

TABLES: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    2: (("imder:unconditional", "imder"), ("random",)),
    3: (("mmin", "gcnet", "imder"), ("random", "fixed")),
}
"""Tables of the paper: models and protocols."""


@dataclass(frozen=True)
class ModelSpec:
    """A column of the tables: its name and its complete configuration."""

    name: str
    config: RunConfig


def default_models(modalities: Sequence[str]) -> tuple[str, ...]:
    """`DEFAULT_MODELS`, less what needs a modality that a corpus doesn't have.

    >>> "language-only" in default_models(["vision", "audio"])
    False
    """
    return tuple(m for m in DEFAULT_MODELS if m != "language-only" or "language" in modalities)


def model_specs(
    names: Sequence[str], max_epochs: int | None = None, label_share: float = 1.0, tuned: str | None = None
) -> list[ModelSpec]:
    """The entries of names as they are given.

    Args:
        names: see the module.
        max_epochs: no phase runs longer.
        label_share: of the training labels, for every model; below 1 it wins over what configurations say.
        tuned: a corpus whose tuned settings each preset takes that has some (`imder.models.presets`).

    Raises:
        ImderError: an unknown name or variant, a configuration that is wrong, two entries of one name, or of the constant baseline's, or
            nothing is tuned for that corpus.

    >>> [(e.name, e.config.preset) for e in model_specs(["imder", "zero-fill"])]
    [('imder', 'fast'), ('zero-fill', 'zero-fill')]
    """
    if tuned is not None and tuned not in tuned_names():
        known = (
            f"choose from {', '.join(tuned_names())}" if tuned_names() else "no tuned settings come with this version"
        )
        raise ImderError(f"--tuned: nothing is tuned for {tuned!r}; {known}")
    found = [_entry(name, tuned) for name in names]
    if label_share != 1:
        shared = [replace(e.config, training=replace(e.config.training, label_share=label_share)) for e in found]
        found = [ModelSpec(e.name, config) for e, config in zip(found, shared, strict=True)]
    if not found:
        raise ImderError("--models: name at least one")
    seen: set[str] = set()
    for entry in found:
        if entry.name in REFERENCES:
            raise ImderError(
                f"--models: {entry.name} is a name of what stands beside the models; leave it out or rename it"
            )
        if file_name(entry.name) in seen:
            raise ImderError(f"--models: {entry.name} is there twice; files are called by their names, so rename one")
        seen.add(file_name(entry.name))
    return [e if max_epochs is None else ModelSpec(e.name, e.config.with_max_epochs(max_epochs)) for e in found]


def file_name(name: str) -> str:
    """An entry's name in file names, which can't hold a colon everywhere."""
    return name.replace(":", "+")


def _entry(name: str, tuned: str | None) -> ModelSpec:
    if name.endswith((".yaml", ".yml")):
        stem = Path(name).stem
        if not stem.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ImderError(f"--models: {name}: letters, digits, '-', '_' and '.' make a name; rename the file")
        return ModelSpec(stem, load_config(file=name))
    base, _, variant = name.partition(":")
    preset = PRESETS.get(base, base)
    if preset not in preset_names():
        known = ", ".join(sorted({*preset_names(), *PRESETS}))
        raise ImderError(f"--models: there is no preset {base!r}; choose from {known}, or give a YAML file")
    if tuned in tuned_names(preset):
        preset = f"{preset}@{tuned}"
    if not variant and ":" not in name:
        return ModelSpec(name, load_config(preset))
    variants = VARIANTS.get(base, {})
    if variant not in variants:
        have = f"it has {', '.join(variants)}" if variants else "it has none"
        raise ImderError(f"--models: {base} has no variant {variant!r}; {have}")
    return ModelSpec(name, load_config(preset, overrides=variants[variant]))


def spec_note(entry: str, system: str) -> str:
    """What readers of a table must know of an entry, where its name isn't that of its system (tables know those)."""
    return system_note(system) if entry != system else ""
