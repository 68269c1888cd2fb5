"""MMIN: imagine what a complete-input network would have made of the missing modalities, and predict from that.

The missing modality imagination network (Zhao, Li, Jin, ACL 2021). Every modality has a code E_k(x_k) in R^W; what is
missing is a sequence of zeros, encoded like any other (`imder.models.parts.utterance_encoder`). The K codes are concatenated;
with two cascades of residual autoencoders (`imder.nn.cascade`),

    h = [E_k(x_k) or E_k(0)]_k,     (h', z) = imagine(h),     h'' = restore(h'),     y = head(z)

Training has two phases. ``stage1`` trains a *teacher*, encoders T_k and a head, on whatever is present. ``joint``
starts E_k as copies of T_k and trains them on with everything else, while the teacher stands still and says what should
have been imagined: its codes of the *complement*, in which what is missing is there and what is available is zeros,

    h*_k = T_k(x_k) where k is missing, T_k(0) where it is available
    L = task + 4 |h' - h*|^2 / KW + 2 |h'' - stop(h)|^2 / KW        (released code, IEMOCAP; on MSP-IMPROV 2 and 0.5)

A modality that is not even present has no truth to imagine: its part of h* is left out of the loss, by modality. Where
nothing is missing, h* is what the formula says, the codes of zeros (as in GCNet's port of this system; the authors
never train nor test on complete inputs in ``joint``), and the prediction is read off z like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from imder.missingness.subsets import every_subset
from imder.models.base import DeterministicModel, Phase, evaluating
from imder.models.parts.encoder import fit_features
from imder.models.parts.losses import Loss, init_head_bias, task_loss, to_prediction
from imder.models.parts.utterance_encoder import UtteranceEncoder, UtteranceEncoderConfig, encode_utterances
from imder.nn.cascade import CascadeAutoencoder
from imder.nn.module_dict import ModuleDict
from imder.nn.perceptron import Perceptron
from imder.types import Batch, ImderError, Spec


@dataclass(frozen=True)
class CascadeConfig:
    """Of both cascades of residual autoencoders; the numbers are the released code's.

    Attributes:
        layers: of each autoencoder's encoder.
        blocks: autoencoders in a cascade.
        shared: whether one cascade imagines and restores (released code: on MSP-IMPROV).
    """

    layers: tuple[int, ...] = (256, 128, 64)
    blocks: int = 5
    shared: bool = False

    def __post_init__(self) -> None:
        if not self.layers or min(self.blocks, *self.layers) < 1:
            raise ImderError("model.cascade: layers and blocks must be at least 1, and there must be a layer")


@dataclass(frozen=True)
class MMINConfig:
    """Of the whole system; the numbers are the released code's.

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
    """Stage 1's network: encoders, their codes concatenated, a head."""

    def __init__(self, spec: Spec, config: MMINConfig) -> None:
        super().__init__()
        dropout, width = config.teacher_dropout, config.encoder.width
        self.encoders = ModuleDict[UtteranceEncoder](
            {m.name: UtteranceEncoder(m, config.encoder, dropout) for m in spec.modalities}
        )
        self.head = Perceptron(len(spec.modalities) * width, config.head, spec.outputs, dropout)


class Imagination(NamedTuple):
    """What MMIN makes of a batch.

    Attributes:
        given: h, ``(B, K, W)``: codes of what is available, of zeros for the rest.
        imagined: h', ``(B, K, W)``.
        latent: z, ``(B, Z)``, all blocks' latents.
    """

    given: Tensor
    imagined: Tensor
    latent: Tensor


class MMIN(DeterministicModel):
    """Missing modality imagination network (Zhao, Li, Jin, ACL 2021).

    Deterministic: h' is a best guess, no draw from a distribution, so outputs hold no recoveries; `imagine` gives it.
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

    def init_output_bias(self, labels: Tensor) -> None:
        """Both heads begin at the constant baseline."""
        for head in (self.teacher.head, self.head):
            init_head_bias(head.out, labels, self.spec)

    def on_phase_start(
        self, phase: Phase, batches: Iterable[Batch], seed: int, *, permanently_missing: bool = False
    ) -> None:
        """Feature statistics before stage 1; encoders start as copies of the teacher's before ``joint``."""
        del seed, permanently_missing
        if phase == "joint":
            self.encoders.load_state_dict(self.teacher.encoders.state_dict())
        elif self.config.encoder.standardize:
            fit_features({k: e.standardize for k, e in self.teacher.encoders.items()}, batches)

    def trainable_modules(self, phase: Phase) -> list[nn.Module]:
        """The teacher; then everything but the teacher."""
        if phase == "stage1":
            return [self.teacher]
        return [m for m in (self.encoders, self.forwards, self.backwards, self.head) if m is not None]

    def imagine(self, batch: Batch) -> Imagination:
        """h, h' and z of a batch."""
        given = encode_utterances(self.encoders, batch, batch.available)
        imagined, latent = self.forwards(given.flatten(1))
        return Imagination(given, imagined.view_as(given), latent)

    def restore(self, imagined: Tensor) -> Tensor:
        """What the way back makes of h': h'', both ``(B, K, W)``."""
        cascade = self.forwards if self.backwards is None else self.backwards
        restored: Tensor = cascade(imagined.flatten(1))[0]
        return restored.view_as(imagined)

    @torch.no_grad()
    def complement(self, batch: Batch) -> Tensor:
        """h*, ``(B, K, W)``: the teacher's codes of what is missing, of zeros for the rest.

        Where a modality is not present, it holds the code of zeros too, and is no target.
        """
        with evaluating(self.teacher):
            return encode_utterances(self.teacher.encoders, batch, batch.present & ~batch.available)

    def forward(self, batch: Batch) -> Tensor:
        """The head's output ``(B, O)``."""
        output: Tensor = self.head(self.imagine(batch).latent)
        return output

    def losses(self, batch: Batch, phase: Phase, seed: int, *, all_subsets: bool = False) -> dict[str, Loss]:
        """The task's; in ``joint`` also those of imagination, by modality, and of the cycle.

        On complete corpora the K terms of imagination add up to the published mean over all of h'.
        """
        assert batch.labels is not None
        labels = batch.labels
        if phase == "stage1":
            subsets = every_subset(batch.available, batch.keys, seed) if all_subsets else None
            found = encode_utterances(self.teacher.encoders, batch, batch.available, subsets)
            labels = labels if subsets is None else labels[subsets[0]]
            return {"task": task_loss(self.teacher.head(found.flatten(1)), labels, self.spec)}
        given, imagined, latent = self.imagine(batch)
        losses = {"task": task_loss(self.head(latent), labels, self.spec)}
        errors = (imagined - self.complement(batch)).square().mean(2)
        weight = self.config.imagination / len(self.spec.names)
        for i, name in enumerate(self.spec.names):
            known = batch.present[:, i]  # available: zeros are the target; missing: the truth is there
            losses[f"imagination/{name}"] = Loss((errors[:, i] * known).sum(), float(known.sum()), weight)
        cycle = (self.restore(imagined) - given.detach()).square().flatten(1).mean(1)
        losses["cycle"] = Loss(cycle.sum(), float(len(cycle)), self.config.cycle)
        return losses

    def predict_batch(self, batch: Batch) -> Tensor:
        """What the head on the latent says."""
        return to_prediction(self(batch), self.spec)
