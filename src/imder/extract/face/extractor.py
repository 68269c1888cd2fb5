"""The extractors ``face`` and ``face+landmarks``: features of the face in a video, without OpenFace."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imder.extract.extractor import ClipFeatures, Extractor
from imder.extract.face.features import COLUMNS, measure
from imder.extract.face.model_file import OPTION, find_model, fingerprint
from imder.extract.face.runtime import Bundle, load_bundle
from imder.extract.face.tracker import Tracker
from imder.extract.face.video import Video
from imder.extract.manifest import Clip
from imder.extract.recipe import FaceRecipe
from imder.types import ImderError

LONGEST, LARGEST = "longest", "largest"


@dataclass(frozen=True)
class FaceOptions:
    """Options of the recipes of faces.

    Attributes:
        fps: most frames a second.
        person: the face that counts: the one tracked ``longest``, the ``largest`` on average, or its number, from 0 in the
            order of appearance.
        model: the file of the models; None for that of the environment or of the cache.

    Raises:
        ImderError: an option is out of range.
    """

    fps: int = 15
    person: str = LONGEST
    model: str | None = None

    def __post_init__(self) -> None:
        if self.fps < 1:
            raise ImderError(f"--fps: at least 1, got {self.fps}")
        if self.person not in (LONGEST, LARGEST) and not (self.person.isascii() and self.person.isdigit()):
            raise ImderError(f"--person: {LONGEST}, {LARGEST}, or a number from 0, got {self.person!r}")


@dataclass
class Track:
    """The frames of one face: their times in seconds, features ``(D,)``, and the sum of the face's sides in pixels."""

    times: list[float] = field(default_factory=list)
    rows: list[NDArray[np.float32]] = field(default_factory=list)
    sides: float = 0.0

    @property
    def size(self) -> float:
        """Mean side of the face in pixels."""
        return self.sides / len(self.times)


def face_recipe(columns: str, options: FaceOptions | None = None) -> FaceRecipe:
    """The recipe of ``face`` or ``face+landmarks``.

    Raises:
        ImderError: the models' file is missing and can't be fetched.
    """
    options = options or FaceOptions()
    path = find_model(options.model)
    load_bundle(path)  # a file that isn't one of these models is a mistake of the user's, found before any work
    return FaceRecipe(columns, len(COLUMNS[columns]), str(path), fingerprint(path), options.fps, options.person)


@lru_cache(maxsize=1)
def bundle_of(model: str, sha256: str) -> Bundle:
    """The models of a recipe, loaded once in each process.

    Where the recipe's file has moved, that of the environment or of the cache is taken.

    Raises:
        ImderError: they can't be found or read, or aren't those of the recipe.
    """
    path = Path(model) if Path(model).is_file() else find_model()
    if fingerprint(path) != sha256:
        raise ImderError(
            f"{path}: isn't the file of models that the features were made with (SHA-256 {sha256}); give it with {OPTION}"
        )
    return load_bundle(path)


def track_faces(video: Video, bundle: Bundle, *, with_shape: bool = False) -> list[Track]:
    """The faces of a video, by the number of their track.

    Raises:
        ImderError: the video can't be read.
    """
    tracker = Tracker(bundle)
    tracks: dict[int, Track] = {}
    for time, image in video.frames():
        height, width = image.shape[:2]
        for face in tracker(image):
            track = tracks.setdefault(face.track, Track())
            track.times.append(time)
            track.rows.append(measure(bundle, face.landmarks, width, height, with_shape=with_shape))
            track.sides += face.region.size
    return [tracks[number] for number in sorted(tracks)]


def select(tracks: list[Track], person: str) -> Track | None:
    """The track that counts; None if there is none of this number.

    >>> tracks = [Track([0.0], [], 90.0), Track([0.0, 0.1], [], 80.0)]
    >>> [tracks.index(select(tracks, person)) for person in ("longest", "largest", "0")], select(tracks, "2")
    ([1, 0, 0], None)
    """
    if person == LONGEST:
        return max(tracks, key=lambda track: (len(track.times), track.sides), default=None)
    if person == LARGEST:
        return max(tracks, key=lambda track: track.size, default=None)
    return tracks[int(person)] if int(person) < len(tracks) else None


def _make(clip: Clip, recipe: FaceRecipe, openface: str | None) -> ClipFeatures:
    del openface
    source = clip.picture_source
    assert source is not None
    video = Video(source, recipe.fps)
    bundle = bundle_of(recipe.model, recipe.fingerprint)
    tracks = track_faces(video, bundle, with_shape=recipe.columns != "face")
    if not video.has_picture:
        return ClipFeatures(None, remark=f"{getattr(source, 'name', source)}: has no picture")
    track = select(tracks, recipe.person)
    remarks = list(video.remarks)
    if track is None:
        remarks.append(f"no face {recipe.person} among {len(tracks)}, counted from 0" if tracks else "no face")
        return ClipFeatures(None, seconds=video.seconds, untracked=video.count, remark="; ".join(remarks))
    if len(tracks) > 1:
        rule = {LONGEST: "the one tracked longest", LARGEST: "the largest"}.get(recipe.person, f"face {recipe.person}")
        remarks.append(f"{len(tracks)} faces, used {rule} ({len(track.times)} of {video.count} frames)")
    untracked = video.count - len(track.times)
    if untracked:
        remarks.append(f"{untracked} of {video.count} frames without this face left out")
    return ClipFeatures(
        np.stack(track.rows),
        times=np.array(track.times),
        frame_seconds=video.frame_seconds,
        seconds=video.seconds,
        untracked=untracked,
        remark="; ".join(remarks),
    )


FACES = tuple(
    Extractor(
        name,
        "vision",
        recipe=lambda columns, max_tokens: face_recipe(columns),
        applies=lambda clip, openface: clip.picture_source is not None,
        make=_make,
        needs=("ai_edge_litert", "av"),
        extra="face",
    )
    for name in COLUMNS
)
"""``face`` and ``face+landmarks``."""
