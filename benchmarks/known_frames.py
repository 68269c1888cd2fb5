"""How far from the best possible predictions under erased frames and under bursts? Systems against the exact optimum.

    python benchmarks/known_frames.py --out DIR [--models imder,late-fusion:context] [--protocols frames,bursts]

Trains each system on generated dialogues (`imder.synthetic.dialogue_truth`): for ``frames`` under that protocol at every rate,
for ``bursts`` as its preset says. Then predicts the test split at each rate, under ``--draws`` sets of masks, and scores the
exact distribution of the label on the same clips and masks: given all that remains in the dialogue, given what remains in
the clip and the four on either side, which the systems read, and given the clip alone. Both protocols drop at random: that
something is missing says nothing.

Prints tables of MAE and CRPS and writes ``known_frames.csv``. Finished trainings in DIR are reused, interrupted ones go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine, markdown
from numpy.typing import NDArray

from imder.benchmarking.model_specs import ModelSpec, file_name, model_specs
from imder.cli.demo import TEST, TRAIN, VALID
from imder.data.corpus import Corpus, Split
from imder.evaluation.cells import EvaluationCell, sample_cells
from imder.evaluation.evaluate import evaluate
from imder.evaluation.results import write_csv
from imder.models.base import Model
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.posterior import LabelPosterior
from imder.training.run import RunDirectory
from imder.training.train import train

WINDOWS: dict[str, int | None] = {"exact, clip alone": 0, "exact, window 4": 4, "exact": None}
TRAININGS = {"frames": "frames", "bursts": "random"}
SCORES = ("mae", "crps")
Row = dict[str, Any]


def main() -> None:
    """Train, evaluate, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default="imder,late-fusion:context", help="separated by commas")
    parser.add_argument("--protocols", default=",".join(TRAININGS), help="separated by commas")
    parser.add_argument("--rates", default=".3,.5,.7", help="separated by commas")
    parser.add_argument("--draws", type=int, default=3, help="of the masks of each rate")
    parser.add_argument("--max-epochs", type=int, help="of each phase, to try it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    truth = DialogueTruth.standard()
    corpus = truth.corpus(TRAIN, VALID, TEST, seed=0)
    rates = [float(rate) for rate in options.rates.split(",")]
    rows: list[Row] = []
    for protocol in options.protocols.split(","):
        scored = {
            name: exact_scores(truth, corpus["test"], protocol, rates, options.draws, w) for name, w in WINDOWS.items()
        }
        for spec in model_specs(options.models.split(","), options.max_epochs):
            model = trained(spec, protocol, corpus, options.out)
            evaluated = evaluate(model, corpus, protocol, rates=rates, draws=options.draws)
            scored[spec.name] = [{score: row[score] for score in SCORES} for row in evaluated]
        rows += by_rate(scored, protocol, rates, options.draws)
    print(f"{machine()}; {len(corpus['test'])} clips, {options.draws} sets of masks\n")
    for score in SCORES:
        table = [
            {k: f"{v:.3f}" if isinstance(v, float) and k != "rate" else v for k, v in row.items()}
            for row in rows
            if row["score"] == score
        ]
        print(f"{score.upper()}\n\n{markdown([{k: v for k, v in row.items() if k != 'score'} for row in table])}\n")
    write_csv(rows, options.out / "known_frames.csv")


def trained(spec: ModelSpec, protocol: str, corpus: Corpus, folder: Path) -> Model:
    """A finished model or one trained now."""
    out = folder / f"{file_name(spec.name)}-{protocol}"
    if RunDirectory(out).finished():
        return Model.from_pretrained(out)
    if (out / "config.yaml").exists():
        return train(corpus, out, resume=True)
    training = replace(spec.config.training, protocol=TRAININGS[protocol])
    return train(corpus, out, config=replace(spec.config, training=training))


def erased_frames(cell: EvaluationCell, split: Split) -> dict[str, NDArray[np.bool_]]:
    """The erased frames (N, T) of each modality under a cell's draw; none where the protocol erases none."""
    if cell.erasure is None:
        return {}
    erased = {}
    for k, (name, ragged) in enumerate(split.features.items()):
        lengths = np.asarray(ragged.lengths) * cell.mask[:, k]
        erased[name] = cell.erasure.steps(k, name, split.keys, lengths, int(ragged.lengths.max(initial=1)))
    return erased


def exact_posteriors(
    truth: DialogueTruth, split: Split, protocol: str, rates: Sequence[float], draws: int, window: int | None
) -> list[LabelPosterior]:
    """The exact label distributions of each cell of a protocol, in the order of `evaluate`."""
    cells = sample_cells(split.present, truth.names, protocol=protocol, rates=rates, draws=draws, split=split)
    return [truth.label_posterior(split, c.mask, window=window, erased=erased_frames(c, split)) for c in cells]


def exact_scores(
    truth: DialogueTruth, split: Split, protocol: str, rates: Sequence[float], draws: int, window: int | None
) -> list[dict[str, float]]:
    """MAE of the exact median and CRPS of the exact distribution for each cell, on the labels of the split."""
    labels = split.labels
    assert labels is not None
    return [
        {"mae": float(abs(p.median() - labels).mean()), "crps": float(p.crps(labels).mean())}
        for p in exact_posteriors(truth, split, protocol, rates, draws, window)
    ]


def by_rate(scored: dict[str, list[dict[str, float]]], protocol: str, rates: Sequence[float], draws: int) -> list[Row]:
    """A row for each score and rate: means over the draws, a column for each system."""
    rows = []
    for score in SCORES:
        for i, rate in enumerate(rates):
            cells = slice(i * draws, (i + 1) * draws)
            means = {
                name: float(np.mean([cell[score] for cell in cells_of[cells]])) for name, cells_of in scored.items()
            }
            rows.append({"score": score, "protocol": protocol, "rate": rate, **means})
    return rows


if __name__ == "__main__":
    main()
