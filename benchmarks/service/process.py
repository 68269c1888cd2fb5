"""A service in a process of its own, with untrained weights of a size: speed and robustness don't depend on what was learned.

    python benchmarks/service/process.py --size small [--threads 1] [--samples 8] [--weight 0.5] [--distilled] [--short-timeouts]

The weight of the recovery branch is the same for every pattern of modalities; above 0 each missing modality is sampled, with
``--distilled`` in one evaluation. ``small`` has the features of sound that ``imder extract --audio mel64`` makes, so that uploads
are read; ``preset`` is `fast` as it is, with features as wide as those of CMU-MOSI.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from imder.extract.recipe import AudioRecipe, Recipe
from imder.media.predictor import Predictor
from imder.models.configuration import from_mapping
from imder.models.imder.config import IMDerConfig
from imder.models.imder.training import IMDer
from imder.models.presets import read_preset
from imder.serve import ServeConfig, create_app
from imder.serve.server import listen, serve
from imder.types import Modality, Spec

SPECS = {
    "small": Spec((Modality("language", 6, 9), Modality("vision", 4, 9), Modality("audio", 64, 300))),
    "preset": Spec((Modality("language", 768, 50), Modality("vision", 20, 50), Modality("audio", 5, 50))),
}
RECIPE = Recipe(audio=AudioRecipe("mel64", 22050, 512, 2048, 64)).to_dict()
SHORT: dict[str, Any] = {"receive_timeout": 3.0, "stream_idle": 3.0, "max_seconds": 10.0, "max_bytes": 1 << 20}
"""Limits that a campaign reaches in seconds."""


def predictor(size: str, weight: float = 0.5, *, distilled: bool = False) -> Predictor:
    """A system with untrained weights that are the same each time, and a weight of the recovery branch."""
    config = read_preset("fast")["model"]
    config["recovery"] |= {"distilled": distilled}
    if size == "small":
        config |= {"members": 1, "num_samples": 2}
        config["recovery"] |= {"network": config["recovery"]["network"] | {"widths": (8,), "heads": 2, "embedding": 8}}
        config["refinement"] |= {"channels": 8, "blocks": 1, "reduction": 4}
    torch.manual_seed(0)
    model = IMDer(SPECS[size], from_mapping(IMDerConfig, config)).eval()
    for name, values in model.named_buffers():
        if name.endswith("branch_weight"):
            values.fill_(weight)
    return Predictor(model, "cpu", recipe=RECIPE if size == "small" else None)


@contextmanager
def started(*options: str, log: Path | str = os.devnull) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The port and the process of a service with the options of this program; ended by SIGTERM."""
    command = [sys.executable, str(Path(__file__)), *options]
    with (
        open(log, "w", encoding="utf-8") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.terminate()
            process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM; prints the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=[*SPECS], default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--weight", type=float, default=0.5)
    parser.add_argument("--distilled", action="store_true")
    parser.add_argument("--short-timeouts", action="store_true")
    parser.add_argument("--temporary", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    more = SHORT if options.short_timeouts else {}
    config = ServeConfig(workers=options.threads, samples=options.samples, temporary=options.temporary, **more)
    app = create_app(predictor(options.size, options.weight, distilled=options.distilled), config)
    listener = listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    serve(app, config, listener)


if __name__ == "__main__":
    main()
