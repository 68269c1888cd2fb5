"""The cost of a hop of a live stream on one core, from features and from media with faces and librosa33.

    python benchmarks/stream.py
    python benchmarks/stream.py --video face.mp4 --face-model face_landmarker.task --show

The system is that of the preset ``fast`` (8 members, context of 4 windows, 8 recoveries) with random weights, and its
recoveries count in every prediction, which is the most that it can cost. Seconds are CPU time of the process, so other work on
the machine hardly counts.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from imder.cli.live import line
from imder.extract.audio import LIBROSA33
from imder.extract.face.extractor import FaceOptions, face_recipe
from imder.extract.recipe import Recipe
from imder.media.live.replay import Replay
from imder.media.predictor import Predictor
from imder.models.base import Model
from imder.models.presets import read_preset
from imder.models.registry import build
from imder.types import Modality, Spec

SPEC = Spec((Modality("language", 768, 50), Modality("vision", 62, 60), Modality("audio", 33, 173)))
FRAMES = {"language": 3, "vision": 15, "audio": 43}
"""Frames a second of features."""


def system() -> Model:
    """The system of ``fast``, whose recoveries count by one half."""
    torch.manual_seed(0)
    model = build("imder", read_preset("fast")["model"], SPEC).eval()
    with torch.no_grad():
        model.branch_weight.fill_(0.5)  # type: ignore[operator, union-attr]
    return model


def from_features(names: tuple[str, ...], seconds: float, window: float, hop: float) -> tuple[float, int]:
    """CPU seconds of a stream of features of these modalities, and its number of predictions."""
    rng = np.random.default_rng(0)
    rows: list[object] = []
    stream = Predictor(system()).stream(window, hop, block=True, callback=rows.append)
    begin = time.process_time()
    for second in np.arange(0, seconds, 0.5):
        for name in names:
            count = max(1, FRAMES[name] // 2)
            values = rng.standard_normal((count, SPEC.modalities[SPEC.names.index(name)].dim))
            stream.push_features(name, values, second + np.arange(count) / (2 * count), end=second + 0.5)
    stream.close(seconds)
    return time.process_time() - begin, len(rows)


def from_media(video: Path, face_model: str | None, window: float, hop: float, show: bool) -> tuple[float, int, float]:
    """CPU seconds of a video replayed as fast as possible, its number of predictions, and its length in seconds."""
    audio = LIBROSA33.recipe("librosa33", 0)
    recipe = Recipe(vision=face_recipe("face", FaceOptions(model=face_model)), audio=audio)  # type: ignore[arg-type]
    predictor = Predictor(system(), recipe=recipe.to_dict())

    def run(until: float | None) -> tuple[float, int, float]:
        rows: list[dict[str, object]] = []
        stream = predictor.stream(window, hop, block=True, callback=rows.append)
        begin = time.process_time()
        replay = Replay(video=video, speed=0, until=until)
        replay.into(stream)
        seconds = time.process_time() - begin
        if show and until is None:
            print(*(line(row, SPEC) for row in rows), sep="\n")
        return seconds, len(rows), replay.seconds

    run(1.0)  # whatever is loaded and compiled at first use
    return run(None)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", type=float, default=4.0)
    parser.add_argument("--hop", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the stream of features")
    parser.add_argument("--video", type=Path, help="a video with a face, for the cost from media")
    parser.add_argument("--face-model", help="face_landmarker.task (default: as for imder extract)")
    parser.add_argument("--show", action="store_true", help="print the predictions of the video")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"windows of {options.window:g} s every {options.hop:g} s, one thread, CPU seconds a hop")
    for names in (SPEC.names, ("vision", "audio"), ("audio",)):
        spent, count = from_features(names, options.seconds, options.window, options.hop)
        print(
            f"features, {' + '.join(names):<28} {spent / count:6.3f}  ({100 * spent / count / options.hop:.1f} % of a hop)"
        )
    if options.video is not None:
        spent, count, length = from_media(options.video, options.face_model, options.window, options.hop, options.show)
        share = 100 * spent / length
        print(
            f"media, faces + librosa33             {spent / count:6.3f}  ({share:.1f} % of the recording's {length:.1f} s)"
        )


if __name__ == "__main__":
    main()
