"""Whisper (Radford et al., 2023) by CTranslate2, as faster-whisper wraps it: transcripts, and hidden states of its encoder.

A model is loaded once in each process and serves both. Decoding is greedy and deterministic: one beam, temperature 0, each
stretch of 30 s without the words of the last one as a prompt. Whisper invents sentences for silence and music (Koenecke et
al., FAccT 2024), so two filters decide whether anybody speaks: Silero's voice activity detection removes stretches without a
voice before decoding, and segments are dropped whose probability of no speech is above `MAX_NO_SPEECH`, whose words the model
itself finds unlikely (mean log-probability below `MIN_LOG_PROBABILITY`), or which repeat themselves (compression ratio above
`MAX_COMPRESSION`, as in Whisper's own decoding).

Weights in CTranslate2's format hold no code. Sound is passed as an array, never as a file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from imder.extract.speech.whisper_encoder import WhisperEncoder
from imder.extract.speech.words import Transcript, Word
from imder.models.language.pretrained import local_folder, not_fetched, one_line
from imder.types import ImderError

RATE = 16000
"""Samples per second that Whisper reads."""
STRIDE = 320
"""Samples from one encoder state to the next."""
MAX_NO_SPEECH = 0.6
MIN_LOG_PROBABILITY = -1.5
MAX_COMPRESSION = 2.4

OPTION = "--asr-model"
_FILES = ("model.bin", "config.json", "tokenizer.json")


class Whisper:
    """A Whisper model in memory, on the CPU.

    Args:
        folder: CTranslate2's files: model.bin, config.json, tokenizer.json, vocabulary.

    Raises:
        ImderError: files are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from faster_whisper import WhisperModel

        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise ImderError(
                f"{OPTION} {folder}: no {', '.join(missing)} in this folder; it needs a Whisper model in CTranslate2's format"
            )
        self._folder = folder
        try:
            self._model: Any = WhisperModel(
                str(folder),
                device="cpu",
                compute_type="float32",
                cpu_threads=torch.get_num_threads(),
                local_files_only=True,
            )
        except Exception as error:  # damaged files raise anything
            raise ImderError(f"{OPTION} {folder}: can't be read as a Whisper model ({one_line(error)})") from None

    @property
    def multilingual(self) -> bool:
        """Whether the model knows other languages than English."""
        return bool(self._model.model.is_multilingual)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that the model knows."""
        return tuple(self._model.supported_languages)

    def transcribe(self, signal: NDArray[np.float32], language: str | None = None) -> Transcript:
        """The words of a sound.

        Args:
            signal: ``(n,)`` at `RATE`, in about [-1, 1].
            language: a code such as ``en``; None to detect it in the first 30 s of speech.
        """
        from faster_whisper.vad import get_speech_timestamps

        if not get_speech_timestamps(signal):
            return Transcript((), language or "")
        segments, info = self._model.transcribe(
            signal,
            language=language,
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=True,
        )
        return Transcript(tuple(words_of(segments)), str(info.language))

    @cached_property
    def encoder(self) -> WhisperEncoder:
        """The encoder with all its hidden states, read when it is first used.

        Raises:
            ImderError: the weights are of a format that only CTranslate2 reads.
        """
        return WhisperEncoder(self._folder / "model.bin")

    def hidden(self, signal: NDArray[np.float32]) -> list[Tensor]:
        """The encoder's hidden states for up to 30 s of sound at `RATE`, ``(ceil(n / STRIDE), D)`` each.

        The sound isn't padded to 30 s as in decoding, which takes as long for a word as for half a minute.
        """
        signal = np.pad(signal, (0, -len(signal) % STRIDE))
        return self.encoder(self._model.feature_extractor(signal, padding=0))

    def fingerprint(self) -> str:
        """A hash of weights and vocabulary, which identifies the model wherever it is stored."""
        digest = blake2b(digest_size=16)
        for path in sorted(self._folder.iterdir()):
            if path.name == "model.bin" or path.name.startswith("vocabulary."):
                with path.open("rb") as file:
                    while chunk := file.read(1 << 22):
                        digest.update(chunk)
        return digest.hexdigest()


def words_of(segments: Iterable[Any]) -> Iterator[Word]:
    """The words of faster-whisper's segments, without segments in which probably nobody speaks."""
    for segment in segments:
        if (
            segment.no_speech_prob > MAX_NO_SPEECH
            or segment.avg_logprob < MIN_LOG_PROBABILITY
            or segment.compression_ratio > MAX_COMPRESSION
            or not any(letter.isalnum() for letter in segment.text)
        ):
            continue
        for word in segment.words or ():
            if word.word.strip():
                start = round(float(word.start), 3)
                yield Word(start, max(round(float(word.end), 3), start + 0.01), word.word)


def load_whisper(model: str) -> Whisper:
    """A Whisper model by size, by name on the hub or from a folder; the last ones stay in memory.

    Raises:
        ImderError: faster-whisper isn't installed, or the model can't be found, fetched or read.
    """
    return _load(folder_of_whisper(model))


@lru_cache(maxsize=2)
def _load(folder: Path) -> Whisper:
    return Whisper(folder)


@lru_cache(maxsize=2)
def whisper_of(model: str, fingerprint: str) -> Whisper:
    """The model of a recipe.

    Raises:
        ImderError: the model can't be loaded, or its weights aren't those of the recipe.
    """
    whisper = load_whisper(model)
    if whisper.fingerprint() != fingerprint:
        raise ImderError(f"{OPTION} {model}: its weights or vocabulary differ from the recipe's")
    return whisper


def folder_of_whisper(model: str) -> Path:
    """The folder with a model's files, downloaded from the hub if needed.

    Args:
        model: a folder, a size (``tiny.en``, ``base``, ...), or a name on the hub.

    Raises:
        ImderError: faster-whisper isn't installed, there is no such model, or it can't be downloaded.
    """
    try:
        from faster_whisper.utils import available_models, download_model
    except ImportError as error:
        raise ImderError(f"{OPTION} {model}: {error}; pip install '.[speech]'") from None
    if (folder := local_folder(model, OPTION)) is not None:
        return folder.resolve()
    if "/" not in model and model not in available_models():
        raise ImderError(f"{OPTION} {model}: no such folder or size; sizes are {', '.join(available_models())}")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return Path(download_model(model, local_files_only=True))
    except Exception:  # not in the cache: any of several exceptions
        pass
    try:
        return Path(download_model(model))
    except Exception as error:  # no such name, no network, no permission
        raise not_fetched(model, OPTION, error) from None
