"""Systems made of encoders, a fusion and context: what they share.

    e_k = E_k(x_k)   where modality k is available, 0 elsewhere        (`imder.models.parts.encoder`)
    y   = fusion(e_1 ... e_K, available)                               (`imder.models.parts.fusions`)
    y'  = y + attention to the neighbouring clips of the dialogue      (`imder.models.parts.context`)

*Members* are M such networks with initial weights and dropout of their own, side by side in the same tensors: one training,
one early stop on the averaged prediction. The prediction is their average.

Training tries every subset of a clip's modalities in every step. With context, the neighbours have random masks meanwhile,
new ones in each epoch. *Self-distillation* lets the averaged prediction from everything available teach every subset.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from imder.missingness.subsets import check_available, every_subset
from imder.models.base import Model, Phase
from imder.models.configuration import Number
from imder.models.parts.context import ContextAttention, ContextConfig, Neighbours, neighbours
from imder.models.parts.encoder import Encoder, EncoderConfig, encode_masked, encoded_steps, fit_features
from imder.models.parts.fusions import build_fusion
from imder.models.parts.fusions.base import AVAILABLE, MISSING, ClipVectors, FusionConfig
from imder.models.parts.losses import (
    Loss,
    averaged_loss,
    init_head_bias,
    is_labelled,
    members_loss,
    to_prediction,
)
from imder.nn.mode import evaluating
from imder.nn.module_dict import ModuleDict
from imder.nn.standardize import Standardizer
from imder.types import Batch, ImderError, Output, Spec, check_batch

if TYPE_CHECKING:
    from imder.data.corpus import Split

MEMBERS = Number(whole=True, least=1, most=32)
"""Bounds of ``model.members``."""


class FusionSystemConfig(Protocol):
    """A configuration with these parts."""

    @property
    def encoder(self) -> EncoderConfig:
        """Of every modality's encoder."""
        ...

    @property
    def fusion(self) -> FusionConfig:
        """Of the fusion."""
        ...


