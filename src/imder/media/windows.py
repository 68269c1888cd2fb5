"""Time series of a recording: one prediction for each position of a moving window.

Windows start every ``hop`` seconds as long as they end within the recording. If more than 0.1 s remains, one more window ends
with the recording. A recording shorter than a window is one window.

All windows of a recording share one id and thus the noise of recoveries, so differences between windows come from the
recording, not from sampling. They are the clips of one dialogue, in the order of their starts: to a system with context,
windows before and after are neighbours, also where they overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from imder.data.corpus import Split
from imder.extract.clip import extract_clip
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.inference.options import PredictOptions
from imder.inference.predict import Row
from imder.inference.selection import Progress
from imder.media.clips import ExtractedClip, predict_parts, split_of
from imder.media.recording import Recording
from imder.media.transcript import text_between
from imder.models.base import Model
from imder.rows import Rows
from imder.types import ImderError

MAX_REST = 0.1
"""Seconds at the end of a recording that no window needs to cover."""
_ROUNDING = 1e-9

MOST_WINDOWS = 1_000_000
"""Windows of one recording; one time far off in a transcript would otherwise mean weeks of them."""

MIN_COVERAGE = 0.1
"""Share of a window that a modality's frames must cover to count as available."""


def window_bounds(seconds: float, window: float, hop: float) -> list[tuple[float, float]]:
    """Start and end of each window of a recording, in seconds.

    Raises:
        ImderError: the window or the hop is not a positive number, or there are more than `MOST_WINDOWS` windows.

    >>> window_bounds(6.0, 4.0, 1.0)
    [(0.0, 4.0), (1.0, 5.0), (2.0, 6.0)]
    >>> window_bounds(5.5, 4.0, 1.0)[-1], window_bounds(3.0, 4.0, 1.0)
    ((1.5, 5.5), [(0.0, 3.0)])
    """
    for name, value in (("window", window), ("hop", hop)):
        if not (value > 0 and math.isfinite(value)):
            raise ImderError(f"--{name}: a number of seconds above 0 is needed, got {value:g}")
    if seconds <= window:
        return [(0.0, seconds)]
    if seconds / hop > MOST_WINDOWS:
        raise ImderError(
            f"{seconds:g} s of recording with --hop {hop:g} are more than {MOST_WINDOWS} windows; "
            "check the times in its files, or choose a longer hop"
        )
    last = math.floor((seconds - window) / hop + _ROUNDING)
    bounds = [(i * hop, min(i * hop + window, seconds)) for i in range(last + 1)]
    if seconds - bounds[-1][1] > MAX_REST:
        bounds.append((seconds - window, seconds))
    return bounds


def predict_windows(
    model: Model,
    recipe: Recipe,
    recording: Recording,
    window: float,
    hop: float,
    options: PredictOptions,
    progress: Progress | None = None,
    *,
    min_coverage: float = MIN_COVERAGE,
) -> Rows:
    """Predict the windows of a recording.

    Args:
        model: a trained system.
        recipe: the recipe of its features.
        recording: the recording (`imder.media.recording.read_recording`).
        window: length of a window in seconds.
        hop: seconds from the start of a window to that of the next.
        options: options of the prediction.
        progress: called with the numbers of finished windows and of all windows.
        min_coverage: share of a window that a modality's frames must cover, in [0, 1]; below it the modality counts as
            missing, such as a face that is visible for an instant.

    Returns:
        For each window ``start`` and ``end`` in seconds, then the columns of `imder.predict` (``text`` holds the words of
        the window), then for each modality with times ``share_<modality>``, the share of the window that its frames cover.
        A window without any modality has an empty ``available`` and no prediction.

    Raises:
        ImderError: ``window`` or ``hop`` is not above 0, ``min_coverage`` is not in [0, 1], no window has a modality, or as
            `imder.predict`.
    """
    check_min_coverage(min_coverage)
    bounds = window_bounds(recording.seconds, window, hop)
    language_between = _language_reader(recipe, recording)
    empty: set[int] = set()
    size = len(bounds) if model.uses_context else options.batch_size  # neighbours are needed at once

    def parts() -> Iterator[Split]:
        kept: list[ExtractedClip] = []
        for i, (start, end) in enumerate(bounds):
            if progress is not None:
                progress(i, len(bounds))
            language = language_between(start, end)
            features = recording.between(start, end, min_coverage) | dict(language.features)
            if not features:
                empty.add(i)
                continue
            clip = replace(language.clip, dialogue=recording.clip.id, position=i)
            kept.append(ExtractedClip(clip, features, language.tokens, language.text))
            if len(kept) == size:
                yield split_of(kept, recipe)
                kept = []
        if kept:
            yield split_of(kept, recipe)

    predictions = iter(list(predict_parts(model, parts(), options)))
    if len(empty) == len(bounds):
        raise ImderError(f"{recording.clip.id}: no window has anything to predict from")
    rows = Rows()
    for i, (start, end) in enumerate(bounds):
        columns: Row = {"available": ""} if i in empty else next(predictions)
        shares = {f"share_{name}": round(share, 3) for name, share in recording.shares(start, end).items()}
        predicted = {name: value for name, value in columns.items() if name != "id"}
        rows.append({"start": start, "end": end} | predicted | shares)
    if progress is not None:
        progress(len(bounds), len(bounds))
    return rows


def check_min_coverage(min_coverage: float) -> None:
    """Raise an `ImderError` unless the value is in [0, 1]."""
    if not 0 <= min_coverage <= 1:
        raise ImderError(f"min_coverage (--min-coverage): a number from 0 to 1 is needed, got {min_coverage:g}")


def _language_reader(recipe: Recipe, recording: Recording) -> Callable[[float, float], ExtractedClip]:
    """A function that returns the language of a window; consecutive windows with the same text are encoded once."""
    clip = Clip(recording.clip.id, speaker=recording.clip.speaker)
    without_times = ExtractedClip(clip, {}, recording.tokens, recording.clip.text or "")
    latest = without_times
    language_alone = recipe.only({"language"})

    def language_between(start: float, end: float) -> ExtractedClip:
        nonlocal latest
        text = text_between(recording.cues, start, end)
        if not text:
            return without_times
        if text != latest.text:
            extracted = extract_clip(Clip(clip.id, text=text), language_alone)
            for name, reason in extracted.failures.items():
                raise ImderError(f"{name}: {reason} (in the transcript, from {start:g} s on)")
            latest = ExtractedClip(clip, extracted.features, extracted.tokens, text)
        return latest

    return language_between
