r"""Sequence readers: a sequence of any length to one vector, by its maximum (or mean) over time.

As in MMIN (Zhao, Li, Jin, ACL 2021) and its official code:

* `MaxLSTM`: a one-directional LSTM's outputs, max_t h_t;
* `TextCNN` (Kim, EMNLP 2014): for each kernel k, max_t relu(W_k [x_t ... x_{t+k-1}] + b_k), concatenated;
* `MeanOverTime`: mean_t x_t, the vector itself where a modality is a single vector.

Only valid frames take part, so that padding has no effect: the LSTM reads forwards and its maximum is over valid
steps; a window must lie inside the valid frames, except that a sequence shorter than a kernel has one window, padded
with zeros. (The official code pads every batch to its longest sequence and reads the padding as data.)

Every reader maps ``x`` (B, T, D), finite everywhere and zero beyond ``lengths`` (B,), which are at least 1, to
``(B, width)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from imder.nn.resample import frame_mask


class MaxLSTM(nn.Module):
    """The maximum of an LSTM's outputs over time.

    Args:
        dim: features D of a frame.
        width: of the output.
    """

    def __init__(self, dim: int, width: int = 128) -> None:
        super().__init__()
        self.width = width
        self.rnn = nn.LSTM(dim, width, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, D)`` and lengths ``(B,)`` -> ``(B, width)``."""
        outputs: Tensor = self.rnn(x)[0]
        return outputs.masked_fill(~frame_mask(lengths, x.shape[1])[..., None], -torch.inf).amax(1)


class TextCNN(nn.Module):
    """Convolutions of several kernels, the maximum of each filter's response over time.

    Args:
        dim: features D of a frame.
        filters: of each kernel.
        kernels: their sizes, in frames.
    """

    def __init__(self, dim: int, filters: int = 128, kernels: Sequence[int] = (3, 4, 5)) -> None:
        super().__init__()
        self.width = filters * len(kernels)
        self.convs = nn.ModuleList(nn.Conv1d(dim, filters, kernel) for kernel in kernels)
        self.kernels = tuple(kernels)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, D)`` and lengths ``(B,)`` -> ``(B, width)``."""
        x = nn.functional.pad(x, (0, 0, 0, max(0, max(self.kernels) - x.shape[1]))).transpose(1, 2)
        responses = []
        for kernel, conv in zip(self.kernels, self.convs, strict=True):
            response = conv(x).relu()
            windows = (lengths - kernel + 1).clamp(min=1)
            valid = frame_mask(windows, response.shape[2])[:, None]
            responses.append(response.masked_fill(~valid, 0.0).amax(2))  # responses are never below 0
        return torch.cat(responses, dim=1)


class MeanOverTime(nn.Module):
    """The mean of the valid frames.

    Args:
        dim: features D of a frame, the width of the output.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, D)`` and lengths ``(B,)`` -> ``(B, width)``."""
        return x.sum(1) / lengths[:, None]
