"""Train a system on a random corpus and check what every system promises of its predictions.

Outcomes:

equal       everything held
refused     `imder.types.ImderError` of one line
traceback   any other exception, or a message of several lines
hang        more than `SECONDS`
infinite    a prediction, a recovery or an imputed feature that isn't finite
invalid     probabilities that aren't, an interval whose low end is above its high end, a set of unknown classes
batch size  predictions depend on how many samples are predicted at once
order       predictions depend on the order of the samples
padding     predictions depend on frames beyond the lengths, or on features that aren't available
saved       the model or the corpus read from disk predicts otherwise

"Depend" means by more than `TOLERANCE` of the predictions' scale; what is read from disk must be equal to the bit. Drawn
features may differ by more in 1 % of the values: where a quantile function is steep, it magnifies the rounding of its argument.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from random_corpus import make_corpus, random_recipe

from imder.data.corpus import Corpus
from imder.data.dialogues import dialogue_numbers
from imder.data.formats.load import load_corpus
from imder.data.loader import collate
from imder.data.split import Split
from imder.evaluation.evaluate import evaluate
from imder.imputation.impute import impute
from imder.inference.predict import predict
from imder.inference.recover import recover
from imder.missingness.masks import Mask
from imder.missingness.protocols import RandomMissing
from imder.models.base import Model
from imder.rows import Rows
from imder.training.config import EngineConfig
from imder.training.train import train
from imder.types import Batch, ImderError

SECONDS, TOLERANCE, SHARE = 120, 1e-4, 0.99
CHECKS = ("infinite", "invalid", "batch size", "order", "padding", "saved")
OUTCOMES = ("equal", "refused", "traceback", "hang", *CHECKS)
BAD = OUTCOMES[2:]

_ENCODER = {"width": 8, "steps": 6}
_FUSED = {"encoder": _ENCODER, "fusion": {"hidden": 8}}
_CONTEXT = {"context": {"direction": "both", "window": 2}}
_SCORE = {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2}
_RECOVERY = {"refinement": {"channels": 8, "blocks": 1, "reduction": 4}}
_CHANNELS = {"widths": [8, 8], "heads": 2, "embedding": 8, "attention_layers": 1}
MODELS: dict[str, dict[str, Any]] = {
    "fast": _FUSED
    | _CONTEXT
    | _RECOVERY
    | {"members": 2, "num_samples": 2, "recovery": {"evaluations": 2, "network": _SCORE}},
    "regression": _FUSED | _CONTEXT | _RECOVERY | {"members": 2, "recovery": {"network": _SCORE}},
    "paper-mosi": _RECOVERY
    | {"encoder": _ENCODER | {"steps": 8}, "fusion": {"heads": 2, "layers": 1}}
    | {"recovery": {"evaluations": 3, "network": _CHANNELS}},
    "imputer": _FUSED | _CONTEXT | {"members": 2, "evaluations": 2, "factors": 4},
    "late-fusion": _FUSED,
    "zero-fill": _FUSED,
    "language-only": _FUSED,
    "mult": {"encoder": _ENCODER, "fusion": {"heads": 2, "layers": 1}},
    "mmin": {
        "encoder": {"width": 8, "hidden": [8]},
        "cascade": {"layers": [8, 4], "blocks": 2},
        "head": [8],
    },
    "gcnet": {"hidden": 8},
    "emt-dlfr": {"encoder": {"hidden": 8, "width": 4}, "fusion": {"width": 8, "heads": 2, "layers": 1}, "head": 8},
    "ridge": {},
    "constant": {},
}
"""The presets of the campaign, each with the settings that make it tiny."""
UNLABELLED = "imputer without labels"
SYSTEMS = (*MODELS, UNLABELLED)


class Fault(Exception):
    """A promise that didn't hold: its outcome, and where."""

    def __init__(self, outcome: str, where: str) -> None:
        super().__init__(f"{outcome}: {where}")
        self.outcome = outcome


def run_case(number: int, seed: int, system: str, folder: Path) -> tuple[str, str]:
    """Train a system on the corpus of a number and check it; the outcome and what was said."""
    try:
        check(number, seed, system, folder)
    except ImderError as error:
        return ("traceback" if "\n" in str(error) else "refused"), str(error)
    except TimeoutError:
        return "hang", traceback.format_exc()
    except Fault as fault:
        return fault.outcome, str(fault)
    except Exception:
        return "traceback", traceback.format_exc()
    return "equal", ""


