"""Finished clips on disk, while an extraction is under way: what it resumes from.

<out>.partial/recipe.json         what all clips are made with
<out>.partial/<clip>.npz          features, tokens, failures and remarks of a clip, whole or not at all
<out>.partial/<clip>.busy         the process that works on it
<out>.partial/lock                the extraction that runs

A clip's file is known by a hash of its id and of what it was made from (paths, sizes, times of change, text), so that a clip
whose files have changed is made again.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np

from imder.extract.clip import Extracted
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.jobs.files import atomic_write
from imder.types import ImderError


class ExtractionFolder:
    """The folder of an extraction that isn't finished."""

    def __init__(self, out: str | Path) -> None:
        out = Path(out).absolute()
        self.path = out.with_name(f"{out.name}.partial")

    def open(self, recipe: Recipe) -> None:
        """Make the folder, or go on with it.

        Raises:
            ImderError: it was begun with another recipe, holds something else, or can't be written.
        """
        marker = self.path / "recipe.json"
        if self.path.exists() and not marker.exists() and any(p.name != "lock" for p in self.path.iterdir()):
            raise ImderError(f"{self.path}: is not an extraction's; move it away")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImderError(f"{self.path}: cannot be written ({error.strerror or error})") from None
        if marker.exists():
            try:
                found = Recipe.from_dict(json.loads(marker.read_text()), str(marker))
            except (OSError, ValueError, AttributeError) as error:
                raise ImderError(f"{marker}: cannot be read ({error}); remove {self.path} to begin anew") from None
            if found.key() != recipe.key():
                raise ImderError(
                    f"{self.path}: was begun with other options; repeat those, or remove it to begin anew "
                    f"(see {marker.name} in it)"
                )
            return
        with atomic_write(marker) as part:
            part.write_text(json.dumps(recipe.to_dict(), indent=1) + "\n")

    def key(self, clip: Clip, openface: str | None) -> str:
        """The name of a clip's files."""
        files = (clip.video, clip.audio, clip.openface, clip.text_file)
        parts = [json.dumps([clip.id, clip.text, *map(str, files)])]
        for file in files:
            if file is not None:
                with suppress(OSError):  # a file that isn't there is a failure of its clip, told when it is read
                    about = file.stat()
                    parts.append(f"{about.st_size} {about.st_mtime_ns}")
        parts.append("openface" if openface and clip.video and not clip.openface else "")
        return blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()

    def file(self, key: str) -> Path:
        """A finished clip."""
        return self.path / f"{key}.npz"

    def finished(self, key: str) -> bool:
        """Whether a clip is there."""
        return self.file(key).exists()

    def save(self, key: str, made: Extracted) -> None:
        """Keep a clip.

        Raises:
            ImderError: the file can't be written.
        """
        about = {"text": made.text, "failures": made.failures, "remarks": made.remarks, "untracked": made.untracked}
        arrays = {f"features_{name}": values for name, values in made.features.items()}
        if made.tokens is not None:
            arrays["tokens"] = made.tokens  # type: ignore[assignment]
        with atomic_write(self.file(key)) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)

    def load(self, key: str) -> Extracted:
        """A finished clip.

        Raises:
            ImderError: its file is broken.
        """
        path = self.file(key)
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                features = {n.removeprefix("features_"): file[n] for n in file.files if n.startswith("features_")}
                tokens = file["tokens"] if "tokens" in file.files else None
            return Extracted(features, tokens, **about)
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise ImderError(f"{path}: damaged ({' '.join(str(error).split())}); remove it to make it again") from None

    def begin(self, key: str) -> None:
        """Note that this process works on a clip."""
        with suppress(OSError):  # only needed to know who was killed
            (self.path / f"{key}.busy").write_text(str(os.getpid()))

    def end(self, key: str) -> None:
        """Note that no process works on a clip."""
        (self.path / f"{key}.busy").unlink(missing_ok=True)

    def busy(self, key: str) -> bool:
        """Whether a process began with a clip and never ended."""
        return (self.path / f"{key}.busy").exists()

    def remove(self) -> None:
        """Everything: it is in the store."""
        shutil.rmtree(self.path, ignore_errors=True)
