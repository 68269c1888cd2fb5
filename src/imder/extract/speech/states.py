"""Hidden states of long sound: blocks with context, weights of layers, and pooling to steps."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from imder.extract.media import Sound
from imder.types import ImderError

States = NDArray[np.float32]

BLOCK = 20
"""Seconds of sound that are encoded at once, besides the context."""
CONTEXT = 5
"""Seconds of context on either side of a block, so that a block with its context is at most Whisper's 30 s."""
STEPS_PER_SECOND = 10.0
_RANGE = re.compile(r"(\d+)(?:-(\d+))?(?::(\d+(?:\.\d+)?))?")


def layer_weights(layers: str, count: int) -> NDArray[np.float32]:
    """Weights of a model's hidden states, ``(count,)``, which sum to 1.

    Args:
        layers: ``mean`` (equal weights), ``last``, or layers and ranges separated by commas, each with a weight after a
            colon if they differ: ``6``, ``4-8``, ``3:1,6:2``. State 0 is the input of the first layer.
        count: number of hidden states: that input, and the output of each layer.

    Raises:
        ImderError: not a list of layers, or the model has no such layer.

    >>> layer_weights("mean", 4).tolist(), layer_weights("1:1,3:3", 4).tolist()
    ([0.25, 0.25, 0.25, 0.25], [0.0, 0.25, 0.0, 0.75])
    """
    weights = np.zeros(count, np.float32)
    if layers == "mean":
        weights[:] = 1
    elif layers == "last":
        weights[-1] = 1
    else:
        for part in layers.split(","):
            match = _RANGE.fullmatch(part.strip())
            if match is None:
                raise ImderError(
                    f"--audio-layers {layers}: {part!r} is not mean, last, or layers such as 4-8 or 3:1,6:2"
                )
            first, last = int(match[1]), int(match[2] or match[1])
            if not first <= last < count:
                raise ImderError(f"--audio-layers {layers}: {part!r}: the model has layers 0 to {count - 1}")
            weights[first : last + 1] += float(match[3] or 1)
    if weights.sum() == 0:
        raise ImderError(f"--audio-layers {layers}: all weights are 0")
    normalised: NDArray[np.float32] = weights / weights.sum()
    return normalised


def weighted_mean(hidden: Sequence[Tensor], layers: str) -> States:
    """The mean of hidden states ``(T, D)`` by the weights of ``layers`` (`layer_weights`), ``(T, D)``."""
    weights = layer_weights(layers, len(hidden)).tolist()
    mean: States = sum(w * states for w, states in zip(weights, hidden, strict=True) if w).numpy()
    return mean


def hop_of(steps_per_second: float, rate: int, stride: int) -> int:
    """Samples in a step.

    Raises:
        ImderError: not a rate from 0.1 to that of the model's states.
    """
    most = rate / stride
    if not 0.1 <= steps_per_second <= most:
        raise ImderError(
            f"--audio-rate: 0.1 to {most:g} steps a second (the model's own) are possible, got {steps_per_second:g}"
        )
    return round(rate / steps_per_second)


def pooled_states(sound: Sound, encode: Callable[[NDArray[np.float32]], States], stride: int, hop: int) -> States:
    """Hidden states of a sound, averaged within steps of ``hop`` samples: ``(T, D)``.

    Args:
        sound: any length; memory holds one block.
        encode: from up to 30 s of samples ``(n,)`` to states ``(T, D)``, state t from about sample ``t * stride`` on.
        stride: samples from one state to the next.
        hop: samples in a step, at least ``stride``.
    """
    sums: list[NDArray[np.float64]] = []
    counts: list[int] = []
    for segment, before, length, start in _blocks(sound, stride):
        first = before // stride
        states = encode(segment)[first : first + math.ceil(length / stride)]
        steps = (start + stride * np.arange(len(states)) + stride // 2) // hop
        for step in np.unique(steps):
            if step >= len(sums):
                sums.append(np.zeros(states.shape[1]))
                counts.append(0)
            sums[-1] += states[steps == step].sum(axis=0, dtype=np.float64)
            counts[-1] += int((steps == step).sum())
    return np.stack([total / count for total, count in zip(sums, counts, strict=True)]).astype(np.float32)


def _blocks(sound: Sound, stride: int) -> Iterator[tuple[NDArray[np.float32], int, int, int]]:
    """(samples with context, samples of context before, samples of the block, its first sample) of each block.

    Blocks start at multiples of ``stride``. A sound of up to a block and its context is one block.
    """
    block, context = (seconds * sound.rate // stride * stride for seconds in (BLOCK, CONTEXT))
    buffer = np.zeros(0, np.float32)
    begin = done = 0  # first sample of the buffer, and of the next block
    for piece in sound.chunks():
        buffer = np.concatenate([buffer, piece])
        while begin + len(buffer) > done + block + 2 * context:
            yield buffer[: done + block + context - begin], done - begin, block, done
            done += block
            buffer, begin = buffer[max(0, done - context - begin) :], max(begin, done - context)
    yield buffer, done - begin, begin + len(buffer) - done, done
