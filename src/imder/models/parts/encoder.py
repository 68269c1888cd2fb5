"""E_k: from raw features to the encoding in which diffusion works.

Three time grids for sequences of different lengths:

* ``native``: each modality keeps its own number of steps, its longest length up to a cap. Standardise, convolve (zeros
  beyond the valid frames), resample by area. Every part is affine (except ``clip``, in the tails), so the encoding is an
  affine function of the features and a linear-Gaussian corpus stays linear-Gaussian.
* ``resampled``: one grid for all modalities, as the paper needs: valid frames are resampled to ``steps + kernel - 1``, then
  convolved without padding.
* ``truncated``: as in the official code: the first ``steps + kernel - 1`` frames, zero-padded, valid or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from imder.models.configuration import AMOUNT, DROPOUT, POSITIVE_COUNT, check_numbers
from imder.nn.module_dict import ModuleDict
from imder.nn.resample import frame_mask, resample
from imder.nn.standardize import Standardizer, fit_together
from imder.types import Batch, ImderError, Modality

_NUMBERS = {
    **dict.fromkeys(("width", "steps", "kernel"), POSITIVE_COUNT),
    "clip": AMOUNT,
    "feature_dropout": DROPOUT,
}


@dataclass(frozen=True)
class EncoderConfig:
    """Settings of every modality's encoder.

    Attributes:
        time_grid: steps of an encoding: ``native`` (the sequence's own, at most ``steps``), ``resampled`` to ``steps``, or
            ``truncated`` (the first ``steps``, padded with zeros).
        width: number of channels of the encoding.
        steps: number of time steps; with ``native`` the largest number.
        kernel: width of the convolution over time in steps; odd.
        bias: whether the convolution has a bias.
        standardize: whether features are standardised with training statistics first.
        clip: limit of standardised features in standard deviations; 0 for no limit.
        feature_dropout: share of feature columns dropped in training, for each sample.
    """

    time_grid: Literal["native", "resampled", "truncated"] = "native"
    width: int = 32
    steps: int = 24
    kernel: int = 3
    bias: bool = True
    standardize: bool = True
    clip: float = 0.0
    feature_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, _NUMBERS, "model.encoder")
        if self.kernel % 2 == 0:
            raise ImderError(f"model.encoder.kernel: expected an odd number, got {self.kernel}")


def encoded_steps(modality: Modality, config: EncoderConfig) -> int:
    """Steps of a modality's encoding."""
    return min(config.steps, modality.length) if config.time_grid == "native" else config.steps


class Encoder(nn.Module):
    """E_k of one modality: ``(B, T, D)`` with lengths -> ``(B, members * width, steps)``.

    The members are encoders with weights and dropout of their own, whose channels lie side by side.
    """

    def __init__(self, modality: Modality, config: EncoderConfig, members: int = 1) -> None:
        super().__init__()
        self.config = config
        self.members = members
        self.steps = encoded_steps(modality, config)
        self.standardize = Standardizer(modality.dim)
        self.conv = nn.Conv1d(modality.dim, members * config.width, config.kernel, bias=config.bias)
        if config.time_grid == "native" and modality.length == 1:  # only the kernel's centre is used: unit variance
            nn.init.normal_(self.conv.weight, std=modality.dim**-0.5)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Encode; the encoding of rows of length 0 is meaningless.

        Args:
            features: ``(B, T, D)``; anything, NaN included, beyond ``lengths``.
            lengths: ``(B,)`` valid frames.
        """
        config = self.config
        valid = frame_mask(lengths, features.shape[1])[..., None]
        x = torch.where(valid, features, 0.0)
        if config.standardize:
            x = self.standardize(x) * valid
            x = x.clamp(-config.clip, config.clip) if config.clip else x
        keep = None
        if self.training and config.feature_dropout:
            rows = torch.rand(self.members * x.shape[0], 1, x.shape[2], device=x.device)
            keep = (rows >= config.feature_dropout) / (1 - config.feature_dropout)
        valid = valid[..., 0]
        needed = config.steps + config.kernel - 1
        if config.time_grid == "resampled":
            x, valid = resample(x, lengths, needed), (lengths > 0)[:, None].expand(-1, needed)
        elif config.time_grid == "truncated":
            x = nn.functional.pad(x, (0, 0, 0, max(0, needed - x.shape[1])))[:, :needed]
            valid = frame_mask(lengths, needed)
        if config.time_grid != "native":
            return self._convolve(x, 0, keep, valid)
        dim, width, taps = x.shape[2], config.width, config.kernel
        if self.members > 1 and int(valid.sum()) * (dim + 4 * taps * width) > len(x) * self.steps * taps * dim:
            return self._resample_first(x, lengths, keep)
        encoding = self._convolve(x, taps // 2, keep, valid)
        return resample(encoding.transpose(1, 2), lengths, self.steps).transpose(1, 2)

    def _resample_first(self, x: Tensor, lengths: Tensor, keep: Tensor | None) -> Tensor:
        """`_convolve`, then resampling, in the other order: both are linear, and long sequences become short at once."""
        weight, bias, members = self.conv.weight, self.conv.bias, self.members
        (batch, frames, dim), taps = x.shape, weight.shape[2]
        padded = nn.functional.pad(x, (0, 0, taps // 2, taps // 2))
        shifted = torch.cat([padded[:, i : i + frames] for i in range(taps)], dim=2)
        inputs = resample(shifted, lengths, self.steps).reshape(1, batch, self.steps, taps, dim)
        inputs = inputs.expand(members, -1, -1, -1, -1)
        if keep is not None:
            inputs = inputs * keep.reshape(members, batch, 1, 1, dim)
        by_tap = weight.reshape(members, -1, dim, taps).permute(0, 3, 2, 1).flatten(1, 2)
        out = torch.bmm(inputs.reshape(members, batch * self.steps, taps * dim), by_tap)
        out = out.reshape(members, batch, self.steps, self.config.width).permute(1, 0, 3, 2).flatten(1, 2)
        return out if bias is None else out + bias[:, None]

    def _convolve(self, x: Tensor, padding: int, keep: Tensor | None, valid: Tensor) -> Tensor:
        """``(B, T, D)``, zero outside ``valid`` (B, T) -> ``(B, members * width, T')``.

        Features are scaled by ``keep`` (members * B, 1, D) first.
        """
        weight, bias = self.conv.weight, self.conv.bias
        if self.members == 1:
            x = x if keep is None else x * keep
            return nn.functional.conv1d(x.transpose(1, 2), weight, bias, padding=padding)
        # One product for all members, over valid frames alone; the taps of the kernel are shifted and added afterwards, where
        # there are few channels.
        members, (batch, frames, dim), taps = self.members, x.shape, weight.shape[2]
        rows, times = valid.nonzero(as_tuple=True)
        inputs = x[rows, times].expand(members, -1, -1)
        if keep is not None:
            inputs = inputs * keep.reshape(members, batch, dim)[:, rows]
        by_tap = weight.reshape(members, -1, dim, taps).permute(0, 2, 3, 1).flatten(2)
        products = torch.bmm(inputs, by_tap).transpose(0, 1).reshape(len(rows), members, taps, self.config.width)
        length = frames + taps - 1
        out = x.new_zeros(batch * length, members * self.config.width)
        for i in range(taps):  # frame t meets tap i in step t + padding - i
            out.index_add_(0, rows * length + times + taps - 1 - i, products[:, :, i].flatten(1).to(out.dtype))
        begin = taps - 1 - padding
        out = out.reshape(batch, length, members * self.config.width)[
            :, begin : begin + frames + 2 * padding - taps + 1
        ].transpose(1, 2)
        return out if bias is None else out + bias[:, None]


def fit_features(standardizers: Mapping[str, Standardizer], batches: Iterable[Batch]) -> None:
    """Fit each modality's standardiser to the available, valid frames, in one pass."""

    def frames(batch: Batch) -> dict[str, Tensor]:
        out = {}
        for i, (name, features) in enumerate(batch.features.items()):
            out[name] = features[frame_mask(batch.lengths[name] * batch.available[:, i], features.shape[1])]
        return out

    fit_together(standardizers, map(frames, batches))


def encode_masked(encoders: ModuleDict[Encoder], batch: Batch, mask: Tensor) -> dict[str, Tensor]:
    """Encodings ``(B, members * width, steps_k)`` of the modalities marked in ``mask`` (B, K), zero elsewhere."""
    out = {}
    for i, (name, encoder) in enumerate(encoders.items()):
        rows = mask[:, i]
        encoding = encoder(batch.features[name], batch.lengths[name] * rows)
        out[name] = torch.where(rows[:, None, None], encoding, 0.0)
    return out
