"""Are imputations right? Raw features drawn by systems against exact conditional draws, on the known-truth corpora.

    python benchmarks/imputation.py [--parts clips dialogues speed] [--count 64] [--draws 32] [--out DIR]
        [--systems imputer] [--set KEY=VALUE] [--epochs N] [--run RUN] [--threads 1]

* ``clips``: each set of modalities of independent clips is missing in turn; what is missing is drawn given the rest.
* ``dialogues``: half of the cells of dialogues are missing; what is missing is drawn given the clip and its neighbours.
* ``speed``: seconds for 16 draws of each modality for 1,000 clips of MOSI's shape, given the other two.

``exact`` is a second set of exact draws, the floor of every number. ``linear-Gaussian`` is the limit of infinitely many
training clips: the truth with its components replaced by one Gaussian of the same mean and covariance (on dialogues, which
are jointly Gaussian, it would be exact). ``mean`` fills with the mean over all clips, at random lengths. `fast` and
`regression` recover encodings, not features: `benchmarks/quality.py` judges them. ``codecs of`` a system: exact draws after
its codecs have encoded and decoded them, so what is wrong there isn't the recovery's fault.

Systems are trained on the corpus of ``imder demo`` with their presets, changed by ``--set model.label=false`` and the like;
finished trainings in DIR are reused, so other settings need another DIR. ``--run`` adds a trained run to the part ``clips``.

Prints tables; writes ``imputation.csv``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from fillers import codecs_of, imputed, mean_fill, one_gaussian, through_codecs
from known_features import JOINT, Drawn, FeatureCase
from measure import machine, markdown, seconds
from numpy.typing import NDArray

import imder
from imder.cli.demo import TEST, TRAIN, VALID
from imder.data.corpus import Corpus, Split
from imder.evaluation.results import write_csv
from imder.missingness.patterns import patterns
from imder.missingness.random_missing import RandomMissing
from imder.models.base import Model
from imder.synthetic.affine import Array
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.feature_posterior import FeaturePosterior
from imder.synthetic.known_truth import KnownTruth
from imder.synthetic.posterior import LatentPosterior
from imder.training.run import RunDirectory

Mask = NDArray[np.bool_]
Row = dict[str, Any]

PARTS = ("clips", "dialogues", "speed")
SYSTEMS = ("imputer",)
WINDOW = 4  # clips on either side, as systems with context see them
MOSI = {"language": (50, 384), "vision": (1, 73), "audio": (1, 100)}
TABLES = {
    "distribution": ("sliced W2", "energy", "R^2 of mean", "variance ratio", "correlation error", "seconds"),
    "spread": ("variance ratio of averages", "coverage of 50 %", "coverage of 90 %", "length TV"),
    "changes over time": (
        "deviation over time",
        "its variance ratio",
        "roughness",
        "roughness' variance ratio",
    ),
    "components": ("share error", "share error by clip", "modes drawn", "energy between modes"),
}


def main() -> None:
    """Train, draw, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--count", type=int, default=64, help="test clips; four times as many of dialogues")
    parser.add_argument("--draws", type=int, default=32)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--systems", nargs="*", default=SYSTEMS)
    parser.add_argument("--set", action="append", default=[], help="a setting of training, KEY=VALUE; may be repeated")
    parser.add_argument("--epochs", type=int, help="the most epochs of any phase")
    parser.add_argument("--run", type=Path, action="append", default=[], help="a trained run; may be repeated")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = options.out or Path(tempfile.mkdtemp(prefix="imder-imputation-"))
    print(f"{machine()}\n", flush=True)
    overrides = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.set)}
    settings = {"overrides": overrides, "max_epochs": options.epochs}
    rows: list[Row] = []
    if "clips" in options.parts:
        clips = KnownTruth.standard()
        corpus = clips.corpus(TRAIN, VALID, TEST, seed=0)
        models = {name: trained(corpus, name, out / name, **settings) for name in options.systems}
        models |= {path.name: Model.from_pretrained(path) for path in options.run}
        split = corpus["test"].take(np.arange(options.count))
        rows += (measured := on_clips(clips, split, models, options.draws))
        _print(f"Independent clips: {len(split)}, {options.draws} draws", measured)
    if "dialogues" in options.parts:
        dialogues = DialogueTruth.standard()
        corpus = dialogues.corpus(TRAIN, VALID, TEST, seed=0)
        models = {name: trained(corpus, name, out / f"dialogues-{name}", **settings) for name in options.systems}
        split = corpus["test"].take(np.arange(min(4 * options.count, TEST)))
        rows += (measured := on_dialogues(dialogues, split, models, options.draws))
        _print(f"Dialogues: {len(split)} clips, missing rate .5, {options.draws} draws", measured)
    if "speed" in options.parts:
        for name in options.systems:
            rows += (measured := speed(name, out / f"speed-{name}", overrides))
            print(f"16 draws for 1,000 clips of MOSI's shape, {name}\n\n{markdown(measured)}\n", flush=True)
    write_csv(rows, out / "imputation.csv")
    print(f"imputation.csv is in {out}")


