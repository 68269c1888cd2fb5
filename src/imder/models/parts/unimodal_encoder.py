"""Unimodal encoders with two levels: one vector for a sequence, and a state for each of its steps (Sun et al., IEEE TAC 2023).

A modality of features of a pretrained network (language) is read as it is: states are its features, the encoding is their
mean or the first. Others have an LSTM:

    h = LSTM(x),     states A h_t + b,     encoding A h_T + b

A missing modality is a sequence of zeros (after standardisation: the training mean) of a fixed length, an erased step is zeros
too; only where a text encoder reads the unknown token instead, it has features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imder.models.configuration import AMOUNT, POSITIVE_COUNT, check_numbers
from imder.nn.resample import frame_mask, shorten
from imder.nn.standardize import Standardizer
from imder.types import Modality


@dataclass(frozen=True)
class UnimodalConfig:
    """Of every modality's encoder.

    Attributes:
        pretrained: modalities whose features are read as they are; an LSTM reads the others.
        summary: the encoding of such a modality: the ``mean`` of its steps that aren't erased, or the ``first`` step.
        hidden: units of the LSTM.
        width: of the LSTM's states and encoding after its linear map.
        steps: longer sequences are averaged over time to so many steps.
        standardize: whether features are standardised with training statistics first.
        clip: limit of standardised features in standard deviations; 0 for no limit.
    """

    pretrained: tuple[str, ...] = ("language",)
    summary: Literal["mean", "first"] = "mean"
    hidden: int = 64
    width: int = 32
    steps: int = 50
    standardize: bool = True
    clip: float = 0.0

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("hidden", "width", "steps"), POSITIVE_COUNT)
        check_numbers(self, {**counts, "clip": AMOUNT}, "model.encoder")


class Encoded(NamedTuple):
    """A modality of B samples.

    Attributes:
        encoding: ``(B, W)``.
        states: ``(B, T, W)``.
        valid: ``(B, T)`` bool, the steps of the states; at least one for each row.
    """

    encoding: Tensor
    states: Tensor
    valid: Tensor


class UnimodalEncoder(nn.Module):
    """Encoding and states of one modality, whether it is available or missing."""

    def __init__(self, modality: Modality, config: UnimodalConfig) -> None:
        super().__init__()
        self.config = config
        self.missing_steps = max(1, min(modality.length, config.steps))
        self.standardize = Standardizer(modality.dim)
        self.is_read = modality.name not in config.pretrained
        self.width = config.width if self.is_read else modality.dim
        if self.is_read:
            self.rnn = nn.LSTM(modality.dim, config.hidden, batch_first=True)
            self.map = nn.Linear(config.hidden, config.width)

    def prepare(self, features: Tensor, lengths: Tensor, erased: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Standardised features of at most ``steps`` steps.

        Args:
            features: ``(B, T, D)``; anything, NaN included, beyond ``lengths``.
            lengths: ``(B,)`` valid frames; 0 for rows that mustn't be read.
            erased: ``(B, T)`` bool, frames that may be zeros instead of features; None for none.

        Returns:
            Features ``(B, T', D)``, lengths ``(B,)``, and the share ``(B, T')`` of each step's frames that has features.
        """
        kept = frame_mask(lengths, features.shape[1])
        if erased is not None:
            kept = kept & ~(erased & (features == 0).all(2))
        x = torch.where(kept[..., None], features, 0.0)
        if self.config.standardize:
            x = self.standardize(x) * kept[..., None]
            x = x.clamp(-self.config.clip, self.config.clip) if self.config.clip else x
        short, steps = shorten(torch.cat([x, kept[..., None]], dim=2), lengths, self.config.steps)
        return short[..., :-1], steps, short[..., -1]

    def forward(self, features: Tensor, lengths: Tensor, mask: Tensor, erased: Tensor | None = None) -> Encoded:
        """Encode; rows outside the mask are zeros, of which not even the length is read.

        Args:
            features: ``(B, T, D)``.
            lengths: ``(B,)`` valid frames, at least 1 within the mask.
            mask: ``(B,)`` bool.
            erased: ``(B, T)`` bool, see `prepare`.
        """
        x, steps, kept = self.prepare(features, lengths * mask, erased)
        if not bool(mask.all()):
            x = F.pad(x, (0, 0, 0, max(0, self.missing_steps - x.shape[1])))
            steps = torch.where(mask, steps, self.missing_steps)
        valid = frame_mask(steps, x.shape[1])
        if self.is_read:
            states: Tensor = self.map(self.rnn(x)[0])
            return Encoded(states[torch.arange(len(x), device=x.device), steps - 1], states, valid)
        if self.config.summary == "first":
            return Encoded(x[:, 0], x, valid)
        return Encoded(x.sum(1) / kept.sum(1, keepdim=True).clamp(min=1e-6), x, valid)
