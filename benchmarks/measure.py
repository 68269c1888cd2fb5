"""Helpers of the benchmarks: a description of the machine, paired timings, counted operations, tables.

Two calls are compared by alternating them (A B A B ...) in one process and dividing pair by pair, so that drifts of the
machine's speed cancel. The result is the median ratio with the smallest and the largest.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def machine() -> str:
    """Processor, cores, threads in use, versions and the date."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line[:10] == "model name"
        ]
        name = models[0] if models else name
    threads = torch.get_num_threads()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    date = datetime.datetime.now(datetime.UTC).date()
    return (
        f"{name}{gpu}, {os.cpu_count()} cores, {threads} thread{'s' * (threads != 1)}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, {date}"
    )


def seconds(call: Callable[[], object]) -> float:
    """Seconds of one call, including the work that it started on a GPU."""
    _wait()
    started = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def alternate(
    calls: Mapping[str, Callable[[], object]], repetitions: int = 5, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each call in each round; a round runs every call once, in turn, and ``warmup`` rounds aren't counted."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(warmup + repetitions):
        for name, call in calls.items():
            spent = seconds(call)
            if i >= warmup:
                taken[name].append(spent)
    return taken


def ratio(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest and largest of slow / fast, round by round."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return statistics.median(each), min(each), max(each)


def matmul_peak(size: int = 2048, repetitions: int = 5) -> float:
    """FLOP/s of a large single-precision matrix product on this machine: the best of several."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    return 2 * size**3 / min(alternate({"product": lambda: a @ b}, repetitions)["product"])


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, convolutions and attention of one call, by torch's own count.

    Attention is written out for the count: fused on a CPU it would count as nothing.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table; numbers aligned right."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    number = {
        c: all(isinstance(row.get(c, 0), int | float) or str(row[c])[:1].isdigit() for row in rows) for c in columns
    }
    lines = ["| " + " | ".join(columns) + " |", "|" + "|".join("---:" if number[c] else "---" for c in columns) + "|"]
    lines += ["| " + " | ".join(_cell(row.get(c, "")) for c in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
