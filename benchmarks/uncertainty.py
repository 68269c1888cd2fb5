"""Is the uncertainty calibrated? Coverage and CRPS on the known-truth corpus, against the exact label distribution.

    python benchmarks/uncertainty.py --out DIR [--presets fast,zero-fill] [--calibration 4000] [--test 4000]

Trains each preset as the demo does, on 3,200 samples with 400 for validation, which also calibrate it. With 400 rows for
each subset, coverage is accurate to about 2 points, so the system is calibrated again on 4,000 other samples, by
the same function. The test split is then evaluated at every missing rate and for every available subset. For each cell:

* coverage of the 90 % intervals, and the number n of test rows. Its standard error is about sqrt(.9 x .1 / n) from the
  test rows and as much from n calibration rows: .7 % together with 4,000 each;
* the mean CRPS of the predictive distributions, and its ratio to that of the exact p(label | what is available), clipped
  like the labels (`imder.synthetic.posterior.LabelPosterior`), on the same rows. Its expectation is at least 1.

``--task classification`` compares the coverage of prediction sets and the negative log-likelihood in the same way. The
targets, coverage within 2 points of 90 % and a ratio of at most 1.1, have a mark where they are missed. ``--dialogues`` does it
on dialogues (`imder.synthetic.dialogue_truth`), against the exact distribution given all that is available in the dialogue.

For `fast`, predicting every sample under every subset with eight recoveries takes about as long as training. Finished
trainings in DIR are reused. Prints tables of the larger calibration and a line on that of training; writes both to
``uncertainty.csv``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine, markdown
from numpy.typing import NDArray

from imder.calibration.scores import MIN_PROBABILITY
from imder.cli.demo import TRAIN, VALID
from imder.data.compatible import check_compatible
from imder.data.corpus import Corpus, Split
from imder.evaluation.cells import EvaluationCell, sample_cells
from imder.evaluation.evaluate import evaluate_predictor
from imder.evaluation.predicting import memoized, model_predict
from imder.evaluation.protocol import EvaluationProtocol
from imder.evaluation.results import write_csv
from imder.models.base import Model
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.posterior import LabelPosterior
from imder.training.calibrate import calibrate
from imder.training.config import TrainingConfig
from imder.training.run import RunDirectory
from imder.training.train import train
from imder.types import Task

LEVEL, OFF, RATIO = 0.9, 0.02, 1.1
PROTOCOLS: tuple[str, ...] = ("random", "fixed")
Row = dict[str, Any]


def main() -> None:
    """Train, evaluate and compare each preset, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--presets", default="fast", help="separated by commas")
    parser.add_argument("--task", choices=["regression", "classification"], default="regression")
    parser.add_argument("--dialogues", action="store_true", help="clips that follow one another")
    for name, size in (("train", TRAIN), ("valid", VALID), ("calibration", 4000), ("test", 4000)):
        parser.add_argument(f"--{name}", type=int, default=size, help=f"samples (default: {size})")
    parser.add_argument("--draws", type=int, default=1, help="of the masks of each rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-epochs", type=int, help="of each phase, to try it")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = f"{options.train} / {options.valid} / {options.calibration} / {options.test}"
    print(f"{machine()}; {sizes} samples to train, validate, calibrate, test\n")
    truth = DialogueTruth.standard() if options.dialogues else KnownTruth.standard()
    corpus = truth.corpus(options.train, options.valid, options.test, options.seed, options.task)
    fresh = truth.sample(options.calibration, (options.seed, 4), "calibration", options.task)
    exact = exact_scores(truth, corpus["test"], options.task)
    rows: list[Row] = []
    for preset in options.presets.split(","):
        model, seconds = _trained(preset, corpus, options)
        started = time.monotonic()
        predict = model_predict(model, seed=options.seed)  # once, for both calibrations and both protocols
        several = partial(
            evaluate_predictor,
            preset,
            predict if model.uses_context else memoized(predict),
            check_compatible(model.spec, corpus),
            whole=model.uses_context,
        )
        before = compare(partial(several, calibration=model.calibration), corpus, exact, options.draws, options.seed)
        predicted = time.monotonic() - started
        started = time.monotonic()
        larger = replace(corpus, splits={**corpus.splits, "valid": fresh})
        model.calibration = calibrate(model, larger, TrainingConfig(calibration_samples=options.calibration))
        took = time.monotonic() - started
        larger_rows = compare(
            partial(several, calibration=model.calibration), corpus, exact, options.draws, options.seed
        )
        print(
            f"{preset}: trained in {seconds:.0f} s, predicted in {predicted:.0f} s, "
            f"calibrated on {options.calibration} samples in {took:.0f} s\n"
        )
        for protocol in PROTOCOLS:
            shown = [row for row in larger_rows if row["protocol"] == protocol]
            print(markdown([_cells(row) for row in shown]) + "\n", flush=True)
        for size, compared in ((options.calibration, larger_rows), (options.valid, before)):
            print(_verdict(preset, size, compared))
            rows += [{"preset": preset, "task": options.task, "calibration": size, **row} for row in compared]
        print()
    write_csv(rows, options.out / "uncertainty.csv")
    print(f"uncertainty.csv is in {options.out}")


