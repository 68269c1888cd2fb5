"""Features of a text: the last hidden states of a transformer, one for each token, special tokens included.

Any encoder of `transformers` works, by its name on the hub or from a local folder. Weights must be safetensors; pickles are
not read. Each text is encoded alone, without padding, so its features don't depend on other texts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imder.extract.extractor import ClipFeatures, Extractor
from imder.extract.manifest import Clip
from imder.extract.recipe import LanguageRecipe
from imder.extract.text_files import read_text
from imder.models.language.pretrained import folder_of, load_tokenizer, load_transformer, states_of, transformers_for
from imder.types import ImderError

OPTION = "--language"
ENGLISH, CHINESE, MULTILINGUAL = "bert-base-uncased", "bert-base-chinese", "bert-base-multilingual-cased"
MAX_TOKENS = 50
"""Default, as in the aligned feature files of CMU-MOSI and CMU-MOSEI."""


def default_model(texts: Iterable[str]) -> str:
    """The default transformer for some texts: Chinese if most letters are Chinese characters, English otherwise.

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
        model: its folder, or its name on the hub.

    Raises:
        ImderError: the model can't be found, fetched or read, or isn't an encoder.
    """

    def __init__(self, model: str) -> None:
        transformers_for(OPTION)  # raises before anything is fetched if the package is missing
        folder = folder_of(model, OPTION)
        self._tokenizer: Any = load_tokenizer(folder, OPTION)
        self._turn = Lock()  # a tokenizer keeps the length of the last call, and fails where threads change it
        self._model: Any = states_of(load_transformer(folder, OPTION))
        self.model = model
        self.dim = int(self._model.config.hidden_size)
        last, ids = max(self._tokenizer.get_vocab().values()), int(self._model.get_input_embeddings().num_embeddings)
        if last >= ids:
            raise ImderError(
                f"{OPTION} {model}: its tokenizer numbers words up to {last}, the model has {ids}; they don't belong together"
            )

    def __call__(self, text: str, max_tokens: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Hidden states ``(T, dim)`` and token ids ``(T,)`` of a text, with T at most ``max_tokens``.

        Raises:
            ImderError: the tokenizer or the model fails on the text.
        """
        try:
            with self._turn:
                encoded = self._tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
            with torch.inference_mode():
                states = self._model(**encoded).last_hidden_state[0]
        except Exception as error:  # a damaged tokenizer, such as one without its unknown word, raises any kind
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ImderError(f"{OPTION} {self.model}: a text can't be encoded ({reason})") from None
        return states.float().numpy(), encoded["input_ids"][0].numpy().astype(np.int64)

    def recipe(self, max_tokens: int) -> LanguageRecipe:
        """The recipe of this encoder's features.

        Raises:
            ImderError: the model can't read that many tokens.
        """
        if max_tokens > (longest := self.longest(max_tokens)):
            raise ImderError(f"--max-tokens {max_tokens}: {self.model} takes at most {longest}")
        return LanguageRecipe(self.model, self.fingerprint(), max_tokens, self.dim)

    def longest(self, wanted: int) -> int:
        """The number of tokens that the model can read, at most ``wanted``.

        Models number positions in ways of their own (RoBERTa's ``max_position_embeddings`` is 514 for 512 tokens, and
        relative positions have no limit), so lengths near the limit are tried.
        """
        positions = getattr(self._model.config, "max_position_embeddings", None)
        if not isinstance(positions, int) or wanted <= positions // 2 or self._reads(wanted):
            return wanted
        tried = range(min(wanted - 1, positions), positions // 2, -1)
        return next((tokens for tokens in tried if self._reads(tokens)), positions // 2)

    def _reads(self, tokens: int) -> bool:
        word = next(i for i in self._tokenizer.get_vocab().values() if i not in self._tokenizer.all_special_ids)
        try:
            with torch.inference_mode():
                self._model(
                    input_ids=torch.full((1, tokens), word), attention_mask=torch.ones(1, tokens, dtype=torch.int64)
                )
        except (IndexError, RuntimeError):
            return False
        return True

    def fingerprint(self) -> str:
        """A hash of weights and vocabulary, which identifies the model wherever it is stored."""
        digest = blake2b(digest_size=16)
        for name, value in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
        for word, number in sorted(self._tokenizer.get_vocab().items()):
            digest.update(f"{word}\0{number}\n".encode())
        return digest.hexdigest()


@lru_cache(maxsize=1)
def encoder_of(model: str, fingerprint: str) -> TextEncoder:
    """The encoder of a recipe, loaded once in each process.

    Raises:
        ImderError: the model can't be loaded, or its weights aren't those of the recipe.
    """
    encoder = TextEncoder(model)
    if encoder.fingerprint() != fingerprint:
        raise ImderError(f"{OPTION} {model}: its weights or vocabulary differ from the recipe's")
    return encoder


def _make(clip: Clip, recipe: LanguageRecipe, openface: str | None) -> ClipFeatures:
    del openface
    text = clip.text
    if text is None and clip.text_file is not None:
        text = read_text(clip.text_file).strip()
    if not text:
        return ClipFeatures(None, remark="the text is empty")
    states, tokens = encoder_of(recipe.model, recipe.fingerprint)(text, recipe.max_tokens)
    if not np.isfinite(states).all():
        raise ImderError("the transformer returns values that are not finite")
    return ClipFeatures(states, text=text, tokens=tokens)


TRANSFORMER = Extractor(
    "transformer",
    "language",
    recipe=lambda model, max_tokens: TextEncoder(model).recipe(max_tokens),
    applies=lambda clip, openface: clip.has["language"],
    make=_make,
)
