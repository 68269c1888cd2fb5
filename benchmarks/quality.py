"""Are recoveries right? Sampled encodings of trained models against exact conditional draws, on the known-truth corpus.

    python benchmarks/quality.py [--out DIR] [--rows 8] [--draws 32] [--dialogues | --distilled]

Trains `fast` as the demo does, and the network of `paper-mosi` with small widths on the same corpus for as many seconds,
without sampling while its score networks learn (as published, sampling would take nearly all of its time). Then every
solver with every number of evaluations draws encodings of each modality given the other two. All numbers but the last
describe *sampled* encodings, before refinement; distances and errors are in units of the root-mean-square exact conditional
deviation. The label MAE is that of the recovery branch alone, which reads refined encodings.

`fast` is measured in one process while the paper's network is trained and measured in another, with one thread each, so
that all training has the same resources.

Prints tables; writes ``quality.csv`` and ``quality.png``. Finished trainings in DIR are reused.

``--distilled`` trains `fast` with `recovery.distilled` on the first phase of the `fast` in DIR and judges its draws as those of
`fast` with 8 evaluations. Prints a table and writes ``quality-distilled.csv``.

``--dialogues`` trains `fast` on dialogues instead (`imder.synthetic.dialogue_truth`) and judges its draws for
clips that lack a modality, at a missing rate of .5, against the exact distribution given the neighbours. Prints a table and
writes ``quality-dialogues.csv``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from joblib import Parallel, delayed
from known import Array, Case, Encoders
from known_dialogues import DialogueCase
from measure import machine, markdown
from papers import train_paper

from imder.cli.demo import TEST, TRAIN, VALID
from imder.data.corpus import Corpus, Split
from imder.diffusion import KeyedNoise, VESchedule
from imder.diffusion.sample import sample
from imder.diffusion.solvers import SOLVERS
from imder.evaluation.results import write_csv
from imder.jobs.files import atomic_write
from imder.missingness.patterns import patterns
from imder.missingness.random_missing import RandomMissing
from imder.models.base import Model
from imder.models.imder.training import IMDer
from imder.synthetic.dialogue_truth import DialogueTruth
from imder.synthetic.known_truth import KnownTruth
from imder.training.run import RunDirectory
from imder.training.train import train

EVALUATIONS = (1, 2, 4, 6, 8, 10, 20, 100, 500)
EXACT_EVALUATIONS = (2, 4, 6, 8, 10, 20)
Row = dict[str, Any]
Table = tuple[str, list[Row]]
LOST = "What encoding loses"


def main() -> None:
    """Train, sample, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", type=int, default=8, help="samples; 12 or 24 times as many where nothing is slow")
    parser.add_argument("--draws", type=int, default=32)
    parser.add_argument("--dialogues", action="store_true", help="recoveries given neighbours, and nothing else")
    parser.add_argument("--distilled", action="store_true", help="recoveries in one evaluation, and nothing else")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    out = options.out or Path(tempfile.mkdtemp(prefix="imder-quality-"))
    print(f"{machine()}\n", flush=True)
    if options.dialogues:
        title, table = _given_neighbours(out, 24 * options.rows, options.draws)
        print(f"{title}\n\n{markdown(table)}\n\n{time.monotonic() - began:.0f} s")
        write_csv(table, out / "quality-dialogues.csv")
        return
    if options.distilled:
        table = _distilled(out, 12 * options.rows, options.draws)
        print(f"Fast, distilled, {12 * options.rows} samples\n\n{markdown(table)}\n\n{time.monotonic() - began:.0f} s")
        write_csv(table, out / "quality-distilled.csv")
        return
    _fast(_corpus(), out / "fast")
    print(f"fast is trained: {time.monotonic() - began:.0f} s", file=sys.stderr)
    measured = Parallel(n_jobs=2)(delayed(f)(out, options.rows, options.draws) for f in (_measure_fast, _measure_paper))
    tables = [table for tables in measured for table in tables]
    for title, table in tables:
        print(f"{title}\n\n{markdown(table)}\n")
    rows = [{"table": title, **row} for title, table in tables if title != LOST for row in table]
    write_csv(rows, out / "quality.csv")
    _plot(rows, out / "quality.png")
    print(f"{time.monotonic() - began:.0f} s; quality.csv and quality.png are in {out}")


def _corpus() -> Corpus:
    return KnownTruth.standard().corpus(TRAIN, VALID, TEST, seed=0)


