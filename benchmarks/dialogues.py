"""What neighbours can bring: exact optima on generated dialogues (`imder.synthetic.dialogue_truth`), by evidence.

    python benchmarks/dialogues.py [--clips 4000] [--draws 10] [--csv FILE]

The first table has the mean absolute error of the best prediction from the clip alone, from the clip and earlier ones
(``past``), and from the clips on both sides, in a window of 4 or in the whole dialogue. It is the expectation under the exact
distribution of the label, so only the choice of clips and masks adds noise. The second has, for each modality where it is
missing at a missing rate of .5, the largest R^2 that a recovery of its raw features can have. A minute on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from known import absolute_error
from measure import machine, markdown

from imder.data.corpus import Split
from imder.evaluation.results import write_csv
from imder.missingness.random_missing import RandomMissing
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.sequences import Direction

RATES = (0.0, 0.3, 0.5, 0.7)
WINDOW = 4
EVIDENCE: dict[str, tuple[Direction, int | None]] = {
    "clip alone": ("both", 0),
    f"past, window {WINDOW}": ("past", WINDOW),
    "past, whole dialogue": ("past", None),
    f"both, window {WINDOW}": ("both", WINDOW),
    "both, whole dialogue": ("both", None),
}
Row = dict[str, Any]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--draws", type=int, default=10, help="sets of masks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="file for the errors")
    options = parser.parse_args()
    truth = DialogueTruth.standard()
    split = truth.sample(options.clips, options.seed)
    print(
        f"{machine()}; {len(split)} clips, {len(set(split.dialogue or ()))} dialogues, {options.draws} sets of masks\n"
    )
    errors = bayes_errors(truth, split, range(options.draws))
    print(f"Bayes MAE\n\n{markdown([_to_digits(row) for row in errors])}\n")
    print(
        f"Largest R^2 of a recovery, missing rate .5\n\n{markdown([_to_digits(r) for r in recoverable(truth, split)])}"
    )
    if options.csv:
        write_csv(errors, options.csv)


def bayes_errors(truth: DialogueTruth, split: Split, seeds: Sequence[int], rates: Sequence[float] = RATES) -> list[Row]:
    """A row for each missing rate: the expected absolute error of the exact median given each kind of evidence."""
    rows = []
    for rate in rates:
        masks = [RandomMissing(rate).sample(split.present, seed) for seed in (seeds if rate else seeds[:1])]
        errors = {}
        for name, (direction, window) in EVIDENCE.items():
            posteriors = [truth.label_posterior(split, mask, direction, window) for mask in masks]
            errors[name] = float(np.mean([absolute_error(p, p.median(), 301) for p in posteriors]))
        rows.append({"missing rate": rate, **errors})
    return rows


def recoverable(truth: DialogueTruth, split: Split, rate: float = 0.5, seed: int = 0) -> list[Row]:
    """A row for each modality: 1 - conditional variance / variance of its raw features, over the clips that lack it."""
    mask = RandomMissing(rate).sample(split.present, seed)
    rows = []
    for k, name in enumerate(truth.names):
        lacking = np.flatnonzero(~mask[:, k])
        total = truth.conditional(split, np.zeros_like(mask), name, window=0, rows=lacking).variance().sum()
        left = {
            label: truth.conditional(split, mask, name, *evidence, lacking).variance().sum()
            for label, evidence in EVIDENCE.items()
        }
        rows.append({"modality": name, **{label: float(1 - value / total) for label, value in left.items()}})
    return rows


def _to_digits(row: Row) -> Row:
    return {
        key: f"{value:.3f}" if isinstance(value, float) and key in EVIDENCE else value for key, value in row.items()
    }


if __name__ == "__main__":
    main()
