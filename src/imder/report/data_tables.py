"""A summary of a corpus in a few tables (`imder.data.inspect`)."""

from __future__ import annotations

from imder.data.corpus import Corpus
from imder.data.inspect import inspect_corpus
from imder.evaluation.rendering import Table
from imder.report.content import DataTable


def corpus_tables(corpus: Corpus) -> tuple[DataTable, ...]:
    """Splits: their sizes, what is present, and their labels."""
    summary = inspect_corpus(corpus)
    names = list(summary["modalities"])
    lines = []
    for name, split in summary["splits"].items():
        labels = split["labels"]
        if labels is None:
            text = "–"
        elif "median" in labels:
            text = f"{labels['min']:.3g} to {labels['max']:.3g}, mean {labels['mean']:.3g}"
        else:
            text = ", ".join(f"{label} {count}" for label, count in labels["counts"].items())
        lines.append(
            (
                name,
                str(split["n"]),
                str(split["labelled"]),
                *(str(split["present"][m]) for m in names),
                *("–" if split[key] is None else str(split[key]) for key in ("dialogues", "speakers")),
                text,
            )
        )
    heads = ("split", "samples", "labelled", *names, "dialogues", "speakers", "labels")
    words = "Samples of each split, how many of them hold each modality, and their labels."
    if shared := [
        f"{pair}: {what['n']} {kind}"
        for kind, pairs in summary["shared"].items()
        for pair, what in pairs.items()
        if what["n"]
    ]:
        words += f" Shared by splits: {'; '.join(shared)}."
    return (DataTable(words, Table("Data", heads, tuple(tuple((t, False) for t in line) for line in lines))),)