class FusionSystem(Model):
    """Encoders, a fusion that is told what is missing (if its kind reads states), and context.

    Args:
        spec: of the corpus.
        config: with an encoder and a fusion; ``members`` and ``context`` are optional fields of it.

    Raises:
        ImderError: members or context with a kind of fusion that has neither.
    """

    config: FusionSystemConfig
    self_distills = True

    def __init__(self, spec: Spec, config: FusionSystemConfig) -> None:
        super().__init__(spec, config)
        self.members: int = getattr(config, "members", 1)
        self.context_config = _context_of(config)
        self.encoders = ModuleDict[Encoder]({m.name: Encoder(m, config.encoder, self.members) for m in spec.modalities})
        self.steps = {m.name: encoded_steps(m, config.encoder) for m in spec.modalities}
        self.fusion = build_fusion(self.steps, config.encoder.width, spec.outputs, config.fusion, self.members)
        self.context = self.new_context()

    def new_context(self) -> ContextAttention | None:
        """The attention to neighbouring clips, if they are read."""
        if not self.context_config.offsets:
            return None
        fusion = self.config.fusion
        if fusion.kind != "pooled":
            raise ImderError(f"model.context: fusion.kind {fusion.kind!r} can't read neighbouring clips; use 'pooled'")
        return ContextAttention(self.members, fusion.hidden, self.spec.outputs, self.context_config, fusion.dropout)

    @classmethod
    def reads_context(cls, config: Any) -> bool:
        """Whether the configuration has a direction of context."""
        return bool(_context_of(config).offsets)

    def needs_dialogues(self, split: Split) -> bool:
        """As every `Model`, unless context was turned off: the training split had no clips with neighbours."""
        return self.context is not None and not self.context.is_off and super().needs_dialogues(split)

    @classmethod
    def stage1_of(cls, config: Any) -> Any:
        """Encoders, fusion, members and context."""
        return config.encoder, config.fusion, getattr(config, "members", 1), _context_of(config)

    # Parts.

    def feature_statistics(self) -> dict[str, Standardizer]:
        """Those of the encoders."""
        return {name: encoder.standardize for name, encoder in self.encoders.items()}

    def encode(self, batch: Batch, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Encodings ``(B, members * width, steps_k)`` of the available modalities, zero elsewhere.

        ``mask`` (B, K) encodes other modalities than the available ones (training only).
        """
        return encode_masked(self.encoders, batch, batch.available if mask is None else mask)

    def fuse(self, encodings: Mapping[str, Tensor], available: Tensor, rows: Tensor | None = None) -> ClipVectors:
        """Fuse clips under patterns of availability, each alone.

        Args:
            encodings: of N clips; 0 where a clip lacks the modality.
            available: ``(B, K)`` bool.
            rows: ``(B,)``, which of the N clips is meant; None if they are the same.
        """
        state = torch.where(available, AVAILABLE, MISSING)
        return self.fusion.vectors(encodings, state, None if rows is None else rows[:, None].expand_as(state))

    def in_context(self, targets: ClipVectors, clips: ClipVectors, near: Neighbours | None) -> Tensor:
        """The output ``(M, R, O)`` of R targets that read their neighbours among N clips."""
        if near is None or self.context is None:
            return targets.output
        added: Tensor = self.context(targets, clips, near)
        return targets.output + added

    def outputs(self, batch: Batch) -> Tensor:
        """The output of each member and row, ``(M, B, O)``."""
        clips = self.fuse(self.encode(batch), batch.available)
        return self.in_context(clips, clips, neighbours(batch, self.context_config))

    def subset_outputs(self, batch: Batch, rows: Tensor, available: Tensor) -> Tensor:
        """The outputs ``(M, R, O)`` of some rows under other masks, amid neighbours under those of the batch.

        Args:
            batch: B rows; ``available`` holds the masks of neighbours.
            rows: ``(R,)``, row numbers.
            available: ``(R, K)``, subsets of what is present. Each row is encoded once for all of its subsets.
        """
        encodings = self.encode(batch, batch.present)
        targets = self.fuse(encodings, available, rows)
        near = neighbours(batch, self.context_config)
        if near is None:
            return targets.output
        return self.in_context(targets, self.fuse(encodings, batch.available), near.take(rows))

    # Training.

    def init_output_bias(self, labels: Tensor) -> None:
        """Start the fusion's head at the constant baseline."""
        init_head_bias(self.fusion.head, labels, self.spec)

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit the feature statistics; turn context off where no batch holds dialogues."""
        del phase, seed, permanently_missing
        fit_features(self.feature_statistics(), batches)
        self.turn_off_unused_context(batches)

    def turn_off_unused_context(self, batches: Iterable[Batch]) -> None:
        """Turn context off if stage 1 has nothing to learn it from: the training batches hold no dialogues."""
        if self.context is not None and all(batch.dialogue is None for batch in itertools.islice(batches, 1)):
            self.context.turn_off()

    def losses(
        self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False, self_distillation: float = 0.0
    ) -> dict[str, Loss]:
        """The task's loss: of every member in training, of the averaged prediction in validation."""
        del phase
        assert batch.labels is not None
        if not all_subsets:
            visible, outputs = batch.available.any(1), self.outputs(batch)
            if self.fusion.training:
                return {"task": members_loss(outputs[:, visible], batch.labels[visible], self.spec)}
            return {"task": averaged_loss(to_prediction(outputs, self.spec), batch.labels, self.spec, visible)}
        labelled = is_labelled(batch.labels, self.spec).nonzero().squeeze(1)
        index, available = every_subset(batch.present[labelled], batch.keys[labelled], seed)
        rows = labelled[index]
        outputs = self.subset_outputs(batch, rows, available)
        loss = members_loss(outputs, batch.labels[rows], self.spec)
        if not self_distillation:
            return {"task": loss}
        teacher = self._teacher(batch)[rows]
        if self.spec.task == "classification":
            distance = -(teacher * outputs.log_softmax(2)).sum(2)
        else:
            distance = (outputs.squeeze(2) - teacher).abs()
        total = (1 - self_distillation) * loss.total + self_distillation * distance.mean(0).sum()
        return {"task": Loss(total, loss.count)}

    @torch.no_grad()
    def _teacher(self, batch: Batch) -> Tensor:
        """The averaged prediction from everything that is present."""
        with evaluating(self):
            return to_prediction(self.outputs(batch.with_available(batch.present)), self.spec).mean(0)

    # Use.

    @torch.no_grad()
    def predict(self, batch: Batch, *, samples: int | None = None, seed: int = 0) -> Output:
        """Deterministic: ``samples`` and ``seed`` have no effect. The spread holds the members' predictions.

        Raises:
            ImderError: a row has nothing available, unless the batch holds dialogues.
        """
        del samples, seed
        check_batch(batch)
        if batch.dialogue is None:
            check_available(batch.available)
        with evaluating(self):
            return self._averaged(self.outputs(batch))

    @torch.no_grad()
    def clip_states(self, batch: Batch) -> dict[str, Tensor] | None:
        """The vectors and outputs of clips alone; None without context (`imder.models.clip_states`)."""
        if self.context is None:
            return None
        with evaluating(self):
            clips = self.fuse(self.encode(batch), batch.available)
        assert clips.fused is not None
        return {"fused": clips.fused.transpose(0, 1), "output": clips.output.transpose(0, 1)}

    @torch.no_grad()
    def predict_states(self, states: dict[str, Tensor], batch: Batch) -> Output:
        """Only the attention to the neighbours is left to do (`imder.models.clip_states`)."""
        clips = ClipVectors(states["fused"].transpose(0, 1), states["output"].transpose(0, 1))
        with evaluating(self):
            return self._averaged(self.in_context(clips, clips, neighbours(batch, self.context_config)))

    def _averaged(self, outputs: Tensor) -> Output:
        """The members' average, and their predictions as the spread, from outputs ``(M, B, O)``."""
        spread = to_prediction(outputs, self.spec)
        return Output(spread.mean(0), spread)


def _context_of(config: Any) -> ContextConfig:
    context: ContextConfig = getattr(config, "context", ContextConfig())
    return context
