"""Raw features of missing modalities, drawn by a trained system."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import NoReturn

import torch

from imder.data.corpus import Corpus, Split
from imder.data.formats.file_fields import FileFields
from imder.data.formats.load import load_as_given
from imder.data.task_mismatch import task_of
from imder.imputation.drawing import draw_features
from imder.imputation.imputed import Imputed
from imder.imputation.layouts import check_layout, check_out, layout_of, write_imputed
from imder.inference.options import PredictOptions
from imder.inference.selection import Available, Progress, Selection, select
from imder.models.base import Model
from imder.training.trained import TrainedModel
from imder.types import ImderError, Spec


def impute(
    model: Model | TrainedModel | str | Path,
    corpus: Corpus | Split | str | Path,
    out: str | Path | None = None,
    split: str | None = None,
    *,
    available: Available | None = None,
    draws: int = 16,
    seed: int = 0,
    batch_size: int = 64,
    layout: str | None = None,
    drop_empty: bool = False,
    force: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Imputed:
    """Fill what is missing in a split with draws of its raw features.

    A modality is filled where the corpus lacks it and where ``available`` hides it. Everything else stays as it is, to the
    bit: features and their type, ids, labels, texts, dialogues, positions and speakers.

    Args:
        model: a trained system that imputes (``imputer``), the folder of a run, or a hub id.
        corpus: a corpus, a split of samples, or the path of a corpus.
        out: a folder to write the draws to (`imder.imputation.layouts`); None writes nothing.
        split: which split of a corpus; None for ``test``, or for the only one.
        available: what the system may use, as in `imder.predict`.
        draws: draws of each missing modality; those of one number go together.
        seed: of the draws, and of a protocol's mask. A draw depends on it and the sample's id, not on other samples.
        batch_size: samples filled at once; affects time and memory alone.
        layout: of the files: ``npz``, ``store`` or ``pickle``; None for that of the corpus given, or ``store``.
        drop_empty: leave out samples without any modality instead of raising, when reading a path.
        force: replace earlier draws in ``out`` instead of raising.
        device: as in `imder.predict`.
        progress: called with samples done and samples in all.

    Returns:
        The samples with all draws.

    Raises:
        ImderError: the system draws no features, what `imder.predict` refuses, no sample lacks anything and there is an
            ``out``, or ``out`` holds anything but earlier draws.
    """
    choice = _Choice(available, check_draws(draws), PredictOptions(None, seed, batch_size), progress)
    files = _Files(out, check_layout(layout), force)
    (imputed,) = _impute(model, corpus, _one(split), choice, files, drop_empty=drop_empty, device=device)
    return imputed


def impute_splits(
    model: Model | TrainedModel | str | Path,
    corpus: Corpus | str | Path,
    out: str | Path | None = None,
    *,
    available: Available | None = None,
    draws: int = 16,
    seed: int = 0,
    batch_size: int = 64,
    layout: str | None = None,
    drop_empty: bool = False,
    force: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> dict[str, Imputed]:
    """`impute` for every split of a corpus; with ``out`` each draw is a corpus of all of them.

    Args:
        model: as in `impute`, like everything that isn't explained here.
        corpus: a corpus or its path.
        out: a folder; splits that lack nothing are written as they are.
        available: names or a protocol; a mask fits one split only.
        draws: of each missing modality.
        seed: of the draws.
        batch_size: samples filled at once.
        layout: of the files.
        drop_empty: leave out samples without any modality.
        force: replace earlier draws.
        device: where to draw.
        progress: called with samples done and samples in all, split by split.

    Returns:
        The samples of each split with all draws.

    Raises:
        ImderError: what `impute` refuses, for any split; or no sample of any split lacks anything and there is an ``out``.
    """
    choice = _Choice(available, check_draws(draws), PredictOptions(None, seed, batch_size), progress)
    files = _Files(out, check_layout(layout), force)
    parts = _impute(model, corpus, _every, choice, files, drop_empty=drop_empty, device=device)
    return {part.split_name: part for part in parts}


def check_draws(draws: int) -> int:
    """A number of draws; `ImderError` unless it is a whole number, at least 1."""
    if not isinstance(draws, Integral) or isinstance(draws, bool) or draws < 1:
        raise ImderError(f"draws: a whole number, at least 1, is needed, got {draws!r}")
    return int(draws)


@dataclass(frozen=True)
class _Choice:
    """What is drawn: as the arguments of `impute`."""

    available: Available | None
    draws: int
    options: PredictOptions
    progress: Progress | None


@dataclass(frozen=True)
class _Files:
    """Where draws go: as the arguments of `impute`."""

    out: str | Path | None
    layout: str | None
    force: bool


Splits = Callable[[Corpus | Split], Sequence[str | None]]
"""The names of the splits to impute; None for the only one or the default."""


def _one(split: str | None) -> Splits:
    return lambda _: [split]


def _every(corpus: Corpus | Split) -> list[str | None]:
    return list(corpus.splits) if isinstance(corpus, Corpus) else [None]


def _impute(
    model: Model | TrainedModel | str | Path,
    corpus: Corpus | Split | str | Path,
    splits: Splits,
    choice: _Choice,
    files: _Files,
    *,
    drop_empty: bool,
    device: torch.device | str | None,
) -> list[Imputed]:
    """The samples of some splits with all draws, written if there is an ``out``."""
    layout = files.layout or layout_of(corpus)
    if files.out is not None:
        check_out(files.out, files.force)
    trained = model if isinstance(model, TrainedModel) else TrainedModel.load(model, device)
    if not hasattr(trained.model, "impute"):
        raise ImderError(
            f"{trained.name}: the system {trained.model.system!r} draws no raw features; train one that does: "
            "imder train CORPUS --out RUN --preset imputer"
        )
    shown: Mapping[str, FileFields] = {}
    if isinstance(corpus, str | Path):
        corpus, shown = load_as_given(trained.model.spec, trained.recipe, trained.name, corpus, drop_empty=drop_empty)
    data = corpus if isinstance(corpus, Split) else trained.read(corpus)
    selected = [_select(trained.model, data, name, choice.available, choice.options.seed) for name in splits(data)]
    if files.out is not None and all(selection.mask.all() for selection, _, _ in selected):
        _refuse([selection for selection, _, _ in selected])
    parts = []
    for selection, given, spec in selected:
        order = [trained.model.spec.names.index(name) for name in given.features]
        part = Imputed(
            given,
            ~selection.mask[:, order],
            draw_features(
                trained.model, selection.split, selection.mask, choice.draws, choice.options, choice.progress
            ),
            choice.draws,
            spec,
            selection.title,
            selection.name,
            data.recipe if isinstance(data, Corpus) else None,
            shown.get(selection.name, FileFields()),
        )
        parts.append(part)
    if files.out is not None:
        write_imputed(parts, files.out, layout, {"model": trained.name, "seed": int(choice.options.seed)})
    return parts


def _refuse(selections: Sequence[Selection]) -> NoReturn:
    """Say why there is nothing to write."""
    names = ", ".join(repr(selection.name) for selection in selections)
    where = f"split{'s' * (len(selections) > 1)} {names}"
    if not any(len(selection.split) for selection in selections):
        raise ImderError(f"{where}: there are no samples, so nothing to fill")
    raise ImderError(
        f"{where}: no sample lacks a modality: there is nothing to fill; available (--available, --protocol) hides "
        "modalities"
    )


def _select(
    model: Model, data: Corpus | Split, split: str | None, available: Available | None, seed: int
) -> tuple[Selection, Split, Spec]:
    """The selection, the split as given with every modality of the model, and the spec of these; labels stay as they are."""
    if isinstance(data, Corpus):
        name = data.default_split if split is None else split
        given, task, classes = data[name], data.spec.task, data.spec.classes
        lengths = {m.name: m.length for m in data.spec.modalities}
        bare: Corpus | Split = replace(data, splits={name: replace(given, labels=None, foreign_task=None)})
        selection = select(model, bare, name, available, seed)
    else:
        given, lengths = data, {name: int(r.lengths.max(initial=1)) for name, r in data.features.items()}
        task = model.spec.task if data.labels is None else task_of(data.labels)
        classes = model.spec.classes if task == model.spec.task else _numbers(data)
        selection = select(model, replace(data, labels=None, foreign_task=None), split, available, seed)
    if set(given.features) != set(model.spec.names):
        given = replace(
            given, features={name: given.features.get(name, r) for name, r in selection.split.features.items()}
        )
    own = {m.name: m for m in model.spec.modalities}
    modalities = (replace(own[name], length=max(lengths.get(name, 1), own[name].length)) for name in given.features)
    return selection, given, Spec(tuple(modalities), task, classes)


def _numbers(split: Split) -> tuple[str, ...]:
    """Names for the classes of a split that comes without any; none for regression."""
    if split.labels is None or split.labels.dtype.kind == "f":
        return ()
    return tuple(map(str, range(max(2, 1 + int(split.labels.max(initial=0))))))
