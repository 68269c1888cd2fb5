"""The summary of `imder.data.inspect` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from imder.data.inspect import DIALOGUE_LENGTHS
from imder.data.speaker_norm import speaker_norm_note

_MOST_PATTERNS = 16
_MOST_COLUMNS = 12


def render(summary: Mapping[str, Any]) -> Group:
    """Tables of splits, modalities, patterns and labels, followed by `notes`."""
    tables: list[RenderableType | None] = [_splits(summary), _dialogues(summary), _modalities(summary)]
    tables += [_patterns(summary), _labels(summary)]
    remarks = [note for note in (speaker_norm_note(summary), *notes(summary)) if note]
    return Group(*(table for table in tables if table is not None), *map(Text, remarks))


def _table(title: str, first: str, others: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(escape(name), justify="right")
    return table


def _count(n: int | None) -> str:
    return "-" if n is None else str(n)


def _splits(summary: Mapping[str, Any]) -> Table:
    columns = ["samples", "labelled", "dropped", "dialogues", "speakers", "texts"]
    table = _table(f"{escape(summary['name'])} ({summary['task']})", "split", columns)
    for name, s in summary["splits"].items():
        numbers = (s["n"], s["labelled"], s["dropped"], s["dialogues"], s["speakers"])
        table.add_row(escape(name), *map(_count, numbers), "yes" if s["texts"] else "no")
    return table


def _dialogues(summary: Mapping[str, Any]) -> Table | None:
    splits = {name: s for name, s in summary["splits"].items() if s["neighbours"]}
    if not splits:
        return None
    ranges = [key for key in DIALOGUE_LENGTHS if any(s["neighbours"]["dialogues"][key] for s in splits.values())]
    table = _table("Dialogues by number of clips", "split", ["clips with\nneighbours", *ranges])
    for name, s in splits.items():
        clips, n = s["neighbours"]["clips"], s["n"]
        share = f"{clips} ({100 * clips / n:.0f} %)" if n else "0"
        table.add_row(escape(name), share, *(str(s["neighbours"]["dialogues"][key]) for key in ranges))
    return table


def _modalities(summary: Mapping[str, Any]) -> Table:
    columns = ["features", "split", "present", "frames (min,\nmedian, max)", "not\nfinite"]
    table = _table("Modalities", "modality", columns)
    for modality, about in summary["modalities"].items():
        for i, (name, s) in enumerate(summary["splits"].items()):
            lengths, n = s["lengths"][modality], s["n"]
            present = s["present"][modality]
            table.add_row(
                "" if i else escape(modality),
                "" if i else f"{about['dim']} {about['dtype']}",
                escape(name),
                f"{present} ({100 * present / n:.0f} %)" if n else "0",
                f"{lengths['min']}, {lengths['median']:g}, {lengths['max']}",
                str(s["nonfinite"][modality]),
            )
    return table


def _patterns(summary: Mapping[str, Any]) -> Table:
    splits = summary["splits"]
    table = _table("Modalities held together", "pattern", list(splits))
    patterns = list(dict.fromkeys(p for s in splits.values() for p in s["patterns"]))
    for pattern in patterns[:_MOST_PATTERNS]:
        table.add_row(escape(pattern or "none"), *(str(s["patterns"].get(pattern, 0)) for s in splits.values()))
    if len(patterns) > _MOST_PATTERNS:
        table.add_row(f"{len(patterns) - _MOST_PATTERNS} more", *("" for _ in splits))
    return table


def _labels(summary: Mapping[str, Any]) -> Table | None:
    splits = {name: s["labels"] for name, s in summary["splits"].items() if s["labels"]}
    if not splits:
        return None
    regression = summary["task"] == "regression"
    table = _table("Labels", "nearest to" if regression else "class", list(splits))
    keys = list(dict.fromkeys(k for s in splits.values() for k in s["counts"]))
    for key in sorted(keys, key=_number) if regression else keys:
        table.add_row(escape(key), *(str(s["counts"].get(key, 0)) for s in splits.values()))
    if regression:
        for key in ("min", "median", "mean", "max"):
            table.add_row(key, *(f"{s[key]:.3g}" for s in splits.values()))
    return table


def _number(key: str) -> float:
    return float(key.split(" to ")[0])


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Warnings, one a line: constant columns, names that splits share, dialogues without an order, remarks on reading."""
    lines = []
    for modality, constant in summary["constant"]["modalities"].items():
        if constant["n"]:
            shown = ", ".join(map(str, constant["columns"][:_MOST_COLUMNS]))
            more = ", ..." if constant["n"] > _MOST_COLUMNS else ""
            lines.append(
                f"{modality}: {constant['n']} constant columns in {summary['constant']['split']}: {shown}{more}"
            )
    for what, pairs in summary["shared"].items():
        for pair, overlap in pairs.items():
            lines.append(f"{pair} share {overlap['n']} {what}: {', '.join(overlap['examples'])}")
    lines += [*summary.get("unordered", []), *summary.get("remarks", [])]
    return lines or ["No constant columns; the splits share no ids, dialogues or speakers."]