def _cases(encoders: Encoders, samples: Split, draws: int) -> list[Case]:
    """A case for each modality, given all others."""
    truth = KnownTruth.standard()
    rest = {missing: tuple(k for k in truth.names if k != missing) for missing in truth.names}
    return [Case(truth, encoders, samples, missing, given, draws) for missing, given in rest.items()]


def _measure_fast(out: Path, count: int, draws: int) -> list[Table]:
    """The tables of `fast`."""
    torch.set_num_threads(1)
    corpus = _corpus()
    encoders = Encoders(_fast(corpus, out / "fast"), corpus["train"])
    cases = _cases(encoders, corpus["test"].take(np.arange(count)), draws)
    many = corpus["test"].take(np.arange(12 * count))
    return [
        (LOST, [{"missing": c.missing, **c.lost_to_encoding()} for c in cases]),
        (f"Fast, 8 evaluations, {len(many)} samples", list(_all_patterns(encoders, many, draws))),
        ("The exact denoiser", list(_exact(cases))),
        (f"Fast, {count} samples, mean over the three modalities", list(_grid("fast", cases))),
    ]


def _measure_paper(out: Path, count: int, draws: int) -> list[Table]:
    """The table of the paper's network, trained as long as `fast`."""
    torch.set_num_threads(1)
    corpus = _corpus()
    phases = RunDirectory(out / "fast").read_json("metrics.json")["phases"]
    spent = {name: phase["seconds"] for name, phase in phases.items()}
    encoders = Encoders(train_paper(corpus, out / "paper", spent), corpus["train"])
    print(f"seconds of training: fast {spent}, paper as many\n", flush=True)
    cases = _cases(encoders, corpus["test"].take(np.arange(count)), draws)
    return [(f"Paper, {count} samples, mean over the three modalities", list(_grid("paper", cases)))]


def _given_neighbours(out: Path, count: int, draws: int) -> Table:
    """Draws of `fast` with context, exact draws, and exact draws given the clip alone, for each modality."""
    truth = DialogueTruth.standard()
    corpus = truth.corpus(TRAIN, VALID, TEST, seed=0)
    model = _fast(corpus, out / "dialogues")
    context = model.config.context
    assert context.direction != "none"
    encoders, samples = Encoders(model, corpus["train"]), corpus["test"].take(np.arange(count))
    available = RandomMissing(0.5).sample(samples.present, 0)
    rows: list[Row] = []
    for missing in truth.names:
        case = DialogueCase(truth, encoders, samples, available, missing, draws, context.direction, context.window)
        alone = case.alone.sample(draws, np.random.default_rng(1))
        for name, drawn in (("fast", case.sample()), ("exact", case.again), ("exact, clip alone", alone)):
            rows.append({"missing": missing, "clips": len(case.rows), "draws": name, **case.measure(drawn)})
    return f"Given neighbours, {count} clips of dialogues, missing rate .5", rows


def _fast(corpus: Corpus, out: Path, **options: Any) -> IMDer:
    if RunDirectory(out).finished():
        model = Model.from_pretrained(out)
    elif (out / "config.yaml").exists():
        model = train(corpus, out, resume=True)
    else:
        model = train(corpus, out, preset="fast", **options)
    assert isinstance(model, IMDer)
    return model


def _distilled(out: Path, count: int, draws: int) -> list[Row]:
    """Draws in one evaluation, those of `fast` and exact draws, for each modality given each set of others."""
    corpus = _corpus()
    fast = _fast(corpus, out / "fast")
    student = _fast(corpus, out / "distilled", overrides={"model.recovery.distilled": True}, stage1=out / "fast")
    many = corpus["test"].take(np.arange(count))
    rows = list(_all_patterns(Encoders(fast, corpus["train"]), many, draws))
    students = _all_patterns(Encoders(student, corpus["train"]), many, draws)
    return rows + [row | {"draws": "distilled"} for row in students if row["draws"] == "fast"]


def _all_patterns(encoders: Encoders, samples: Split, draws: int) -> Iterable[Row]:
    """Rows for each modality given each set of others, with draws of `fast` and exact draws."""
    truth = KnownTruth.standard()
    for missing in truth.names:
        for pattern in patterns(len(truth.names))[:-1]:
            given = tuple(k for k, flag in zip(truth.names, pattern, strict=True) if flag)
            if missing in given:
                continue
            case = Case(truth, encoders, samples, missing, given, draws)
            about = {"missing": missing, "available": "+".join(given)}
            yield {**about, "draws": "fast", **case.measure(case.sample("dpmpp_2m", 8))}
            yield {**about, "draws": "exact", **case.measure(case.again)}


