"""The settings of a run that have an option of their own: `imder.train(seed=1)`, ``imder train --seed 1``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from imder.models.configuration import SEED
from imder.models.registry import system_class
from imder.training.config import load_config
from imder.types import ImderError


@dataclass(frozen=True)
class Shortcuts:
    """Settings by a short name; None leaves a setting as the preset or file has it.

    Attributes:
        missing_rate: ``training.missing_rate``.
        protocol: ``training.protocol``.
        recovery: ``model.recovery.kind``.
        language_encoder: ``training.language_encoder.name``.
        seed: ``training.seed``.

    Raises:
        ImderError: a value of the wrong type.
    """

    missing_rate: str | float | None = None
    recovery: str | None = None
    language_encoder: str | Path | None = None
    seed: int | None = None
    protocol: str | None = None

    def __post_init__(self) -> None:
        check_option("missing_rate", self.missing_rate, str | float | int | None, "a number or the name of a protocol")
        check_option("protocol", self.protocol, str | None, "the name of a protocol")
        check_option("recovery", self.recovery, str | None, "the name of a recovery")
        check_option("language_encoder", self.language_encoder, str | Path | None, "a folder or a name")
        if self.seed is not None:
            SEED.check("seed", self.seed)

    def given(self) -> tuple[str, ...]:
        """The names of the settings that are not None."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)

    def overrides(self, preset: str, file: str | Path | None) -> dict[str, Any]:
        """The same settings by dotted keys, for `imder.training.config.load_config`.

        Raises:
            ImderError: an unknown recovery, or one for a system that recovers nothing.
        """
        changes: dict[str, Any] = {}
        if self.missing_rate is not None:
            changes["training.missing_rate"] = self.missing_rate
        if self.protocol is not None:
            changes["training.protocol"] = self.protocol
        if self.recovery is not None:
            _check_recovery(self.recovery, preset, file)
            changes["model.recovery.kind"] = self.recovery
        if self.language_encoder is not None:
            changes["training.language_encoder.name"] = str(self.language_encoder)
        if self.seed is not None:
            changes["training.seed"] = self.seed
        return changes


def check_option(name: str, value: Any, types: Any, expected: str) -> None:
    """Raise `ImderError` unless ``value`` is an instance of ``types``."""
    if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
        raise ImderError(f"{name}: expected {expected}, got {value!r}")


def _check_recovery(kind: str, preset: str, file: str | Path | None) -> None:
    config = load_config(preset, file)
    recovery = get_type_hints(system_class(config.system).config_type).get("recovery")
    if recovery is None:
        raise ImderError(
            f"recovery {kind!r}: preset {config.preset!r} recovers nothing; leave recovery (--recovery) out, or choose "
            "preset 'fast'"
        )
    if kind not in (kinds := get_args(get_type_hints(recovery)["kind"])):
        raise ImderError(f"recovery {kind!r} is not known; choose from {', '.join(kinds)} (recovery=, --recovery)")
