"""Faces from frame to frame: each is looked for where it was, and the detector finds new ones.

As in MediaPipe's ``multi_face_landmark`` graphs, the landmarks of a frame give the region of the next, and a face whose
presence falls below one half is lost. The detector runs where no face is tracked, and every few frames for others. A face that
appears where one was lost continues that track, unless a cut lies between: at a cut all tracks end.
"""

from __future__ import annotations

from dataclasses import dataclass

from imder.extract.decoded import Image
from imder.extract.face.cuts import CutDetector
from imder.extract.face.detector import detect
from imder.extract.face.mesh import MIN_PRESENCE, Landmarks, find_landmarks, next_region
from imder.extract.face.region import Region
from imder.extract.face.runtime import Bundle

MAX_FACES = 4
"""Faces tracked at once, larger ones first."""
SEARCH_EVERY = 5
"""Frames between two searches for further faces while one is tracked."""
MIN_OVERLAP = 0.4
"""Intersection over union of the regions of one face, found twice."""
MIN_RESUMED = 0.1
"""Intersection over union of a face's region with that of a track that it continues."""
MIN_SIZE = 16.0
"""Least side of a region in pixels."""


@dataclass(frozen=True)
class TrackedFace:
    """A face in a frame.

    Attributes:
        track: the number of its track; tracks are numbered from 0 as they appear, from left to right within a frame.
        landmarks: ``(478, 3)`` in pixels.
        region: where it is looked for in the next frame.
    """

    track: int
    landmarks: Landmarks
    region: Region


class Tracker:
    """Faces of a video, whose frames are given one by one.

    Args:
        bundle: the models.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._is_cut = CutDetector()
        self._faces: list[TrackedFace] = []
        self._lost: dict[int, Region] = {}
        self._tracks = 0
        self._frames = 0

    def __call__(self, image: Image) -> list[TrackedFace]:
        """The faces of the next frame ``(H, W, 3)``."""
        if self._is_cut(image):
            self._faces, self._lost = [], {}
        faces: list[TrackedFace] = []
        for face in self._faces:
            same = self._look(image, face.region)
            if same is None:
                self._lost[face.track] = face.region
            elif not _overlaps(same[1], faces):  # otherwise two tracks have met on one face, and the older one has it
                faces.append(TrackedFace(face.track, *same))
        if not faces or self._frames % SEARCH_EVERY == 0:
            faces += self._search(image, faces)
        self._faces = faces
        self._frames += 1
        return faces

    def _look(self, image: Image, region: Region) -> tuple[Landmarks, Region] | None:
        """The landmarks of the face in a region and its next region; None if there is no face."""
        landmarks, presence = find_landmarks(self._bundle.mesh, image, region)
        following = next_region(landmarks)
        return (landmarks, following) if presence >= MIN_PRESENCE and following.size >= MIN_SIZE else None

    def _search(self, image: Image, faces: list[TrackedFace]) -> list[TrackedFace]:
        """Faces that aren't tracked yet."""
        candidates: list[tuple[Landmarks, Region]] = []
        detections = sorted(detect(self._bundle.detector, image), key=lambda detection: -detection.region.size)
        for detection in detections:
            if len(faces) + len(candidates) == MAX_FACES:
                break
            if _overlaps(detection.region, faces):
                continue
            face = self._look(image, detection.region)
            others = [*(f.region for f in faces), *(region for _, region in candidates)]
            if face is not None and all(face[1].overlap(region) < MIN_OVERLAP for region in others):
                candidates.append(face)
        candidates.sort(key=lambda face: face[1].x)
        return [TrackedFace(self._track_of(region), landmarks, region) for landmarks, region in candidates]

    def _track_of(self, region: Region) -> int:
        """The lost track that a face continues, or a new one."""
        overlaps = {track: region.overlap(last) for track, last in self._lost.items()}
        track = max(overlaps, key=lambda track: overlaps[track], default=None)
        if track is not None and overlaps[track] >= MIN_RESUMED:
            del self._lost[track]
            return track
        self._tracks += 1
        return self._tracks - 1


def _overlaps(region: Region, faces: list[TrackedFace]) -> bool:
    return any(region.overlap(face.region) >= MIN_OVERLAP for face in faces)
