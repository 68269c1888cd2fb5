"""Configurations: of a phase, of training, of the engine, and of a whole run.

A run's configuration is made from a preset, then a file, then single overrides. Each is checked against the dataclasses: an
unknown key is an error. A system names its phases (`Model.phase_names`), and its training configuration has a `PhaseConfig`
for each, in files and on the command line ``training.<phase>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from imder.jobs.documents import read_yaml
from imder.missingness.protocols import frame_protocols, training_protocols
from imder.models.base import Phase
from imder.models.configuration import COUNT, POSITIVE_COUNT, SEED, Number, check_numbers, from_mapping
from imder.models.language.config import LanguageEncoderConfig
from imder.models.nested import merged
from imder.models.presets import read_preset
from imder.models.registry import system_class
from imder.training.phase_config import PhaseConfig
from imder.types import ImderError

_TRAINING_NUMBERS = {
    "nominal_rate": Number(least=0, most=1),
    "seed": SEED,
    "validation_draws": POSITIVE_COUNT,
    "label_share": Number(above=0, most=1),
    "calibration_samples": COUNT,
}


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of training, and of each of the system's phases.

    Attributes:
        protocol: what training masks drop: ``random`` for modalities, as ``missing_rate`` says; ``frames`` or ``mixed``
            (`imder.missingness.frame_missing`) at the rate ``missing_rate``, or at a rate of its own for each sample, uniform
            in [0, 1], with ``any``.
        missing_rate: the masks of phases whose ``missing`` is ``rate``: a number (the rate of the random protocol), ``any``
            (random subsets) or ``official`` (the released code's schedule).
        nominal_rate: the rate of the protocol that ``missing_rate`` names.
        permanently_missing: draw masks once and never use what they drop.
        seed: seed of all random numbers.
        validation_draws: masks of each validation sample, unless all patterns are tried.
        label_share: share of the training labels that is used, drawn by the seed; the other samples count as unlabelled.
        calibration_samples: largest number of validation samples that intervals and sets are calibrated on; 0 for no
            calibration.
        language_encoder: a transformer that is tuned in stage 1 and makes language features of token ids.
    """

    missing_rate: str | float = "any"
    protocol: str = "random"
    nominal_rate: float = 0.5
    permanently_missing: bool = False
    seed: int = 0
    validation_draws: int = 3
    label_share: float = 1.0
    calibration_samples: int = 4096
    language_encoder: LanguageEncoderConfig = field(default_factory=LanguageEncoderConfig)

    def __post_init__(self) -> None:
        check_numbers(self, _TRAINING_NUMBERS, "training")
        for name in self.phase_names[1:]:
            if self.phase(name).missing == "every":
                raise ImderError(f"training.{name}: missing 'every' is for {self.phase_names[0]} only")
        rate = self.missing_rate
        if not ((isinstance(rate, Real) and 0 <= rate <= 1) or rate in training_protocols()):
            names = ", ".join(map(repr, training_protocols()))
            raise ImderError(f"missing_rate is a number in [0, 1] or one of {names}, got {rate!r}")
        if self.protocol not in ("random", *frame_protocols()):
            names = ", ".join(("random", *frame_protocols()))
            raise ImderError(f"training.protocol is one of {names}, got {self.protocol!r}")
        if self.protocol != "random" and isinstance(rate, str) and rate != "any":
            raise ImderError(f"missing_rate {rate!r}: under the {self.protocol} protocol it is a number or 'any'")
        if self.protocol != "random" and self.permanently_missing:
            raise ImderError(f"training.permanently_missing is undefined under the {self.protocol} protocol")
        if self.permanently_missing and isinstance(rate, str):
            raise ImderError(
                "training.permanently_missing needs a numeric missing_rate: the share that is dropped for good"
            )

    @property
    def phase_names(self) -> tuple[Phase, ...]:
        """The phases that have settings: those of the system."""
        return tuple(f.name for f in fields(self) if f.type is PhaseConfig)

    def phase(self, name: Phase) -> PhaseConfig:
        """Settings of a phase.

        Raises:
            ImderError: the system has no such phase.
        """
        if name not in self.phase_names:
            raise ImderError(f"training: there is no phase {name!r}; there are {', '.join(self.phase_names) or 'none'}")
        settings: PhaseConfig = getattr(self, name)
        return settings

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the names of the phases: the type is made at run time."""
        return _restore, (self.phase_names, {f.name: getattr(self, f.name) for f in fields(self)})


@cache
def training_config_type(phases: tuple[Phase, ...]) -> type[TrainingConfig]:
    """The subclass of `TrainingConfig` that has a `PhaseConfig` for each of ``phases``.

    >>> training_config_type(("stage1", "joint"))(seed=3).phase("joint").max_epochs
    100
    """
    settings = [(name, PhaseConfig, field(default_factory=PhaseConfig)) for name in phases]
    doc = f"{(TrainingConfig.__doc__ or '').rstrip()}\n        {', '.join(phases)}: how each phase learns.\n    "
    namespace = {"__doc__": doc, "__module__": __name__}
    return make_dataclass("TrainingConfig", settings, bases=(TrainingConfig,), namespace=namespace, frozen=True)


def _restore(phases: tuple[Phase, ...], values: Mapping[str, Any]) -> TrainingConfig:
    return training_config_type(phases)(**values) if phases else TrainingConfig(**values)


@dataclass(frozen=True)
class EngineConfig:
    """Hardware of a training, and how often it is saved.

    Attributes:
        accelerator: ``auto``, ``cpu``, ``gpu`` or another of Lightning's accelerators.
        devices: number of processes (devices) on each machine.
        num_nodes: number of machines.
        precision: precision of the computation.
        checkpoint_seconds: shortest time between two checkpoints of a running phase, in seconds.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    checkpoint_seconds: float = 15.0

    def __post_init__(self) -> None:
        Number(least=0).check("engine.checkpoint_seconds", self.checkpoint_seconds)


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run, except the corpus and the machine."""

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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunConfig:
        """The inverse of `to_dict`; settings that are left out get their defaults.

        Raises:
            ImderError: unknown names or keys, or values that don't fit.
        """
        kind = system_class(str(data["system"]))
        training = from_mapping(training_config_type(kind.configured_phases()), data["training"], "training")
        model = from_mapping(kind.config_type, data["model"])
        return cls(str(data["system"]), model, training, str(data.get("preset", "")))

    def with_max_epochs(self, max_epochs: int) -> RunConfig:
        """The same configuration, no phase longer than ``max_epochs``.

        Raises:
            ImderError: it isn't a whole number, at least 1.
        """
        POSITIVE_COUNT.check("max_epochs", max_epochs)
        phases: dict[str, Any] = {}
        system = system_class(self.system)
        for name in {system.settings_of(phase) for phase in system.phases(self.model)}:
            phase = self.training.phase(name)
            phases[name] = replace(phase, max_epochs=min(phase.max_epochs, max_epochs))
        return replace(self, training=replace(self.training, **phases))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def load_config(
    preset: str = "fast", file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> RunConfig:
    """A preset, changed by a YAML file (of the same layout, or a run's ``config.yaml``), changed by overrides.

    Args:
        preset: a name; the preset that ``file`` names takes precedence.
        file: keys ``system``, ``preset``, ``model``, ``training``, all optional.
        overrides: nested, such as ``{"training": {"seed": 1}}``, or dotted, such as ``{"training.seed": 1}``.

    Raises:
        ImderError: unknown names or keys, or values that don't fit.

    >>> load_config("fast", overrides={"training.seed": 7}).training.seed
    7
    """
    changes = {} if file is None else _read(file)
    preset = changes.get("preset") or preset
    if not isinstance(preset, str):
        raise ImderError(f"{'preset' if file is None else f'{file}: preset'}: expected a name, got {preset!r}")
    if changes.get("preset") == "" and changes.get("system"):  # of a run whose configuration was built without a preset
        preset, data = "", {"system": changes["system"], "model": {}, "training": {}}
    else:
        data = read_preset(preset)
    system = str(changes.get("system") or data["system"])
    if system != data["system"]:
        raise ImderError(f"preset {preset!r} configures {data['system']!r}, not {system!r}")
    for part in ("model", "training"):
        data = merged(data, {part: changes.get(part) or {}})
    for key, value in (overrides or {}).items():
        for step in reversed(key.split(".")):
            value = {step: value}
        data = merged(data, value)
    if unknown := sorted(set(data) - {"system", "model", "training"}):
        raise ImderError(f"unknown key {unknown[0]}; a configuration has model.* and training.*")
    for part in ("model", "training"):
        if not isinstance(data[part], dict):
            raise ImderError(f"{part} is a mapping of settings, got {data[part]!r}")
    return with_fitting_phases(RunConfig.from_dict(data | {"preset": preset}))


def complete_config(file: str | Path) -> RunConfig:
    """The configuration in a run's ``config.yaml``, which no preset changes any more.

    Raises:
        ImderError: it can't be read, or has unknown names or keys, or values that don't fit.
    """
    data = _read(file)
    for key, kind in {"system": str, "model": dict, "training": dict}.items():
        if not isinstance(data.get(key), kind):
            raise ImderError(f"{file}: {key} is missing or damaged")
    try:
        return RunConfig.from_dict(data)
    except ImderError as error:
        raise ImderError(f"{file}: {error}") from None


def with_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that `RunConfig.to_dict` gave, with the defaults of settings that it lacks.

    Returns it unchanged if it has unknown settings.
    """
    try:
        return RunConfig.from_dict(data).to_dict()
    except ImderError:
        return dict(data)


def _read(file: str | Path) -> dict[str, Any]:
    try:
        data = read_yaml(file) or {}
    except ImderError as error:
        raise ImderError(f"{file}: cannot read the configuration ({str(error).removeprefix(f'{file}: ')})") from None
    if not isinstance(data, dict):
        raise ImderError(f"{file}: a configuration is a mapping with keys system, preset, model, training")
    if unknown := sorted(map(str, set(data) - {"system", "preset", "model", "training"})):
        raise ImderError(f"{file}: unknown key {unknown[0]}; a configuration has system, preset, model, training")
    return data


def with_fitting_phases(config: RunConfig) -> RunConfig:
    """The settings of phases that the model's configuration adds to those of the preset, or takes away.

    One that it takes away gets defaults: what a preset says of it is void, and a file or an override that changes it is a
    mistake. One that it adds gets what the preset says of it, unless its settings were changed.

    Raises:
        ImderError: settings of a phase that training does not go through.
    """
    if not config.preset:
        return config
    kind, training = system_class(config.system), config.training
    usual = RunConfig.from_dict(read_preset(config.preset))
    usual_phases, phases = kind.phases(usual.model), kind.phases(config.model)
    changed: dict[str, Any] = {}
    for name in kind.configured_phases():
        given, preset = training.phase(name), usual.training.phase(name)
        if name in phases:
            if name not in usual_phases and given == PhaseConfig():
                changed[name] = preset
        elif given != PhaseConfig():
            if given != preset:
                lacks = (
                    f"preset {config.preset!r} has"
                    if preset == PhaseConfig()
                    else "with these settings of the model there is"
                )
                raise ImderError(f"training.{name} is set, but {lacks} no such phase")
            changed[name] = PhaseConfig()
    return replace(config, training=replace(training, **changed))
