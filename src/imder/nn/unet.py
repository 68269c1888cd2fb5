r"""The denoising network of ``fast``: a U-Net over time whose depth follows the sequence, attending to a condition.

A sequence of L steps has log2(L) + 1 useful resolutions; the network has at most ``len(widths)`` of them and uses the
*last* (widest) entries, so that a single step costs one wide layer. At every level a residual block (the noise
level scales and shifts its features) is followed by cross-attention to the condition's tokens. Normalisation is over
channels at each step: it is defined for a single step and never mixes steps.

Neighbouring steps can be concatenated into one *patch*: an encoding is smooth in time, so that a shorter, wider sequence
carries the same information with far less arithmetic. A linear skip connection for each step, scaled by the noise level,
bypasses the network with the details that a patch cannot hold: most of what denoising needs where noise is small.

The condition is clean and does not depend on the noise level: keys and values are computed once (`prepare`) and serve every
evaluation of a solver. Several draws for one row share them as adjacent queries.

The layout inside is (B, length, channels): a kernel-3 convolution is one matrix product over three shifted copies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class UNetConfig:
    """Of a `UNet`.

    Attributes:
        widths: channels of each resolution, finest first; a short sequence uses the last ones only.
        condition_width: width of the condition's tokens.
        heads, attention_layers: of the cross-attention at each level.
        embedding: width of the noise-level embedding.
        dropout: inside the blocks.
        patch: neighbouring steps that are concatenated.
        given: channels of a sequence that is read beside x, such as the known part of it; 0 for none.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    condition_width: int = 64
    heads: int = 8
    attention_layers: int = 1
    embedding: int = 128
    dropout: float = 0.0
    patch: int = 1
    given: int = 0


class TimeConv(nn.Module):
    """Kernel-3 convolution over time, ``(B, L, C)`` -> ``(B, ceil(L / stride), O)``, zeros beyond the ends."""

    as_convolution = False
    """Whether `forward` is oneDNN's convolution instead of a matrix product: equal but for rounding (`use_convolutions`)."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, 3, channels))
        self.bias = nn.Parameter(torch.zeros(out))
        self.stride = stride
        nn.init.trunc_normal_(self.weight, std=1 / math.sqrt(3 * channels))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve over time."""
        if x.shape[1] == 1:  # the neighbours are zeros: only the centre counts
            return F.linear(x, self.weight[:, 1], self.bias)
        if self.as_convolution:
            image, kernel = x.transpose(1, 2)[:, :, None], self.weight.transpose(1, 2)[:, :, None]
            out = F.conv2d(image, kernel, self.bias, stride=(1, self.stride), padding=(0, 1))
            return out[:, :, 0].transpose(1, 2)
        padded = F.pad(x, (0, 0, 1, 1))
        last = x.shape[1]
        shifted = torch.cat([padded[:, i : i + last : self.stride] for i in range(3)], dim=-1)
        return F.linear(shifted, self.weight.flatten(1), self.bias)


def use_convolutions(module: nn.Module) -> None:
    """Let all `TimeConv` of a module that only predicts run as convolutions, which halves their time on CPUs."""
    for each in module.modules():
        if isinstance(each, TimeConv):
            each.as_convolution = True


@dataclass(frozen=True)
class Condition:
    """A condition prepared for all evaluations: for each level keys and values ``(R, heads, N, C / heads)``.

    ``mask`` (R, 1, 1, N) bool is True where a token may be attended to; every row has at least one. ``given`` (R, L', C) is
    added to the first features of the sequence; None for nothing.
    """

    keys_values: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor
    given: Tensor | None = None


