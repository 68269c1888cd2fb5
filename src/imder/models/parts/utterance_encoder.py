"""Utterance encoders: every modality as one vector of the same width, whether it is available or missing.

A missing modality is a sequence of zeros, encoded like any other (Zhao, Li, Jin, ACL 2021, and the official MMIN code): as
many frames as the longest sequence of the corpus, and zeros after standardisation, the training mean. Its encoding thus
depends on the weights alone; not even the length of a missing sequence is read. (The official code uses the padded length
of the batch: there, the encoding of a missing modality depends on the batch.)

The encoders (official code) are an LSTM with max-pooling over time, and a text CNN for language. A modality of single
vectors has a perceptron D-128-128-128, as in GCNet's port of MMIN (Lian et al., TPAMI 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imder.nn.module_dict import ModuleDict
from imder.nn.perceptron import Perceptron
from imder.nn.resample import frame_mask
from imder.nn.sequence import MaxLSTM, MeanOverTime, TextCNN
from imder.nn.standardize import Standardizer
from imder.types import Batch, ImderError, Modality


@dataclass(frozen=True)
class UtteranceEncoderConfig:
    """Of every modality's encoder; the defaults are the official code's.

    Attributes:
        width: W, of a modality's encoding.
        text: modalities that a text CNN reads; an LSTM reads the others, a perceptron those of single vectors.
        kernels: of the text CNN, each with ``width`` filters.
        text_dropout: on the text CNN's responses.
        hidden: layers of the perceptron.
        standardize: whether features are standardised with training statistics first.
        clip: standardised features are limited to +- this many deviations; 0 for no limit.
    """

    width: int = 128
    text: tuple[str, ...] = ("language",)
    kernels: tuple[int, ...] = (3, 4, 5)
    text_dropout: float = 0.5
    hidden: tuple[int, ...] = (128, 128)
    standardize: bool = True
    clip: float = 0.0

    def __post_init__(self) -> None:
        if not self.kernels or min(self.width, *self.kernels, *self.hidden) < 1:
            raise ImderError("model.encoder: width, kernels and hidden must be at least 1, with at least one kernel")


class UtteranceEncoder(nn.Module):
    """E_k in two steps: `read` summarises a sequence, calling the module encodes summaries, of missing modalities too.

    Args:
        modality: its length decides between a perceptron and a sequence reader.
        config: see `UtteranceEncoderConfig`.
        dropout: of the perceptron.
    """

    def __init__(self, modality: Modality, config: UtteranceEncoderConfig, dropout: float) -> None:
        super().__init__()
        self.config, self.frames, self.dim = config, modality.length, modality.dim
        self.standardize = Standardizer(modality.dim)
        self.reader: MeanOverTime | TextCNN | MaxLSTM
        self.head: nn.Module
        if modality.length == 1:
            self.reader = MeanOverTime(modality.dim)
            self.head = Perceptron(modality.dim, config.hidden, config.width, dropout)
        elif modality.name in config.text:
            self.reader = TextCNN(modality.dim, config.width, config.kernels)
            linear = nn.Linear(self.reader.width, config.width)
            self.head = nn.Sequential(nn.Dropout(config.text_dropout), linear, nn.ReLU())
        else:
            self.reader = MaxLSTM(modality.dim, config.width)
            self.head = nn.Identity()

    def read(self, features: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """Summaries ``(B, S)``; zeros for rows outside the mask, of which nothing is read.

        Args:
            features: ``(B, T, D)``; anything, NaN included, beyond ``lengths`` and outside the mask.
            lengths: ``(B,)`` valid frames, at least 1 within the mask.
            mask: ``(B,)`` bool.
        """
        rows = mask.nonzero().squeeze(1)
        if not len(rows):
            return features.new_zeros(len(mask), self.reader.width)
        valid = frame_mask(lengths[rows], features.shape[1])[..., None]
        x = torch.where(valid, features[rows], 0.0)
        if self.config.standardize:
            x = self.standardize(x) * valid
            x = x.clamp(-self.config.clip, self.config.clip) if self.config.clip else x
        summaries: Tensor = self.reader(x, lengths[rows])
        return summaries.new_zeros(len(mask), self.reader.width).index_copy(0, rows, summaries)

    def forward(self, summaries: Tensor, mask: Tensor) -> Tensor:
        """Encodings ``(B, W)`` of summaries ``(B, S)``, of zeros where ``mask`` (B,) is False."""
        if not bool(mask.all()):
            zeros = summaries.new_zeros(1, self.frames, self.dim)
            missing = self.reader(zeros, torch.tensor([self.frames], device=zeros.device))
            summaries = torch.where(mask[:, None], summaries, missing)
        encoding: Tensor = self.head(summaries)
        return encoding


def encode_utterances(
    encoders: ModuleDict[UtteranceEncoder],
    batch: Batch,
    mask: Tensor,
    subsets: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Encodings of all modalities, those outside the mask being encodings of zeros.

    Args:
        encoders: one for each modality, in the order of the masks.
        batch: B rows.
        mask: ``(B, K)`` bool.
        subsets: row numbers ``(M,)`` and masks ``(M, K)`` that restrict ``mask``; None for each row once.

    Returns:
        ``(B, K, W)``, or ``(M, K, W)``.
    """
    encodings = []
    for i, (name, encoder) in enumerate(encoders.items()):
        visible = mask[:, i]
        summaries = encoder.read(batch.features[name], batch.lengths[name], visible)
        if subsets is not None:  # each row is read once, for all of its subsets
            rows, masks = subsets
            summaries, visible = summaries[rows], visible[rows] & masks[:, i]
        encodings.append(encoder(summaries, visible))
    return torch.stack(encodings, dim=1)
