"""Codes: every modality as one vector of the same width, whether it is there or not.

What is missing is a sequence of zeros, encoded like any other (Zhao, Li, Jin, ACL 2021, and the released MMIN code).
These zeros are as many frames as the longest sequence of the corpus, and zeros after standardisation: the training
mean. So the code of something missing depends on the weights alone; nothing of it, not even its length, is read. (The
released code takes the padded length of the batch: there, the code of what is missing depends on the batch.)

Encoders (released code): an LSTM with max-pooling over time; a text CNN for language. A modality of single vectors is
read by a perceptron D-128-128-128, as in GCNet's port of MMIN (Lian et al., TPAMI 2023).
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
    """Of every modality's encoder; the numbers are the released code's.

    Attributes:
        width: W, of a modality's code.
        text: modalities that a text CNN reads; an LSTM reads the others, a perceptron those of single vectors.
        kernels: of the text CNN, each with ``width`` filters.
        text_dropout: on the text CNN's responses.
        hidden: layers of the perceptron.
        standardize: whether features are standardised with training statistics first.
        clip: standardised features are cut at +- this many deviations; 0 for no limit.
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
            raise ImderError("model.encoder: width, kernels and hidden must be at least 1, and there must be a kernel")


class UtteranceEncoder(nn.Module):
    """E_k in two steps: `read` sums a sequence up, calling the module makes the code, for what is there and what isn't.

    Args:
        modality: which.
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

    def read(self, features: Tensor, lengths: Tensor, there: Tensor) -> Tensor:
        """Summaries ``(B, S)``; zeros where the modality isn't there, of which nothing is read.

        Args:
            features: ``(B, T, D)``; anything, NaN included, beyond ``lengths`` and in rows that aren't there.
            lengths: ``(B,)`` valid frames, at least 1 in rows that are there.
            there: ``(B,)`` bool.
        """
        rows = there.nonzero().squeeze(1)
        if not len(rows):
            return features.new_zeros(len(there), self.reader.width)
        valid = frame_mask(lengths[rows], features.shape[1])[..., None]
        x = torch.where(valid, features[rows], 0.0)
        if self.config.standardize:
            x = self.standardize(x) * valid
            x = x.clamp(-self.config.clip, self.config.clip) if self.config.clip else x
        found: Tensor = self.reader(x, lengths[rows])
        return found.new_zeros(len(there), self.reader.width).index_copy(0, rows, found)

    def forward(self, summaries: Tensor, there: Tensor) -> Tensor:
        """Codes ``(B, W)`` of summaries ``(B, S)``, of zeros where ``there`` (B,) is False."""
        if not bool(there.all()):
            zeros = summaries.new_zeros(1, self.frames, self.dim)
            nothing = self.reader(zeros, torch.tensor([self.frames], device=zeros.device))
            summaries = torch.where(there[:, None], summaries, nothing)
        code: Tensor = self.head(summaries)
        return code


def encode_utterances(
    encoders: ModuleDict[UtteranceEncoder], batch: Batch, seen: Tensor, subsets: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Codes of all modalities, those not marked in ``seen`` being zeros.

    Args:
        encoders: a `UtteranceEncoder` for each modality, in the order of the masks.
        batch: B rows.
        seen: ``(B, K)`` bool.
        subsets: row numbers ``(M,)`` and masks ``(M, K)`` that cut ``seen`` down, instead of each row once.

    Returns:
        ``(B, K, W)``, or ``(M, K, W)``.
    """
    found = []
    for i, (name, encoder) in enumerate(encoders.items()):
        there = seen[:, i]
        summaries = encoder.read(batch.features[name], batch.lengths[name], there)
        if subsets is not None:  # every row is read once, however many subsets of it there are
            rows, masks = subsets
            summaries, there = summaries[rows], there[rows] & masks[:, i]
        found.append(encoder(summaries, there))
    return torch.stack(found, dim=1)
