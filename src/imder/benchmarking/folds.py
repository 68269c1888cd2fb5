"""Rotation over speakers: every speaker is tested once, by models that were not trained on them.

The corpus' splits are joined and split again. Speakers are dealt to F folds in a seeded order; in rotation f, fold f is the
test split, the next one validation, the rest training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imder.data.corpus import Corpus, Ragged, Split
from imder.types import ImderError

ORDER_SEED = 0


def fold_of(corpus: Corpus, fold: int, folds: int) -> Corpus:
    """The corpus of one rotation, with splits train, valid and test.

    Args:
        corpus: labelled, with speakers.
        fold: which rotation, from 0.
        folds: how many, at least 3.

    Raises:
        ImderError: a sample has no speaker, an id occurs in two splits, or there are fewer speakers than folds.
    """
    if folds < 3:
        raise ImderError(f"folds (--folds): training, validation and test need at least 3, got {folds}")
    whole = _joined(corpus)
    speakers = sorted(set(whole.speaker or ()))
    if len(speakers) < folds:
        raise ImderError(f"folds (--folds): {corpus.name} has {len(speakers)} speakers, fewer than {folds} folds")
    order = np.random.default_rng(ORDER_SEED).permutation(len(speakers))
    dealt = {speakers[s]: position % folds for position, s in enumerate(order.tolist())}
    of_row = np.array([dealt[name] for name in whole.speaker or ()])
    test, valid = of_row == fold, of_row == (fold + 1) % folds
    rows = {"train": ~test & ~valid, "valid": valid, "test": test}
    return replace(corpus, splits={name: whole.take(np.flatnonzero(mask)) for name, mask in rows.items()})


def _joined(corpus: Corpus) -> Split:
    splits = list(corpus.splits.values())
    ids = tuple(i for s in splits for i in s.ids)
    if len(set(ids)) < len(ids):
        raise ImderError(f"folds (--folds): ids of {corpus.name} repeat over its splits; give every sample its own")
    for name, split in corpus.splits.items():
        if split.speaker is None or not all(split.speaker):
            raise ImderError(f"folds (--folds): samples of {corpus.name} [{name}] have no speaker (field 'speaker')")
        if split.labels is None:
            raise ImderError(f"folds (--folds): {corpus.name} [{name}] has no labels")
    features = {name: _one_after_another([s.features[name] for s in splits]) for name in corpus.spec.names}
    tokens = [s.tokens for s in splits if s.tokens is not None]
    positioned = all(s.dialogue is not None and s.position is not None for s in splits)
    return Split(
        ids,
        features,
        np.concatenate([s.labels for s in splits if s.labels is not None]),
        dialogue=tuple(d for s in splits for d in s.dialogue or ()) if positioned else None,
        position=np.concatenate([s.position for s in splits if s.position is not None]) if positioned else None,
        speaker=tuple(p for s in splits for p in s.speaker or ()),
        tokens=_one_after_another(tokens) if len(tokens) == len(splits) else None,
    )


def _one_after_another(parts: list[Ragged]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([r.lengths for r in parts]))]).astype(np.int64)
    return Ragged(np.concatenate([r.values[r.offsets[0] : r.offsets[-1]] for r in parts]), offsets)
