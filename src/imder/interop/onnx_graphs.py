"""Systems as modules that `torch.onnx` can trace: tensors in and out, no step that depends on the values of a batch.

::

    Predicting   available, features and lengths of each modality -> prediction[, encoding of each modality]
    Denoising    x, sigma, available, encoding of each modality -> denoised, sampled
    Filling      available, encoding and recovery of each modality -> prediction

Each computes what the system computes, for clips alone: rows without a modality are computed too and masked, where the system
gathers the others.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imder.diffusion.denoiser import edm_denoiser
from imder.missingness.subsets import pattern_bits
from imder.models.baselines.zero_fill import ZeroFill
from imder.models.fusion_system import FusionSystem
from imder.models.imder.network import IMDerNetwork
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.token_recovery import TokenRecovery
from imder.models.parts.encoder import Encoder
from imder.models.parts.fusions.base import AVAILABLE, MISSING, RECOVERED, Fusion
from imder.models.parts.fusions.pooled import PooledFusion, pool
from imder.models.parts.losses import to_prediction


class Predicting(nn.Module):
    """A system without recovery: encode, fuse, average the members.

    Args:
        model: in evaluation mode.
        gives_encodings: whether the encodings ``(B, members * width, steps)`` are outputs too.
    """

    def __init__(self, model: FusionSystem, gives_encodings: bool) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(_one_convolution(encoder) for encoder in model.encoders.values())
        self.fusion, self.spec = model.fusion, model.spec
        self.gives_encodings = gives_encodings
        self.fills_zeros = isinstance(model, ZeroFill)

    def forward(self, available: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """``available`` (B, K) bool; of each modality features ``(B, T, D)``, then of each lengths ``(B,)`` int64.

        Returns:
            The prediction ``(B,)``, or probabilities ``(B, C)``; then the encodings, if they are outputs.
        """
        count, encodings = len(self.encoders), {}
        for i, (name, encoder) in enumerate(zip(self.spec.names, self.encoders)):
            rows = available[:, i]
            encoding = encoder(inputs[i], inputs[count + i] * rows)
            encodings[name] = torch.where(rows[:, None, None], encoding, 0.0)
        states = torch.ones_like(available) if self.fills_zeros else available
        prediction = to_prediction(fused_output(self.fusion, encodings, states), self.spec).mean(0)
        return (prediction, *(encodings.values() if self.gives_encodings else ()))


class Denoising(nn.Module):
    """One evaluation of a modality's denoiser, its condition included.

    Args:
        model: with score networks whose condition is made of tokens.
        target: the modality.
    """

    usable: Tensor

    def __init__(self, model: IMDerNetwork, target: str) -> None:
        super().__init__()
        assert isinstance(model.recovery, TokenRecovery)
        self.recovery, self.names, self.target = model.recovery, model.spec.names, target
        self.width = model.config.encoder.width
        self.register_buffer("usable", model.cooccurrence[self.names.index(target)].clone())

    def forward(self, x: Tensor, sigma: Tensor, available: Tensor, *encodings: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` (B, width, steps), ``sigma`` (B,) or (1,), ``available`` (B, K), encodings ``(B, members * width, steps_k)``.

        Returns:
            E[x0 | x], and the same as an encoding: undone is the standardisation in which diffusion works.
        """
        shared = {k: e[:, : self.width] for k, e in zip(self.names, encodings)}
        observed = ObservedEncodings(shared, available & self.usable)
        condition, mean = self.recovery.condition(self.target, observed)
        network = self.recovery.networks[self.target]
        denoised = mean + edm_denoiser(lambda y, c: network(y, c, condition))(x - mean, sigma)
        return denoised, self.recovery.restore(self.target, denoised)


class Filling(nn.Module):
    """The prediction from one recovery of everything that is missing: both branches by their weights.

    Args:
        model: with two branches.
    """

    weight: Tensor
    bits: Tensor

    def __init__(self, model: IMDerNetwork) -> None:
        super().__init__()
        assert model.recovery_branch is not None
        self.names, self.spec, self.refiners = model.spec.names, model.spec, model.refiners
        self.token, self.branch = model.fusion, model.recovery_branch.fusion
        self.register_buffer("weight", model.branch_weight.clone())
        self.register_buffer(
            "bits", pattern_bits(torch.eye(len(self.names), dtype=torch.bool))
        )  # ONNX has no signed shift

    def forward(self, available: Tensor, *inputs: Tensor) -> Tensor:
        """``available`` (B, K); encodings of each modality, then of each one draw ``(B, width, steps)``, unread if available.

        Returns:
            The prediction ``(B,)``, or probabilities ``(B, C)``.
        """
        encodings = dict(zip(self.names, inputs))
        drawn = zip(self.names, inputs[len(self.names) :])
        recovered = {k: x + self.refiners[k](x) for k, x in drawn}
        token = to_prediction(fused_output(self.token, encodings, available), self.spec).mean(0)
        branch = to_prediction(fused_output(self.branch, encodings, available, recovered), self.spec).mean(0)
        weight = self.weight[(available * self.bits).sum(1)]
        weight = weight[:, None] if branch.ndim > 1 else weight
        return weight * branch + (1 - weight) * token


def fused_output(
    fusion: Fusion, encodings: Mapping[str, Tensor], available: Tensor, recovered: Mapping[str, Tensor] | None = None
) -> Tensor:
    """A fusion's output ``(M, B, O)``.

    Args:
        fusion: of either kind.
        encodings: ``(B, M W, L_k)``, 0 where missing.
        available: ``(B, K)`` bool.
        recovered: ``(B, W, L_k)`` for what is missing; None for a fusion that reads no recoveries.
    """
    state = torch.where(available, AVAILABLE, MISSING if recovered is None else RECOVERED)
    if not isinstance(fusion, PooledFusion):
        return fusion.vectors(encodings, state).output
    vectors, votes = [], []
    for i, name in enumerate(fusion.names):
        rows = available[:, i, None]
        read = fusion.readers[name](pool(encodings[name], fusion.members))
        other, vote = fusion.missing_token[i][:, None], torch.zeros_like(fusion.experts[name](read))
        if recovered is not None:
            added, vote = fusion.recovered[name](recovered[name])
            other = other + added
        embedding = fusion.state_embedding[state[:, i], i].transpose(0, 1)
        vectors.append(torch.where(rows, read, other) + embedding)
        votes.append(torch.where(rows, fusion.experts[name](read), vote))
    stacked = torch.stack(vectors, dim=2)
    states = nn.functional.one_hot(state, 3).to(stacked).flatten(1).expand(fusion.members, -1, -1)
    weights = fusion.gate(torch.cat([stacked.flatten(2), states], dim=2)).softmax(2)
    fused = (weights[..., None] * stacked).sum(2) * len(fusion.names) ** 0.5
    output: Tensor = fusion.head(fused) + torch.stack(votes).sum(0)
    return output


def _one_convolution(encoder: Encoder) -> Encoder:
    """The same encoder, its members computed as the channels of one convolution: no choice by the number of frames."""
    same = copy.copy(encoder)
    same.members = 1
    return same
