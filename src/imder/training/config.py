"""What training is told: how each phase learns, and on which masks.

The complete configuration of a run is `RunConfig`: a system's name, its own configuration and `TrainingConfig`. It is made
from a preset, then a file, then single overrides, each checked against the dataclasses: an unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from imder.missingness.protocols import training_protocols
from imder.models.base import Phase
from imder.models.configuration import from_mapping
from imder.models.language.encoder import LanguageEncoderConfig
from imder.models.presets import merged, read_preset
from imder.models.registry import system_class
from imder.types import ImderError


@dataclass(frozen=True)
class PhaseConfig:
    """How one phase learns.

    Attributes:
        max_epochs: at most.
        batch_size: samples of each process; about so many, for a system that reads dialogues whole.
        learning_rate, weight_decay: of AdamW (Adam when the decay is 0).
        missing: masks of the phase: ``every`` (every non-empty subset of each sample, in every step; stage 1 only), ``any``
            (a random one), ``none`` (everything present is available) or ``rate`` (what ``missing_rate`` says).
        validate_every: epochs between validations.
        patience: validations without improvement before it stops.
        plateau_patience, plateau_factor: validations without improvement before the rate is multiplied by the factor; 0
            for a constant rate.
        warmup: steps over which the rate rises from 0.
        cosine: whether the rate falls to 0 along a cosine over ``max_epochs``.
        clip_norm, clip_value: of gradients; 0 for none; at most one of them.
        ema: decay of the exponential moving average of the weights that is validated and kept; 0 for none.
    """

    max_epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    missing: Literal["every", "any", "none", "rate"] = "rate"
    validate_every: int = 1
    patience: int = 20
    plateau_patience: int = 0
    plateau_factor: float = 0.5
    warmup: int = 0
    cosine: bool = False
    clip_norm: float = 1.0
    clip_value: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        if self.clip_norm and self.clip_value:
            raise ImderError("training: gradients are clipped by norm or by value, not both; set one of them to 0")
        if self.cosine and self.plateau_patience:
            raise ImderError("training: cosine and plateau_patience are two schedules; choose one")
        if min(self.max_epochs, self.batch_size, self.validate_every) < 1:
            raise ImderError("training: max_epochs, batch_size and validate_every must be at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """Of all phases; those that a system does not go through keep their defaults.

    Attributes:
        missing_rate: the masks of phases whose ``missing`` is ``rate``: a number, the rate of the random protocol; or the name
            of a protocol that training can draw masks of (`imder.missingness.protocols`), such as ``any``, ``official``.
        nominal_rate: the rate of a protocol that ``missing_rate`` names.
        permanently_missing: draw masks once and use nothing of what they drop.
        seed: of everything random.
        validation_draws: masks of each validation sample, where not all patterns are tried.
        label_share: share of the training labels that is used, drawn by the seed; the other samples count as unlabelled.
        calibration_samples: validation samples at most from which is learned how sure predictions are (`imder.training.calibrate`);
            0 for none.
        language_encoder: a transformer that is tuned in stage 1 and makes language features of token ids.
    """

    missing_rate: str | float = "any"
    nominal_rate: float = 0.5
    permanently_missing: bool = False
    seed: int = 0
    validation_draws: int = 3
    label_share: float = 1.0
    calibration_samples: int = 4096
    language_encoder: LanguageEncoderConfig = field(default_factory=LanguageEncoderConfig)
    stage1: PhaseConfig = field(default_factory=PhaseConfig)
    score: PhaseConfig = field(default_factory=PhaseConfig)
    recovery: PhaseConfig = field(default_factory=PhaseConfig)
    joint: PhaseConfig = field(default_factory=PhaseConfig)

    def __post_init__(self) -> None:
        if any(p.missing == "every" for p in (self.score, self.recovery, self.joint)):
            raise ImderError("training: missing 'every' is for stage1 only")
        if self.calibration_samples < 0:
            raise ImderError(
                f"training: calibration_samples counts samples, got {self.calibration_samples}; 0 for none"
            )
        if self.seed < 0:
            raise ImderError(f"training: the seed must not be negative, got {self.seed}")
        if not 0 < self.label_share <= 1:
            raise ImderError(f"training.label_share is above 0 and at most 1, got {self.label_share}")
        rate = self.missing_rate
        if rate not in training_protocols() if isinstance(rate, str) else not 0 <= rate <= 1:
            names = ", ".join(map(repr, training_protocols()))
            raise ImderError(f"missing_rate is a number in [0, 1] or one of {names}, got {rate!r}")
        if self.permanently_missing and isinstance(rate, str):
            raise ImderError("training.permanently_missing needs a numeric missing_rate: it says what is never seen")


@dataclass(frozen=True)
class EngineConfig:
    """Where training runs; handed to the engine as it is.

    Attributes:
        accelerator, devices, num_nodes, precision: as the engine knows them. CPU runs use one process unless told.
        checkpoint_seconds: at least this long between two checkpoints of a running phase.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    checkpoint_seconds: float = 15.0


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run, but the corpus and the machine."""

    system: str
    model: Any
    training: TrainingConfig
    preset: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain containers."""
        return {
            "system": self.system,
            "preset": self.preset,
            "model": _plain(asdict(self.model)),
            "training": _plain(asdict(self.training)),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def load_config(
    preset: str = "fast", file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> RunConfig:
    """A preset, changed by a YAML file (of the same layout, or a run's ``config.yaml``), changed by overrides.

    Args:
        preset: a name; a file that names another preset wins.
        file: keys ``system``, ``preset``, ``model``, ``training``, all optional.
        overrides: nested, such as ``{"training": {"seed": 1}}``, or dotted, such as ``{"training.seed": 1}``.

    Raises:
        ImderError: unknown names or keys, or values that don't fit.

    >>> load_config("fast", overrides={"training.seed": 7}).training.seed
    7
    """
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = yaml.safe_load(Path(file).read_text()) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ImderError(f"{file}: cannot read the configuration ({str(error).splitlines()[0]})") from None
        if not isinstance(given, dict):
            raise ImderError(f"{file}: a configuration is a mapping with keys system, preset, model, training")
        if unknown := sorted(set(given) - {"system", "preset", "model", "training"}):
            raise ImderError(f"{file}: unknown key {unknown[0]}; a configuration has system, preset, model, training")
    preset = given.get("preset") or preset
    data = read_preset(preset)
    system = str(given.get("system") or data["system"])
    if system != data["system"]:
        raise ImderError(f"preset {preset!r} configures {data['system']!r}, not {system!r}")
    for part in ("model", "training"):
        data = merged(data, {part: given.get(part) or {}})
    for key, value in (overrides or {}).items():
        for step in reversed(key.split(".")):
            value = {step: value}
        data = merged(data, value)
    if unknown := sorted(set(data) - {"system", "model", "training"}):
        raise ImderError(f"unknown key {unknown[0]}; a configuration has model.* and training.*")
    for part in ("model", "training"):
        if not isinstance(data[part], dict):
            raise ImderError(f"{part} is a mapping of settings, got {data[part]!r}")
    kind = system_class(system)
    training = from_mapping(TrainingConfig, data["training"], "training")
    model = from_mapping(kind.config_type, data["model"])
    return RunConfig(system, model, _without_idle(training, kind.phases(model), preset), preset)


def _without_idle(training: TrainingConfig, phases: tuple[Phase, ...], preset: str) -> TrainingConfig:
    """``training`` with the defaults for phases that aren't gone through.

    A preset says how its phases learn; where a setting of the model takes one of them away, what the preset says of it is
    void. Anything else that is said of such a phase is a mistake (`ImderError`).
    """
    data = read_preset(preset)
    kind = system_class(data["system"])
    idle: dict[str, Any] = {}
    for name in sorted({"stage1", "score", "recovery", "joint"} - set(phases)):
        if getattr(training, name) == PhaseConfig():
            continue
        usual = kind.phases(from_mapping(kind.config_type, data["model"]))
        if name not in usual:
            raise ImderError(f"training.{name} is set, but preset {preset!r} has no such phase")
        if getattr(training, name) != getattr(from_mapping(TrainingConfig, data["training"], "training"), name):
            raise ImderError(f"training.{name} is set, but with these settings of the model there is no such phase")
        idle[name] = PhaseConfig()
    return replace(training, **idle)


def with_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """What `RunConfig.to_dict` once gave, with the defaults of settings that have come since: they change nothing.

    Where it has settings that there are no more, it is given back as it is.
    """
    try:
        model = from_mapping(system_class(data["system"]).config_type, data["model"])
        training = from_mapping(TrainingConfig, data["training"], "training")
    except ImderError:
        return dict(data)
    return RunConfig(data["system"], model, training, data["preset"]).to_dict()


def capped(config: RunConfig, max_epochs: int) -> RunConfig:
    """The same with none of the system's phases longer than ``max_epochs``."""
    phases: dict[str, Any] = {}
    for name in system_class(config.system).phases(config.model):
        phase = getattr(config.training, name)
        phases[name] = replace(phase, max_epochs=min(phase.max_epochs, max_epochs))
    return replace(config, training=replace(config.training, **phases))
