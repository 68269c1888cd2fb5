r"""The paper's score network s_k(x, c, t): a 1-d U-Net that attends to the available modalities at every level.

With widths C_1 ... C_n (paper: 32, 64, 128, 256) and e = swish(W phi(t) + b), phi Gaussian random features of t,

    down, i = 1 ... n:  h = conv_i(h_{i-1});  c_i = conv'_i(c_{i-1})  (c_1 = c);    kernel 3; stride 1, then 2, 2, ...
                        h_i = swish(norm(h + CMA_i(h, c_i) + W_i e))
    up, i = n-1 ... 1:  h = deconv_i([h, h_{i+1}]);  c = deconv'_i(c)               (nothing to concatenate at i = n-1)
                        h = swish(norm(h + CMA(h, c) + W e))
    last:               h = deconv([h, h_1]);  c = deconv'(c);   s = (h + CMA(h, c)) / std(t)

CMA is a cross-modal transformer (`imder.nn.transformer`): query h, source c. Without a condition every CMA term is
left out: the unconditional variant shares all other weights. The norms are group norms: 4 groups at the first level, 32
at every other, the last one up included, where 32 channels then are 32 groups. (Paper, section on the score network;
strides, groups and order are the official code's.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imder.nn.embedding import GaussianFourier
from imder.nn.transformer import CrossModalEncoder
from imder.types import ImderError


class ScoreLevel(nn.Module):
    """One level: (transposed) convolutions of features and condition, cross-modal attention, time, norm, swish.

    Args:
        conv: brings the features to this level, ``(B, ., .)`` -> ``(B, C, L)``.
        condition: does the same for the condition.
        attention: reads the condition, width C.
        embedding: width of the time embedding; None at the last level, which has no time, norm or activation.
        groups: groups of the norm; where they do not divide C, 4 (or 2, or 1).
    """

    def __init__(
        self,
        conv: nn.Module,
        condition: nn.Module,
        attention: CrossModalEncoder,
        embedding: int | None,
        groups: int = 32,
    ) -> None:
        super().__init__()
        self.conv, self.condition, self.attention = conv, condition, attention
        width = attention.width
        self.time = None if embedding is None else nn.Linear(embedding, width)
        groups = groups if width % groups == 0 else math.gcd(width, 4)
        self.norm = None if embedding is None else nn.GroupNorm(groups, width)

    def forward(self, h: Tensor, c: Tensor | None, e: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features ``h``, condition ``c`` (or None) and time embedding ``e`` -> this level's features and condition."""
        h = self.conv(h)
        if c is not None:
            c = self.condition(c)
            h = h + self.attention(h, c)
        if self.time is None or self.norm is None:
            return h, c
        norm = self.norm  # called through torch: the module refuses a batch of one at a level of one step
        h = torch.group_norm(h + self.time(e)[:, :, None], norm.num_groups, norm.weight, norm.bias, norm.eps)
        return F.silu(h), c


class PaperScoreNetwork(nn.Module):
    """The score network of the paper (supplement, Table 1), any number of levels.

    Args:
        width: channels W of the encodings.
        widths: channels of the levels; lengths halve from one to the next.
        heads: heads of the cross-modal attention; must divide ``width`` and every one of ``widths``.
        attention_layers: layers of each cross-modal transformer.
        embedding: width of the time embedding.
        scale: standard deviation of the fixed random frequencies for t.
        causal: whether the attention is causal, as in the official code.
        zero_is_padding: see `imder.nn.transformer`.
        generator: draws the fixed random frequencies; None for torch's own.
    """

    def __init__(
        self,
        width: int = 32,
        widths: Sequence[int] = (32, 64, 128, 256),
        heads: int = 8,
        attention_layers: int = 2,
        embedding: int = 256,
        scale: float = 30.0,
        causal: bool = False,
        zero_is_padding: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not widths:
            raise ImderError("the score network needs at least one level: widths is empty")
        self.width = width
        self.multiple = 2 ** (len(widths) - 1)
        self.fourier = GaussianFourier(embedding, scale, generator)
        self.embed = nn.Linear(embedding, embedding)

        def attention(channels: int) -> CrossModalEncoder:
            return CrossModalEncoder(channels, heads, attention_layers, causal=causal, zero_is_padding=zero_is_padding)

        def down(a: int, b: int) -> nn.Module:
            return nn.Conv1d(a, b, 3, stride=2, padding=1, bias=False)

        def up(a: int, b: int) -> nn.Module:
            return nn.ConvTranspose1d(a, b, 3, stride=2, padding=1, output_padding=1, bias=False)

        first, steps = widths[0], list(pairwise(widths))
        entry = nn.Identity() if width == first else nn.Conv1d(width, first, 1, bias=False)
        self.down = nn.ModuleList(
            [
                ScoreLevel(
                    nn.Conv1d(width, first, 3, padding=1, bias=False), entry, attention(first), embedding, groups=4
                )
            ]
        )
        self.down.extend(ScoreLevel(down(a, b), down(a, b), attention(b), embedding) for a, b in steps)
        self.up = nn.ModuleList(
            ScoreLevel(up(b if i == 0 else 2 * b, a), up(b, a), attention(a), embedding)
            for i, (a, b) in enumerate(reversed(steps))
        )
        last = nn.ConvTranspose1d(2 * first if steps else first, width, 3, padding=1)
        self.last = ScoreLevel(last, nn.ConvTranspose1d(first, width, 3, padding=1), attention(width), None)

    def forward(self, x: Tensor, t: Tensor, std: Tensor, condition: Tensor | None = None) -> Tensor:
        """The score of the noisy encodings.

        Args:
            x: ``(B, W, L)`` noisy encodings at time t; L a multiple of 2^(levels - 1) (`ImderError` otherwise).
            t: ``(B,)`` diffusion times in [0, 1].
            std: ``(B,)`` standard deviations of the noise at t; the output is divided by them.
            condition: ``(B, W, L)``; None for the unconditional score.

        Returns:
            ``(B, W, L)``.
        """
        if x.shape[-1] % self.multiple or not x.shape[-1]:
            raise ImderError(
                f"the paper's score network needs a length that is a multiple of {self.multiple}, "
                f"got {x.shape[-1]}; choose an input length that gives one"
            )
        e = F.silu(self.embed(self.fourier(t)))
        h, c = x, condition
        skips: list[Tensor] = []
        for level in self.down:
            h, c = level(h, c, e)
            skips.append(h)
        skips.pop()
        for level in self.up:
            h, c = level(h, c, e)
            h = torch.cat([h, skips.pop()], dim=1)
        score: Tensor = self.last(h, c, e)[0]
        return score / std[:, None, None]