def _verdict(preset: str, size: int, rows: Sequence[Row]) -> str:
    within = sum(row["off"] <= OFF and row["ratio"] <= RATIO for row in rows)
    worst = max(rows, key=lambda row: row["off"])
    return (
        f"{preset}, calibrated on {size} samples: {within} of {len(rows)} cells within both targets; coverage off by "
        f"{100 * worst['off']:.1f} points at most ({worst['cell']}), ratio {max(r['ratio'] for r in rows):.3f} at most"
    )


def _trained(preset: str, corpus: Corpus, options: argparse.Namespace) -> tuple[Model, float]:
    """A finished model or one trained now, and the seconds of its training."""
    kind = "-dialogues" if options.dialogues else ""
    out = options.out / f"{preset}-{options.task}-{options.train}-{options.valid}-{options.seed}{kind}"
    if RunDirectory(out).finished():
        return Model.from_pretrained(out), 0.0
    started = time.monotonic()
    resume = (out / "config.yaml").exists()
    overrides = {"training.seed": options.seed}
    model = train(corpus, out, preset=preset, overrides=overrides, max_epochs=options.max_epochs, resume=resume)
    return model, time.monotonic() - started


def exact_scores(
    truth: KnownTruth | DialogueTruth, split: Split, task: Task
) -> Callable[[NDArray[np.bool_]], NDArray[np.float64]]:
    """A function from a mask (N, K) to the scores (N,) of the exact label distributions given the available features.

    The score is the CRPS for regression, -ln p for classes. Where clips are independent, each (sample, subset) pair is
    computed once; in dialogues all of a mask counts.
    """
    labels = split.labels
    assert labels is not None
    cache: dict[tuple[bool, ...], NDArray[np.float64]] = {}

    def score(posterior: LabelPosterior) -> NDArray[np.float64]:
        if task == "regression":
            return posterior.crps(labels)
        p = posterior.class_probabilities(truth.edges)
        return np.asarray(-np.log(np.clip(p[np.arange(len(labels)), labels], MIN_PROBABILITY, None)))

    def exact(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        if isinstance(truth, DialogueTruth):
            return score(truth.label_posterior(split, mask))
        out = np.empty(len(mask))
        for pattern in map(tuple, np.unique(mask, axis=0).tolist()):
            if pattern not in cache:
                cache[pattern] = score(truth.label_posterior(split, np.tile(pattern, (len(mask), 1))))
            rows = (mask == np.array(pattern)).all(axis=1)
            out[rows] = cache[pattern][rows]
        return out

    return exact


def compare(
    several: Callable[..., list[Row]],
    corpus: Corpus,
    exact: Callable[[NDArray[np.bool_]], NDArray[np.float64]],
    draws: int,
    seed: int = 0,
) -> list[Row]:
    """A row for each missing rate and each subset: coverage, size, score, and the ratio to the exact score.

    ``several`` evaluates the system on the test split under an `EvaluationProtocol`.
    """
    size, score = ("width", "crps") if corpus.spec.task == "regression" else ("set_size", "nll_calibrated")
    rows: list[Row] = []
    for protocol in PROTOCOLS:
        cells = sample_cells(corpus["test"].present, corpus.spec.names, protocol=protocol, draws=draws, seed=seed)
        evaluated = several(EvaluationProtocol(protocol, draws=draws, seed=seed))
        by_setting: dict[str, list[tuple[EvaluationCell, Row]]] = {}
        for cell, row in zip(cells, evaluated, strict=True):
            by_setting.setdefault(cell.available or f"{cell.rate:g}", []).append((cell, row))
        for setting, members in by_setting.items():
            mean = {key: float(np.mean([row[key] for _, row in members])) for key in ("coverage", size, score)}
            optimum = float(np.mean([exact(cell.mask).mean() for cell, _ in members]))
            rows.append(
                {
                    "protocol": protocol,
                    "cell": setting,
                    "n": members[0][1]["n"],
                    **mean,
                    f"exact {score}": optimum,
                    "ratio": mean[score] / optimum,
                    "off": abs(mean["coverage"] - LEVEL),
                    **{k: float(np.mean([row[k] for _, row in members])) for k in _selective(corpus.spec.task)},
                }
            )
    return rows


def _selective(task: Task) -> tuple[str, ...]:
    return ("mae", "selective_mae") if task == "regression" else ("accuracy", "selective_error")


def _cells(row: Row) -> Row:
    """A row for printing; values that miss their target get a mark."""
    shown = {key: value for key, value in row.items() if key not in ("protocol", "off")}
    shown["coverage"] = f"{100 * row['coverage']:.1f}" + (" !" if row["off"] > OFF else "")
    shown["ratio"] = f"{row['ratio']:.3f}" + (" !" if row["ratio"] > RATIO else "")
    return shown


if __name__ == "__main__":
    main()
