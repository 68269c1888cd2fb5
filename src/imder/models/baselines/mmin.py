"""MMIN: imagine the encodings that a complete-input network would give the missing modalities, and predict from them.

The missing modality imagination network (Zhao, Li, Jin, ACL 2021). Every modality has an utterance encoding E_k(x_k) in
R^W; a missing one is a sequence of zeros, encoded like any other (`imder.models.parts.utterance_encoder`). The K encodings
are concatenated; with two cascades of residual autoencoders (`imder.nn.cascade`),

    h = [E_k(x_k) or E_k(0)]_k,     (h', z) = imagine(h),     h'' = restore(h'),     y = head(z)

Training has two phases. ``stage1`` trains a *teacher*, encoders T_k and a head, on the available modalities. ``joint``
starts E_k as copies of T_k and trains them with everything else, while the frozen teacher gives the target of imagination:
its encodings of the *complement*, which has the missing modalities and zeros for the available ones,

    h*_k = T_k(x_k) where k is missing, T_k(0) where it is available
    L = task + 4 |h' - h*|^2 / KW + 2 |h'' - stop(h)|^2 / KW        (official code, IEMOCAP; on MSP-IMPROV 2 and 0.5)

A modality that is not present has no truth to imagine: its part of h* is excluded from the loss. Where nothing is missing,
h* is the encodings of zeros, as the formula says (as in GCNet's port of this system; the authors neither train nor test on
complete inputs in ``joint``), and the prediction is made from z as always.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from imder.missingness.subsets import every_subset
from imder.models.base import Phase
from imder.models.deterministic import DeterministicModel
from imder.models.parts.encoder import fit_features
from imder.models.parts.losses import Loss, init_head_bias, task_loss, to_prediction
from imder.models.parts.utterance_encoder import UtteranceEncoder, UtteranceEncoderConfig, encode_utterances
from imder.nn.cascade import CascadeAutoencoder
from imder.nn.mode import evaluating
from imder.nn.module_dict import ModuleDict
from imder.nn.perceptron import Perceptron
from imder.nn.standardize import Standardizer
from imder.types import Batch, ImderError, Spec


@dataclass(frozen=True)
class CascadeConfig:
    """Of both cascades of residual autoencoders; the defaults are the official code's.

    Attributes:
        layers: of each autoencoder's encoder.
        blocks: autoencoders in a cascade.
        shared: whether one cascade imagines and restores (official code: on MSP-IMPROV).
    """

    layers: tuple[int, ...] = (256, 128, 64)
    blocks: int = 5
    shared: bool = False

    def __post_init__(self) -> None:
        if not self.layers or min(self.blocks, *self.layers) < 1:
            raise ImderError("model.cascade: layers and blocks must be at least 1, and there must be a layer")


@dataclass(frozen=True)
class MMINConfig:
    """Of the whole system; the defaults are the official code's.

    Attributes:
        head: hidden layers of both heads.
        teacher_dropout: of the teacher's head, and of its perceptrons (stage 1).
        dropout: of the head on the latent, and of the perceptrons trained in ``joint``.
        imagination, cycle: weights of |h' - h*|^2 and |h'' - h|^2 beside the task's loss (MSP-IMPROV: 2 and 0.5).
    """

    encoder: UtteranceEncoderConfig = field(default_factory=UtteranceEncoderConfig)
    cascade: CascadeConfig = field(default_factory=CascadeConfig)
    head: tuple[int, ...] = (128, 128)
    teacher_dropout: float = 0.3
    dropout: float = 0.5
    imagination: float = 4.0
    cycle: float = 2.0

    def __post_init__(self) -> None:
        if not all(0 <= p < 1 for p in (self.teacher_dropout, self.dropout)):
            raise ImderError("model.teacher_dropout and model.dropout must be at least 0 and less than 1")


class Teacher(nn.Module):
    """Stage 1's network: encoders, whose encodings are concatenated, and a head."""

    def __init__(self, spec: Spec, config: MMINConfig) -> None:
        super().__init__()
        dropout, width = config.teacher_dropout, config.encoder.width
        self.encoders = ModuleDict[UtteranceEncoder](
            {m.name: UtteranceEncoder(m, config.encoder, dropout) for m in spec.modalities}
        )
        self.head = Perceptron(len(spec.modalities) * width, config.head, spec.outputs, dropout)


class Imagination(NamedTuple):
    """The intermediate results for a batch.

    Attributes:
        given: h, ``(B, K, W)``: encodings of the available modalities, of zeros for the rest.
        imagined: h', ``(B, K, W)``.
        latent: z, ``(B, Z)``, the latents of all blocks.
    """

    given: Tensor
    imagined: Tensor
    latent: Tensor


