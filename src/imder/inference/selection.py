"""Which samples to use, under which mask, in which batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Split
from imder.data.dialogues import whole_dialogues
from imder.data.erasure import Erasure
from imder.data.formats.fields import RENAMED
from imder.data.loader import MaskedLoader
from imder.data.task_mismatch import task_mismatch, task_of
from imder.missingness.masks import Mask, mask_seed
from imder.missingness.patterns import pattern_from_name
from imder.missingness.protocols import ErasesFrames, FixedMissing, Missing, bound
from imder.models.base import Model
from imder.types import Batch, ImderError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with samples done and samples in all."""

Available = NDArray[np.bool_] | Missing | str | Sequence[str]
"""A mask ``(N, K)``, a protocol, or the names of modalities (``"language+audio"`` or a sequence)."""


@dataclass(frozen=True)
class Selection:
    """The samples of one split, as given and as a model reads them.

    Attributes:
        name: of the split.
        title: of the corpus.
        given: the split as given; labels are numbered by ``classes``.
        classes: class names of the corpus given.
        split: the split as the model reads it (`Model.prepare`).
        mask: ``(N, K)`` bool, what the model may use; rows without any True are not predicted.
        erasure: the erased frames, under a protocol that erases any.
    """

    name: str
    title: str
    given: Split
    classes: tuple[str, ...]
    split: Split
    mask: Mask
    erasure: Erasure | None = None


def select(
    model: Model,
    data: Corpus | Split,
    split: str | None,
    available: Available | None,
    seed: int,
    *,
    labels: bool = False,
) -> Selection:
    """Choose a split, fit it to a model and make the mask.

    Args:
        model: the system that will use it.
        data: a corpus, or one split of samples.
        split: which split of a corpus; None for ``test``, or for the only one.
        available: what the model may use; None for everything present.
        seed: of a protocol's mask, which is that of draw 0 in an evaluation under the same seed.
        labels: fit the labels to the model too; otherwise they are dropped unread.

    Raises:
        ImderError: there is no such split, it is an empty one of a corpus or doesn't fit the model, a sample has no modality, or ``available``
            is no mask, protocol or names for it.
    """
    if isinstance(data, Corpus):
        name = data.default_split if split is None else split
        given, corpus = data[name], data
    elif not isinstance(data, Split):
        raise ImderError(f"a corpus or a split is needed, got {type(data).__name__}")
    elif split is not None:
        raise ImderError(f"split {split!r}: a split was given, not a corpus")
    else:
        name, given, corpus = "all", data, Corpus("samples", model.spec, {"all": data})
        task = model.spec.task if data.labels is None else task_of(data.labels)
        if model.spec.task not in ("none", task):
            given = replace(data, labels=None, foreign_task=task)
    if isinstance(data, Corpus) and not len(given):
        raise ImderError(f"{corpus.name}: split {name!r}: there are no samples")
    task = given.foreign_task or corpus.spec.task
    if model.spec.task not in ("none", task) and (given.labels is not None or given.foreign_task is not None):
        log.warning("%s [%s]: %s; its labels are not used", corpus.name, name, task_mismatch(task))
    samples = given if labels else replace(given, labels=None)
    prepared = model.prepare(replace(corpus, splits={name: samples}))[name]
    for i in np.flatnonzero(~prepared.present.any(axis=1)):
        raise ImderError(f"sample {prepared.ids[i]!r} has no modality at all: nothing can be predicted for it")
    mask = available_mask(available, prepared.present, model.spec.names, seed, prepared)
    erasure = None
    if isinstance(available, ErasesFrames):
        erasure = available.erasure(prepared.present, mask_seed(seed, 0))
    return Selection(name, corpus.name, given, corpus.spec.classes, prepared, mask, erasure)


def available_mask(
    available: Available | None, present: Mask, names: Sequence[str], seed: int = 0, split: Split | None = None
) -> Mask:
    """A mask ``(N, K)`` bool, cut down to what is present.

    Args:
        available: a mask, a protocol, names of modalities, or None for everything present.
        present: ``(N, K)`` bool.
        names: the K modalities.
        seed: of a protocol's mask.
        split: the samples, for a protocol that needs more than ``present``.

    Raises:
        ImderError: it is nothing of this kind, has another shape, names an unknown modality, or leaves nothing in any row.

    >>> present = np.array([[True, True], [False, True]])
    >>> available_mask("voice", present, ("voice", "face")).tolist()
    [[True, False], [False, False]]
    """
    if available is None:
        return present
    if isinstance(available, str) or _are_names(available):
        chosen = available if isinstance(available, str) else "+".join(available)  # type: ignore[arg-type]
        parts = [_without_alias(part.strip(), names) for part in chosen.replace(",", "+").split("+")]
        mask = FixedMissing(pattern_from_name("+".join(parts), names)).sample(present)
    elif isinstance(available, Missing) and not isinstance(available, type):
        mask = bound(available, split).sample(present, mask_seed(seed, 0))
    else:
        mask = _given_mask(available, present.shape)
    mask = mask & present
    if not mask.any():
        raise ImderError("available: no sample has anything available; nothing can be predicted")
    return mask


def _without_alias(name: str, names: Sequence[str]) -> str:
    """The modality that a name means: files may call language ``text`` and vision ``video``."""
    return name if name in names else RENAMED.get(name, name)


def _are_names(available: Any) -> bool:
    return isinstance(available, list | tuple) and bool(available) and all(isinstance(a, str) for a in available)


def _given_mask(available: Any, shape: tuple[int, ...]) -> Mask:
    """The mask as an array; `ImderError` unless it is bool of this shape."""
    try:
        mask = np.asarray(available.cpu() if hasattr(available, "cpu") else available)
    except (TypeError, ValueError):
        mask = np.empty(0, object)
    if mask.dtype != np.bool_ or mask.shape != shape:
        kind = f"{type(available).__name__} of {mask.dtype} {mask.shape}"
        raise ImderError(
            f"available: a bool mask of shape {shape} (samples, modalities), a protocol such as RandomMissing(0.3), or "
            f"names such as 'language+audio' are needed, got {kind}"
        )
    return mask


def batches(
    model: Model,
    split: Split,
    mask: Mask,
    batch_size: int,
    progress: Progress | None,
    rows: NDArray[np.int64] | None = None,
    erasure: Erasure | None = None,
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Row numbers and their batches, alike rows together (by pattern, then by length), without labels.

    A system without context is handed ``rows``, by default those that have something available; one with context whole
    dialogues, all of them.
    """
    context = model.needs_dialogues(split)
    if context:
        rows = np.arange(len(split))
    elif rows is None:
        rows = np.flatnonzero(mask.any(axis=1))
    frames = (np.stack([r.lengths[rows] for r in split.features.values()], axis=1) * mask[rows]).sum(axis=1)
    rows = rows[np.lexsort((frames, *mask[rows].T))]
    drawn = None if erasure is None else erasure.take(rows)
    loader = MaskedLoader(replace(split, labels=None), rows, mask[rows], batch_size, mask, erasure=drawn)
    if context:
        loader = whole_dialogues(loader, at_once=batch_size)
    done = 0
    for number, batch in enumerate(loader):
        if progress is not None:
            progress(done, len(rows))
        yield loader.rows[loader.batch_indices(number)], batch.to(model.device)
        done += len(batch)
    if progress is not None:
        progress(len(rows), len(rows))
