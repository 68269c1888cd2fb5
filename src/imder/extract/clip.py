"""The features of one clip by a recipe, its failures and remarks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imder.extract.extractor import ClipFeatures
from imder.extract.extractors import parts_of
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.types import ImderError


@dataclass
class Extracted:
    """The features of a clip, and what went wrong.

    Attributes:
        features: for each modality that the clip has ``(T, D)`` float32, at least one frame.
        tokens: ``(T,)`` int64 ids of the text's tokens; None without language.
        text: of the clip; None without one.
        failures: for each modality that should be there and isn't, the reason.
        remarks: for a modality, what a user should know.
        untracked: frames of the face that were left out.
        times: for modalities whose frames lie in time ``(T,)`` seconds. Like the next two it isn't stored on disk, since
            corpora have no times.
        frame_seconds: for each of them the length of a frame.
        seconds: length of the longest of them.
    """

    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    tokens: NDArray[np.int64] | None = None
    text: str | None = None
    failures: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    untracked: int = 0
    times: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    frame_seconds: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, name: str, made: ClipFeatures) -> None:
        """Add the features of one modality."""
        if made.features is not None:
            self.features[name] = made.features
        if made.times is not None:
            self.times[name], self.frame_seconds[name] = made.times, made.frame_seconds
            self.seconds = max(self.seconds, made.seconds)
        self.untracked += made.untracked
        if made.tokens is not None:
            self.tokens = made.tokens
        if made.text is not None:
            self.text = made.text
        if made.remark:
            self.remarks[name] = made.remark


def extract_clip(clip: Clip, recipe: Recipe, openface: str | None = None) -> Extracted:
    """Extract the features of one clip. A damaged file is a failure of its modality, not an exception.

    Args:
        clip: its files and text; modalities that it lacks are left out.
        recipe: how features are made.
        openface: OpenFace's program, to be run on videos that have no table.
    """
    out = Extracted(text=clip.text)
    for name, (extractor, part) in parts_of(recipe).items():
        if not extractor.applies(clip, openface):
            continue
        try:
            out.add(name, extractor.make(clip, part, openface))
        except ImderError as error:
            out.failures[name] = " ".join(str(error).split())
        except MemoryError:
            out.failures[name] = "out of memory"
        except Exception as error:  # decoders raise anything for a damaged file: one clip is lost, not all
            out.failures[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
    return out