def check(number: int, seed: int, system: str, folder: Path) -> None:
    """Raise `Fault` where a promise doesn't hold, and whatever the library raises.

    Args:
        number: of the corpus.
        seed: of the campaign.
        system: one of `SYSTEMS`.
        folder: an empty folder for the run.
    """
    rng = np.random.default_rng([seed, number])
    corpus = make_corpus(random_recipe(rng), rng)
    if system == UNLABELLED:
        corpus = without_task(corpus)
    model = trained(corpus, system, folder / "run", int(rng.integers(1000)))
    loaded = Model.from_pretrained(folder / "run")
    corpus.save(folder / "corpus")
    stored = load_corpus(folder / "corpus", task=corpus.spec.task)
    present = model.prepare(corpus)["test"].present
    for mask in (present, RandomMissing(0.5).sample(present, seed)):
        if model.predicts:
            check_predictions(model, corpus, mask)
            rows = predict(model, corpus, available=mask)
            _same(rows, predict(loaded, stored, available=mask), "saved", 0)
        if hasattr(model, "recover") and not mask.all():
            _finite_corpus(recover(model, corpus, available=mask))
        if hasattr(model, "impute"):
            check_draws(model, corpus, mask)
    if model.predicts and corpus["test"].labelled.all():
        evaluate(model, corpus, rates=(0.0, 0.5), draws=1)


def trained(corpus: Corpus, system: str, out: Path, seed: int) -> Model:
    """A tiny system after two epochs of each phase."""
    preset = "imputer" if system == UNLABELLED else system
    small = {"model": MODELS[preset]}
    if preset == "language-only" and "language" not in corpus.spec.names:
        small = {"model": MODELS[preset] | {"modality": corpus.spec.names[0]}}
    engine = EngineConfig(accelerator="cpu", checkpoint_seconds=1e9)
    return train(corpus, out, preset=preset, overrides=small, max_epochs=2, seed=seed, engine=engine, logger="none")


def without_task(corpus: Corpus) -> Corpus:
    """The corpus without its labels."""
    splits = {name: replace(split, labels=None) for name, split in corpus.items()}
    return replace(corpus, spec=replace(corpus.spec, task="none", classes=()), splits=splits)


def check_predictions(model: Model, corpus: Corpus, mask: Mask) -> None:
    """Predictions are finite and valid, and don't depend on batches, order and padding."""
    rows = predict(model, corpus, available=mask)
    _valid(rows, corpus)
    for size in (1, 3):
        _same(rows, predict(model, corpus, available=mask, batch_size=size), "batch size")
    split = corpus["test"]
    order = np.random.default_rng(len(split)).permutation(len(split))
    moved = predict(model, replace(corpus, splits={"test": split.take(order)}), available=mask[order])
    _same(Rows(rows[i] for i in order), moved, "order")
    if not len(split):
        return
    batch = _batch(model, model.prepare(replace(corpus, splits={"test": split}))["test"], mask)
    plain, padded = model.predict(batch, samples=2), model.predict(_padded(batch), samples=2)
    served = batch.available.any(1)
    _close(plain.prediction[served].numpy(), padded.prediction[served].numpy(), "padding", model.spec.task)


def check_draws(model: Any, corpus: Corpus, mask: Mask) -> None:
    """Draws of raw features are finite and don't depend on batches and order."""
    split = corpus["test"]
    whole, single = (impute(model, corpus, available=mask, draws=2, batch_size=size) for size in (64, 1))
    order = np.random.default_rng(len(split)).permutation(len(split))
    moved = impute(model, replace(corpus, splits={"test": split.take(order)}), available=mask[order], draws=2)
    for first, second, third in zip(whole, single, moved, strict=True):
        _finite_features(first)
        for outcome, other in (("batch size", second), ("order", third.take(np.argsort(order)))):
            for name, ragged in first.features.items():
                if (ragged.offsets != other.features[name].offsets).any():
                    raise Fault(outcome, f"lengths of {name}")
                _close(ragged.values, other.features[name].values, outcome, "regression", share=SHARE)


