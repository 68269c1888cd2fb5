"""What members cost: CPU seconds of training and of prediction, for several numbers of members.

    python benchmarks/members.py CORPUS [--members 1,8] [--epochs 12] [--repeats 2]

Trains late fusion with context for a few epochs on one thread and predicts the test split, in turns. Prints a table of the
least times and their ratios to the first number of members.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measure import machine, markdown

import imder
from imder.benchmarking.model_specs import model_specs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--members", default="1,8")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts = [int(count) for count in options.members.split(",")]
    rows = costs(imder.load_corpus(options.corpus), counts, options.epochs, options.repeats)
    print(f"{machine()}; {options.epochs} epochs, the least of {options.repeats}\n")
    print(markdown(rows))


def costs(corpus: imder.Corpus, counts: list[int], epochs: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each number of members."""
    (late,) = model_specs(["late-fusion:context"], max_epochs=epochs)
    training: dict[int, list[float]] = {count: [] for count in counts}
    prediction: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(repeats):
        for count in counts:
            settings = late.config.to_dict()
            settings["model"]["members"] = count
            with tempfile.TemporaryDirectory() as folder:
                begin = time.process_time()
                model = imder.train(corpus, Path(folder) / "run", config=type(late.config).from_dict(settings))
                training[count].append(time.process_time() - begin)
            imder.predict(model, corpus, split="test")
            begin = time.process_time()
            imder.predict(model, corpus, split="test")
            prediction[count].append(time.process_time() - begin)
    first = counts[0]
    return [
        {
            "members": count,
            "training, s": f"{min(training[count]):.1f}",
            "ratio": f"{min(training[count]) / min(training[first]):.1f}",
            "prediction, s": f"{min(prediction[count]):.2f}",
            "ratio of prediction": f"{min(prediction[count]) / min(prediction[first]):.1f}",
        }
        for count in counts
    ]


if __name__ == "__main__":
    main()
