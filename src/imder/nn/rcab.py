r"""Residual channel attention: the refinement D_k that turns a sampled encoding into one closer to the truth.

The group of Zhang et al. (RCAN, ECCV 2018) over time, as in the official IMDer code. With `conv3` a kernel-3
convolution (zeros beyond both ends) and `conv1` a kernel-1 convolution,

    block(h) = h + a * r,   r = conv3(relu(conv3(h))),   a = sigmoid(conv1(relu(conv1(mean_t r))))   (C -> C/16 -> C)
    D_k(x)   = conv1( h_0 + conv3(block_20(... block_1(h_0))) ),   h_0 = conv1(x).

With a mask, padding is zeroed before every kernel-3 convolution and excluded from the mean over time: the output on the
valid steps is then exactly that of the unpadded sequence, and 0 beyond them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _clear(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padding (also where it holds NaN)."""
    return x if mask is None else torch.where(mask, x, 0.0)


class ChannelAttentionBlock(nn.Module):
    """Two convolutions whose result is scaled channel by channel and added to the input.

    Args:
        channels: channels C.
        reduction: the attention's bottleneck has ``max(1, C // reduction)`` channels.
    """

    def __init__(self, channels: int = 64, reduction: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, channels, 3, padding=1)
        self.second = nn.Conv1d(channels, channels, 3, padding=1)
        self.squeeze = nn.Conv1d(channels, max(1, channels // reduction), 1)
        self.excite = nn.Conv1d(max(1, channels // reduction), channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``(B, C, L)``, ``mask`` bool ``(B, 1, L)`` or None -> ``(B, C, L)``."""
        residual = self.second(_clear(F.relu(self.first(_clear(x, mask))), mask))
        if mask is None:
            mean = residual.mean(dim=-1, keepdim=True)
        else:
            valid = mask.sum(dim=-1, keepdim=True).clamp(min=1)
            mean = _clear(residual, mask).sum(dim=-1, keepdim=True) / valid
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
        out: Tensor = x + residual * scale
        return out


class ResidualChannelAttention(nn.Module):
    """D_k: refines a sampled encoding (paper, section on reconstruction; numbers of its supplement, Table 1).

    Args:
        width: channels of the encoding.
        channels: channels inside.
        blocks: number of residual channel-attention blocks.
        reduction: bottleneck of the channel attention.
    """

    def __init__(self, width: int = 32, channels: int = 64, blocks: int = 20, reduction: int = 16) -> None:
        super().__init__()
        self.expand = nn.Conv1d(width, channels, 1)
        self.blocks = nn.ModuleList(ChannelAttentionBlock(channels, reduction) for _ in range(blocks))
        self.last = nn.Conv1d(channels, channels, 3, padding=1)
        self.contract = nn.Conv1d(channels, width, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Refine encodings.

        Args:
            x: ``(B, W, L)``.
            mask: ``(B, 1, L)`` bool, True at the valid steps; None where all are (as in the paper).

        Returns:
            ``(B, W, L)``, zero beyond the valid steps.
        """
        start = self.expand(_clear(x, mask))
        h = start
        for block in self.blocks:
            h = block(h, mask)
        refined: Tensor = self.contract(start + self.last(_clear(h, mask)))
        return _clear(refined, mask)