def _exact(cases: Sequence[Case]) -> Iterable[Row]:
    """The solver alone: the exact denoiser in place of a network, against exact draws (the floor)."""
    few = cases[1]
    floor = few.measure(few.again)
    for evaluations in EXACT_EVALUATIONS:

        def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            shaped = x.numpy().reshape(few.draws, len(few.split), -1)
            return torch.from_numpy(few.exact.denoise(shaped, float(sigma))).reshape(x.shape)

        noise = KeyedNoise(torch.arange(few.draws * len(few.split)), 1, torch.float64)
        shape = (few.draws * len(few.split), few.mean.shape[-1])
        drawn = sample(denoise, shape, noise, VESchedule(25.0), "dpmpp_2m", evaluations)
        measured = few.measure(drawn.numpy().reshape(few.drawn.shape))
        yield {
            "missing": few.missing,
            "solver": "dpmpp_2m",
            "evaluations": evaluations,
            **measured,
            "sliced W2 / floor": measured["sliced W2"] / floor["sliced W2"],
            "energy / floor": measured["energy"] / floor["energy"],
        }


def _grid(name: str, cases: Sequence[Case]) -> Iterable[Row]:
    """Rows for every solver and number of evaluations, exact draws, and the Bayes-optimal prediction."""

    def mean(model: str, solver: str, evaluations: int | str, draws: Sequence[Array], seconds: float | str) -> Row:
        measured = [case.measure(drawn) for case, drawn in zip(cases, draws, strict=True)]
        numbers = {k: float(np.mean([m[k] for m in measured])) for k in measured[0]}
        numbers["mean error"] = float(np.mean([m["mean error"] ** 2 for m in measured]) ** 0.5)
        return {"model": model, "solver": solver, "evaluations": evaluations, **numbers, "seconds": seconds}

    for solver in SOLVERS:
        for evaluations in EVALUATIONS:
            if evaluations < SOLVERS[solver].least_evaluations:
                continue
            started = time.monotonic()
            draws = [case.sample(solver, evaluations) for case in cases]
            yield mean(name, solver, evaluations, draws, time.monotonic() - started)
    yield mean(name, "exact draws", "", [c.again for c in cases], "")
    bayes = float(np.mean([c.bayes for c in cases]))
    yield {"model": "Bayes-optimal", "label MAE": bayes}


def _plot(rows: Sequence[Row], path: Path) -> None:
    """Plot quality over evaluations: one panel for each measure, a line for each model and solver."""
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    panels = ("sliced W2", "energy", "mean error", "variance ratio", "label MAE")
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    *used, last = axes.flat
    grid = [r for r in rows if "model" in r]
    looks = {"dpmpp_2m": "o-", "heun": "s--", "euler_maruyama": "^:"}
    for ax, key in zip(used, panels, strict=True):
        for model, colour in (("fast", "C0"), ("paper", "C3")):
            for solver, look in looks.items():
                line = [r for r in grid if r["model"] == model and r["solver"] == solver]
                x, y = [r["evaluations"] for r in line], [r[key] for r in line]
                ax.plot(x, y, look, color=colour, label=f"{model}, {solver}", markersize=4)
            floor = next(r for r in grid if r["model"] == model and r["solver"] == "exact draws")[key]
            if key not in ("mean error", "label MAE"):
                ax.axhline(floor, color=colour, linewidth=0.8, alpha=0.6)
        if key == "label MAE":
            ax.axhline(next(r for r in grid if r["model"] == "Bayes-optimal")[key], color="k", linewidth=0.8)
        else:
            ax.set_yscale("log")
            ax.set_ylim(top=min(ax.get_ylim()[1], 300))
        ax.set(xscale="log", xlabel="evaluations of the network", title=key)
        ax.grid(alpha=0.3)
    last.axis("off")
    last.legend(*used[0].get_legend_handles_labels(), loc="center left")
    last.text(0, 0.1, "thin lines: exact draws (coloured),\nthe best possible prediction (black)", fontsize=9)
    with atomic_write(path) as part:
        figure.savefig(part, dpi=110, format="png")


if __name__ == "__main__":
    main()
