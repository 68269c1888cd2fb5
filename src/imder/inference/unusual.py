"""Features unlike those of training: in other units, or made in another way.

Models standardise features by statistics of their training frames. Where most values of a sample are more than `FAR`
deviations from the mean, the sample was hardly made as those of training were, and its prediction means little.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from imder.data.split import Split
from imder.missingness.masks import Mask
from imder.models.base import Model

FAR = 10.0
"""Standard deviations from the mean of training."""
MOST = 0.5
"""The share of a sample's values beyond which it is unlike training."""
_FAR = f"over {FAR:g} standard deviations from the training mean"
_QUESTION = "are they in the units of the training data, and made in the same way?"


@dataclass(frozen=True)
class Unusual:
    """A modality of a sample that is unlike training.

    Attributes:
        row: number of the sample.
        modality: its name.
        share: of the values that are far from the training mean.
    """

    row: int
    modality: str
    share: float

    @property
    def remark(self) -> str:
        """What is unusual, and what to check."""
        return f"{self.share:.0%} of the values are {_FAR}; {_QUESTION}"

    @property
    def in_windows(self) -> str:
        """The same in a sentence that fits all windows of a stream."""
        return f"most values of a window are {_FAR}; {_QUESTION}"


def unusual(model: Model, split: Split, mask: Mask | None = None) -> list[Unusual]:
    """The modalities of samples that are unlike training; none where the model has no statistics of features.

    Args:
        model: a trained system.
        split: as `Model.prepare` gives it.
        mask: ``(N, K)`` bool, the modalities that count; None for all.
    """
    statistics = {name: s for name, s in model.feature_statistics().items() if s.is_fitted}
    rows = []
    for k, name in enumerate(model.spec.names):
        if name not in statistics:
            continue
        mean, std = statistics[name].mean.cpu().numpy(), statistics[name].std.cpu().numpy()
        features = split.features[name]
        for i in np.flatnonzero(features.lengths if mask is None else features.lengths * mask[:, k]):
            share = float((np.abs(features[int(i)] - mean) > FAR * std).mean())
            if share > MOST:
                rows.append(Unusual(int(i), name, share))
    return rows


def warnings(model: Model, split: Split, mask: Mask) -> list[str]:
    """A sentence for each modality that is unlike training in some sample."""
    counts = Counter(each.modality for each in unusual(model, split, mask))
    return [
        f"{name}: most values of {count} of {int((split.present[:, k] & mask[:, k]).sum())} samples are {_FAR}; {_QUESTION}"
        for k, name in enumerate(model.spec.names)
        if (count := counts[name])
    ]
