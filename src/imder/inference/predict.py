"""What a trained system says of a corpus: predictions with their spread, and recovered encodings.

Here everything that is present is available, and labels are neither needed nor looked at. The spread is over recoveries:
how far the prediction hangs on what the missing modalities may have been. It is zero where nothing is missing, and for
systems that sample nothing; noise in the labels themselves is no part of it. What a label may be, with all of that, is in
the interval or the prediction set (`imder.calibration`), for every model that was saved with a calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from imder.calibration.calibration import Calibration
from imder.calibration.conformal import check_level
from imder.calibration.describe import LEVEL, check_recoveries, describe_classes, describe_values
from imder.data.corpus import Corpus, Ragged, Split
from imder.data.dialogues import whole_dialogues
from imder.data.loader import MaskedLoader
from imder.data.store import write_store
from imder.missingness.patterns import pattern_name
from imder.models.base import Model
from imder.types import Batch, ImderError, Modality, Output, RecoveredEncoding, Spec

Progress = Callable[[int, int], None]


def predictions(
    model: Model,
    data: Corpus | Split,
    split: str | None = None,
    *,
    samples: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    level: float = LEVEL,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Predictions for every sample, in order.

    Args:
        model: a trained system.
        data: a corpus or a split.
        split: which split of a corpus; None for ``test``, or the only one.
        samples: recoveries for each prediction; None for the preset's number.
        seed: of the noise in recoveries.
        batch_size: samples predicted at once; changes nothing but the time.
        level: how often intervals or prediction sets shall hold the label.
        progress: called with samples predicted and samples in all.

    Returns:
        For each sample ``id`` and ``available`` (names joined by ``+``), then

        * regression: ``prediction``; ``std``, ``q05``, ``q95``: standard deviation (of a sample, n - 1; 0 for a single
          recovery) and quantiles over recoveries;
        * classification: ``label``; ``p_<class>`` for each class, averaged over recoveries; ``entropy`` of these, in
          nats;
        * of a model with a calibration: ``low`` and ``high``, the interval that holds the label as often as ``level``
          says, or ``set``, the classes of the prediction set joined by ``|``.

    Raises:
        ImderError: the level isn't in (0, 1), the data don't fit the model, a sample has no modality, there is no
            such split, or no samples are asked for.
    """
    chosen = _choose(model, data, split, labels=False)
    found, recoveries = predicted_rows(model, chosen, samples, seed, batch_size, level, progress)
    if found and model.calibration is not None:
        check_recoveries(model.calibration, recoveries)
    return found