def trained(corpus: Corpus, preset: str, out: Path, **settings: Any) -> Model:
    """A system trained with its preset; a finished run in ``out`` is reused, an interrupted one goes on."""
    if RunDirectory(out).finished():
        return Model.from_pretrained(out)
    if (out / "config.yaml").exists():
        return imder.train(corpus, out, resume=True)
    return imder.train(corpus, out, preset=preset, **settings)


def on_clips(truth: KnownTruth, split: Split, models: Mapping[str, Model], draws: int) -> list[Row]:
    """Rows for each modality and pattern; where two are missing, for their joint distribution too."""
    return [
        row
        for pattern in patterns(len(truth.names))[:-1]
        for row in _given(truth, split, np.tile(np.array(pattern), (len(split), 1)), models, draws)
    ]


def clip_case(truth: KnownTruth, split: Split, available: Mask, draws: int) -> FeatureCase:
    """The case of one pattern, which all rows of ``available`` (N, K) have."""
    missing = tuple(m for m, flag in zip(truth.modalities, available[0], strict=True) if not flag)
    averages = {k: _averages(split, k) for k, flag in zip(truth.names, available[0], strict=True) if flag}
    return FeatureCase(truth.latent_posterior(split, available), truth.prior(), missing, averages, draws)


def _given(truth: KnownTruth, split: Split, available: Mask, models: Mapping[str, Model], draws: int) -> list[Row]:
    """The rows of one pattern, those of a modality together."""
    case, single = clip_case(truth, split, available, draws), one_gaussian(truth)

    def gaussian() -> Drawn:
        latent = single.latent_posterior(split, available)
        return FeaturePosterior(latent, tuple(single[name] for name in case.names)).sample(draws, _rng())

    given = "+".join(k for k, flag in zip(truth.names, available[0], strict=True) if flag)
    timed = {name: _timed(lambda m=model: imputed(m, split, available, draws)) for name, model in models.items()}
    timed |= _codecs(case, models)
    timed["linear-Gaussian"] = _timed(gaussian)
    return _measured(case, given, timed | _references(case))


def on_dialogues(truth: DialogueTruth, split: Split, models: Mapping[str, Model], draws: int) -> list[Row]:
    """Rows for each modality where it is missing at random, given the clip and its whole dialogue."""
    available = RandomMissing(0.5).sample(split.present, 0)
    whole, near, alone = (truth.latent_posterior(split, available, window=w) for w in (None, WINDOW, 0))
    size = len(truth.covariance)
    prior = LatentPosterior(np.ones((1, 1)), np.zeros((1, 1, size)), truth.covariance[None, None])
    drawn = {name: _timed(lambda m=model: imputed(m, split, available, draws)) for name, model in models.items()}
    rows: list[Row] = []
    for k, modality in enumerate(truth.modalities):
        lacking = np.flatnonzero(~available[:, k])
        # Draws must correlate with the exact mean, which sums up all that is available.
        exact = FeaturePosterior(whole[lacking], (modality,)).mean(modality.name, modality.lengths[1]).mean(1)
        case = FeatureCase(whole[lacking], prior, (modality,), {"exact mean": exact}, draws)
        timed = drawn | _codecs(case, models)
        for name, latent in (("exact, clip alone", alone), (f"exact, window {WINDOW}", near)):
            posterior = FeaturePosterior(latent[lacking], (modality,))
            timed[name] = _timed(lambda p=posterior: p.sample(draws, _rng()))
        rows += _measured(case, "half", timed | _references(case))
    return rows


