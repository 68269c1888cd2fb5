"""What was done to raw media: a recipe. Features of another recipe are other features, whatever their width.

A recipe is stored with a corpus (`imder.data.corpus.Corpus.recipe`) as plain containers; `imder.data.compatible.check_recipe`
compares two. A language model is known by its fingerprint, not by the folder it lies in, and versions of libraries are kept
for the reader only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from imder.data.speaker_norm import KEY, standardised
from imder.types import ImderError

FORMAT = 1
"""Of recipes: raised whenever the same words begin to mean other features."""


@dataclass(frozen=True)
class LanguageRecipe:
    """Last hidden states of a transformer.

    Attributes:
        model: its name, or the folder it was read from; only for the reader.
        fingerprint: a hash of its weights and of its tokenizer.
        max_tokens: longer texts are cut off there, the special tokens counted.
        dim: width of the hidden states.
    """

    model: str
    fingerprint: str
    max_tokens: int
    dim: int


@dataclass(frozen=True)
class AudioRecipe:
    """Frames of sound.

    Attributes:
        kind: name of the extractor (`imder.extract.extractors`), such as ``librosa33``.
        rate: samples per second that sound is brought to.
        hop: samples from frame to frame.
        window: samples of a frame; shorter clips are filled up with silence.
        dim: features of a frame.
    """

    kind: str
    rate: int
    hop: int
    window: int
    dim: int

    @property
    def frames_per_second(self) -> float:
        """Frames of features in a second."""
        return self.rate / self.hop


@dataclass(frozen=True)
class VisionRecipe:
    """Frames of a face.

    Attributes:
        columns: of OpenFace, a preset or groups joined by ``+`` (`imder.extract.openface.columns_of`), or the name of
            another extractor.
        dim: features of a frame.
    """

    columns: str
    dim: int


@dataclass(frozen=True)
class Recipe:
    """Of a corpus; None for a modality that it lacks.

    ``by_speaker`` are modalities whose features were standardised by speaker after they were extracted
    (`imder.data.speaker_norm`); it is empty while ``imder extract`` makes them.

    >>> recipe = Recipe(audio=AudioRecipe("mel64", 22050, 512, 2048, 64))
    >>> Recipe.from_dict(recipe.to_dict(), "a.json") == recipe
    True
    """

    language: LanguageRecipe | None = None
    vision: VisionRecipe | None = None
    audio: AudioRecipe | None = None
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)
    by_speaker: tuple[str, ...] = ()

    @property
    def dims(self) -> dict[str, int]:
        """Features of each modality, in the order of a corpus."""
        found = {"language": self.language, "vision": self.vision, "audio": self.audio}
        return {name: part.dim for name, part in found.items() if part is not None}

    def only(self, names: set[str]) -> Recipe:
        """The recipe of these modalities alone."""
        return Recipe(
            self.language if "language" in names else None,
            self.vision if "vision" in names else None,
            self.audio if "audio" in names else None,
            self.versions,
            tuple(name for name in self.by_speaker if name in names),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        parts = {"language": self.language, "vision": self.vision, "audio": self.audio}
        made = {name: asdict(part) for name, part in parts.items() if part is not None}
        after = {KEY: list(self.by_speaker)} if self.by_speaker else {}
        return {"format": FORMAT, **made, "versions": dict(self.versions), **after}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> Recipe:
        """The inverse of `to_dict`.

        Raises:
            ImderError: it is another version's, or no recipe.
        """
        if data.get("format") != FORMAT:
            raise ImderError(f"{where}: a recipe of format {data.get('format')!r}; this library follows {FORMAT}")
        try:
            language, vision, audio = (data.get(name) for name in ("language", "vision", "audio"))
            return cls(
                None if language is None else LanguageRecipe(**language),
                None if vision is None else VisionRecipe(**vision),
                None if audio is None else AudioRecipe(**audio),
                dict(data["versions"]),
                standardised(data),
            )
        except (TypeError, KeyError) as error:
            raise ImderError(f"{where}: not a recipe of extraction ({error})") from None

    def key(self) -> str:
        """A short hash that is the same for the same recipe."""
        data = self.to_dict()
        del data["versions"]
        data.get("language", {}).pop("model", None)
        return blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=8).hexdigest()


def versions() -> dict[str, str]:
    """Of what computes the features, as far as it is installed."""
    found = {}
    for name in ("imder", "librosa", "soxr", "soundfile", "av", "opensmile", "transformers", "torch", "numpy"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
