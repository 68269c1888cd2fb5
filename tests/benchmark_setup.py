"""What tests of benchmarks share: small corpora, options, and comparisons of folders."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from imder.cli import main
from imder.data.corpus import Corpus

TABLES = ("results.csv", "significance.csv", "tables.md", "tables.tex")
TINY = ["--max-epochs", 1, "--draws", 2, "--rates", "0,0.5", "--resamples", 20, "--device", "cpu", "--threads", 1]
PAIR = ["--models", "zero-fill,{narrow}", "--seeds", 2, "--protocols", "random,fixed,natural"]


def with_speakers(corpus: Corpus) -> Corpus:
    """Five speakers, one in each dialogue."""
    named = {
        name: replace(split, speaker=tuple(f"p{int(dialogue[-4:]) % 5}" for dialogue in split.dialogue or ()))
        for name, split in corpus.splits.items()
    }
    return replace(corpus, splits=named)


def benchmark(place: Path, out: Path, *words: object, corpus: str = "corpus") -> int:
    words = tuple(str(word).format(narrow=place / "narrow.yaml") for word in words)
    return main(["benchmark", str(place / corpus), "--out", str(out), *words])


def same_tables(one: Path, other: Path) -> None:
    for name in TABLES:
        assert (one / name).read_text() == (other / name).read_text(), name


def stamps(out: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for folder in ("cells", "runs") for p in (out / folder).rglob("*") if p.is_file()}


def read_comparisons(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))
