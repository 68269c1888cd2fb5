r"""What remains of sequences some of whose steps are erased, in the space where diffusion works.

A step of an encoding reads the frames of its interval and, through the convolution, their neighbours. Where one of them is
erased the step is *touched*: its true value is unknown, and the encoding of zeros says something else. All other steps are
known exactly. Two simple fills describe what remains: every erased frame becomes the mean of the remaining ones, or is
interpolated linearly between the nearest ones (the nearest alone at the ends). Both encodings agree in untouched steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imder.diffusion import KeyedNoise
from imder.models.parts.encoder import Encoder
from imder.nn.module_dict import ModuleDict
from imder.nn.resample import frame_mask, resample
from imder.types import Batch

NEGLIGIBLE = 1e-6
"""A step that reads erased frames with less weight than this isn't touched."""


@dataclass(frozen=True)
class Remaining:
    """What remains of one modality in R rows.

    Attributes:
        partial: ``(R,)`` bool, the rows that have the modality without some of its steps; nothing else is read of others.
        averaged: ``(R, W, L)``, encodings of sequences whose erased frames are the mean of the remaining ones.
        interpolated: ``(R, W, L)``, encodings of sequences whose erased frames are interpolated.
        missing: ``(R, taps, L)``, the share of erased frames among those that a step reads through each tap of the
            convolution.
        kept: ``(R,)``, remaining frames.
    """

    partial: Tensor
    averaged: Tensor
    interpolated: Tensor
    missing: Tensor
    kept: Tensor

    @property
    def unknown(self) -> Tensor:
        """``(R, L)`` bool: the touched steps, and all steps of a row that isn't partial."""
        return (self.missing.amax(1) > NEGLIGIBLE) | ~self.partial[:, None]

    def take(self, rows: Tensor | slice) -> Remaining:
        """Some of the rows."""
        return Remaining(
            self.partial[rows], self.averaged[rows], self.interpolated[rows], self.missing[rows], self.kept[rows]
        )


def remaining_of(encoders: ModuleDict[Encoder], batch: Batch, width: int) -> dict[str, Remaining] | None:
    """What remains of each modality of a batch; None where no step of it is erased.

    Args:
        encoders: of each modality, on native time grids, in evaluation mode.
        batch: B rows.
        width: channels W of the encodings that are kept, those of the first member.
    """
    if batch.erased is None or not any(bool(erased.any()) for erased in batch.erased.values()):
        return None
    out = {}
    for i, (name, encoder) in enumerate(encoders.items()):
        features, lengths = batch.features[name], batch.lengths[name] * batch.available[:, i]
        valid = frame_mask(lengths, features.shape[1])
        erased = batch.erased[name] & valid
        kept = valid & ~erased
        filled = [fill(features, kept, encoder.standardize.mean) for fill in (averaged, interpolated)]
        encodings = [encoder(torch.where(erased[..., None], x, features), lengths)[:, :width] for x in filled]
        missing = _missing_shares(erased, lengths, encoder)
        out[name] = Remaining(erased.any(1), encodings[0], encodings[1], missing, kept.sum(1))
    return out


def averaged(features: Tensor, kept: Tensor, otherwise: Tensor) -> Tensor:
    """For each row of ``(B, T, D)`` the mean of the ``kept`` (B, T) frames, ``(B, 1, D)``; ``otherwise`` (D,) without any."""
    count = kept.sum(1)[:, None, None]
    mean = torch.where(kept[..., None], features, 0.0).sum(1, keepdim=True) / count.clamp(min=1)
    return torch.where(count > 0, mean, otherwise)


def interpolated(features: Tensor, kept: Tensor, otherwise: Tensor) -> Tensor:
    """``(B, T, D)``: each frame between the nearest ``kept`` (B, T) ones; ``otherwise`` (D,) without any.

    >>> x, kept = torch.tensor([[[9.0], [1.0], [9.0], [9.0], [4.0], [9.0]]]), torch.tensor([[0, 1, 0, 0, 1, 0]]).bool()
    >>> interpolated(x, kept, torch.zeros(1)).flatten().tolist()
    [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    """
    frames = features.shape[1]
    index = torch.arange(frames, device=features.device).expand_as(kept)
    before = torch.where(kept, index, -1).cummax(1).values
    after = torch.where(kept, index, frames).flip(1).cummin(1).values.flip(1)
    left, right = torch.where(before < 0, after, before), torch.where(after >= frames, before, after)
    share = ((index - left) / (right - left).clamp(min=1))[..., None].to(features)
    left, right = (x.clamp(0, frames - 1)[..., None].expand_as(features) for x in (left, right))
    values = torch.where(kept[..., None], features, 0.0)
    between = (1 - share) * values.gather(1, left) + share * values.gather(1, right)
    return torch.where(kept.any(1)[:, None, None], between, otherwise)


def erase(batch: Batch, seed: int) -> Batch:
    """The batch without steps of each sample, at a rate that is uniform in [0, 1] for each; erased features are 0."""
    noise = KeyedNoise(batch.keys, seed)
    rate = noise.uniform((len(batch), 1))
    features, erased = {}, {}
    for i, (name, x) in enumerate(batch.features.items()):
        valid = frame_mask(batch.lengths[name] * batch.available[:, i], x.shape[1])
        erased[name] = valid & (noise.uniform((len(batch), x.shape[1])) < rate)
        features[name] = x.masked_fill(erased[name][..., None], 0.0)
    return replace(batch, features=features, erased=erased, complete=batch.features)


def _missing_shares(erased: Tensor, lengths: Tensor, encoder: Encoder) -> Tensor:
    """``(B, taps, L)``: the weight of ``erased`` (B, T) frames in each step, for each tap of the convolution."""
    taps, frames = encoder.config.kernel, erased.shape[1]
    padded = torch.nn.functional.pad(erased.float(), (taps // 2, taps // 2))
    shifted = torch.stack([padded[:, i : i + frames] for i in range(taps)], dim=2)
    return resample(shifted, lengths, encoder.steps).transpose(1, 2)