def _valid(rows: Rows, corpus: Corpus) -> None:
    classes = corpus.spec.classes
    for row in rows:
        for key, value in row.items():
            if isinstance(value, float) and key != "true_label" and not math.isfinite(value):
                raise Fault("infinite", f"{key} of {row['id']}")
        if row.get("entropy", row.get("std")) is None:
            continue
        if classes:
            p = [row[f"p_{name}"] for name in classes]
            if min(p) < 0 or abs(sum(p) - 1) > 1e-5 or row["label"] != classes[int(np.argmax(p))]:
                raise Fault("invalid", f"probabilities of {row['id']}")
            if "set" in row and not set(filter(None, row["set"].split("|"))) <= set(classes):
                raise Fault("invalid", f"set of {row['id']}")
        elif row["std"] < 0 or row["q05"] > row["q95"] or ("low" in row and row["low"] > row["high"]):
            raise Fault("invalid", f"interval of {row['id']}: {row}")
        if "recovery_weight" in row and not 0 <= row["recovery_weight"] <= 1:
            raise Fault("invalid", f"recovery_weight of {row['id']}")


def _same(first: Rows, second: Rows, outcome: str, tolerance: float = TOLERANCE) -> None:
    """Raise `Fault` unless two tables agree; labels and sets may differ where probabilities tie."""
    if first.columns != second.columns or len(first) != len(second):
        raise Fault(outcome, f"columns {first.columns} and {second.columns}, {len(first)} and {len(second)} rows")
    for name in first.columns:
        a, b = ([row[name] for row in rows] for rows in (first, second))
        if [x is None for x in a] != [x is None for x in b]:
            raise Fault(outcome, f"{name}: missing in other rows")
        if all(isinstance(x, float | None) for x in a):
            numbers = [np.array([np.nan if x is None else x for x in column]) for column in (a, b)]
            _close(*numbers, outcome, "classification" if name.startswith("p_") else "regression", tolerance, name)
        elif (tolerance == 0 or name not in ("label", "set")) and a != b:
            raise Fault(outcome, name)


def _close(
    first: NDArray[Any],
    second: NDArray[Any],
    outcome: str,
    task: str,
    tolerance: float = TOLERANCE,
    where: str = "predictions",
    share: float = 1.0,
) -> None:
    """Raise `Fault` unless a share of the numbers agree."""
    scale = 1.0 if task == "classification" else float(np.nanmax(np.abs(first), initial=0))
    with np.errstate(over="ignore", invalid="ignore"):
        differences = np.abs(first.astype(np.float64) - second)
    known = differences[~np.isnan(differences)]
    difference = float(np.quantile(known, share)) if known.size else 0.0
    if not difference <= tolerance * scale:
        raise Fault(outcome, f"{where} differ by {difference:.3g}, scale {scale:.3g}")


def _batch(model: Model, split: Split, mask: Mask) -> Batch:
    """The whole split as one batch, in dialogues where the model reads them."""
    dialogue = dialogue_numbers(split) if model.needs_dialogues(split) else None
    return collate(replace(split, labels=None), np.arange(len(split)), mask, mask, dialogue)


def _padded(batch: Batch) -> Batch:
    """The batch with five more frames, and numbers wherever no information is."""
    features = {}
    for k, (name, x) in enumerate(batch.features.items()):
        longer = torch.nn.functional.pad(x, (0, 0, 0, 5))
        valid = (torch.arange(longer.shape[1]) < batch.lengths[name][:, None]) & batch.available[:, k, None]
        features[name] = torch.where(valid[..., None], longer, torch.full_like(longer, 123.0))
    return replace(batch, features=features)


def _finite_corpus(corpus: Corpus) -> None:
    for split in corpus.values():
        _finite_features(split)


def _finite_features(split: Split) -> None:
    for name, ragged in split.features.items():
        if not np.isfinite(ragged.values).all():
            raise Fault("infinite", f"features of {name}")


def systems_of(number: int, count: int, systems: Sequence[str] = SYSTEMS) -> Iterator[str]:
    """The systems that are trained on the corpus of a number: ``count`` of them, each as often as the others."""
    return (systems[(number * count + i) % len(systems)] for i in range(min(count, len(systems))))
