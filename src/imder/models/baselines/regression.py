"""Regression: IMDer's pipeline with the missing encodings predicted instead of sampled.

    r_k = D_k(f_k(available e)),     f_k = argmin E || f_k(available e) - e_k ||^2   (`imder.models.imder.deterministic_recovery`)

Encoders, condition, networks, refinement, both fusions and their training are those of ``fast``, without the noise. Its
distance to ``fast`` is the gain of a distribution over its mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from imder.models.imder.config import IMDerConfig, RecoveryConfig
from imder.models.imder.training import IMDer
from imder.types import ImderError


@dataclass(frozen=True)
class RegressionConfig(IMDerConfig):
    """IMDer's configuration with the kind of recovery ``regression``."""

    recovery: RecoveryConfig = field(default_factory=lambda: RecoveryConfig(kind="regression"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recovery.kind != "regression":
            raise ImderError(f"regression: recovery.kind {self.recovery.kind!r} is the system imder's; use preset fast")


class Regression(IMDer):
    """IMDer with regression in place of diffusion."""

    system = "regression"
    config_type = RegressionConfig
    config: RegressionConfig
