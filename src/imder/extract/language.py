"""Text to tokens: the last hidden states of a transformer, one for each token, the special ones included.

Any encoder of `transformers` does, by its name on the hub or from a local folder. Weights must be safetensors: nothing is
unpickled. Each text goes through alone, without padding, so its features don't depend on the texts beside it.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imder.extract.recipe import LanguageRecipe
from imder.types import ImderError

ENGLISH, CHINESE = "bert-base-uncased", "bert-base-chinese"
MAX_TOKENS = 50
"""Of the field's aligned feature files."""


def default_model(texts: Iterable[str]) -> str:
    """The model of a language: Chinese where most letters are Chinese characters, English otherwise.

    >>> default_model(["What a day!", "I like 北京"]), default_model(["今天天气真好 :)"])
    ('bert-base-uncased', 'bert-base-chinese')
    """
    letters = chinese = 0
    for text in texts:
        for letter in text:
            if letter.isalpha():
                letters += 1
                chinese += unicodedata.name(letter, "").startswith("CJK")
    return CHINESE if 2 * chinese > letters else ENGLISH


class TextEncoder:
    """A transformer and its tokenizer, loaded once.

    Args:
        model: a folder that holds one, or its name on the hub.

    Raises:
        ImderError: it can't be found, fetched or read, or isn't an encoder.
    """

    def __init__(self, model: str) -> None:
        try:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils import logging as hub_logging
        except ImportError as error:
            raise ImderError(f"--language: {error}; pip install 'imder[extract]'") from None
        quiet: Any = hub_logging  # its functions have no types
        quiet.set_verbosity_error()
        quiet.disable_progress_bar()
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        folder = Path(model).expanduser()
        local = folder.is_dir()
        here = local or _fetchable(model)
        try:
            # A folder that exists is meant: a name on the hub that looks the same is not asked for.
            where = str(folder) if local else model
            self._tokenizer: Any = AutoTokenizer.from_pretrained(where, local_files_only=here)
            self._model: Any = AutoModel.from_pretrained(where, local_files_only=here, use_safetensors=True)
        except Exception as error:  # configuration, weights and tokenizer each have their own
            raise ImderError(_advice(model, local, error)) from None
        if getattr(self._model.config, "is_encoder_decoder", False):
            self._model = self._model.get_encoder()
        self._model.eval()
        self.model = model
        self.dim = int(self._model.config.hidden_size)

    def __call__(self, text: str, max_tokens: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Hidden states ``(T, dim)`` and token ids ``(T,)`` of a text, T at most ``max_tokens``."""
        encoded = self._tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.inference_mode():
            states = self._model(**encoded).last_hidden_state[0]
        return states.float().numpy(), encoded["input_ids"][0].numpy().astype(np.int64)

    def recipe(self, max_tokens: int) -> LanguageRecipe:
        """What this does to a text."""
        return LanguageRecipe(self.model, self.fingerprint(), max_tokens, self.dim)

    def fingerprint(self) -> str:
        """A hash of weights and vocabulary: the same model is known again wherever it lies."""
        digest = blake2b(digest_size=16)
        for name, value in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
        for word, number in sorted(self._tokenizer.get_vocab().items()):
            digest.update(f"{word}\0{number}\n".encode())
        return digest.hexdigest()


def _fetchable(model: str) -> bool:
    """Whether a model lies in the hub's cache already.

    Raises:
        ImderError: it doesn't, and can't be fetched. Loading would find that out too, after a minute of trying.
    """
    from huggingface_hub import model_info, try_to_load_from_cache

    try:
        if isinstance(try_to_load_from_cache(model, "model.safetensors"), str):
            return True
        model_info(model, timeout=10)
    except Exception as error:  # many kinds: no such name, no network, no permission
        raise ImderError(_advice(model, False, error)) from None
    return False


def _advice(model: str, local: bool, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if local:
        return (
            f"--language {model}: the folder can't be read as a transformer ({reason}); it needs config.json, "
            "model.safetensors and the tokenizer's files"
        )
    return (
        f"--language {model}: cannot be fetched from the hub ({reason}); offline, pass a folder that holds the model: "
        "--language FOLDER, or leave language out: --language none"
    )


@lru_cache(maxsize=1)
def encoder_of(model: str, fingerprint: str) -> TextEncoder:
    """The encoder of a recipe, loaded once in each process.

    Raises:
        ImderError: it can't be loaded, or has other weights than those of the recipe.
    """
    encoder = TextEncoder(model)
    if encoder.fingerprint() != fingerprint:
        raise ImderError(f"--language {model}: its weights or vocabulary are not those that the recipe was made with")
    return encoder
