"""Finished clips of an unfinished extraction, on disk, from which it resumes.

<out>.partial/recipe.json         the recipe of all clips
<out>.partial/<clip>.npz          features, tokens, failures and remarks of a clip, written atomically
<out>.partial/<clip>.busy         the process that works on the clip
<out>.partial/lock                the running extraction

``<clip>`` is a hash of the clip's id and sources (paths, sizes, modification times, text), so a clip whose files have
changed is extracted again.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from contextlib import suppress
from dataclasses import astuple
from hashlib import blake2b
from pathlib import Path

import numpy as np

from imder.extract.clip import Extracted
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.extract.speech.words import Word
from imder.jobs.documents import read_json
from imder.jobs.files import atomic_write
from imder.types import ImderError

_OWN = re.compile(r"recipe\.json|[0-9a-f]{24}\.(npz|busy)|lock|\..*\.part")


class ExtractionFolder:
    """The folder of an unfinished extraction."""

    def __init__(self, out: str | Path) -> None:
        out = Path(out).absolute()
        self.path = out.with_name(f"{out.name}.partial")

    def open(self, recipe: Recipe) -> None:
        """Create the folder, or continue with an existing one.

        Raises:
            ImderError: the folder belongs to another recipe, isn't an extraction's, or can't be written.
        """
        marker = self.path / "recipe.json"
        if (
            self.path.exists()
            and not marker.exists()
            and any(
                not _OWN.fullmatch(p.name)
                for p in self.path.iterdir()  # a process may have been killed before it wrote its marker
            )
        ):
            raise ImderError(f"{self.path}: is not the folder of an extraction; move it away")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImderError(f"{self.path}: cannot be written ({error.strerror or error})") from None
        if marker.exists():
            try:
                existing = Recipe.from_dict(read_json(marker), str(marker))
            except ImderError as error:
                raise ImderError(f"{error}; remove {self.path} to start again") from None
            if existing.key() != recipe.key():
                raise ImderError(
                    f"{self.path}: was started with other options; repeat those, or remove it to start again "
                    f"(see {marker.name} in it)"
                )
            return
        with atomic_write(marker) as part:
            part.write_text(json.dumps(recipe.to_dict(), indent=1) + "\n")

    def key(self, clip: Clip, openface: str | None) -> str:
        """The hash that names a clip's files."""
        files = (clip.video, clip.audio, clip.openface, clip.text_file)
        parts = [json.dumps([clip.id, clip.text, *map(str, files)])]
        for file in files:
            if file is not None:
                with suppress(OSError):  # a missing file becomes a failure of its clip when it is read
                    status = file.stat()
                    parts.append(f"{status.st_size} {status.st_mtime_ns}")
        parts.append("openface" if openface and clip.video and not clip.openface else "")
        return blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()

    def file(self, key: str) -> Path:
        """The file of a finished clip."""
        return self.path / f"{key}.npz"

    def finished(self, key: str) -> bool:
        """Whether a clip is finished."""
        return self.file(key).exists()

    def save(self, key: str, extracted: Extracted) -> None:
        """Save a finished clip.

        Raises:
            ImderError: the file can't be written.
        """
        about = {name: getattr(extracted, name) for name in ("text", "failures", "remarks", "untracked")}
        about["words"] = [astuple(word) for word in extracted.words]
        arrays = {f"features_{name}": values for name, values in extracted.features.items()}
        if extracted.tokens is not None:
            arrays["tokens"] = extracted.tokens  # type: ignore[assignment]
        with atomic_write(self.file(key)) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)

    def load(self, key: str) -> Extracted:
        """Load a finished clip.

        Raises:
            ImderError: its file is damaged.
        """
        path = self.file(key)
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                features = {n.removeprefix("features_"): file[n] for n in file.files if n.startswith("features_")}
                tokens = file["tokens"] if "tokens" in file.files else None
            words = tuple(Word(*word) for word in about.pop("words"))
            return Extracted(features, tokens, words=words, **about)
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise ImderError(
                f"{path}: damaged ({' '.join(str(error).split())}); remove it to extract the clip again"
            ) from None

    def begin(self, key: str) -> None:
        """Note that this process works on a clip."""
        with suppress(OSError):  # only needed to find clips whose process was killed
            (self.path / f"{key}.busy").write_text(str(os.getpid()))

    def end(self, key: str) -> None:
        """Note that no process works on a clip."""
        (self.path / f"{key}.busy").unlink(missing_ok=True)

    def busy(self, key: str) -> bool:
        """Whether a process started on a clip and hasn't ended it."""
        return (self.path / f"{key}.busy").exists()

    def remove(self) -> None:
        """Delete the folder, once its clips are in the store; files that aren't an extraction's stay."""
        with suppress(OSError):
            for path in self.path.iterdir():
                if _OWN.fullmatch(path.name) and not path.is_symlink() and path.is_file():
                    path.unlink()
            self.path.rmdir()
