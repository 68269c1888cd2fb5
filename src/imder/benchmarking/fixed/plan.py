"""What a comparison of fillers holds: settings, fixed models, fillers, draws and rotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imder.benchmarking.fixed.pooling import pool_corpus
from imder.benchmarking.folds import Order, fold_of, joined, rotation_groups
from imder.benchmarking.resampled import clusters_of
from imder.benchmarking.same_settings import ADVICE, check_same_settings
from imder.data.corpus import Corpus, Split
from imder.data.split import without_empty
from imder.missingness.patterns import pattern_name, patterns
from imder.training.masks import hide_labels
from imder.types import ImderError, Spec

Outage = Literal["dialogue", "half"]
CEILING = "ceiling"
COMPLETE = "complete"
MOST_MODALITIES = 4
"""With more modalities a comparison of all subsets is too large."""


@dataclass(frozen=True)
class Rotation:
    """One fit of everything: a seed and, where clips are rotated, a fold."""

    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.seed}" if self.fold is None else f"{self.seed}-fold{self.fold}"


@dataclass(frozen=True)
class FixedSettings:
    """Settings that a comparison keeps.

    Attributes:
        corpus: its name.
        fingerprint: of its samples and labels.
        convention: of the metrics.
        folds: rotations over speakers, else dialogues; 0 for the corpus' own splits.
        label_share: share of the labels of train and valid that anything may use.
        outage: ``dialogue``: a modality is missing in all test clips; ``half``: in a random half of them at a time, so that
            neighbours may hold it.
        pooled: whether sequences are pooled to single vectors first.
        order: how speakers or dialogues are dealt to folds.
        refit: whether train holds the validation clips too, for models whose settings are fixed or chosen before the fit.
            Validation is then half of its speakers or dialogues, so that what stops early learns from the other half.
        max_epochs: the most epochs of any phase of training; None for the usual number.
        modalities: those that the comparison is about; the others of the corpus aren't used.
    """

    corpus: str
    fingerprint: str
    convention: str
    folds: int = 0
    label_share: float = 1.0
    outage: Outage = "dialogue"
    pooled: bool = False
    order: Order = "drawn"
    refit: bool = False
    max_epochs: int | None = None
    modalities: tuple[str, ...] = ()

    def chosen(self, corpus: Corpus) -> Corpus:
        """The corpus with the chosen modalities alone, without the clips that have none of them.

        Raises:
            ImderError: an unknown modality, or fewer than two.
        """
        if unknown := [name for name in self.modalities if name not in corpus.spec.names]:
            raise ImderError(
                f"modalities (--modalities): {corpus.name} has no {unknown[0]!r}; it has {', '.join(corpus.spec.names)}"
            )
        if len(self.modalities) == 1:
            raise ImderError("modalities (--modalities): name at least two")
        if not self.modalities or set(self.modalities) == set(corpus.spec.names):
            return corpus
        names = [name for name in corpus.spec.names if name in self.modalities]
        splits = {
            name: without_empty(replace(split, features={k: split.features[k] for k in names}), corpus.name, True)
            for name, split in corpus.splits.items()
        }
        return replace(corpus, spec=restricted_spec(corpus.spec, names), splits=splits)

    def by_speaker(self, corpus: Corpus) -> bool:
        """Whether speakers are rotated, and hence resampled."""
        return self.folds > 0 and rotation_groups(corpus) == "speakers"

    def corpus_of(self, corpus: Corpus, rotation: Rotation) -> Corpus:
        """The splits train, valid and test of a rotation, with the labels that may be used."""
        whole = self.chosen(corpus)
        whole = pool_corpus(whole) if self.pooled else whole
        part = fold_of(whole, rotation.fold, self.folds, self.order) if rotation.fold is not None else whole
        shown = {
            name: part[name] if name == "test" else hide_labels(part[name], self.label_share, rotation.seed)
            for name in ("train", "valid", "test")
        }
        if self.refit:
            shown["train"] = joined(replace(part, splits={name: shown[name] for name in ("train", "valid")}))
            names = clusters_of(replace(shown["valid"], dialogue=None) if self.by_speaker(whole) else shown["valid"])[0]
            shown["valid"] = shown["valid"].take(np.isin(names, sorted(set(names))[::2]))
        return replace(part, splits=shown)


@dataclass(frozen=True)
class FixedPlan:
    """A comparison.

    Attributes:
        settings: what must stay the same in a folder.
        models: the name of each fixed model and the fingerprint of its file.
        sources: for each model its built-in name or the path of its file.
        fillers: names.
        draws: numbers of draws over which predictions are averaged, in increasing order.
        seeds: trainings of everything.
        systems: names of systems that are trained for missing modalities.
    """

    settings: FixedSettings
    models: Mapping[str, str]
    sources: Mapping[str, str]
    fillers: tuple[str, ...]
    draws: tuple[int, ...]
    seeds: int
    systems: tuple[str, ...] = ()

    def rotations(self) -> list[Rotation]:
        """All rotations, seed by seed."""
        folds = range(self.settings.folds) if self.settings.folds else (None,)
        return [Rotation(seed, fold) for seed in range(self.seeds) for fold in folds]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        lists = {"fillers": list(self.fillers), "draws": list(self.draws), "systems": list(self.systems)}
        return asdict(self) | lists

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FixedPlan:
        """The inverse of `to_dict`."""
        return cls(
            FixedSettings(**data["settings"] | {"modalities": tuple(data["settings"]["modalities"])}),
            dict(data["models"]),
            dict(data["sources"]),
            tuple(data["fillers"]),
            tuple(data["draws"]),
            int(data["seeds"]),
            tuple(data["systems"]),
        )

    def merge(self, other: FixedPlan, where: str) -> FixedPlan:
        """The union of two plans.

        Raises:
            ImderError: they differ in settings, or a model's file has changed.
        """
        check_same_settings(asdict(self.settings), asdict(other.settings), where)
        for name in self.models.keys() & other.models.keys():
            if self.models[name] != other.models[name]:
                raise ImderError(f"{where}: the file of the fixed model {name} has changed since; {ADVICE}")
        return replace(
            self,
            models=dict(self.models) | dict(other.models),
            sources=dict(self.sources) | dict(other.sources),
            fillers=tuple(dict.fromkeys([*self.fillers, *other.fillers])),
            draws=tuple(sorted({*self.draws, *other.draws})),
            seeds=max(self.seeds, other.seeds),
            systems=tuple(dict.fromkeys([*self.systems, *other.systems])),
        )


def incomplete_patterns(spec: Spec) -> dict[str, tuple[bool, ...]]:
    """The subsets of modalities that lack at least one, by name, the largest ones first.

    Raises:
        ImderError: there are too many modalities.
    """
    if len(spec.names) > MOST_MODALITIES:
        raise ImderError(f"a comparison of fillers takes at most {MOST_MODALITIES} modalities, not {len(spec.names)}")
    subsets = sorted((p for p in patterns(len(spec.names)) if not all(p)), key=lambda p: -sum(p))
    return {pattern_name(p, spec.names): p for p in subsets}


def complete_labelled(split: Split) -> NDArray[np.int64]:
    """Rows of the clips that hold every modality and a label: those that fixed models learn from and are tested on."""
    return np.flatnonzero(split.present.all(1) & split.labelled)


def restricted(split: Split, names: list[str]) -> Split:
    """The labelled clips that hold all of ``names``, with these modalities alone."""
    part = replace(split, features={name: split.features[name] for name in names})
    return part.take(complete_labelled(part))


def restricted_spec(spec: Spec, names: list[str]) -> Spec:
    """The spec of `restricted`."""
    return replace(spec, modalities=tuple(m for m in spec.modalities if m.name in names))


def outages(
    present: NDArray[np.bool_], pattern: tuple[bool, ...], outage: Outage, seed: int
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Masks that together drop every clip to a pattern once.

    Args:
        present: ``(N, K)`` bool.
        pattern: the modalities that stay available.
        outage: see `FixedSettings`.
        seed: of the halves.

    Returns:
        Pairs of a mask ``(N, K)`` and the clips ``(N,)`` bool that it drops to the pattern.

    >>> (mask, dropped), _ = outages(np.ones((4, 2), bool), (True, False), "half", 0)
    >>> int(dropped.sum()), bool((mask[~dropped]).all())
    (2, True)
    """
    dropped = present & np.array(pattern)
    if outage == "dialogue":
        return [(dropped, np.ones(len(present), dtype=bool))]
    first = np.zeros(len(present), dtype=bool)
    first[np.random.default_rng((seed, 0x0A1F)).permutation(len(present))[: len(present) // 2]] = True
    return [(np.where(rows[:, None], dropped, present), rows) for rows in (first, ~first)]
