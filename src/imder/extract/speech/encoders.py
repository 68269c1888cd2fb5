"""Extractors of sound by speech models: ``whisper``, and any speech encoder of `transformers`.

Both average hidden states. ``whisper`` reads Whisper's encoder, by the weights that also transcribe; ``transformers`` reads
WavLM, HuBERT, wav2vec 2.0 and models with the same interface. Weights of the latter must be safetensors, and code that a
model brings along is never run (`imder.models.language.pretrained`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imder.extract.extractor import Extractor, sound_extractor
from imder.extract.media import Sound
from imder.extract.recipe import AudioRecipe, SpeechRecipe
from imder.extract.speech.plan import asr_model
from imder.extract.speech.states import STEPS_PER_SECOND, States, hop_of, layer_weights, pooled_states, weighted_mean
from imder.extract.speech.whisper import RATE, STRIDE, Whisper, load_whisper, whisper_of
from imder.models.language.pretrained import folder_of, load_transformer, one_line, transformers_for
from imder.types import ImderError

OPTION = "--audio"
_MIN_SAMPLES = 800  # the convolutions of wav2vec 2.0 need 400 for one state


def speech_recipe(recipe: AudioRecipe | None, steps_per_second: float | None, layers: str | None) -> AudioRecipe | None:
    """A recipe with another number of steps a second or other layers; None leaves them as they are.

    Raises:
        ImderError: the recipe's extractor has no such setting, or the model has no such rate or layer.
    """
    if steps_per_second is None and layers is None:
        return recipe
    if not isinstance(recipe, SpeechRecipe):
        kind = "no sound" if recipe is None else recipe.kind
        raise ImderError(f"--audio-rate and --audio-layers belong to speech models, not to {kind}")
    encoder = encoder_of_recipe(recipe)
    if layers is not None:
        layer_weights(layers, encoder.layers)
        recipe = replace(recipe, layers=layers)
    if steps_per_second is not None:
        recipe = replace(recipe, hop=hop_of(steps_per_second, RATE, encoder.stride))
    return recipe


class SpeechEncoder:
    """A speech model of `transformers` that reads raw sound, loaded once.

    Args:
        model: its folder, or its name on the hub.

    Attributes:
        layers: number of hidden states, the input of the first layer included.
        stride: samples from one state to the next.
        dim: width of the states.

    Raises:
        ImderError: the model can't be found, fetched or read, or doesn't read raw sound at `RATE`.
    """

    def __init__(self, model: str) -> None:
        library = transformers_for(OPTION)
        folder = folder_of(model, OPTION)
        self._model: Any = load_transformer(folder, OPTION)
        if getattr(self._model, "main_input_name", "") != "input_values":
            raise ImderError(
                f"{OPTION} {model}: not a speech model that reads raw sound, such as WavLM, HuBERT and wav2vec 2.0 "
                "(Whisper: --audio whisper)"
            )
        self._normalize = True
        if (folder / "preprocessor_config.json").is_file():
            loader = library.AutoFeatureExtractor
            try:
                about = loader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            except Exception as error:  # as for weights: any of several exceptions
                reason = one_line(error)
                raise ImderError(f"{OPTION} {folder}: preprocessor_config.json can't be read ({reason})") from None
            if about.sampling_rate != RATE:
                raise ImderError(f"{OPTION} {model}: reads sound at {about.sampling_rate} Hz, not {RATE} Hz")
            self._normalize = bool(about.do_normalize)
        two, four = (self._hidden(np.zeros(seconds * RATE, np.float32)) for seconds in (2, 4))
        self.layers = len(two)
        self.dim = int(two[0].shape[1])
        self.stride = round(2 * RATE / (len(four[0]) - len(two[0])))

    def _hidden(self, signal: NDArray[np.float32]) -> list[Any]:
        """Hidden states, ``(T, D)`` each."""
        if len(signal) < _MIN_SAMPLES:
            signal = np.pad(signal, (0, _MIN_SAMPLES - len(signal)))
        if self._normalize:
            signal = (signal - signal.mean()) / np.sqrt(signal.var() + 1e-7)
        with torch.inference_mode():
            output = self._model(torch.from_numpy(signal)[None], output_hidden_states=True)
        return [states[0].float() for states in output.hidden_states]

    def encode(self, signal: NDArray[np.float32], layers: str) -> States:
        """The weighted mean of hidden states, ``(T, D)``."""
        return weighted_mean(self._hidden(signal), layers)

    def fingerprint(self) -> str:
        """A hash of the weights, which identifies the model wherever it is stored."""
        digest = blake2b(digest_size=16)
        for name, value in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        digest.update(b"normalize" if self._normalize else b"")
        return digest.hexdigest()


class _WhisperEncoder:
    """The encoder of a Whisper model, with the interface of `SpeechEncoder`."""

    stride = STRIDE

    def __init__(self, whisper: Whisper) -> None:
        self._whisper = whisper
        self.layers = whisper.encoder.layers

    def encode(self, signal: NDArray[np.float32], layers: str) -> States:
        return weighted_mean(self._whisper.hidden(signal), layers)


@lru_cache(maxsize=1)
def speech_encoder_of(model: str, fingerprint: str) -> SpeechEncoder:
    """The encoder of a recipe, loaded once in each process.

    Raises:
        ImderError: the model can't be loaded, or its weights aren't those of the recipe.
    """
    encoder = SpeechEncoder(model)
    if encoder.fingerprint() != fingerprint:
        raise ImderError(f"{OPTION} {model}: its weights differ from the recipe's")
    return encoder


def encoder_of_recipe(recipe: SpeechRecipe) -> SpeechEncoder | _WhisperEncoder:
    """The encoder of a recipe, loaded once in each process.

    Raises:
        ImderError: the model can't be loaded, or its weights aren't those of the recipe.
    """
    if recipe.kind == "whisper":
        return _WhisperEncoder(whisper_of(recipe.model, recipe.fingerprint))
    return speech_encoder_of(recipe.model, recipe.fingerprint)


def _states(sound: Sound, recipe: AudioRecipe) -> States:
    assert isinstance(recipe, SpeechRecipe)
    encoder = encoder_of_recipe(recipe)
    return pooled_states(sound, lambda signal: encoder.encode(signal, recipe.layers), encoder.stride, recipe.hop)


def _whisper_recipe(option: str, max_tokens: int) -> SpeechRecipe:
    del max_tokens
    name = option.partition(":")[2] or asr_model()
    whisper = load_whisper(name)
    encoder = whisper.encoder
    layers = str(encoder.layers - 2)  # the last but one: the last is made for the decoder and says less about emotion
    hop = hop_of(STEPS_PER_SECOND, RATE, STRIDE)
    return SpeechRecipe("whisper", RATE, hop, STRIDE, encoder.dim, name, whisper.fingerprint(), layers)


def _transformers_recipe(option: str, max_tokens: int) -> SpeechRecipe:
    del max_tokens
    name = option.removeprefix("transformers:")
    encoder = SpeechEncoder(name)
    hop = hop_of(min(STEPS_PER_SECOND, RATE / encoder.stride), RATE, encoder.stride)
    return SpeechRecipe("transformers", RATE, hop, encoder.stride, encoder.dim, name, encoder.fingerprint(), "mean")


def _extractor(kind: str, recipe: Callable[[str, int], SpeechRecipe], needs: tuple[str, ...], extra: str) -> Extractor:
    row = sound_extractor(AudioRecipe(kind, RATE, RATE, STRIDE, 1), _states, needs=needs, extra=extra)
    return replace(row, recipe=recipe)


WHISPER = _extractor("whisper", _whisper_recipe, ("faster_whisper",), "speech")
SPEECH_TRANSFORMER = _extractor("transformers", _transformers_recipe, ("transformers",), "extract")
