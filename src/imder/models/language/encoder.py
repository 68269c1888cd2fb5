"""A transformer that computes language features from token ids: the last hidden state of every token, special ones too.

In stage 1 (`imder.models.language.with_encoder`) it is trained on padded batches. Afterwards a corpus' features are computed
once, in groups of texts of equal length without padding, and later phases read those. It is not part of a system: systems
read features only.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from imder.data.compatible import check_compatible
from imder.data.corpus import Corpus, Ragged, Split
from imder.data.mapped import mapped_zeros
from imder.data.split import WordErasure
from imder.data.token_ids import LANGUAGE, as_ids, ids_of
from imder.jobs.files import atomic_folder, written_to
from imder.models.language.config import OPTION
from imder.models.language.pretrained import (
    TOKENIZER_FILES,
    folder_of,
    load_tokenizer,
    load_transformer,
    states_of,
    transformers_for,
)
from imder.models.language.texts import states_of_texts
from imder.nn.cpu_copy import copied_to_cpu
from imder.nn.resample import frame_mask
from imder.types import ImderError, Spec

FOLDER = "language"
"""Name of the subfolder of a model that holds the tuned transformer, as its own library saves it."""

_SAVED = re.compile(r"(generation_)?config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
CHECKED_TEXTS = 16


class LanguageEncoder:
    """A transformer and its origin. It computes on the device where its module is.

    Args:
        model: its folder, or its name on the hub.
        device: for its module.

    Raises:
        ImderError: it can't be found, fetched or read.

    Attributes:
        module: computes hidden states; in evaluation mode unless it is being trained.
        folder: its files.
        dim: features of a token.
    """

    def __init__(self, model: str | Path, device: torch.device | str = "cpu") -> None:
        transformers_for(OPTION)  # report a missing library before anything is downloaded
        self.folder = folder_of(str(model), OPTION)
        self._model: Any = load_transformer(self.folder, OPTION, dtype=torch.float32)
        self.module: nn.Module = states_of(self._model)
        self.module.requires_grad_(False).to(device)
        config: Any = self.module.config
        try:
            self.dim, self._vocabulary = int(config.hidden_size), int(config.vocab_size)
        except AttributeError as error:
            raise ImderError(f"{OPTION} {model}: is no transformer for texts ({error})") from None
        self._pad = int(getattr(config, "pad_token_id", None) or 0)
        positions = getattr(config, "max_position_embeddings", None)
        # Some models number positions from 2 on, or so, and can't read the last few lengths.
        self._readable = positions // 2 if isinstance(positions, int) else 0

    @cached_property
    def unknown_token(self) -> int:
        """The id of the tokenizer's unknown token.

        Raises:
            ImderError: the tokenizer's files are missing, or the vocabulary has no such token.
        """
        token = load_tokenizer(self.folder, OPTION).unk_token_id
        if token is None or not 0 <= token < self._vocabulary:  # a tokenizer adds what its vocabulary lacks
            raise ImderError(f"{self.folder}: its tokenizer has no unknown token, so that words can't be erased")
        return int(token)

    def spec(self, ids: Spec) -> Spec:
        """The spec of a corpus with this encoder's features, given the spec of its token ids."""
        modalities = (replace(m, dim=self.dim) if m.name == LANGUAGE else m for m in ids.modalities)
        return replace(ids, modalities=tuple(modalities))

    def states(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states of padded texts: ``(B, T)`` int64 with ``lengths`` (B,) -> ``(B, T, dim)`` float32.

        Differentiable. Ids beyond ``lengths`` aren't read; states there, and of texts without tokens, are 0.
        """
        out = torch.zeros(*ids.shape, self.dim, device=ids.device)
        rows = (lengths > 0).nonzero().squeeze(1)
        if not len(rows):
            return out
        longest = int(lengths.max())
        valid = frame_mask(lengths[rows], longest)
        given = torch.where(valid, ids[rows, :longest], self._pad)
        states = self.module(input_ids=given, attention_mask=valid.long()).last_hidden_state.float()
        states = torch.where(valid[..., None], states, 0.0)
        return out.index_copy(0, rows, nn.functional.pad(states, (0, 0, 0, ids.shape[1] - longest)))

    # Features of a corpus.

    def check(self, ids: Corpus) -> None:
        """Check, before training, that it can read a corpus of token ids.

        Raises:
            ImderError: an id isn't in its vocabulary, or a text is longer than it can read.
        """
        for name, split in ids.splits.items():
            tokens = split.features[LANGUAGE]
            values = tokens.values[:, 0]
            if len(values) and values.max() >= self._vocabulary:
                row = int(np.searchsorted(tokens.offsets, int(values.argmax()), side="right")) - 1
                raise ImderError(
                    f"{ids.name} [{name}]: language: sample {split.ids[row]!r}: the token id {int(values.max())} is not in "
                    f"the vocabulary of {self.folder} ({self._vocabulary} ids); use the transformer that the ids were made for"
                )
            self._check_length(int(tokens.lengths.max(initial=0)), f"{ids.name} [{name}]")

    def _check_length(self, length: int, where: str) -> None:
        """Read a text of some length, unless one as long was read before.

        It is read on the CPU: an index out of range on a GPU makes that GPU unusable for the rest of the process.

        Raises:
            ImderError: the transformer can't.
        """
        if length <= self._readable:
            return
        module = copied_to_cpu(self.module)  # not in the `try`: a lack of memory for the copy is no fault of the text
        ids = torch.zeros(1, length, dtype=torch.int64)
        try:
            with torch.inference_mode():
                module(input_ids=ids, attention_mask=torch.ones_like(ids))
        except (IndexError, RuntimeError) as error:
            raise ImderError(
                f"{where}: language: {self.folder} can't read a text of {length} tokens "
                f"({str(error).splitlines()[0]}); extract with a lower --max-tokens"
            ) from None
        self._readable = length

    def matches_tokenizer(self, ids: Corpus) -> bool | None:
        """Whether its tokenizer gives the ids of a corpus for the corpus' texts; None without texts or tokenizer.

        Ids of another vocabulary can't be recognised otherwise. Some texts may differ (corrected or truncated later), so one
        text that agrees is enough.
        """
        split = ids.splits["train"]
        rows = np.flatnonzero(split.features[LANGUAGE].lengths > 0)[:CHECKED_TEXTS]
        if split.texts is None or not len(rows) or not any((self.folder / name).is_file() for name in TOKENIZER_FILES):
            return None
        try:
            tokenize = load_tokenizer(self.folder, OPTION)
        except ImderError:  # the ids suffice: an unusable tokenizer is no obstacle
            return None
        for i in rows.tolist():
            given = split.features[LANGUAGE][i][:, 0].tolist()
            if tokenize(split.texts[i], truncation=True, max_length=max(3, len(given)))["input_ids"] == given:
                return True
        return False

    def read(self, spec: Spec, corpus: Corpus, only: str | None) -> Corpus:
        """A corpus as a system of ``spec`` reads it (`check_compatible`), with features computed from its token ids.

        Args:
            spec: of the system.
            corpus: with token ids, or without any language.
            only: the split whose features are needed; the others then have none. None for all.

        Raises:
            ImderError: the corpus doesn't fit, has language without token ids, or ids out of the vocabulary.
        """
        ids = replace(corpus, splits=ids_of(corpus.splits, corpus.name))
        fitted = check_compatible(as_ids(spec), ids)
        self.check(fitted)
        return self.encode(fitted, only=only)

    def encode(self, ids: Corpus, *, only: str | None = None, folder: Path | None = None) -> Corpus:
        """A corpus with features in place of its token ids.

        Args:
            ids: the corpus of token ids.
            only: the split to encode; the others then have no language. None for all.
            folder: for the file that holds the features, which is deleted once unused (memory stays flat); None for the
                system's folder of temporary files.
        """
        splits = {
            name: self._features(split, folder) if only in (None, name) else _without_language(split, self.dim)
            for name, split in ids.splits.items()
        }
        return replace(ids, splits=splits, spec=self.spec(ids.spec))

    def _features(self, split: Split, folder: Path | None) -> Split:
        tokens = split.features[LANGUAGE]
        start, stop = int(tokens.offsets[0]), int(tokens.offsets[-1])
        where = folder or tempfile.gettempdir()
        with written_to(where), tempfile.TemporaryFile(dir=where) as file:
            values = mapped_zeros((max(1, stop - start), self.dim), file, where)[: stop - start]
        for i, state in states_of_texts(self.module, tokens):
            if not np.isfinite(state).all():
                raise ImderError(f"{self.folder}: its features of sample {split.ids[i]!r} are not finite")
            values[tokens.offsets[i] - start : tokens.offsets[i + 1] - start] = state
        features = {**split.features, LANGUAGE: Ragged(values, tokens.offsets - start)}
        return replace(split, features=features, tokens=None, words=WordErasure(self, tokens))

    def features_of(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Features ``(B, T, dim)`` of padded texts ``(B, T)``, as of a corpus: computed without padding, no gradients."""
        out = np.zeros((*ids.shape, self.dim), np.float32)
        tokens = Ragged.from_list([row[:n, None].numpy() for row, n in zip(ids, lengths.tolist(), strict=True)], 1)
        for i, state in states_of_texts(self.module, tokens):
            out[i, : len(state)] = state
        return torch.from_numpy(out)

    def save(self, folder: Path) -> None:
        """Write the transformer and its tokenizer's files, if it has any, to a folder, replacing an older one.

        Raises:
            ImderError: the folder cannot be written, or holds anything but a transformer's files; it is then left as it was.
        """
        others = [p.name for p in folder.iterdir() if not _is_own(p)] if folder.is_dir() else []
        if others or (folder.exists() and not folder.is_dir()):
            raise ImderError(
                f"{folder}: holds {min(others, default=folder.name)!r}, no file of a transformer; it is not overwritten"
            )
        with atomic_folder(folder) as part:
            self._model.save_pretrained(part)
            for name in TOKENIZER_FILES:
                if (self.folder / name).is_file():
                    shutil.copyfile(self.folder / name, part / name)

    @classmethod
    def of_model(cls, folder: Path, device: torch.device | str = "cpu") -> Self:
        """The encoder in a model's folder, on a device.

        Raises:
            ImderError: there is none.
        """
        if not (folder / FOLDER).is_dir():
            raise ImderError(f"{folder}: the folder {FOLDER!r}, which holds the model's language encoder, is missing")
        return cls(folder / FOLDER, device)


def _is_own(path: Path) -> bool:
    """Whether a path in the folder of a transformer is one of the files that `LanguageEncoder.save` writes."""
    return (
        not path.is_symlink() and path.is_file() and (path.name in TOKENIZER_FILES or bool(_SAVED.fullmatch(path.name)))
    )


def _without_language(split: Split, dim: int) -> Split:
    empty = Ragged(np.zeros((0, dim), np.float32), np.zeros(len(split) + 1, np.int64))
    return replace(split, features={**split.features, LANGUAGE: empty}, tokens=None, words=None)
