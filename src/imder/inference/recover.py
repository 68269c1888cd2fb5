"""Recovered encodings of a trained system, as a corpus."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split
from imder.data.store import check_new_store
from imder.data.store_writer import write_store
from imder.inference.options import PredictOptions
from imder.inference.selection import Available, Progress, Selection, batches, select
from imder.models.base import Model
from imder.training.trained import TrainedModel
from imder.types import Batch, ImderError, Modality, RecoveredEncoding, Spec

Sequences = dict[str, dict[int, NDArray[np.float32]]]
"""For each modality of the result, its sequences ``(steps, width)`` by number of sample and draw."""


class Recovering(Protocol):
    """A system that recovers encodings has this method beside those of `Model`."""

    def recover(self, batch: Batch, samples: int = 1, seed: int = 0) -> dict[str, RecoveredEncoding]:
        """The recovery of each modality that some row lacks."""
        ...


def recover(
    model: Model | str | Path,
    corpus: Corpus | Split | str | Path,
    out: str | Path | None = None,
    split: str | None = None,
    *,
    available: Available | None = None,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 64,
    drop_empty: bool = False,
    force: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Recover what is missing in a split.

    For each modality that some sample lacks the result has two: ``<modality>_sampled`` and ``<modality>_refined``,
    sequences ``(steps, width)``, absent where the sample has the modality itself. A system that recovers erased steps too
    (`Model.recovers_steps`) gives the whole sequence, of which known steps are the same in every recovery. Samples that lack
    nothing, or have nothing, are left out. With several recoveries of each sample, their ids end in ``#0``, ``#1``, ... Labels,
    texts, dialogues and speakers go along.

    Args:
        model: a trained system that recovers (``imder``), the folder of a run, or a hub id.
        corpus: a corpus, a split of samples, or the path of a corpus.
        out: the store to write (`imder.data.store`); None keeps the result in memory.
        split: which split of a corpus; None for ``test``, or for the only one.
        available: what the system may use, as in `imder.predict`.
        samples: recoveries of each sample.
        seed: of the noise, and of a protocol's mask.
        batch_size: samples recovered at once; affects time and memory alone.
        drop_empty: leave out samples without any modality instead of raising, when reading a path.
        force: replace a store in ``out`` instead of raising.
        device: as in `imder.predict`.
        progress: called with samples done and samples in all.

    Returns:
        A corpus with one split, named as the one read.

    Raises:
        ImderError: the system recovers nothing, no sample lacks anything, what `imder.predict` refuses, or the store can't
            be written.
    """
    options = PredictOptions(samples, seed, batch_size)
    if out is not None:
        check_new_store(out, force)
    trained = TrainedModel.load(model, device)
    if not hasattr(trained.model, "recover"):
        raise ImderError(f"{trained.name}: the system {trained.model.system!r} recovers no encodings")
    data = corpus if isinstance(corpus, Split) else trained.read(corpus, drop_empty=drop_empty)
    selection = select(trained.model, data, split, available, options.seed, labels=True)
    complete = selection.mask.all(axis=1)
    if selection.erasure is not None and trained.model.recovers_steps:
        complete &= ~selection.erasure.rates.any(axis=1)
    lacking = np.flatnonzero(~complete & selection.mask.any(axis=1))
    sequences = _recoveries(trained.model, selection, lacking, samples, options, progress) if len(lacking) else {}
    held = {number // samples for kept in sequences.values() for number in kept}  # at a low rate some lose no step
    lacking = lacking[np.isin(lacking, list(held))]
    if not len(lacking):
        raise ImderError(f"split {selection.name!r}: no sample lacks a modality: there is nothing to recover")
    recovered = _corpus(trained.model, selection, lacking, sequences, samples)
    if out is not None:
        write_store(recovered, out)
    return recovered


def _recoveries(
    model: Model,
    selection: Selection,
    lacking: NDArray[np.int64],
    samples: int,
    options: PredictOptions,
    progress: Progress | None,
) -> Sequences:
    """Recoveries of the rows ``lacking`` something."""
    sequences: Sequences = {}
    wanted = set(lacking.tolist())  # whole dialogues hold other rows too
    recovering = cast(Recovering, model)
    for rows, batch in batches(
        model, selection.split, selection.mask, options.batch_size, progress, lacking, selection.erasure
    ):
        for modality, recovery in recovering.recover(batch, samples=samples, seed=options.seed).items():
            lengths = recovery.lengths.tolist()
            recovered_rows = rows[recovery.rows.cpu().numpy()].tolist()
            for stage in ("sampled", "refined"):
                encodings = getattr(recovery, stage).float().cpu().numpy().swapaxes(-1, -2)  # (S, R, steps, width)
                kept = sequences.setdefault(f"{modality}_{stage}", {}) if wanted & set(recovered_rows) else {}
                for i, row in enumerate(recovered_rows):
                    for draw in range(samples if row in wanted else 0):
                        kept[row * samples + draw] = encodings[draw, i, : lengths[i]]
    return sequences


def _corpus(
    model: Model, selection: Selection, lacking: NDArray[np.int64], sequences: Sequences, samples: int
) -> Corpus:
    """Recoveries as a corpus: ``samples`` rows for each of the rows ``lacking`` something."""
    numbers = [int(row) * samples + draw for row in lacking for draw in range(samples)]
    features = {}
    for name, kept in sequences.items():
        width = next(iter(kept.values())).shape[1]
        absent = np.zeros((0, width), np.float32)
        features[name] = Ragged.from_list([kept.get(number, absent) for number in numbers], width)
    ids = [selection.split.ids[i] for i in lacking]
    bare = replace(selection.split, features={}, nonfinite={}, dropped=0, filled={})
    split = replace(
        bare.take(np.repeat(lacking, samples)),
        ids=tuple(ids) if samples == 1 else tuple(f"{i}#{draw}" for i in ids for draw in range(samples)),
        features=features,
    )
    modalities = tuple(Modality(name, r.dim, int(r.lengths.max())) for name, r in features.items())
    spec = Spec(modalities, model.spec.task, model.spec.classes)
    return Corpus(f"{selection.title}-recovered", spec, {selection.name: split})
