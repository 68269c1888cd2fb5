"""Counters of the service, in the text format of Prometheus."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of durations."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the histogram of samples in a batch."""


class Histogram:
    """Counts of values up to each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[sum(value > bound for bound in self._bounds)] += 1
        self._sum += value

    def lines(self, name: str, labels: str = "") -> list[str]:
        """The histogram's lines; ``labels`` such as ``route="/"``."""
        lines, total = [], 0
        separator = "," if labels else ""
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f'{name}_bucket{{{labels}{separator}le="{le}"}} {total}')
        braces = f"{{{labels}}}" if labels else ""
        return [*lines, f"{name}_sum{braces} {self._sum:.6f}", f"{name}_count{braces} {total}"]


class Metrics:
    """What ``/metrics`` shows.

    >>> metrics = Metrics()
    >>> metrics.request("/v1/predict", 200, 0.02)
    >>> [line for line in metrics.text().splitlines() if line.startswith("imder_requests_total")]
    ['imder_requests_total{route="/v1/predict",status="200"} 1']
    """

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._seconds: dict[str, Histogram] = defaultdict(lambda: Histogram(SECONDS))
        self._batches = Histogram(SIZES)
        self._errors = 0
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.gauge("process_resident_memory_bytes", "Resident memory of the process.", resident_bytes)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests[route, status] += 1
        self._seconds[route].add(seconds)

    def batch(self, samples: int) -> None:
        """Count a batch of samples that were predicted together."""
        self._batches.add(samples)

    def error(self) -> None:
        """Count an error of the service itself."""
        self._errors += 1

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Show a value that is read when the metrics are."""
        self._gauges[name] = help_text, value

    def text(self) -> str:
        """All metrics."""
        lines = [*_head("imder_requests_total", "counter", "Answers by route and status.")]
        lines += [
            f'imder_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self._requests.items())
        ]
        lines += _head("imder_request_seconds", "histogram", "Seconds from the request's head to its answer.")
        for route, histogram in sorted(self._seconds.items()):
            lines += histogram.lines("imder_request_seconds", f'route="{route}"')
        lines += _head("imder_batch_samples", "histogram", "Samples that were predicted together.")
        lines += self._batches.lines("imder_batch_samples")
        lines += _head("imder_internal_errors_total", "counter", "Errors of the service itself.")
        lines.append(f"imder_internal_errors_total {self._errors}")
        for name, (help_text, value) in self._gauges.items():
            lines += [*_head(name, "gauge", help_text), f"{name} {value():g}"]
        return "\n".join(lines) + "\n"


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system doesn't say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _head(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