class MMIN(DeterministicModel):
    """Missing modality imagination network (Zhao, Li, Jin, ACL 2021).

    Deterministic: h' is an estimate, not a draw from a distribution, so outputs hold no recoveries; `imagine` gives it.
    """

    system = "mmin"
    config_type = MMINConfig
    phase_names = ("stage1", "joint")
    config: MMINConfig

    def __init__(self, spec: Spec, config: MMINConfig) -> None:
        super().__init__(spec, config)
        width, cascade = len(spec.modalities) * config.encoder.width, config.cascade
        self.teacher = Teacher(spec, config)
        self.encoders = ModuleDict[UtteranceEncoder](
            {m.name: UtteranceEncoder(m, config.encoder, config.dropout) for m in spec.modalities}
        )
        self.forwards = CascadeAutoencoder(width, cascade.layers, cascade.blocks)
        self.backwards = None if cascade.shared else CascadeAutoencoder(width, cascade.layers, cascade.blocks)
        self.head = Perceptron(self.forwards.latent, config.head, spec.outputs, config.dropout)

    def feature_statistics(self) -> dict[str, Standardizer]:
        """Those of the teacher, which stage 1 fits."""
        return {name: encoder.standardize for name, encoder in self.teacher.encoders.items()}

    def init_output_bias(self, labels: Tensor) -> None:
        """Start both heads at the constant baseline."""
        for head in (self.teacher.head, self.head):
            init_head_bias(head.out, labels, self.spec)

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Fit the feature statistics before stage 1; copy the teacher's encoders before ``joint``."""
        del seed, permanently_missing
        if phase == "joint":
            self.encoders.load_state_dict(self.teacher.encoders.state_dict())
        elif self.config.encoder.standardize:
            fit_features(self.feature_statistics(), batches)

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """The teacher in stage 1, everything else in ``joint``."""
        if phase == "stage1":
            return [self.teacher]
        return [m for m in (self.encoders, self.forwards, self.backwards, self.head) if m is not None]

    def imagine(self, batch: Batch) -> Imagination:
        """h, h' and z of a batch."""
        given = encode_utterances(self.encoders, batch, batch.available)
        imagined, latent = self.forwards(given.flatten(1))
        return Imagination(given, imagined.view_as(given), latent)

    def restore(self, imagined: Tensor) -> Tensor:
        """h'', the reconstruction of h from h', both ``(B, K, W)``."""
        cascade = self.forwards if self.backwards is None else self.backwards
        restored: Tensor = cascade(imagined.flatten(1))[0]
        return restored.view_as(imagined)

    @torch.no_grad()
    def complement(self, batch: Batch) -> Tensor:
        """h*, ``(B, K, W)``: the teacher's encodings of the missing modalities, of zeros for the rest.

        A modality that is not present has the encoding of zeros too, which is no target.
        """
        with evaluating(self.teacher):
            return encode_utterances(self.teacher.encoders, batch, batch.present & ~batch.available)

    def forward(self, batch: Batch) -> Tensor:
        """The head's output ``(B, O)``."""
        output: Tensor = self.head(self.imagine(batch).latent)
        return output

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's loss; in ``joint`` also imagination, by modality, and the cycle.

        On complete corpora the K terms of imagination add up to the paper's mean over all of h'.
        """
        assert batch.labels is not None
        labels = batch.labels
        if phase == "stage1":
            subsets = every_subset(batch.available, batch.keys, seed) if all_subsets else None
            encodings = encode_utterances(self.teacher.encoders, batch, batch.available, subsets)
            labels = labels if subsets is None else labels[subsets[0]]
            return {"task": task_loss(self.teacher.head(encodings.flatten(1)), labels, self.spec)}
        given, imagined, latent = self.imagine(batch)
        losses = {"task": task_loss(self.head(latent), labels, self.spec)}
        errors = (imagined - self.complement(batch)).square().mean(2)
        weight = self.config.imagination / len(self.spec.names)
        for i, name in enumerate(self.spec.names):
            present = batch.present[:, i]  # the target of an available modality is zeros, of a missing one the truth
            losses[f"imagination/{name}"] = Loss((errors[:, i] * present).sum(), float(present.sum()), weight)
        cycle = (self.restore(imagined) - given.detach()).square().flatten(1).mean(1)
        losses["cycle"] = Loss(cycle.sum(), float(len(cycle)), self.config.cycle)
        return losses

    def predict_batch(self, batch: Batch) -> Tensor:
        """The prediction of the head on the latent."""
        return to_prediction(self(batch), self.spec)