def _references(case: FeatureCase) -> dict[str, tuple[Drawn, float]]:
    """What every system is compared with: the mean over all clips, and exact draws."""
    return {
        "mean": _timed(lambda: mean_fill(case)),
        "exact": _timed(lambda: case.exact.sample(case.draws, _rng())),
    }


def _codecs(case: FeatureCase, models: Mapping[str, Model]) -> dict[str, tuple[Drawn, float]]:
    """Exact draws through the codecs of each system that has some."""
    drawn = case.exact.sample(case.draws, _rng())
    return {
        f"codecs of {name}": _timed(lambda c=codecs: through_codecs(c, drawn))
        for name, model in models.items()
        if (codecs := codecs_of(model)) is not None
    }


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


def _timed(draw: Callable[[], Drawn]) -> tuple[Drawn, float]:
    """Draws, and the seconds that they took."""
    drawn: list[Drawn] = []
    spent = seconds(lambda: drawn.append(draw()))
    return drawn[0], spent


def _measured(case: FeatureCase, given: str, timed: Mapping[str, tuple[Drawn, float]]) -> list[Row]:
    """Rows of all fillers for each missing modality, then for all missing ones together."""
    measured = {name: case.measure(drawn) for name, (drawn, _) in timed.items()}
    return [
        {
            "missing": "+".join(case.names) if missing == JOINT else missing,
            "available": given,
            "draws": name,
            **numbers[missing],
            "seconds": timed[name][1],
        }
        for missing in measured["exact"]
        for name, numbers in measured.items()
    ]


def _averages(split: Split, name: str) -> Array:
    """Averages over time (N, D)."""
    return np.stack([split.features[name][i].astype(np.float64).mean(0) for i in range(len(split))])


def speed(preset: str, out: Path, overrides: Mapping[str, Any], clips: int = 1000) -> list[Row]:
    """Seconds of a system that was trained for one epoch; weights don't change the time."""
    truth = KnownTruth.standard(
        dims={name: dim for name, (_, dim) in MOSI.items()},
        lengths={name: (length, length) for name, (length, _) in MOSI.items()},
    )
    corpus = truth.corpus(256, 64, clips, seed=0)
    return drawing_times(trained(corpus, preset, out, overrides=overrides, max_epochs=1), corpus["test"])


def drawing_times(model: Model, split: Split, draws: int = 16, batch: int = 128) -> list[Row]:
    """Seconds for draws of each modality given the others, in batches of whole clips, after a first batch that isn't timed."""
    parts = [split.take(np.arange(i, min(i + batch, len(split)))) for i in range(0, len(split), batch)]
    rows = []
    for k, name in enumerate(model.spec.names):
        mask = np.tile(np.arange(len(model.spec.names)) != k, (batch, 1))

        def draw(part: Split, mask: Mask = mask) -> Drawn:
            return imputed(model, part, mask[: len(part)], draws)

        draw(parts[-1])
        spent = sum(seconds(lambda p=part, d=draw: d(p)) for part in parts)
        rows.append({"missing": name, "clips": len(split), "draws": draws, "seconds": spent})
    return rows


def _print(title: str, rows: list[Row]) -> None:
    """Print each table with the rows that have its columns."""
    for about, columns in TABLES.items():
        shown = [
            {"": f"{row['missing']} given {row['available']}", "draws": row["draws"]}
            | {k: row[k] for k in columns if k in row}
            for row in rows
            if columns[0] in row
        ]
        if shown:
            print(f"{title}: {about}\n\n{markdown(shown)}\n", flush=True)


if __name__ == "__main__":
    main()