def predicted_rows(
    model: Model,
    split: Split,
    samples: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    level: float = LEVEL,
    progress: Progress | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """`predictions` for a split that fits the model already, and the number of recoveries that each of them is made of.

    For who predicts a part at a time: `imder.calibration.describe.check_recoveries` is left to be said once.
    """
    check_level(level)
    found: list[dict[str, Any]] = [{}] * len(split)
    recoveries = 0
    for rows, batch in _batches(model, split, np.arange(len(split)), samples, batch_size, progress):
        output = model.predict(batch, samples=samples, seed=seed)
        recoveries = len(output.spread)
        described = _classes(output, model.spec) if model.spec.task == "classification" else _values(output)
        if model.calibration is not None:
            sure = _certainty(model.calibration, output, batch, level)
            described = [values | more for values, more in zip(described, sure, strict=True)]
        for row, there, values in zip(rows, batch.available.tolist(), described, strict=True):
            found[row] = {"id": split.ids[row], "available": pattern_name(there, model.spec.names)} | values
    return found, recoveries


def _values(output: Output) -> list[dict[str, Any]]:
    spread = output.spread.double().cpu().numpy()
    std = spread.std(axis=0, ddof=1) if len(spread) > 1 else np.zeros(spread.shape[1])
    low, high = np.quantile(spread, (0.05, 0.95), axis=0)
    columns = (output.prediction.double().cpu().numpy(), std, low, high)
    names = ("prediction", "std", "q05", "q95")
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def _classes(output: Output, spec: Spec) -> list[dict[str, Any]]:
    probabilities = output.prediction.double().cpu().numpy()
    entropy = -(probabilities * np.log(np.clip(probabilities, 1e-300, None))).sum(axis=1)
    return [
        {"label": spec.classes[int(p.argmax())]}
        | {f"p_{name}": float(value) for name, value in zip(spec.classes, p, strict=True)}
        | {"entropy": float(abs(h))}
        for p, h in zip(probabilities, entropy, strict=True)
    ]


def _certainty(calibration: Calibration, output: Output, batch: Batch, level: float) -> list[dict[str, Any]]:
    spread, available = output.spread.transpose(0, 1).cpu().numpy(), batch.available.cpu().numpy()
    if calibration.spec.task == "classification":
        members = describe_classes(calibration, spread, available, level).members.tolist()
        return [
            {"set": "|".join(c for c, there in zip(calibration.spec.classes, row, strict=True) if there)}
            for row in members
        ]
    found = describe_values(calibration, spread, available, level)
    return [{"low": low, "high": high} for low, high in zip(found.low.tolist(), found.high.tolist(), strict=True)]


class Recovering(Protocol):
    """What a system that recovers encodings has beside being a `Model`."""

    def recover(self, batch: Batch, samples: int = 1, seed: int = 0) -> dict[str, RecoveredEncoding]:
        """For each modality that some row lacks, its recovery."""
        ...


def recover_to_store(
    model: Model,
    data: Corpus | Split,
    out: str | Path,
    split: str | None = None,
    *,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Corpus:
    """Recover what is missing and write it as a store (`imder.data.store`) with one split, named as the one read.

    For each modality that some sample lacks the store has two: ``<modality>_sampled`` and ``<modality>_refined``, a
    sequence of steps x width each, absent where the sample has the modality itself. Samples that lack nothing are left
    out. With several recoveries of each sample, their ids end in ``#0``, ``#1``, ... Labels, texts, dialogues and
    speakers go along.

    The system must be one that recovers (``imder``), ``out`` is the folder to write, and ``samples`` the recoveries of each
    sample; the rest is as in `predictions`.

    Returns:
        What was written.

    Raises:
        ImderError: the system recovers nothing, no sample lacks anything, what `predictions` refuses, or the folder
            can't be written.
    """
    if not hasattr(model, "recover"):
        raise ImderError(f"the system {model.system!r} recovers no encodings")
    recovering = cast(Recovering, model)
    chosen = _choose(model, data, split, labels=True)
    name = "all" if isinstance(data, Split) else _split_name(data, split)
    title = "recovered" if isinstance(data, Split) else f"{data.name}-recovered"
    lacking = np.flatnonzero(~chosen.present.all(axis=1))
    if not len(lacking):
        raise ImderError(f"split {name!r}: no sample lacks anything: there is nothing to recover")
    sequences: dict[str, dict[int, NDArray[np.float32]]] = {}
    for rows, batch in _batches(model, chosen, lacking, samples, batch_size, progress):
        for modality, recovery in recovering.recover(batch, samples=samples, seed=seed).items():
            lengths = recovery.lengths.tolist()
            for face in ("sampled", "refined"):
                encodings = getattr(recovery, face).float().cpu().numpy().swapaxes(-1, -2)  # (S, R, steps, width)
                kept = sequences.setdefault(f"{modality}_{face}", {})
                for i, row in enumerate(rows[recovery.rows.cpu().numpy()]):
                    for draw in range(samples):
                        kept[int(row) * samples + draw] = encodings[draw, i, : lengths[i]]
    ids = [chosen.ids[i] for i in lacking]
    copied = replace(chosen, features={}, nonfinite={}, dropped=0).take(np.repeat(lacking, samples))
    places = [int(i) * samples + draw for i in lacking for draw in range(samples)]
    features = {
        key: Ragged.from_list([kept.get(p, np.zeros((0, width), np.float32)) for p in places], width)
        for key, kept in sequences.items()
        for width in [next(iter(kept.values())).shape[1]]
    }
    written = replace(
        copied,
        ids=tuple(ids) if samples == 1 else tuple(f"{i}#{draw}" for i in ids for draw in range(samples)),
        features=features,
    )
    modalities = tuple(Modality(key, r.dim, int(r.lengths.max())) for key, r in features.items())
    corpus = Corpus(title, Spec(modalities, model.spec.task, model.spec.classes), {name: written})
    write_store(corpus, out)
    return corpus


def _split_name(corpus: Corpus, split: str | None) -> str:
    """The split asked for, or ``test``, or the only one."""
    if split is not None:
        return split
    if "test" in corpus.splits or len(corpus.splits) != 1:
        return "test"
    return next(iter(corpus.splits))


def _choose(model: Model, data: Corpus | Split, split: str | None, *, labels: bool) -> Split:
    """The samples as the model reads them, with labels or without looking at them."""
    if isinstance(data, Corpus):
        name = _split_name(data, split)
        found = data[name]
    elif split is not None:
        raise ImderError(f"a split was given, not a corpus: there is no split {split!r} to choose")
    else:
        name, found, data = "all", data, Corpus("samples", model.spec, {"all": data})
    found = found if labels else replace(found, labels=None)
    chosen = model.prepare(replace(data, splits={name: found}))[name]
    for i in np.flatnonzero(~chosen.present.any(axis=1)):
        raise ImderError(f"sample {chosen.ids[i]!r} has no modality at all: nothing can be predicted for it")
    return chosen


def _batches(
    model: Model,
    split: Split,
    rows: NDArray[np.int64],
    samples: int | None,
    batch_size: int,
    progress: Progress | None,
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Row numbers and batches of them, what is alike together (pattern, then length), without labels.

    For a model with context, whole dialogues together; ``rows`` must then be all.
    """
    if samples is not None and samples < 1:
        raise ImderError(f"at least one recovery is needed, got {samples}")
    frames = np.stack([r.lengths[rows] for r in split.features.values()]).sum(axis=0)
    rows = rows[np.lexsort((frames, *split.present[rows].T))]
    batches = MaskedLoader(replace(split, labels=None), rows, split.present[rows], batch_size)
    if model.uses_context:
        batches = whole_dialogues(batches, at_once=batch_size)
    done = 0
    for number, batch in enumerate(batches):
        if progress is not None:
            progress(done, len(rows))
        yield batches.rows[batches.batch_indices(number)], batch.to(model.device)
        done += len(batch)
    if progress is not None:
        progress(len(rows), len(rows))
