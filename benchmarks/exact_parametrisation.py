"""What each parametrisation and sampler of recovery draws with a perfect network, exactly, and what a network's error becomes.

    python benchmarks/exact_parametrisation.py [--correlation .7] [--csv FILE]

A coordinate x0 and its condition c are jointly Gaussian with variance 1. All denoisers are then linear, and so is every solver:
a draw is a sum of independent sources, the condition, the noise of the start, and noises added on the way. Run on the sources'
coefficients instead of numbers, the library's own solvers give its exact distribution. A perfect recovery has gain 1 (of the
draw's conditional mean over the true one), variance ratio 1 (of the draw given c) and an R^2 of the squared correlation.

The last two columns are deviations that a draw gains for an error of the network's output as large as the deviation of its
target: independent in each evaluation, or one constant in all of them. No training; less than a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from measure import markdown
from torch import Tensor
from variants import COEFFICIENTS, SIGMA_INFINITE, euler_flow, student_draw

from imder.diffusion import VESchedule
from imder.diffusion.denoiser import Denoiser
from imder.diffusion.sample import sample
from imder.evaluation.results import write_csv

SCHEDULE = VESchedule(25.0)
SIGMA_MAX = float(SCHEDULE.std(torch.tensor(1.0)))
SOURCES = 4096
CONDITION, BIAS = 0, 1
COPIES = 32
TARGET_DEVIATIONS = {"edm": 1.0, "score": 1.0, "flow": 2**0.5}
"""Of what the network learns, for data of variance 1."""
Row = dict[str, Any]
Coefficients = tuple[float, float]


@dataclass
class Sources:
    """Independent sources of variance 1 of which every quantity is a sum; its coefficients are a row ``(1, SOURCES)``."""

    used: int = 2
    errors: list[int] = field(default_factory=list)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """A new source, as a solver's noise."""
        x = torch.zeros(shape, dtype=torch.float64)
        x[0, self.used] = 1.0
        self.used += 1
        return x

    def error(self) -> Tensor:
        """A new source that is an error of the network."""
        self.errors.append(self.used)
        return self.normal((1, SOURCES))


def clean(correlation: float, sigma: float) -> Coefficients:
    """E[x0 | x, c] = a x + b c."""
    rest = 1 - correlation**2
    a = rest / (rest + sigma**2)
    return a, (1 - a) * correlation


def independent(correlation: float, sigma: float, copies: int = 1) -> Coefficients:
    """E[x0 | x, c'] = a x + b c' where c' is the mean of so many c + sigma z'."""
    total, condition = 1 + sigma**2, 1 + sigma**2 / copies
    determinant = total * condition - correlation**2
    return (condition - correlation**2) / determinant, correlation * sigma**2 / determinant


def redundant(correlation: float, sigma: float) -> Coefficients:
    """The same where the condition is there `COPIES` times, each with noise of its own."""
    return independent(correlation, sigma, COPIES)


def shared(correlation: float, sigma: float) -> Coefficients:
    """The same where c' = c + sigma z with the noise of x itself: what the released code's loss teaches."""
    total, both = 1 + sigma**2, correlation + sigma**2
    determinant = total**2 - both**2
    return (total - correlation * both) / determinant, (correlation * total - both) / determinant


def end_of_flow(correlation: float, sigma: float) -> Coefficients:
    """The end of the probability flow through x, a perfect student; at the start x is noise without the mean."""
    rest = 1 - correlation**2
    a = (rest / (rest + sigma**2)) ** 0.5
    return a, correlation * (1 if sigma > 0.999 * SIGMA_MAX else 1 - a)


def draw(
    optimum: Callable[[float, float], Coefficients],
    solver: str,
    evaluations: int,
    correlation: float,
    coefficients: str = "edm",
    error: str = "",
) -> Row:
    """The exact distribution of a draw, or its deviation for an ``independent`` or ``constant`` error of size 1."""
    sources = Sources()
    noise_of_condition = {independent: 1.0, shared: 1.0, redundant: COPIES**-0.5}.get(optimum)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = float(sigma)
        a, b = optimum(correlation, level)
        condition = torch.zeros_like(x)
        condition[0, CONDITION] = 1.0
        if noise_of_condition is not None:
            condition = condition + level * noise_of_condition * sources.normal((1, SOURCES))
        out = a * x + b * condition
        if error:
            size = TARGET_DEVIATIONS[coefficients] * float(COEFFICIENTS[coefficients](torch.tensor(level))[1].abs())
            if error == "independent":
                out = out + size * sources.error()
            else:
                out[0, BIAS] += size
        return out

    shape = (1, SOURCES)
    x = _drawn(denoise, solver, evaluations, sources, shape)[0]
    if error:
        return {"deviation": float(x[[BIAS, *sources.errors]].square().sum().sqrt())}
    gain = float(x[CONDITION])
    rest = x.clone()
    rest[CONDITION] = 0.0
    return {
        "gain": gain / correlation,
        "variance ratio": float(rest.square().sum()) / (1 - correlation**2),
        "R^2 of the mean": 1 - ((1 - correlation**2) + (correlation - gain) ** 2),
    }


def _drawn(denoise: Denoiser, solver: str, evaluations: int, sources: Sources, shape: tuple[int, ...]) -> Tensor:
    if solver == "flow":
        return euler_flow(denoise, shape, sources, evaluations)
    if solver == "student":
        return student_draw(denoise, shape, sources, evaluations, SIGMA_MAX)
    return sample(denoise, shape, sources, SCHEDULE, solver, evaluations)


METHODS: tuple[tuple[str, Callable[[float, float], Coefficients], str, str, tuple[int, ...]], ...] = (
    ("edm", clean, "edm", "dpmpp_2m", (1, 2, 4, 8)),
    ("score, clean condition", clean, "score", "dpmpp_2m", (8,)),
    ("score, clean condition", clean, "score", "euler_maruyama", (20, 100, 500)),
    ("score, noised condition (paper)", independent, "score", "euler_maruyama", (20, 100, 500)),
    ("score, noised condition, 32 copies", redundant, "score", "euler_maruyama", (100, 500)),
    ("score, shared noise (official)", shared, "score", "euler_maruyama", (100, 500)),
    ("edm, noised condition", independent, "edm", "dpmpp_2m", (8,)),
    ("flow", clean, "flow", "flow", (1, 2, 8, 32)),
    ("flow", clean, "flow", "dpmpp_2m", (8,)),
    ("student", end_of_flow, "edm", "student", (1, 2)),
)


def table(correlation: float) -> list[Row]:
    """A row for each method and number of evaluations."""
    rows = []
    for name, optimum, coefficients, solver, counts in METHODS:
        for evaluations in counts:
            errors = {
                f"{error} error": draw(optimum, solver, evaluations, correlation, coefficients, error)["deviation"]
                for error in ("independent", "constant")
            }
            exact = draw(optimum, solver, evaluations, correlation)
            rows.append({"method": name, "solver": solver, "evaluations": evaluations, **exact, **errors})
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--correlation", type=float, default=0.7)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = table(options.correlation)
    print(f"correlation {options.correlation}, flows start at sigma {SIGMA_INFINITE:g}\n\n{markdown(rows)}")
    if options.csv:
        digits = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
        write_csv(digits, options.csv)


if __name__ == "__main__":
    main()
