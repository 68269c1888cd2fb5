"""`--vision face` on real videos: shares of frames with a face, agreement with OpenFace's table, frames a second.

    python benchmarks/faces.py OPENFACE VIDEO

OPENFACE is a folder with ``default.wmv`` and ``default.csv`` (OpenFace's own sample and its table), VIDEO one with
``single_face.mp4``, ``no_face.mp4`` and ``face_noface.mov``. Every frame is used. Correlations are
those of the frames that both have.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from imder.extract.face.extractor import Track, bundle_of, face_recipe, select, track_faces
from imder.extract.face.features import FACE
from imder.extract.face.video import Video
from imder.extract.openface import columns_of, read_openface

PAIRS = (
    (("jawOpen",), "AU25_r", 0.85),
    (("jawOpen",), "AU26_r", 0.85),
    (("mouthLowerDownLeft", "mouthLowerDownRight"), "AU26_r", None),
    (("mouthSmileLeft", "mouthSmileRight"), "AU12_r", 0.80),
    (("eyeBlinkLeft", "eyeBlinkRight"), "AU45_r", 0.85),
    (("headPitch",), "pose_Rx", 0.80),
    (("headYaw",), "pose_Ry", 0.80),
    (("headRoll",), "pose_Rz", 0.80),
    (("headX",), "pose_Tx", None),
    (("headY",), "pose_Ty", None),
    (("headZ",), "pose_Tz", None),
    (("browInnerUp",), "AU01_r", None),
    (("browOuterUpLeft", "browOuterUpRight"), "AU02_r", None),
    (("browDownLeft", "browDownRight"), "AU04_r", None),
    (("cheekSquintLeft", "cheekSquintRight"), "AU06_r", None),
    (("noseSneerLeft", "noseSneerRight"), "AU09_r", None),
    (("mouthUpperUpLeft", "mouthUpperUpRight"), "AU10_r", None),
    (("mouthFrownLeft", "mouthFrownRight"), "AU15_r", None),
    (("mouthStretchLeft", "mouthStretchRight"), "AU20_r", None),
)
"""Features of ours whose mean is compared with a column of OpenFace, and the least correlation that was aimed at."""
ALL_FRAMES = 1000  # frames a second
SMILE = (FACE.index("mouthSmileLeft"), FACE.index("mouthSmileRight"))


def faces(path: Path) -> tuple[Video, list[Track], float]:
    """A video, its tracks, and the processor's seconds for them."""
    recipe = face_recipe("face")
    bundle = bundle_of(recipe.model, recipe.fingerprint)
    video = Video(path, ALL_FRAMES)
    started = time.process_time()
    tracks = track_faces(video, bundle)
    return video, tracks, time.process_time() - started


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's; NaN where one of them doesn't vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else float("nan")


def agreement(table: Path, track: Track) -> None:
    """Print the correlations with OpenFace's table."""
    theirs = read_openface(table, "pose+aus")
    assert theirs.times is not None
    rows = np.stack(track.rows).astype(np.float64)
    nearest = np.abs(theirs.times[:, None] - np.array(track.times)).argmin(axis=1)
    names = columns_of("pose+aus")
    print("\n| ours | OpenFace | correlation | aim |\n|---|---|---:|---:|")
    for ours, name, aim in PAIRS:
        mean = rows[nearest][:, [FACE.index(column) for column in ours]].mean(axis=1)
        value = correlation(mean, theirs.values[:, names.index(name)].astype(np.float64))
        print(f"| {' + '.join(ours)} | {name} | {value:.2f} | {'' if aim is None else f'{aim:.2f}'} |")


def main() -> None:
    """Measure everything."""
    openface, videos = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    files = [openface / "default.wmv", *(videos / n for n in ("single_face.mp4", "no_face.mp4", "face_noface.mov"))]
    faces(files[0])  # loads the models
    print("| video | frames | with the face | share | tracks | frames/s |\n|---|---:|---:|---:|---|---:|")
    results = {}
    for path in files:
        video, tracks, seconds = faces(path)
        results[path.name] = video, tracks
        track = select(tracks, "longest")
        count = len(track.times) if track else 0
        lengths = ", ".join(str(len(t.times)) for t in tracks) or "none"
        share, rate = 100 * count / video.count, video.count / seconds
        print(f"| `{path.name}` | {video.count} | {count} | {share:.1f} % | {lengths} | {rate:.0f} |")
    track = select(results["default.wmv"][1], "longest")
    assert track is not None
    agreement(openface / "default.csv", track)
    video, tracks = results["face_noface.mov"]
    track = select(tracks, "longest")
    assert track is not None
    smile = np.stack(track.rows)[:, SMILE].mean(axis=1)
    print(
        f"\n`face_noface.mov`: a face from {track.times[0]:.2f} to {track.times[-1]:.2f} s; smile from {smile.min():.2f} "
        f"(frame {smile.argmin()}) to {smile.max():.2f} (frame {smile.argmax()})"
    )
    for other in tracks:
        if other is not track:
            print(f"another face: {len(other.times)} frames from {other.times[0]:.2f} to {other.times[-1]:.2f} s")


if __name__ == "__main__":
    main()
