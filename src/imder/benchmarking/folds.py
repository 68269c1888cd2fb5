"""Rotation over speakers or dialogues: each is tested once, by models that were not trained on it.

The corpus' splits are joined and split again: by speaker where every sample has one and no dialogue has several, else by
dialogue; a dialogue is never split. These groups are dealt to F folds in a seeded order; in rotation f, fold f is the test
split, the next one validation, the rest training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from imder.data.corpus import Corpus, Ragged, Split
from imder.data.dialogues import dialogue_numbers
from imder.types import ImderError

ORDER_SEED = 0
Groups = Literal["speakers", "dialogues"]
Order = Literal["drawn", "names"]
"""How groups are dealt to folds: one after another in a seeded order, or as consecutive blocks in the order of names."""


def rotation_groups(corpus: Corpus) -> Groups:
    """The groups that a rotation keeps whole: speakers where every sample has one, else dialogues.

    Dialogues too where some have several speakers (`dialogues_are_shared`): rotating over speakers would tear them, and the
    speakers that dialogues connect are often all of them.

    Raises:
        ImderError: a sample lacks what decides its fold.
    """
    shared = dialogues_are_shared(corpus)
    has_speakers = _complete([split.speaker for split in corpus.splits.values()])
    if has_speakers and not shared:
        return "speakers"
    for name, split in corpus.splits.items():
        if not _complete([split.dialogue]):
            lacking = "" if has_speakers else "no speaker (field 'speaker') and "
            lacking += "no dialogue (field 'dialogue')"
            lacking += ", and dialogues have several speakers" if has_speakers else ""
            advice = "a dialogue" if shared else "one of the two"
            raise ImderError(
                f"folds (--folds): samples of {corpus.name} [{name}] have {lacking}; give every sample {advice}"
            )
    return "dialogues"


def dialogues_are_shared(corpus: Corpus) -> bool:
    """Whether some dialogue has several speakers."""
    speaker_of: dict[str, str] = {}
    return any(
        bool(dialogue and speaker) and speaker_of.setdefault(dialogue, speaker) != speaker
        for split in corpus.splits.values()
        if split.dialogue is not None and split.speaker is not None
        for dialogue, speaker in zip(split.dialogue, split.speaker, strict=True)
    )


def rotation_note(corpus: Corpus, folds: int) -> str:
    """What a benchmark's tables say of its rotation."""
    reason = ", since some have several speakers" if dialogues_are_shared(corpus) else ""
    return f"Rotation over {rotation_groups(corpus)} in {folds} folds{reason}; the deviation holds that between folds."


def fold_of(corpus: Corpus, fold: int, folds: int, order: Order = "drawn") -> Corpus:
    """The corpus of one rotation, with splits train, valid and test.

    Args:
        corpus: labelled, with speakers or dialogues.
        fold: which rotation, from 0.
        folds: how many, at least 3.
        order: how groups are dealt to folds.

    Raises:
        ImderError: a sample lacks what decides its fold, an id occurs in two splits, two dialogues have one name, or
            there are fewer speakers (dialogues) than folds.
    """
    if folds < 3:
        raise ImderError(f"folds (--folds): training, validation and test need at least 3, got {folds}")
    kind = rotation_groups(corpus)
    whole = joined(corpus)
    names = (whole.speaker if kind == "speakers" else whole.dialogue) or ()
    if kind == "dialogues":
        try:
            dialogue_numbers(whole)
        except ImderError as error:
            raise ImderError(f"folds (--folds): {corpus.name}: {error}") from None
    groups = sorted(set(names))
    if len(groups) < folds:
        raise ImderError(f"folds (--folds): {corpus.name} has {len(groups)} {kind}, fewer than {folds} folds")
    if order == "names":
        dealt = {group: position * folds // len(groups) for position, group in enumerate(groups)}
    else:
        drawn = np.random.default_rng(ORDER_SEED).permutation(len(groups))
        dealt = {groups[g]: position % folds for position, g in enumerate(drawn.tolist())}
    of_row = np.array([dealt[name] for name in names])
    test, valid = of_row == fold, of_row == (fold + 1) % folds
    rows = {"train": ~test & ~valid, "valid": valid, "test": test}
    return replace(corpus, splits={name: whole.take(mask) for name, mask in rows.items()})


def joined(corpus: Corpus) -> Split:
    """All splits of a labelled corpus as one.

    Raises:
        ImderError: an id occurs twice, or a split has no labels.
    """
    splits = list(corpus.splits.values())
    ids = tuple(i for s in splits for i in s.ids)
    if len(set(ids)) < len(ids):
        raise ImderError(f"folds (--folds): ids of {corpus.name} repeat over its splits; give every sample its own")
    for name, split in corpus.splits.items():
        if split.labels is None:
            raise ImderError(f"folds (--folds): {corpus.name} [{name}] has no labels")
    features = {name: _one_after_another([s.features[name] for s in splits]) for name in corpus.spec.names}
    tokens = [s.tokens for s in splits if s.tokens is not None]
    positions = [s.position for s in splits if s.position is not None]
    return Split(
        ids,
        features,
        np.concatenate([s.labels for s in splits if s.labels is not None]),
        dialogue=_names([s.dialogue for s in splits]),
        position=np.concatenate(positions) if len(positions) == len(splits) else None,
        speaker=_names([s.speaker for s in splits]),
        tokens=_one_after_another(tokens) if len(tokens) == len(splits) else None,
    )


def _complete(columns: Sequence[tuple[str, ...] | None]) -> bool:
    """Whether every sample has a name."""
    return all(names is not None and all(names) for names in columns)


def _names(columns: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The names of all splits, one after another; None where a split has none."""
    present = [names for names in columns if names is not None]
    return tuple(name for names in present for name in names) if len(present) == len(columns) else None


def _one_after_another(parts: list[Ragged]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([r.lengths for r in parts]))]).astype(np.int64)
    return Ragged(np.concatenate([r.values[r.offsets[0] : r.offsets[-1]] for r in parts]), offsets)
