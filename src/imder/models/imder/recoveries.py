"""The classes of recovery: one table, chosen by ``recovery.kind`` and ``recovery.condition``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imder.models.imder.config import Kind, RecoveryConfig
from imder.models.imder.deterministic_recovery import RegressionRecovery, TrainMeanRecovery, ZeroRecovery
from imder.models.imder.distilled_recovery import DistilledRecovery
from imder.models.imder.paper import PaperRecovery
from imder.models.imder.recovery import RecoveryModel
from imder.models.imder.token_recovery import TokenRecovery

_SCORE_NETWORKS: dict[str, type[RecoveryModel]] = {"tokens": TokenRecovery, "channels": PaperRecovery}

RECOVERIES: dict[Kind, dict[str, type[RecoveryModel]]] = {
    "conditional": _SCORE_NETWORKS,
    "unconditional": _SCORE_NETWORKS,
    "mean": _SCORE_NETWORKS,
    "regression": {"tokens": RegressionRecovery},
    "train-mean": dict.fromkeys(("tokens", "channels"), TrainMeanRecovery),
    "zero": dict.fromkeys(("tokens", "channels"), ZeroRecovery),
}
"""``recovery.kind`` -> ``recovery.condition`` -> class."""


def build_recovery(
    steps: Mapping[str, int], width: int, config: RecoveryConfig, offsets: Sequence[int] = ()
) -> RecoveryModel:
    """A new recovery of the configured kind.

    Args:
        steps: of each modality's encoding, in the order of masks.
        width: channels of the encodings.
        config: see `RecoveryConfig`.
        offsets: of the neighbouring clips whose encodings enter the condition, such as (-1, 1).
    """
    kind = DistilledRecovery if config.distilled else RECOVERIES[config.kind][config.condition]
    return kind(steps, width, config, offsets)
