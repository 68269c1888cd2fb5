"""Extraction of features on real files: correctness, speed and memory.

    python benchmarks/extraction.py DATA MODEL [--only openface,mosi,speed,hour] [--threads 1] [--out FOLDER]

DATA is a folder with RAVDESS, CMU-MOSI and OpenFace's sample files, MODEL the folder of the transformer that its
`mosi_standard` was made with. Prints Markdown. With `--out`, the part `mosi` writes `mosi_standard`
there, to train on: extracted language (float32), all else as stored.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from imder.extract.audio import audio_features
from imder.extract.extractors import recipe_of
from imder.extract.language import TextEncoder
from imder.extract.media import Sound
from imder.extract.openface import read_openface


def openface(data: Path, model: str, out: Path | None) -> None:
    """Read real OpenFace tables of both styles."""
    print("| table | columns | frames | features | untracked | faces | breaks off |\n|---|---|---:|---:|---:|---:|---|")
    for name, columns in (
        ("default.csv", "pose+aus"),
        ("full_709_no_face_id.csv", "sims"),
        ("full_709_truncated.csv", "sims"),
    ):
        table = read_openface(data / "openface" / name, columns)
        frames, features = table.values.shape
        end = "yes" if table.broken_off else "no"
        print(f"| `{name}` | {columns} | {frames} | {features} | {table.untracked} | {table.faces} | {end} |")
    frames = []
    for path in sorted((data / "ravdess_speech" / "openface").glob("*.csv")):
        frames.append(len(read_openface(path, "aus").values))
    print(
        f"\n{len(frames)} tables of `ravdess_speech` (35 columns, no frame numbers): {min(frames)} to {max(frames)} frames"
    )


def mosi(data: Path, model: str, out: Path | None) -> None:
    """Compare features of real transcripts with the stored ones; write a corpus of the extracted ones to ``out``."""
    encoder = TextEncoder(model)
    print(
        "| split | texts | tokens | other lengths | largest difference | mean difference |\n|---|---:|---:|---:|---:|---:|"
    )
    for split in ("train", "valid", "test"):
        with np.load(data / "mosi_standard" / f"{split}.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        texts, stored, lengths = arrays["raw_text"], arrays["text"].astype(np.float32), arrays["text_lengths"]
        extracted, own = np.zeros_like(stored), np.zeros_like(lengths)
        worst, total, values, tokens, other = 0.0, 0.0, 0, 0, 0
        for i, (text, features, length) in enumerate(zip(texts, stored, lengths, strict=True)):
            states, _ = encoder(str(text), 50)
            extracted[i, : len(states)], own[i] = states, len(states)
            tokens += len(states)
            if len(states) != length:
                other += 1
                continue
            difference = np.abs(states - features[:length])
            worst, total, values = (
                max(worst, float(difference.max())),
                total + float(difference.sum()),
                values + states.size,
            )
        print(f"| {split} | {len(texts)} | {tokens} | {other} | {worst:.5f} | {total / values:.6f} |")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            np.savez(out / f"{split}.npz", **arrays | {"text": extracted, "text_lengths": own})


def speed(data: Path, model: str, out: Path | None) -> None:
    """Seconds of sound, and texts, processed per second."""
    with (data / "ravdess_speech" / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:60]
    print("| what | work | rate |\n|---|---|---:|")
    for kind in ("librosa33", "mel64"):
        recipe = recipe_of("audio", kind)
        sounds = [Sound(data / "ravdess_speech" / row["audio"], recipe.rate) for row in rows]
        audio_features(sounds[0], recipe)  # librosa compiles on first use
        seconds = sum(sum(map(len, sound.chunks())) for sound in sounds) / recipe.rate
        started = time.perf_counter()
        for sound in sounds:
            audio_features(sound, recipe)
        took = time.perf_counter() - started
        print(f"| {kind} | {len(sounds)} clips of {seconds / len(sounds):.1f} s | {seconds / took:.0f} x real time |")
    with np.load(data / "mosi_standard" / "test.npz", allow_pickle=False) as file:
        texts = [str(text) for text in file["raw_text"][:200]]
    encoder = TextEncoder(model)
    encoder(texts[0], 50)
    started = time.perf_counter()
    for text in texts:
        encoder(text, 50)
    print(f"| language | {len(texts)} sentences | {len(texts) / (time.perf_counter() - started):.0f} clips/s |")


def hour(data: Path, model: str, out: Path | None) -> None:
    """Time and peak memory of 1, 10 and 60 minutes of real speech."""
    import soundfile

    clips = sorted((data / "ravdess_speech" / "audio").glob("*.flac"))
    recipe = recipe_of("audio", "librosa33")
    speech = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in clips[:60]])
    print(
        "| sound | frames | seconds | x real time | features, MiB | peak memory, MiB |\n|---|---:|---:|---:|---:|---:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 10, 60):
            path = Path(folder) / f"{minutes}.flac"
            left = minutes * 60 * 16000
            with soundfile.SoundFile(path, "w", 16000, 1) as file:
                while left:
                    file.write(speech[:left])
                    left -= min(left, len(speech))
            started = time.perf_counter()
            frames = audio_features(Sound(path, recipe.rate), recipe)
            took = time.perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            rate = minutes * 60 / took
            print(
                f"| {minutes} min | {len(frames)} | {took:.1f} | {rate:.0f} | {frames.nbytes / 2**20:.1f} | {peak:.0f} |"
            )


PARTS: dict[str, Callable[[Path, str, Path | None], None]] = {
    "openface": openface,
    "mosi": mosi,
    "speed": speed,
    "hour": hour,
}


def main() -> None:
    """Run all parts, or those of ``--only``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder for mosi_standard with extracted language")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.only.split(","):
        print(f"\n## {name}\n")
        PARTS[name](options.data, options.model, options.out)


if __name__ == "__main__":
    main()
