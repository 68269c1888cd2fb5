"""Features of a face: OpenFace's columns, from its table or by running OpenFace on a video.

OpenFace is not a Python package and its licence excludes commercial use, so no extra of this package installs it. Users name
its program ``FeatureExtraction``, have it on PATH, or provide its tables.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from imder.extract.extractor import ClipFeatures, Extractor
from imder.extract.manifest import Clip
from imder.extract.openface import Tracked, columns_of, read_openface
from imder.extract.recipe import VisionRecipe
from imder.types import ImderError

PROGRAM = "FeatureExtraction"
_OUTPUTS = ("-2Dfp", "-3Dfp", "-pdmparams", "-pose", "-aus", "-gaze")


def vision_recipe(columns: str) -> VisionRecipe:
    """The recipe of a preset or of groups of columns; an `ImderError` if they are unknown."""
    return VisionRecipe(columns, len(columns_of(columns)))


def find_openface(given: str | None) -> str | None:
    """Find OpenFace's program: at ``given`` (the file or its folder), otherwise on PATH; None if it isn't there.

    Raises:
        ImderError: there is no program at ``given``.
    """
    if given is None:
        return shutil.which(PROGRAM)
    path = Path(given)
    for candidate in (path / PROGRAM, path / "bin" / PROGRAM, path / f"{PROGRAM}.exe") if path.is_dir() else (path,):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate.resolve())
    raise ImderError(f"--openface {given}: no program {PROGRAM} there")


def track(video: Path, program: str, recipe: VisionRecipe) -> Tracked:
    """Run OpenFace on a video and read its table.

    Raises:
        ImderError: the video doesn't exist, or OpenFace fails or writes no table.
    """
    if not video.is_file():
        raise ImderError(f"{video}: there is no such file")
    with tempfile.TemporaryDirectory(prefix="imder-openface-") as folder:
        # OpenFace fails on some file names, so the table gets a plain one.
        command = [program, "-f", str(video), "-out_dir", folder, "-of", "face", *_OUTPUTS]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        except OSError as error:
            raise ImderError(f"{program}: cannot be run ({error.strerror or error})") from None
        table = Path(folder) / "face.csv"
        if done.returncode or not table.is_file():
            output = (done.stderr.strip() or done.stdout.strip()).splitlines()
            reason = f": {output[-1][:200]}" if output else ""
            raise ImderError(f"{video}: OpenFace ended with exit code {done.returncode} and no table{reason}")
        return read_openface(table, recipe.columns)


def _applies(clip: Clip, program: str | None) -> bool:
    return clip.openface is not None or (clip.video is not None and program is not None)


def _make(clip: Clip, recipe: VisionRecipe, program: str | None) -> ClipFeatures:
    if clip.openface is not None:
        face = read_openface(clip.openface, recipe.columns)
    else:
        assert clip.video is not None
        assert program is not None
        face = track(clip.video, program, recipe)
    remarks = []
    if face.broken_off:
        remarks.append("the last row is incomplete and was left out")
    if face.people > 1:
        remarks.append(f"{face.people} people, used the one tracked longest")
    if face.untracked:
        remarks.append(f"{face.untracked} frames without a tracked face left out")
    if not len(face.values):
        remarks.append("no frame is left")
    return ClipFeatures(
        face.values if len(face.values) else None,
        times=face.times if face.seconds is not None else None,
        frame_seconds=face.frame_seconds or 0.0,
        seconds=face.seconds or 0.0,
        untracked=face.untracked,
        remark="; ".join(remarks),
    )


OPENFACE = Extractor(
    "openface", "vision", recipe=lambda columns, max_tokens: vision_recipe(columns), applies=_applies, make=_make
)
