"""The predictions of a benchmark's cells that a report draws: of the baseline and the best system, complete and half missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from imder.evaluation.formatting import metric_info
from imder.metrics import names_of
from imder.missingness.protocols import PROTOCOLS
from imder.report.benchmark_files import BenchmarkFiles
from imder.report.prediction_section import Predicted

HALF = 0.5
WORDS = (
    "Predictions of the first training of the baseline and of the best system, from complete samples and with about half of the "
    "modalities missing. The best is the one with the best average over the first protocol."
)


def benchmark_predictions(files: BenchmarkFiles) -> Iterator[Predicted]:
    """Yields the predictions of each shown system under each shown setting.

    Raises:
        ImderError: a file of predictions is damaged.
    """
    for system in shown_systems(files):
        cells = [cell for cell in files.finished if cell.model == system]
        cells = [cell for cell in cells if (cell.seed, cell.rate) == (cells[0].seed, _nearest([c.rate for c in cells]))]
        arrays = [files.folder.predictions(cell) for cell in cells]
        labels = np.concatenate([part["labels"] for part in arrays])
        for protocol in files.plan.protocols:
            if PROTOCOLS[protocol].has_rates:
                rate = _nearest(np.unique(arrays[0][f"{protocol}_rate"]).tolist())
                index = int((arrays[0][f"{protocol}_rate"] == rate).argmax())
                setting = f"missing rate {rate:g} ({protocol})"
            else:
                subsets = arrays[0][f"{protocol}_available"].tolist()
                index = max(range(len(subsets)), key=lambda i: subsets[i].count("+"))
                setting = "everything available" if subsets[index] else "as the corpus is"
            values = np.concatenate([part[protocol][index] for part in arrays])
            yield Predicted.of(system, setting, protocol, values, labels)


def shown_systems(files: BenchmarkFiles) -> list[str]:
    """The baseline and the best other system on average; the first system where nothing can be compared."""
    results = files.results
    metric = names_of(results.convention, "main")[0]
    sign = 1 if metric_info(metric).higher_is_better else -1
    first = next((p for p in results.protocols if PROTOCOLS[p].has_rates), results.protocols[0])
    means = {
        row["model"]: sign * row[metric]
        for row in results.means or results.summary
        if row["protocol"] == first and row["model"] in files.models and not np.isnan(row.get(metric, np.nan))
    }
    others = [model for model in means if model != results.baseline]
    best = [max(others, key=lambda model: means[model])] if others else []
    return [*([results.baseline] if results.baseline else []), *best] or files.models[:1]


def _nearest(rates: Sequence[float | None]) -> float | None:
    """The rate nearest to `HALF`; None where one model serves all."""
    numbers = [rate for rate in rates if rate is not None]
    return min(numbers, key=lambda rate: abs(rate - HALF), default=None)
