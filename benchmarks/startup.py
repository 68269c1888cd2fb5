"""CPU seconds that the command line and a `Predictor` take to start.

    python benchmarks/startup.py [--rounds 7] [--csv FILE]

Each figure is the minimum over fresh processes, user and system time together: load on the machine only increases it.

help        imder --help
torch       import torch
predictor   import torch, then imder.Predictor(run), for a small run of preset fast; ``beyond torch`` is the difference
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measure import machine

from imder.evaluation.results import write_csv
from imder.synthetic.known_truth import KnownTruth
from imder.training.train import train

HELP = ["-m", "imder", "--help"]
TORCH = ["-c", "import torch"]
PREDICTOR = ["-c", "import sys, torch, imder; imder.Predictor(sys.argv[1])"]


def cpu_seconds(arguments: Sequence[str], rounds: int) -> float:
    """The minimum CPU time of ``python`` with some arguments, over fresh processes with one thread each."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    seconds = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(seconds)


def startup(rounds: int) -> list[dict[str, str | float]]:
    """Rows ``start``, ``seconds`` and, for the predictor, ``beyond torch``."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(KnownTruth.standard().corpus(64, 32, 8), run, max_epochs=1)
        torch = cpu_seconds(TORCH, rounds)
        predictor = cpu_seconds([*PREDICTOR, str(run)], rounds)
    return [
        {"start": "help", "seconds": cpu_seconds(HELP, rounds)},
        {"start": "torch", "seconds": torch},
        {"start": "predictor", "seconds": predictor, "beyond torch": predictor - torch},
    ]


def main() -> None:
    """Measure the start-up times, print them and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="fresh processes for each figure (default: 7)")
    parser.add_argument("--csv", help="write the rows to this file")
    options = parser.parse_args()
    print(machine())
    rows = startup(options.rounds)
    for row in rows:
        beyond = f", {row['beyond torch']:.2f} s beyond import torch" if "beyond torch" in row else ""
        print(f"{row['start']:<10} {row['seconds']:.2f} s{beyond}")
    if options.csv:
        write_csv(rows, options.csv)


if __name__ == "__main__":
    main()
