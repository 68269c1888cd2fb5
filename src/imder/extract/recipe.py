"""Recipes: how features were extracted from raw media. Features of different recipes are not interchangeable.

A corpus stores its recipe as plain containers (`imder.data.corpus.Corpus.recipe`); `imder.data.compatible.check_recipe`
compares two. A language model is identified by its fingerprint, not by its folder; versions of libraries are informative
and not compared.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_type_hints

from imder.data.speaker_norm import KEY, standardised
from imder.jobs.documents import Entry
from imder.types import ImderError

FORMAT = 1
"""Version of recipes, raised when the same recipe comes to mean other features."""


@dataclass(frozen=True)
class LanguageRecipe:
    """Last hidden states of a transformer.

    Attributes:
        model: its name or folder; informative only.
        fingerprint: a hash of its weights and of its tokenizer.
        max_tokens: longest text in tokens, special tokens included; longer ones are truncated.
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
        rate: samples per second after resampling.
        hop: samples from frame to frame.
        window: samples in a frame; shorter clips are padded with silence.
        dim: features per frame.
    """

    kind: str
    rate: int
    hop: int
    window: int
    dim: int

    @property
    def frames_per_second(self) -> float:
        """Frames per second."""
        return self.rate / self.hop


@dataclass(frozen=True)
class SpeechRecipe(AudioRecipe):
    """Hidden states of a speech model, averaged within steps of ``hop`` samples.

    Attributes:
        model: its name or folder; informative only.
        fingerprint: a hash of its weights.
        layers: the hidden states that are averaged, such as ``mean`` (`imder.extract.speech.states.layer_weights`).
    """

    model: str
    fingerprint: str
    layers: str


@dataclass(frozen=True)
class TranscriptionRecipe:
    """Speech to text, for clips with sound and no text.

    Attributes:
        model: the Whisper model's name or folder; informative only.
        fingerprint: a hash of its weights and vocabulary.
        language: the code of the language spoken; None to detect it in each clip.
    """

    model: str
    fingerprint: str
    language: str | None = None


@dataclass(frozen=True)
class VisionRecipe:
    """Frames of a face.

    Attributes:
        columns: OpenFace's columns, as a preset or groups joined by ``+`` (`imder.extract.openface.columns_of`), or the
            name of another extractor.
        dim: features per frame.
    """

    columns: str
    dim: int


@dataclass(frozen=True)
class FaceRecipe(VisionRecipe):
    """Frames of a face, measured by the models of ``face_landmarker.task`` (`imder.extract.face`).

    Attributes:
        model: the models' file; informative only.
        fingerprint: its SHA-256.
        fps: most frames a second.
        person: the face that counts: ``longest``, ``largest`` or a number.
    """

    model: str
    fingerprint: str
    fps: int
    person: str


@dataclass(frozen=True)
class Recipe:
    """The recipe of a corpus; None for modalities that it lacks.

    ``by_speaker`` lists the modalities that were standardised by speaker after extraction (`imder.data.speaker_norm`);
    ``transcription`` says how clips without a text get one, None if they don't.

    >>> recipe = Recipe(audio=AudioRecipe("mel64", 22050, 512, 2048, 64))
    >>> Recipe.from_dict(recipe.to_dict(), "a.json") == recipe
    True
    """

    language: LanguageRecipe | None = None
    vision: VisionRecipe | None = None
    audio: AudioRecipe | None = None
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)
    by_speaker: tuple[str, ...] = ()
    transcription: TranscriptionRecipe | None = None

    @property
    def dims(self) -> dict[str, int]:
        """Number of features of each modality, in the order of a corpus."""
        parts = {"language": self.language, "vision": self.vision, "audio": self.audio}
        return {name: part.dim for name, part in parts.items() if part is not None}

    def only(self, names: Collection[str]) -> Recipe:
        """The recipe of these modalities alone."""
        return Recipe(
            self.language if "language" in names else None,
            self.vision if "vision" in names else None,
            self.audio if "audio" in names else None,
            self.versions,
            tuple(name for name in self.by_speaker if name in names),
            self.transcription if "language" in names else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The recipe in plain containers, for JSON."""
        parts = {"language": self.language, "vision": self.vision, "audio": self.audio}
        modalities = {name: asdict(part) for name, part in parts.items() if part is not None}
        by_speaker = {KEY: list(self.by_speaker)} if self.by_speaker else {}
        spoken = {} if self.transcription is None else {"transcription": asdict(self.transcription)}
        return {"format": FORMAT, **modalities, **spoken, "versions": dict(self.versions), **by_speaker}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> Recipe:
        """The inverse of `to_dict`.

        Raises:
            ImderError: ``data`` is a recipe of another version, or not a recipe.
        """
        entry = Entry(data, where)
        if (number := entry.mapping_of_values().get("format")) != FORMAT:
            raise ImderError(f"{where}: a recipe of format {number!r}; this version reads {FORMAT}")
        parts: dict[str, Any] = {}
        for name, kind in _PARTS.items():
            if (part := entry.get(name)) is not None:
                model = _MODELS.get(name) if "fingerprint" in part.mapping() else None
                parts[name] = _part(model or kind, part)
        versions = {name: x.text() for name, x in entry["versions"].mapping().items()}
        try:
            return cls(**parts, versions=versions, by_speaker=standardised(data))
        except ImderError as error:
            raise ImderError(f"{where}: {error}") from None

    def key(self) -> str:
        """A short hash that is the same for the same recipe."""
        data = self.to_dict()
        del data["versions"]
        for name in ("language", "vision", "audio", "transcription"):
            data.get(name, {}).pop("model", None)
        return blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=8).hexdigest()


_PARTS: dict[str, type[Any]] = {
    "language": LanguageRecipe,
    "vision": VisionRecipe,
    "audio": AudioRecipe,
    "transcription": TranscriptionRecipe,
}
_MODELS: dict[str, type[Any]] = {"vision": FaceRecipe, "audio": SpeechRecipe}
"""Parts of modalities whose features come from a model with a fingerprint."""


def _part(kind: type[Any], entry: Entry) -> Any:
    """A recipe of one modality; every value is a text, a number from 1 on, or, where it is optional, null."""
    hints = get_type_hints(kind)
    if unknown := sorted(entry.mapping().keys() - hints.keys()):
        raise entry.fault(f"unknown key {unknown[0]!r}")
    values: dict[str, Any] = {}
    for key, hint in hints.items():
        value = entry[key]
        if hint is int:
            values[key] = value.whole(1)
        elif hint is str or value.value is not None:
            values[key] = value.text()
        else:
            values[key] = None
    return kind(**values)


def versions() -> dict[str, str]:
    """Versions of the installed packages that compute features."""
    installed = {}
    for name in (
        "imder",
        "soxr",
        "soundfile",
        "av",
        "opensmile",
        "ai-edge-litert",
        "transformers",
        "faster-whisper",
        "torch",
        "numpy",
    ):
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed
