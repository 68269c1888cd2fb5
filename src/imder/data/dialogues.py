"""Dialogues of a split, for systems that use neighbouring clips.

A dialogue is the clips that share a dialogue name, ordered by position. The order of rows isn't the order in time: where a
split has no positions, and for a clip without a dialogue name, each clip is a dialogue of its own. Of a split with positions,
each clip of a named dialogue has one (readers refuse others).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Split
from imder.types import ImderError

if TYPE_CHECKING:
    from imder.data.loader import MaskedLoader


def dialogue_numbers(split: Split) -> NDArray[np.int64]:
    """``(N,)``: equal for the clips of one dialogue.

    Raises:
        ImderError: two clips of a dialogue have the same position, which leaves their order unknown.

    >>> split = Split(tuple("abcde"), {}, dialogue=("x", "y", "x", "", ""), position=np.array([4, 0, 3, 0, 0]))
    >>> dialogue_numbers(split).tolist()
    [0, 1, 0, 3, 4]
    """
    if split.dialogue is None or split.position is None:
        return np.arange(len(split))
    number: dict[str, int] = {}
    out = np.empty(len(split), np.int64)
    row_at: dict[tuple[int, int], int] = {}
    for i, (name, position) in enumerate(zip(split.dialogue, split.position.tolist(), strict=True)):
        out[i] = number.setdefault(name, i) if name else i  # the row of its first clip, unique to the dialogue
        other = row_at.setdefault((int(out[i]), position), i)
        if other != i:
            raise ImderError(
                f"samples {split.ids[other]!r} and {split.ids[i]!r} both have position {position} of dialogue {name!r}: "
                "their order is unknown; correct the field 'position'"
            )
    return out


def has_neighbours(split: Split) -> bool:
    """Whether any dialogue has two clips.

    >>> has_neighbours(Split(("a", "b"), {}, dialogue=("x", "x"), position=np.array([0, 1])))
    True
    >>> has_neighbours(Split(("a", "b"), {}))
    False
    """
    if split.dialogue is None or split.position is None:
        return False
    named = [name for name in split.dialogue if name]
    return len(set(named)) < len(named)


def whole_dialogues(
    pairs: MaskedLoader, copy: NDArray[np.int64] | None = None, at_once: int | None = None
) -> MaskedLoader:
    """Group the pairs by dialogue, so that batches hold whole dialogues.

    Args:
        pairs: a loader that holds all clips of its dialogues.
        copy: ``(M,)`` numbers from 0: the set of masks of each pair, if dialogues occur under several masks.
        at_once: greatest number of pairs in a batch (at least one dialogue). None for as many dialogues as make
            ``batch_size`` pairs on average (at least one for each process), since few corpora have many dialogues.
    """
    dialogue = dialogue_numbers(pairs.split)[pairs.rows]
    if copy is not None:
        dialogue = dialogue + copy * len(pairs.split)
    order = np.argsort(dialogue, kind="stable")
    clips = np.unique(dialogue, return_counts=True)[1]
    if at_once is None:
        size = max(pairs.world, round(pairs.batch_size * len(clips) / max(1, len(dialogue))))
    else:
        size = max(1, at_once // int(clips.max(initial=1)))
    return replace(pairs.take(order), dialogue=dialogue[order], batch_size=size)
