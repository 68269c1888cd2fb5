"""Throughput of each extractor, in times real time, and the first clip against later ones.

    python benchmarks/throughput.py SOUNDS VIDEO [--clips 20] [--openface TABLE]

SOUNDS is a folder of short clips of speech, VIDEO a video with a face, TABLE OpenFace's table of a video. Extractors whose
package or model is missing are left out, and so named. Models are those of the environment (IMDER_ASR_MODEL, IMDER_FACE_MODEL).
Times are processor time of one thread, decoding and resampling included, after one clip that isn't counted; the last column is
the processor time of that first clip, with loading. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import machine, markdown

from imder.extract.extractors import extractor_of, recipe_of, require_packages
from imder.extract.manifest import SOUNDS, Clip
from imder.extract.openface import read_openface
from imder.extract.speech.plan import transcription_recipe
from imder.extract.speech.transcribe import transcript_of
from imder.types import ImderError

AUDIO = ("librosa33", "mel64", "egemaps", "whisper")


def features(modality: str, option: str) -> Callable[[Clip], float]:
    """A function that extracts a clip and returns its seconds."""
    part = recipe_of(modality, option)
    extractor = extractor_of(modality, part)
    require_packages(extractor)
    return lambda clip: extractor.make(clip, part, None).seconds


def transcribe() -> Callable[[Clip], float]:
    """A function that transcribes a clip; its seconds are those of the 33 features, measured elsewhere."""
    recipe = transcription_recipe(None)

    def run(clip: Clip) -> float:
        transcript_of(clip, recipe)
        return 0.0

    return run


def timed(
    name: str, make: Callable[[], Callable[[Clip], float]], clips: list[Clip], seconds: float
) -> dict[str, object]:
    """A row of the table; ``seconds``: the duration of the clips but the first, if the function doesn't tell."""
    started = time.process_time()
    try:
        run = make()
        run(clips[0])
    except ImderError as error:
        return {"extractor": name, "work": f"not measured: {str(error)[:60]}"}
    first = time.process_time() - started
    started = time.process_time()
    total = sum(run(clip) for clip in clips[1:]) or seconds
    took = time.process_time() - started
    work = f"{len(clips) - 1} x {total / (len(clips) - 1):.1f} s"
    return {"extractor": name, "work": work, "x real time": total / took, "first clip, s": first}


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--openface", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(path for path in options.sounds.iterdir() if path.suffix in SOUNDS)
    files = files[:: max(1, len(files) // options.clips)][: options.clips]
    clips = [Clip(path.stem, audio=path) for path in files]
    length = features("audio", "librosa33")
    seconds = sum(map(length, clips[1:]))
    print(f"{machine()}\n")
    rows = [timed(kind, lambda kind=kind: features("audio", kind), clips, seconds) for kind in AUDIO]
    rows.append(timed("transcript", transcribe, clips, seconds))
    videos = [Clip("video", video=options.video)] * 3
    rows += [
        timed(kind, lambda kind=kind: features("vision", kind), videos, 0.0) for kind in ("face", "face+landmarks")
    ]
    if options.openface is not None:
        end = read_openface(options.openface, "pose+aus").seconds or 0.0
        tables = [Clip("table", openface=options.openface)] * 6
        rows.append(timed("OpenFace's table", lambda: features("vision", "pose+aus"), tables, 5 * end))
    print(markdown(rows))


if __name__ == "__main__":
    main()
