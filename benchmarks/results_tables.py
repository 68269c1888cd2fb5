"""Tables of measured results in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from results_data import HIGHER_IS_BETTER, LABELS, Results

SHOWN_RATES = ("0", "0.1", "0.3", "0.5", "0.7", "average")
REFERENCES = ("constant", "3 late-fusion", "3 imder", "2 late-fusion", "2 imder")
"""Not compared with the systems: the constant baseline, and averages over several trainings."""


def shown_rates(results: Results) -> list[str]:
    """A few rates, without those that drop no more than the one before, and the average."""
    measured = [rate for rate in SHOWN_RATES if rate in results.dropped or rate == "average"]
    return [rate for rate in measured if rate != "0.7" or float(results.dropped["0.7"]) > 0.501]


def value(results: Results, key: tuple[str, str, str, str], best: str = "") -> str:
    """Mean ± deviation; bold where it equals the best."""
    if key not in results.values:
        return "–"
    mean, deviation = results.values[key]
    text = f"{mean} ± {deviation}" if deviation else mean
    return f"**{text}**" if mean == best and key[3] not in REFERENCES else text


def best_mean(results: Results, protocol: str, setting: str, metric: str) -> str:
    """The best mean of the single systems, as text."""
    means = {
        s: results.values[key][0]
        for s in results.systems()
        if s not in REFERENCES and (key := (protocol, setting, metric, s)) in results.values
    }
    if not means:
        return ""
    return (max if metric in HIGHER_IS_BETTER else min)(means.values(), key=float)


def rate_differences(results: Results, metric: str, measured: Mapping[tuple[str, str, str, str], Sequence[str]]) -> str:
    """A row for each system, a column for each of a few rates: differences with intervals, bold where they are gains."""
    shown = [r for r in ("0", "0.3", "0.5", "0.7", "average") if r in shown_rates(results)]
    rows = []
    for system in [s for s in results.systems() if ("random", "average", metric, s) in measured]:
        cells = []
        for rate in shown:
            middle, low, high = measured["random", rate, metric, system]
            better = float(low) > 0 if metric in HIGHER_IS_BETTER else float(high) < 0
            text = f"{middle} ({low} to {high})"
            cells.append(f"**{text}**" if better else text)
        rows.append([system, *cells])
    return table(["system", *("MR " + r if r != "average" else r for r in shown)], rows)


def equal_systems(results: Results, metric: str) -> list[list[str]]:
    """The systems grouped by their differences from late fusion: those of a group are equal at every missing rate."""
    groups: dict[tuple[tuple[str, ...] | None, ...], list[str]] = {}
    rates = results.settings("random")
    for system in [s for s in results.systems() if ("random", "average", metric, s) in results.from_plain]:
        line = tuple(results.from_plain.get(("random", rate, metric, system)) for rate in rates)
        groups.setdefault(line, []).append(system)
    return list(groups.values())


def equal_note(results: Results, metric: str) -> str:
    """A sentence on the systems that a picture shows as one line; empty where all differ."""
    several = [", ".join(f"`{s}`" for s in group) for group in equal_systems(results, metric) if len(group) > 1]
    return f"One line in the picture, since they are equal at every rate: {'; '.join(several)}." if several else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def between_marks(text: str, name: str, table: str) -> str:
    """A page with its table of that name replaced: what stands between two comments, if they are there."""
    marks = re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return marks.sub(lambda m: f"{m[1]}\n{table}\n\n{m[2]}", text)


def largest_losses(results: Results) -> str:
    """A row for each system: its worst addition of a modality, in each metric."""
    measured = [m for m in LABELS if any(m == metric for _, metric in results.additions)]
    rows = [
        [system, *(largest_loss(results, system, metric) for metric in measured)]
        for system in results.systems()
        if (system, measured[0]) in results.additions
    ]
    return table(["system", *(f"loss in {LABELS[m]}" for m in measured)], rows)


def largest_loss(results: Results, system: str, metric: str) -> str:
    """A system's worst addition of a modality, bold where its interval lies above 0."""
    entries = results.additions.get((system, metric), [])
    if not entries:
        return "–"
    loss, low, high, subset, added = max(entries, key=lambda entry: float(entry[0]))
    text = f"{loss} ({low} to {high})"
    return f"{f'**{text}**' if float(low) > 0 else text}, {added} to {subset}"


def shares(results: Results) -> str:
    """A row for each system: what losing a modality costs in the main metric when everything else is available."""
    metric = results.main_metric()
    costs = {
        s: _last_additions(results.additions[s, metric]) for s in results.systems() if (s, metric) in results.additions
    }
    lost = list(dict.fromkeys(name for entries in reversed(costs.values()) for name in reversed(entries)))
    rows = [[s, *(_cost(*entries[name]) if name in entries else "–" for name in lost)] for s, entries in costs.items()]
    return table(["system", *(f"without {name}" for name in lost)], rows)


def _last_additions(entries: Sequence[tuple[str, str, str, str, str]]) -> dict[str, tuple[str, str, str]]:
    """For each modality (loss, low, high) of its addition to all others."""
    most = max(subset.count("+") for _, _, _, subset, _ in entries)
    return {added: (loss, low, high) for loss, low, high, subset, added in entries if subset.count("+") == most}


def _cost(loss: str, low: str, high: str) -> str:
    """The opposite of a loss, bold where its interval lies above 0."""
    cost, least, largest = (_negated(text) for text in (loss, high, low))
    text = f"{cost} ({least} to {largest})"
    return f"**{text}**" if float(least) > 0 else text


def _negated(text: str) -> str:
    """A signed number with the other sign and as many digits."""
    return text if not float(text) else {"+": "-", "-": "+"}[text[0]] + text[1:]