class CrossAttention(nn.Module):
    """Pre-normalised cross-attention with a residual; keys and values come from `project`."""

    def __init__(self, width: int, condition: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(condition, 2 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``(R, heads, N, C / heads)`` of tokens ``(R, N, condition)``."""
        key, value = self.key_value(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return key, value

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """``(R * S, L, C)`` attends to the tokens of its row; the S draws of a row are adjacent."""
        key, value = keys_values
        rows = key.shape[0]
        query = self.query(self.norm(x)).reshape(rows, -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out(attended.transpose(1, 2).reshape(x.shape))
        return x + out


class Block(nn.Module):
    """A residual block: norm, swish, convolution, twice; the noise level scales and shifts the second norm."""

    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.modulate = nn.Linear(embedding, 2 * width)
        self.first = TimeConv(width, width)
        self.second = TimeConv(width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """``(B, L, C)`` and the noise embedding ``(B or 1, embedding)``."""
        scale, shift = self.modulate(noise)[:, None].chunk(2, dim=-1)
        h = self.first(F.silu(F.layer_norm(x, (self.width,))))
        h = F.silu(torch.addcmul(shift, F.layer_norm(h, (self.width,)), 1 + scale))
        out: Tensor = self.second(self.dropout(h))
        return x + out


class Level(nn.Module):
    """One resolution: a block, then attention layers."""

    def __init__(self, width: int, config: UNetConfig) -> None:
        super().__init__()
        self.block = Block(width, config.embedding, config.dropout)
        self.attention = nn.ModuleList(
            CrossAttention(width, config.condition_width, config.heads) for _ in range(config.attention_layers)
        )

    def forward(self, x: Tensor, noise: Tensor, keys_values: Sequence[tuple[Tensor, Tensor]], mask: Tensor) -> Tensor:
        """``(B, L, C)`` -> the same shape."""
        x = self.block(x, noise)
        for layer, kv in zip(self.attention, keys_values, strict=True):
            x = layer(x, kv, mask)
        return x


class UNet(nn.Module):
    """F(x, c_noise | condition) for sequences of ``length`` steps.

    Args:
        channels: of the sequence.
        length: steps of the sequence.
        config: see `UNetConfig`.
    """

    frequencies: Tensor

    def __init__(self, channels: int, length: int, config: UNetConfig) -> None:
        super().__init__()
        embedding = config.embedding
        self.patch = min(config.patch, length)
        self.length = length
        positions = -(-length // self.patch)
        widths = config.widths[-min(len(config.widths), 1 + int(math.log2(positions))) :]
        self.register_buffer("frequencies", torch.exp(torch.linspace(math.log(0.25), math.log(8.0), 16)) * 2 * math.pi)
        self.embed = nn.Sequential(nn.Linear(32, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())

        def level(width: int) -> Level:
            return Level(width, config)

        self.in_proj = nn.Linear(channels * self.patch, widths[0])
        self.position = nn.Parameter(torch.zeros(positions, widths[0]))
        self.given_proj = nn.Parameter(torch.zeros(widths[0], config.given * self.patch)) if config.given else None
        self.attention_layers = config.attention_layers
        self.down = nn.ModuleList(level(w) for w in widths)
        self.downsample = nn.ModuleList(TimeConv(a, b, stride=2) for a, b in itertools.pairwise(widths))
        self.middle = Block(widths[-1], embedding, config.dropout)
        self.upsample = nn.ModuleList(nn.Linear(b, a) for a, b in itertools.pairwise(widths))
        self.merge_skip = nn.ModuleList(nn.Linear(2 * a, a) for a in widths[:-1])
        self.up = nn.ModuleList(level(w) for w in widths[:-1])
        self.out_proj = nn.Linear(widths[0], channels * self.patch)
        self.linear_skip = nn.Linear(channels, channels, bias=False)
        self.gain = nn.Linear(embedding, channels)
        for last in (self.out_proj, self.gain):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def prepare(self, tokens: Tensor, mask: Tensor, given: Tensor | None = None) -> Condition:
        """Keys and values of tokens ``(R, N, condition)``, ``mask`` (R, N) bool, for any number of evaluations.

        ``given`` (R, config.given, length) is read beside the sequence.
        """
        projected = tuple(layer.project(tokens) for level in (*self.down, *self.up) for layer in level.attention)
        added = None
        if given is not None:
            assert self.given_proj is not None
            added = F.linear(self._patches(given.transpose(1, 2)), self.given_proj)
        return Condition(projected, mask[:, None, None, :], added)

    def _patches(self, steps: Tensor) -> Tensor:
        """``(B, length, C)`` -> ``(B, positions, C * patch)``, zeros beyond the end."""
        padded = F.pad(steps, (0, 0, 0, -self.length % self.patch)) if self.length % self.patch else steps
        return padded.reshape(steps.shape[0], len(self.position), -1)

    def forward(self, x: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        """``(R * S, channels, length)`` and c_noise ``(R * S,)`` or ``(1,)`` -> ``(R * S, channels, length)``."""
        angles = noise[:, None] * self.frequencies
        embedded = self.embed(torch.cat([angles.sin(), angles.cos()], dim=-1))
        pairs = iter(condition.keys_values)
        steps = x.transpose(1, 2)
        h = self.in_proj(self._patches(steps)) + self.position
        if condition.given is not None:
            h = h + condition.given.repeat_interleave(len(h) // len(condition.given), dim=0)
        skips = []
        for i, level in enumerate(self.down):
            if i:
                h = self.downsample[i - 1](h)
            h = level(h, embedded, [next(pairs) for _ in range(self.attention_layers)], condition.mask)
            skips.append(h)
        h = self.middle(h, embedded)
        pending = list(pairs)
        layers = self.attention_layers
        for i in reversed(range(len(self.up))):
            skip = skips[i]
            h = self.upsample[i](h).repeat_interleave(2, dim=1)[:, : skip.shape[1]]
            h = self.merge_skip[i](torch.cat([h, skip], dim=-1))
            h = self.up[i](h, embedded, pending[i * layers : (i + 1) * layers], condition.mask)
        out: Tensor = self.out_proj(F.silu(F.layer_norm(h, (h.shape[-1],))))
        out = out.reshape(x.shape[0], -1, x.shape[1])[:, : self.length]
        linear: Tensor = self.linear_skip(steps) * self.gain(embedded)[:, None]
        return (out + linear).transpose(1, 2)
