"""Tables of docs/results.md: train a preset with several seeds on a corpus, evaluate every protocol, average.

    python benchmarks/results.py CORPUS --out DIR [--preset fast] [--seeds 3] [--draws 10] [--threads 1]

Runs that are there already are used as they are, so an interrupted call can be repeated.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from imder.data.formats import load_corpus
from imder.evaluation.grid import constant_rows, evaluator
from imder.evaluation.masks import ProtocolName
from imder.evaluation.results import summarise, write_csv
from imder.evaluation.tables import markdown_table
from imder.models.base import Model
from imder.training.run import RunDirectory
from imder.training.train import train

PROTOCOLS: tuple[ProtocolName, ...] = ("natural", "random", "fixed")


def main() -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--presets", default="fast,zero-fill")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    corpus = load_corpus(options.corpus)
    rows: list[dict[str, Any]] = []
    for preset in options.presets.split(","):
        seconds = []
        for seed in range(options.seeds):
            out = options.out / f"{preset}-{seed}"
            run, started = RunDirectory(out), time.monotonic()
            if run.finished():
                model = Model.from_pretrained(out)
            else:
                model = train(
                    corpus, out, preset=preset, overrides={"training.seed": seed}, resume=(out / "config.yaml").exists()
                )
                seconds.append(time.monotonic() - started)
            evaluate = evaluator(model, corpus, run=out.name, seed=seed)
            for protocol in PROTOCOLS:
                rows += evaluate(protocol=protocol, draws=options.draws, seed=0)
        if seconds:
            print(
                f"{preset}: {sum(seconds) / len(seconds):.0f} s for each training, {options.threads or 'all'} threads"
            )
    for protocol in PROTOCOLS:
        rows += constant_rows(corpus, protocol=protocol, draws=options.draws)
    write_csv(rows, options.out / "results.csv")
    summary = summarise(rows)
    text = "\n".join(f"{p} protocol\n\n{markdown_table(summary, p)}" for p in PROTOCOLS)
    (options.out / "tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
