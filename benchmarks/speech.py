"""Speech to text and hidden states of Whisper on real clips: word error rate and speed.

    python benchmarks/speech.py MANIFEST STORE MODEL [--clips 60]

STORE is what ``imder extract`` made of a copy of MANIFEST without the column ``text``, whose texts are the truth. MODEL is the
Whisper model. Prints Markdown: word error rates by label, then the speed of MODEL on one thread, in processor time.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from imder.data.formats.load import load_corpus
from imder.extract.manifest import Clip, read_source
from imder.extract.media import Sound
from imder.extract.speech.whisper import RATE, load_whisper


def words_of(text: str) -> list[str]:
    """Words in lower case, without punctuation.

    >>> words_of(" Kids -- don't talk!")
    ['kids', "don't", 'talk']
    """
    return re.sub(r"[^a-z0-9' ]", " ", text.lower()).split()


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Insertions, deletions and substitutions that make one sequence the other (Levenshtein).

    >>> edits("a b c".split(), "b c d".split())
    2
    """
    row = [*range(len(other) + 1)]
    for i, word in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, candidate in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != candidate))
    return row[-1]


def error_rates(clips: Sequence[Clip], store: str) -> None:
    """Word error rate, clips without an error and clips without words, by label."""
    splits = load_corpus(store).splits.values()
    transcripts = {i: text for split in splits for i, text in zip(split.ids, split.texts or (), strict=True)}
    groups: dict[str, list[tuple[int, int, bool]]] = defaultdict(list)
    for clip in clips:
        true, text = words_of(clip.text or ""), words_of(transcripts.get(clip.id, ""))
        for group in ("all", clip.label or "unlabelled"):
            groups[group].append((edits(true, text), len(true), bool(text)))
    print("| clips | number | word error rate | without an error | without words |\n|---|---:|---:|---:|---:|")
    for group, rows in groups.items():
        wrong, total, spoken = (np.array(column) for column in zip(*rows, strict=True))
        exact = f"{100 * np.mean(wrong == 0):.1f} %"
        print(f"| {group} | {len(rows)} | {wrong.sum() / total.sum():.3f} | {exact} | {np.sum(~spoken)} |")


def speed(clips: Sequence[Clip], model: str) -> None:
    """Processor time for each second of sound, on one thread."""
    whisper = load_whisper(model)
    signals = [np.concatenate([*Sound(clip.audio or clip.video, RATE).chunks()]) for clip in clips]
    seconds = sum(map(len, signals)) / RATE
    tasks: dict[str, Callable[[np.ndarray], object]] = {
        "transcript": whisper.transcribe,
        "hidden states": whisper.hidden,
    }
    print(f"\n{len(clips)} clips, {seconds:.0f} s\n\n| what | real-time factor | x real time |\n|---|---:|---:|")
    for name, task in tasks.items():
        task(signals[0])
        started = time.process_time()
        for signal in signals:
            task(signal)
        factor = (time.process_time() - started) / seconds
        print(f"| {name} | {factor:.3f} | {1 / factor:.0f} |")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest")
    parser.add_argument("store")
    parser.add_argument("model")
    parser.add_argument("--clips", type=int, default=60, help="clips of the speed, spread over the manifest")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = read_source(options.manifest)
    error_rates(clips, options.store)
    speed(clips[:: max(1, len(clips) // options.clips)], options.model)


if __name__ == "__main__":
    main()
