"""A recording to a time series: the same prediction again and again, of what is there in a window that moves on.

Windows begin every ``hop`` seconds as long as they lie wholly within the recording. If that leaves more than a tenth of a
second at the end, one more window ends with the recording: the last words count. A recording that is shorter than a window is
one window.

All windows of a recording have one id, hence the same noise in recoveries: what moves from window to window is what was seen
and heard, not the draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.extract.clip import extract_clip
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.media.clips import ExtractedClip, Features, PredictOptions, Progress, Row, predict_parts, split_of
from imder.media.recording import Recording
from imder.media.transcript import said
from imder.models.base import Model
from imder.types import ImderError

_REST = 0.1  # seconds at the end that may stay outside of every window
_SAME = 1e-9

MIN_COVERAGE = 0.1
"""Share of a window that a modality's frames must cover to count as there."""


def cut(seconds: float, window: float, hop: float) -> list[tuple[float, float]]:
    """Beginnings and ends of the windows of a recording.

    Raises:
        ImderError: a window or a hop of no length.

    >>> cut(6.0, 4.0, 1.0)
    [(0.0, 4.0), (1.0, 5.0), (2.0, 6.0)]
    >>> cut(5.5, 4.0, 1.0)[-1], cut(3.0, 4.0, 1.0)
    ((1.5, 5.5), [(0.0, 3.0)])
    """
    for name, value in (("window", window), ("hop", hop)):
        if not (value > 0 and math.isfinite(value)):
            raise ImderError(f"--{name}: a number of seconds above 0, got {value:g}")
    if seconds <= window:
        return [(0.0, seconds)]
    last = math.floor((seconds - window) / hop + _SAME)
    found = [(i * hop, min(i * hop + window, seconds)) for i in range(last + 1)]
    if seconds - found[-1][1] > _REST:
        found.append((seconds - window, seconds))
    return found


def predict_windows(
    model: Model,
    recipe: Recipe,
    recording: Recording,
    window: float,
    hop: float,
    options: PredictOptions,
    progress: Progress | None = None,
    *,
    least: float = MIN_COVERAGE,
) -> list[Row]:
    """The time series of a recording.

    Args:
        model: a trained system.
        recipe: what its features were made with.
        recording: what is cut.
        window: seconds of each window.
        hop: seconds from the beginning of a window to that of the next.
        options: how to predict.
        progress: called with windows done, and windows in all.
        least: share of a window that a modality's frames must cover; with less of it, it counts as missing there. A face
            that was lost but for an instant is no face.

    Returns:
        For each window ``start`` and ``end`` in seconds, then what `imder.media.clips.predict_parts` says of it, then for each
        modality with times ``share_<modality>``, how much of the window its frames cover. A window in which nothing is there
        has an empty ``available`` and no prediction.

    Raises:
        ImderError: window or hop isn't above 0, the least share isn't from 0 to 1, nothing is
            there in any window, or what `imder.inference.predict.predictions` raises.
    """
    check_least(least)
    edges = cut(recording.seconds, window, hop)
    speak = _speaker(recipe, recording)
    silent: set[int] = set()
    one = Clip(recording.clip.id)  # of no dialogue: windows overlap

    def parts() -> Iterator[Split]:
        kept: list[ExtractedClip] = []
        for i, (start, end) in enumerate(edges):
            if progress is not None:
                progress(i, len(edges))
            words, tokens = speak(start, end)
            found = recording.between(start, end, least) | dict(words)
            if not found:
                silent.add(i)
                continue
            kept.append((one, found, recording.tokens if tokens is None else tokens))
            if len(kept) == options.batch_size:
                yield split_of(kept, recipe)
                kept = []
        if kept:
            yield split_of(kept, recipe)

    rows = iter(list(predict_parts(model, parts(), options)))
    if len(silent) == len(edges):
        raise ImderError(f"{recording.clip.id}: nothing to predict from in any window")
    series = []
    for i, (start, end) in enumerate(edges):
        row = {"available": ""} if i in silent else next(rows)
        shares = {f"share_{name}": round(share, 3) for name, share in recording.shares(start, end).items()}
        told = {name: value for name, value in row.items() if name != "id"}
        series.append({"start": start, "end": end} | told | shares)
    if progress is not None:
        progress(len(edges), len(edges))
    return series


def check_least(least: float) -> None:
    """Raises an `ImderError` unless a share of a window lies in [0, 1]."""
    if not 0 <= least <= 1:
        raise ImderError(f"--least-share: a number from 0 to 1, got {least:g}")


Words = tuple[Features, NDArray[np.int64] | None]


def _speaker(recipe: Recipe, recording: Recording) -> Callable[[float, float], Words]:
    """The language of windows, as features and token ids; what neighbours share is encoded once."""
    known: tuple[str, Words] = ("", ({}, None))
    alone = recipe.only({"language"})

    def speak(start: float, end: float) -> Words:
        nonlocal known
        text = said(recording.cues, start, end)
        if text != known[0]:
            made = extract_clip(Clip(recording.clip.id, text=text), alone) if text else None
            for name, reason in {} if made is None else made.failures.items():
                raise ImderError(f"{name}: {reason} (in the transcript, from {start:g} s on)")
            known = text, ({}, None) if made is None else (made.features, made.tokens)
        return known[1]

    return speak
