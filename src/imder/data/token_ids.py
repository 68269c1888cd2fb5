"""Corpora whose language modality is token ids: one feature for each token, the token's id.

Ids pass through masks, loaders and batches like any features (float32 holds every id below 2^24 exactly), until a language
encoder turns them into hidden states (`imder.models.language.encoder`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split, spec_of
from imder.types import ImderError, Spec

LANGUAGE = "language"
ADVICE = "a language encoder needs them: use a corpus with the field text_bert, such as one made by `imder extract`"


def unused_tokens(corpus: Corpus) -> tuple[str, ...]:
    """A remark on token ids of a corpus without features of language, which only a language encoder reads; or nothing."""
    if LANGUAGE in corpus.spec.names or all(split.tokens is None for split in corpus.splits.values()):
        return ()
    return (
        "text_bert holds token ids, but no field features of language: only a language encoder reads them "
        "(imder train --language-encoder)",
    )


def with_token_ids(corpus: Corpus) -> Corpus:
    """The corpus with token ids in place of language features.

    Raises:
        ImderError: a split, or a sample that has language, has no token ids.
    """
    splits = ids_of(corpus.splits, corpus.name)
    for name, split in splits.items():
        if split.tokens is None:
            raise ImderError(f"{corpus.name} [{name}]: language: there are no token ids; {ADVICE}")
    return replace(corpus, splits=splits, spec=spec_of(splits, corpus.spec.task, corpus.spec.classes))


def ids_of(splits: Mapping[str, Split], where: str) -> dict[str, Split]:
    """`with_token_ids` for splits that need not form a corpus; splits without language stay as they are."""
    return {name: _ids(split, f"{where} [{name}]") for name, split in splits.items()}


def as_ids(spec: Spec) -> Spec:
    """The spec with token ids as language."""
    return replace(spec, modalities=tuple(replace(m, dim=1) if m.name == LANGUAGE else m for m in spec.modalities))


def _ids(split: Split, where: str) -> Split:
    language, tokens = split.features.get(LANGUAGE), split.tokens
    if tokens is None:
        if language is None:
            return split
        if not language.lengths.any():  # missing in every sample
            return replace(split, features={**split.features, LANGUAGE: Ragged(np.zeros((0, 1)), language.offsets)})
        raise ImderError(f"{where}: language: there are no token ids; {ADVICE}")
    present = np.ones(len(split), bool) if language is None else language.lengths > 0
    for i in np.flatnonzero(present & (tokens.lengths == 0)) if language is not None else ():
        raise ImderError(f"{where}: language: sample {split.ids[i]!r}: it has features but no token ids; {ADVICE}")
    features = {LANGUAGE: _only_present(tokens, present)} | {k: r for k, r in split.features.items() if k != LANGUAGE}
    if language is not None:
        features = {name: features[name] for name in split.features}
    return replace(split, features=features, nonfinite={k: n for k, n in split.nonfinite.items() if k != LANGUAGE})


def _only_present(tokens: Ragged, present: NDArray[np.bool_]) -> Ragged:
    """The tokens without those of samples that lack language, since a missing modality must not be read."""
    if present.all() or not tokens.lengths[~present].any():
        return tokens
    lengths = np.where(present, tokens.lengths, 0)
    values = tokens.values[tokens.offsets[0] : tokens.offsets[-1]][np.repeat(present, tokens.lengths)]
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
