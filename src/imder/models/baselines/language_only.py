"""Language only: the branch of late fusion for one modality, alone; the other modalities are never read.

    y = W reader(pool(E(x)))    where the modality is available, the constant where it isn't

Language carries most of the sentiment in corpora of spoken opinions: systems of several modalities have to improve on it.
``modality`` can name any other modality.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from imder.models.base import Phase
from imder.models.baselines.constant import constant_of_labels
from imder.models.deterministic import DeterministicModel
from imder.models.parts.encoder import Encoder, EncoderConfig
from imder.models.parts.fusions.base import FusionConfig
from imder.models.parts.fusions.pooled import PooledReader, pool
from imder.models.parts.losses import Loss, init_head_bias, task_loss, to_prediction
from imder.nn.resample import frame_mask
from imder.types import Batch, ImderError, Spec


@dataclass(frozen=True)
class LanguageOnlyConfig:
    """Encoder and reader as in ``fast``.

    Attributes:
        modality: the one that is read.
    """

    modality: str = "language"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        if self.fusion.kind != "pooled":
            raise ImderError("language-only reads one modality, pooled: fusion.kind must be 'pooled'")


class LanguageOnly(DeterministicModel):
    """Encoder, pooling, one hidden layer, prediction.

    Args:
        spec: of the corpus, which must have the modality (`ImderError`).
        config: see `LanguageOnlyConfig`.
    """

    system = "language-only"
    config_type = LanguageOnlyConfig
    config: LanguageOnlyConfig
    baseline: Tensor

    def __init__(self, spec: Spec, config: LanguageOnlyConfig) -> None:
        super().__init__(spec, config)
        if config.modality not in spec.names:
            raise ImderError(
                f"language-only: the corpus has no modality {config.modality!r}; "
                f"set model.modality to one of {', '.join(spec.names)}"
            )
        self.index = spec.names.index(config.modality)
        self.encoder = Encoder(spec.modalities[self.index], config.encoder)
        self.reader = PooledReader(config.encoder.width, self.encoder.steps, config.fusion)
        self.head = nn.Linear(config.fusion.hidden, spec.outputs)
        self.register_buffer("baseline", torch.zeros(spec.outputs))

    def forward(self, batch: Batch, rows: Tensor) -> Tensor:
        """The head's output ``(R, O)`` for ``rows`` (R,), in which the modality is available."""
        if not len(rows):
            return self.head.bias.new_zeros(0, self.spec.outputs)
        features, lengths = batch.features[self.config.modality], batch.lengths[self.config.modality]
        pooled = pool(self.encoder(features[rows], lengths[rows]))
        out: Tensor = self.head(self.reader(pooled)[0])
        return out

    def _rows(self, batch: Batch) -> Tensor:
        """The rows ``(R,)`` in which the modality is available."""
        return batch.available[:, self.index].nonzero().squeeze(1)

    def init_output_bias(self, labels: Tensor) -> None:
        """Start the head at the constant baseline, and store it for rows that lack the modality."""
        init_head_bias(self.head, labels, self.spec)
        self.baseline.copy_(constant_of_labels(labels, self.spec))

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit the feature statistics."""
        del phase, seed, permanently_missing
        self.encoder.standardize.fit(self._frames(batches))

    def _frames(self, batches: Iterable[Batch]) -> Iterator[Tensor]:
        """The valid frames ``(n, D)`` of each batch."""
        for batch in batches:
            features = batch.features[self.config.modality]
            lengths = batch.lengths[self.config.modality] * batch.available[:, self.index]
            yield features[frame_mask(lengths, features.shape[1])]

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's loss over rows that have the modality; patterns of other modalities make no difference."""
        del phase, seed, all_subsets
        assert batch.labels is not None
        rows = self._rows(batch)
        return {"task": task_loss(self(batch, rows), batch.labels[rows], self.spec)}

    def predict_batch(self, batch: Batch) -> Tensor:
        """The head's prediction, or the constant baseline where the modality is missing."""
        rows = self._rows(batch)
        predicted = to_prediction(self(batch, rows), self.spec)
        baseline = self.baseline if self.spec.task == "classification" else self.baseline[0]
        return baseline.expand(len(batch), *baseline.shape).index_copy(0, rows, predicted.to(baseline.dtype))
