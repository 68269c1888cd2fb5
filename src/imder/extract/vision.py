"""A face to frames: OpenFace's columns, from its table or by running it on a video.

OpenFace isn't Python and isn't free for every use, so it isn't installed with anything: the user says where its program
``FeatureExtraction`` is, or has it on PATH, or gives the tables it wrote.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from imder.extract.openface import Tracked, columns_of, read_openface
from imder.extract.recipe import VisionRecipe
from imder.types import ImderError

PROGRAM = "FeatureExtraction"
_OUTPUTS = ("-2Dfp", "-3Dfp", "-pdmparams", "-pose", "-aus", "-gaze")


def vision_recipe(columns: str) -> VisionRecipe:
    """The recipe of a preset or of groups of columns.

    Raises:
        ImderError: they aren't known.
    """
    return VisionRecipe(columns, len(columns_of(columns)))


def find_openface(given: str | None) -> str | None:
    """OpenFace's program: the file, or the folder it is in; else what PATH has, else None.

    Raises:
        ImderError: what was given is no program.
    """
    if given is None:
        return shutil.which(PROGRAM)
    path = Path(given)
    for candidate in (path / PROGRAM, path / "bin" / PROGRAM, path / f"{PROGRAM}.exe") if path.is_dir() else (path,):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate.resolve())
    raise ImderError(f"--openface {given}: there is no program {PROGRAM} here")


def track(video: Path, program: str, recipe: VisionRecipe) -> Tracked:
    """Run OpenFace on a video and read its table.

    Raises:
        ImderError: it fails, or writes no table.
    """
    if not video.is_file():
        raise ImderError(f"{video}: there is no such file")
    with tempfile.TemporaryDirectory(prefix="imder-openface-") as folder:
        # Its own name for the table: OpenFace is not at ease with every name that a file can have.
        command = [program, "-f", str(video), "-out_dir", folder, "-of", "face", *_OUTPUTS]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        except OSError as error:
            raise ImderError(f"{program}: cannot be run ({error.strerror or error})") from None
        table = Path(folder) / "face.csv"
        if done.returncode or not table.is_file():
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            reason = f": {said[-1][:200]}" if said else ""
            raise ImderError(f"{video}: OpenFace ended with exit code {done.returncode} and no table{reason}")
        return read_openface(table, recipe.columns)
