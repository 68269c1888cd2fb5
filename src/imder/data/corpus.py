"""A corpus: named splits of one `Spec`, and the best constant prediction of a split."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imder.data.arrays import columns_of, splits_from_arrays
from imder.data.formats.padding import Padding
from imder.data.split import SPLITS, Ragged, Sample, Split, key_of, without_empty
from imder.data.store_writer import write_store
from imder.types import ImderError, Modality, Spec, Task

__all__ = [
    "SPLITS",
    "Corpus",
    "Ragged",
    "Sample",
    "Split",
    "best_constant",
    "classes_without",
    "constant_baseline",
    "key_of",
    "spec_of",
]

log = logging.getLogger(__name__)

MOST_NAMES = 6


@dataclass(frozen=True, repr=False)
class Corpus(Mapping[str, Split]):
    """Named splits (any subset of train / valid / test, or one called ``all``) of one spec.

    A mapping of names to splits: ``corpus["test"]`` is a `Split`, ``corpus["test"][3]`` a `Sample`. A corpus with one
    modality is for trained models, to which the others are missing; training needs two.

    Attributes:
        name: of the corpus, for tables and messages.
        spec: modalities, each with its longest length over all splits, task and class names.
        splits: by name.
        recipe: in plain containers, how features were made from raw media (`imder.extract.recipe`) and which were
            standardised by speaker afterwards (`imder.data.speaker_norm.KEY`); None where that is unknown.
        remarks: what was assumed and what was left out when it was read, a line each.
    """

    name: str
    spec: Spec
    splits: Mapping[str, Split]
    recipe: Mapping[str, Any] | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def from_arrays(
        cls,
        splits: Mapping[str, Mapping[str, Any]],
        task: Task | None = None,
        classes: Sequence[str] | None = None,
        *,
        name: str = "arrays",
        drop_empty: bool = False,
        padding: Padding = "auto",
    ) -> Corpus:
        """A corpus of arrays in memory.

        Args:
            splits: for each of ``train``, ``valid``, ``test`` (or ``all`` alone) a dict of

                * features under the name of each modality: an array ``(N, T, D)`` or ``(N, D)``, or a list of N arrays
                  ``(T_i, D)`` or ``(D,)``; further axes of length 1 are dropped. A sample that lacks the modality has None,
                  NaN or an empty array there. Padded arrays take ``<modality>_lengths`` ``(N,)`` too;
                * ``labels``: numbers, class numbers from 0, or names of classes; None, NaN, -1 (a class) or an empty string
                  where the label is missing;
                * ``ids``, ``texts``, ``dialogue``, ``position``, ``speaker``: N of each; all optional. None or NaN where a
                  sample has no text, dialogue or speaker; where positions are given, each clip of a dialogue needs one.

                Tensors do as well as arrays. Values that are not finite become 0 and are counted. A modality that no sample
                of any split has is left out, with a warning.
            task: None for classification where ``classes`` are given or labels are strings or integers, else regression.
            classes: names, in the order of their numbers; None for the labels' own, sorted.
            name: of the corpus.
            drop_empty: leave out samples without any modality, and count them, instead of raising.
            padding: which frames of padded arrays without lengths are padding, as in `imder.load_corpus`.

        Raises:
            ImderError: a type, a shape, a key or a label is wrong; the message names split, key and sample.

        >>> corpus = Corpus.from_arrays(
        ...     {"train": {"language": [np.ones((4, 2)), None], "audio": np.ones((2, 9, 3)), "labels": ["sad", "glad"]}}
        ... )
        >>> corpus.spec.classes, corpus["train"].present.tolist(), corpus["train"][0].label
        (('glad', 'sad'), [[True, True], [False, True]], 1)
        """
        parts, task, names, remarks = splits_from_arrays(splits, task, classes, name, padding)
        for remark in remarks:
            log.warning("%s: %s", name, remark)
        parts = {key: without_empty(split, f"{name} [{key}]", drop_empty) for key, split in parts.items()}
        try:
            return cls(name, spec_of(parts, task, names), parts, None, remarks)
        except ImderError as error:  # too few modalities or classes, or an impossible name
            raise ImderError(f"{name}: {error}") from None

    @classmethod
    def from_dataset(
        cls,
        dataset: Iterable[Mapping[str, Any]] | Mapping[str, Iterable[Mapping[str, Any]]],
        split: str = "train",
        task: Task | None = None,
        classes: Sequence[str] | None = None,
        *,
        name: str = "dataset",
        drop_empty: bool = False,
        padding: Padding = "auto",
    ) -> Corpus:
        """A corpus of samples that are dicts.

        Args:
            dataset: a `torch.utils.data.Dataset` or any iterable of dicts, or a dict of these by split. A sample has the
                keys of `from_arrays` (``label``, ``id`` and ``text`` will do): features ``(T, D)`` or ``(D,)``, the others
                single values. A key that a sample lacks is missing there.
            split: what to call the split, where ``dataset`` is a single one.
            task: as in `from_arrays`, like the rest.
            classes: names, in the order of their numbers.
            name: of the corpus.
            drop_empty: leave out samples without any modality instead of raising.
            padding: which frames are padding, where samples share their number of frames and none has lengths.

        Raises:
            ImderError: a sample is no dict, or what `from_arrays` refuses.

        >>> samples = [{"face": np.ones((4, 2)), "voice": np.ones(3), "label": 0.5}, {"face": np.ones((9, 2))}]
        >>> Corpus.from_dataset(samples, split="test")["test"].labels.tolist()
        [0.5, nan]
        """
        parts = dataset if isinstance(dataset, Mapping) else {split: dataset}
        columns = {key: columns_of(part, f"{name} [{key}]") for key, part in parts.items()}
        return cls.from_arrays(columns, task, classes, name=name, drop_empty=drop_empty, padding=padding)

    def __getitem__(self, split: str) -> Split:
        if isinstance(split, str) and split in self.splits:
            return self.splits[split]
        raise ImderError(f"{self.name}: there is no split {split!r}; choose one of: {', '.join(self.splits)}")

    @property
    def default_split(self) -> str:
        """The split that is evaluated or predicted unless another is named: ``test``, or the only one."""
        return next(iter(self.splits)) if len(self.splits) == 1 else "test"

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    def get(self, split: str, default: Any = None) -> Any:
        """The split of this name, or ``default``."""
        return self.splits.get(split, default)

    def save(self, folder: str | Path, dtype: Literal["float16", "float32"] = "float32") -> None:
        """Write the corpus as a store, which `imder.load_corpus` reads, replacing a store of that name.

        Args:
            folder: the store.
            dtype: of the features on disk.

        Raises:
            ImderError: the folder holds anything but a store, or a value doesn't fit ``dtype``.
        """
        write_store(self, folder, dtype)

    def __contains__(self, split: object) -> bool:
        return split in self.splits

    def __repr__(self) -> str:
        classes = f" of {', '.join(self.spec.classes[:MOST_NAMES])}" if self.spec.classes else ""
        classes += ", ..." if len(self.spec.classes) > MOST_NAMES else ""
        sizes = [f"{m.name} {m.dim} x {m.length}" for m in self.spec.modalities]
        more = ", ..." if len(sizes) > MOST_NAMES else ""
        lines = [f"Corpus {self.name!r}: {self.spec.task}{classes}"]
        lines.append(f"features x longest sequence: {', '.join(sizes[:MOST_NAMES])}{more}")
        width = max(map(len, self.splits), default=0)
        shown = list(self.splits.items())[:MOST_NAMES]
        lines += [f"{name:<{width}}  {split.summary()}" for name, split in shown]
        lines += [f"and {len(self.splits) - MOST_NAMES} more splits"] if len(self.splits) > MOST_NAMES else []
        return "\n  ".join(lines)


def spec_of(splits: Mapping[str, Split], task: Task, classes: tuple[str, ...] = ()) -> Spec:
    """The `Spec` of some splits: dims, and the longest length of each modality over all of them."""
    first = next(iter(splits.values()))
    return Spec(
        tuple(
            Modality(name, ragged.dim, max(1, *(int(s.features[name].lengths.max(initial=0)) for s in splits.values())))
            for name, ragged in first.features.items()
        ),
        task,
        classes,
    )


def constant_baseline(split: Split, spec: Spec) -> float | list[float] | None:
    """The best constant of a training split: its median label, or the frequency of each class.

    The most frequent class is then the one predicted, and its likelihood is that of the frequencies. None where no
    sample is labelled.
    """
    if split.labels is None:
        return None
    labels = split.labels[split.labels >= 0 if spec.task == "classification" else ~np.isnan(split.labels)]
    if not len(labels):
        return None
    constant: list[float] = best_constant(labels, spec).tolist()
    return constant if spec.task == "classification" else constant[0]


def classes_without(split: Split, spec: Spec) -> tuple[str, ...]:
    """The classes of which a split has no sample; none where it has no labels or they aren't classes."""
    if split.labels is None or spec.task != "classification":
        return ()
    return tuple(name for i, name in enumerate(spec.classes) if not (split.labels == i).any())


def best_constant(labels: NDArray[Any], spec: Spec) -> NDArray[np.float64]:
    """``(O,)`` from at least one known label ``(N,)``: their median, or the frequency of each class.

    >>> spec = Spec((Modality("audio", 1, 1), Modality("vision", 1, 1)), "classification", ("calm", "sad", "angry"))
    >>> best_constant(np.array([0, 2, 2, 2]), spec).tolist()
    [0.25, 0.0, 0.75]
    """
    if spec.task == "classification":
        return np.bincount(labels, minlength=len(spec.classes)) / len(labels)
    return np.median(labels.astype(np.float64), keepdims=True)
