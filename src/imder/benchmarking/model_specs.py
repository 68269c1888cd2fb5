"""The models that ``--models`` names: presets, variants of presets, configuration files.

``imder`` is the preset ``fast``; any other preset has its own name. A path that ends in ``.yaml`` or ``.yml`` is a
configuration file; the file's name is the model's. ``name:variant`` changes a few keys of a preset or file (`variants_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imder.evaluation.tables import REFERENCES
from imder.models.nested import merged
from imder.models.presets import preset_names, tuned_names
from imder.models.registry import system_class, system_note
from imder.training.config import RunConfig, load_config, with_fitting_phases
from imder.training.phase_config import PhaseConfig
from imder.types import ImderError

DEFAULT_MODELS = (
    "imder",
    "imder:no-context",
    "imder:past",
    "imder:zero",
    "imder:unconditional",
    "regression",
    "late-fusion:context",
    "late-fusion",
    "gcnet",
    "mmin",
    "language-only",
    "ridge",
)
"""The models compared by default."""

PRESETS: Mapping[str, str] = {"imder": "fast"}
"""Presets of systems that have another name."""

_STAGE1_OF_FAST = {
    "model.members": 8,
    "model.context.direction": "both",
    "model.fusion.dropout": 0.5,
    "training.stage1.self_distillation": "auto",
}

_SOLVED = {"model.recovery.distilled": False}

RECOVERY_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    kind: {"model.recovery.kind": kind} | ({} if kind == "unconditional" else _SOLVED)
    for kind in ("unconditional", "mean", "train-mean", "zero")
}
"""Variants of every preset and file of IMDer."""

VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "imder": {
        **RECOVERY_VARIANTS,
        "one-draw": {"model.num_samples": 1},
        "no-context": {"model.context.direction": "none"},
        "past": {"model.context.direction": "past"},
        "one-member": {"model.members": 1},
        "distilled": {"model.recovery.distilled": True},
        "inpaint": {"model.recovery.inpaint": True, **_SOLVED},
        "complete": {"training.missing_rate": 0.0},
    },
    "late-fusion": {
        "context": _STAGE1_OF_FAST,
        "past": {**_STAGE1_OF_FAST, "model.context.direction": "past"},
        "members": {**_STAGE1_OF_FAST, "model.context.direction": "none"},
        "one-member": {**_STAGE1_OF_FAST, "model.members": 1},
    },
}
"""For models with variants of their own these, and the keys that they change."""


@dataclass(frozen=True)
class ModelSpec:
    """A column of the tables: its name and its complete configuration."""

    name: str
    config: RunConfig


def default_models(modalities: Sequence[str]) -> tuple[str, ...]:
    """`DEFAULT_MODELS` without those that need a modality that a corpus lacks.

    >>> "language-only" in default_models(["vision", "audio"])
    False
    """
    return tuple(m for m in DEFAULT_MODELS if m != "language-only" or "language" in modalities)


def model_specs(
    names: Sequence[str], max_epochs: int | None = None, label_share: float = 1.0, tuned: str | None = None
) -> list[ModelSpec]:
    """The models of some names, in their order.

    Args:
        names: presets, variants, configuration files.
        max_epochs: the most epochs of any phase.
        label_share: of the training labels, for every model; below 1 it overrides the configurations.
        tuned: a corpus; presets with settings tuned for it take them (`imder.models.presets`).

    Raises:
        ImderError: an unknown name or variant, an invalid configuration, two models of one name or one called like a
            reference, or no settings tuned for that corpus.

    >>> [(e.name, e.config.preset) for e in model_specs(["imder", "zero-fill"])]
    [('imder', 'fast'), ('zero-fill', 'zero-fill')]
    """
    if tuned is not None and tuned not in tuned_names():
        advice = (
            f"choose from {', '.join(tuned_names())}" if tuned_names() else "no tuned settings come with this version"
        )
        raise ImderError(f"tuned (--tuned): nothing is tuned for {tuned!r}; {advice}")
    specs = [_entry(name, tuned) for name in names]
    if label_share != 1:
        shared = [replace(e.config, training=replace(e.config.training, label_share=label_share)) for e in specs]
        specs = [ModelSpec(e.name, config) for e, config in zip(specs, shared, strict=True)]
    if not specs:
        raise ImderError("models (--models): name at least one")
    file_names: set[str] = set()
    for entry in specs:
        if entry.name in REFERENCES:
            raise ImderError(
                f"models (--models): {entry.name} is the name of a reference in every table; leave it out or rename it"
            )
        if file_name(entry.name) in file_names:
            raise ImderError(
                f"models (--models): {entry.name} is named twice; results are filed by name, so rename one"
            )
        file_names.add(file_name(entry.name))
    return [e if max_epochs is None else ModelSpec(e.name, e.config.with_max_epochs(max_epochs)) for e in specs]


def file_name(name: str) -> str:
    """A model's name in file names, where a colon isn't allowed everywhere."""
    return name.replace(":", "+")


def variants_of(config: RunConfig) -> Mapping[str, Mapping[str, Any]]:
    """The variants of a configuration by name, and the keys that they change.

    >>> sorted(variants_of(load_config("paper-mosi")))
    ['mean', 'train-mean', 'unconditional', 'zero']
    """
    preset = config.preset.partition("@")[0]
    usual = next((name for name, other in PRESETS.items() if other == preset), preset)
    return VARIANTS.get(usual, RECOVERY_VARIANTS if config.system == "imder" else {})


def _entry(name: str, tuned: str | None) -> ModelSpec:
    file, base, colon, variant = _parts(name)
    if file:
        base = Path(file).stem
        if not base.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ImderError(
                f"models (--models): {file}: a model's name has letters, digits, '-', '_' and '.'; rename the file"
            )
        config = load_config(file=file)
    else:
        preset = PRESETS.get(base, base)
        if preset not in preset_names():
            advice = ", ".join(sorted({*preset_names(), *PRESETS}))
            raise ImderError(
                f"models (--models): there is no preset {base!r}; choose from {advice}, or give a YAML file"
            )
        stage1_of_fast = (
            base == "late-fusion" and variant
        )  # what is tuned for one member without context doesn't fit it
        if tuned in tuned_names(preset) and not stage1_of_fast:
            preset = f"{preset}@{tuned}"
        config = load_config(preset)
    if not colon:
        return ModelSpec(base, config)
    variants = variants_of(config)
    if variant not in variants:
        have = f"it has {', '.join(variants)}" if variants else "it has none"
        raise ImderError(f"models (--models): {base} has no variant {variant!r}; {have}")
    try:
        return ModelSpec(f"{base}:{variant}", _varied(config, variants[variant]))
    except ImderError as error:
        raise ImderError(f"models (--models): {base}:{variant}: {error}") from None


def _parts(name: str) -> tuple[str, str, str, str]:
    """A model's YAML file or else its preset, and the colon and variant that follow.

    >>> _parts("runs/my.yaml:zero"), _parts("imder")
    (('runs/my.yaml', '', ':', 'zero'), ('', 'imder', '', ''))
    """
    for ending in (".yaml", ".yml"):
        if name.endswith(ending):
            return name, "", "", ""
        if (at := name.rfind(f"{ending}:")) >= 0:
            file, variant = name[: at + len(ending)], name[at + len(ending) + 1 :]
            return file, "", ":", variant
    base, colon, variant = name.partition(":")
    return "", base, colon, variant


def _varied(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration with some keys changed.

    Phases that the change takes away get defaults, those that it adds what the preset says of them.
    """
    data = config.to_dict()
    for key, value in changes.items():
        for step in reversed(key.split(".")):
            value = {step: value}
        data = merged(data, value)
    varied = RunConfig.from_dict(data)
    kind = system_class(varied.system)
    gone: dict[str, Any] = {
        phase: PhaseConfig() for phase in set(kind.configured_phases()) - set(kind.phases(varied.model))
    }
    return with_fitting_phases(replace(varied, training=replace(varied.training, **gone)))


def spec_note(entry: str, system: str) -> str:
    """The note on a model's system, where the model has another name (tables add the note of a system by itself)."""
    return system_note(system) if entry != system else ""
