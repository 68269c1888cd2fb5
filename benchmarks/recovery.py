"""Duration of recovery: ``fast`` against the published sampler, alternating in one process.

    python benchmarks/recovery.py [--threads N] [--csv FILE] [--compile] [--bf16]

One modality of three is missing and drawn once, for 32 and for 128 samples. Encodings are 32 channels x 48 steps everywhere.
``fast`` is timed as it ships (but for a cap of 48 steps) and with a score network of the published widths (32, 64, 128, 256)
that sees every single step. Weights are random; they cost the same as trained ones. A recovery is sampling and refinement;
encoding the features, which every system does, is left out. The evaluations of the published samplers all cost the
same: a tenth (paper) or a quarter (official) of them is timed and scaled.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from measure import alternate, flops, machine, markdown, matmul_peak, ratio
from torch import Tensor

from imder.diffusion import KeyedNoise
from imder.evaluation.results import write_csv
from imder.models.imder.observed import ObservedEncodings
from imder.models.imder.training import IMDer
from imder.models.registry import build
from imder.training.config import load_config
from imder.types import Modality, Spec

SPEC = Spec((Modality("language", 768, 50), Modality("vision", 5, 50), Modality("audio", 20, 50)))
MISSING = "language"
WIDTH, STEPS = 32, 48
PUBLISHED_WIDTHS = {"model.recovery.network.widths": [32, 64, 128, 256], "model.recovery.network.patch": 1}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class System:
    """A model whose sampler does ``timed`` of its ``evaluations``; seconds of sampling are scaled up."""

    model: IMDer
    evaluations: int
    timed: int

    @property
    def scale(self) -> float:
        """The factor from timed to all evaluations."""
        return self.evaluations / self.timed


def system(preset: str, evaluations: int, share: float = 1.0, changes: Mapping[str, Any] | None = None) -> System:
    """A preset with random weights."""
    timed = round(evaluations * share)
    overrides = {**(changes or {}), "model.recovery.evaluations": timed}
    model = build("imder", load_config(preset, overrides=overrides).model, SPEC)
    assert isinstance(model, IMDer)
    assert all(encoder.steps == STEPS for encoder in model.encoders.values())
    with torch.no_grad():
        for p in model.recovery.parameters():
            if not p.any():  # layers that start at zero would hide what precision and compilation change
                p.normal_(0, 0.02)
    return System(model.to(DEVICE).eval(), evaluations, timed)


def systems() -> dict[str, System]:
    """The compared systems."""
    cap = {"model.encoder.steps": STEPS}
    return {
        "fast": system("fast", 8, changes=cap),
        "fast, published widths": system("fast", 8, changes=cap | PUBLISHED_WIDTHS),
        "official": system("official-mosi", 100, 0.25),
        "paper": system("paper-mosi", 500, 0.1),
    }


@dataclass(frozen=True)
class Given:
    """The input of recovery: encodings, all but ``MISSING`` available, and keys of the noise."""

    observed: ObservedEncodings
    keys: Tensor

    @classmethod
    def random(cls, rows: int) -> Given:
        """Standard normal encodings."""
        generator = torch.Generator().manual_seed(rows)
        encodings = {name: torch.randn(rows, WIDTH, STEPS, generator=generator).to(DEVICE) for name in SPEC.names}
        available = torch.tensor([[name != MISSING for name in SPEC.names]], device=DEVICE).repeat(rows, 1)
        return cls(ObservedEncodings(encodings, available), torch.arange(rows, device=DEVICE))


def sample(model: IMDer, given: Given, draws: int = 1, seed: int = 0) -> Tensor:
    """Sampled encodings ``(draws, rows, width, steps)``."""
    return model.recovery.sample(MISSING, given.observed, given.keys, draws=draws, seed=seed)


@torch.no_grad()
def refine(model: IMDer, given: Given, draws: int = 1) -> Tensor:
    """Refine encodings; the cost doesn't depend on their values."""
    return model.refine(MISSING, given.observed.encodings[MISSING].expand(draws, -1, -1, -1))


def recover(model: IMDer, given: Given, draws: int = 1, seed: int = 0) -> Tensor:
    """Sample and refine."""
    with torch.no_grad():
        return model.refine(MISSING, sample(model, given, draws, seed))


def recover_in_turn(model: IMDer, given: Given, draws: int) -> list[Tensor]:
    """Recover with one call for each draw."""
    return [recover(model, given, seed=seed) for seed in range(draws)]


def evaluation_flops(model: IMDer, given: Given) -> int:
    """Floating-point operations of one evaluation of the denoiser for all rows."""
    with torch.no_grad():
        denoise = model.recovery.denoiser(MISSING, given.observed, KeyedNoise(given.keys, 0))
        return flops(lambda: denoise(given.observed.encodings[MISSING], torch.ones((), device=DEVICE)))


def compared(rows: int, peak: float, repetitions: int) -> tuple[Rows, Rows]:
    """Seconds of every system, and the speedup of ``fast``."""
    given, all_systems = Given.random(rows), systems()
    calls: dict[str, Callable[[], object]] = {}
    for name, s in all_systems.items():
        calls[name] = partial(sample, s.model, given)
        calls[f"{name}: refinement"] = partial(refine, s.model, given)
    taken = alternate(calls, repetitions)
    seconds = {
        name: [s.scale * a + b for a, b in zip(taken[name], taken[f"{name}: refinement"], strict=True)]
        for name, s in all_systems.items()
    }
    table: Rows = []
    for name, s in all_systems.items():
        median = sorted(seconds[name])[repetitions // 2]
        counted = s.scale * flops(calls[name]) + flops(calls[f"{name}: refinement"])
        table.append(
            {
                "samples": rows,
                "system": name,
                "evaluations": s.evaluations,
                "seconds": median,
                "GFLOP / evaluation": evaluation_flops(s.model, given) / 1e9,
                "share of peak": f"{counted / median / peak:.0%}",
                "timed": "all" if s.timed == s.evaluations else f"{s.timed} evaluations, scaled",
            }
        )
    ratios: Rows = []
    for fast in list(all_systems)[:2]:
        for slow, target in (("paper", 100), ("official", 20)):
            middle, low, high = ratio(seconds[slow], seconds[fast])
            ratios.append(
                {
                    "samples": rows,
                    "comparison": f"{slow} / {fast}",
                    "times as fast": middle,
                    "smallest": low,
                    "largest": high,
                    "target": target if rows == 32 else "",
                }
            )
    return table, ratios


def many_draws(repetitions: int, draws: int = 8) -> Rows:
    """Compare ``draws`` recoveries of each sample in one batch with one call for each."""
    table: Rows = []
    for rows in (1, 32, 128):
        model, given = systems()["fast"].model, Given.random(rows)
        calls: dict[str, Callable[[], object]] = {
            "one batch": partial(recover, model, given, draws),
            "calls": partial(recover_in_turn, model, given, draws),
        }
        taken = alternate(calls, repetitions)
        middle, low, high = ratio(taken["calls"], taken["one batch"])
        together, apart = (sorted(t)[repetitions // 2] for t in (taken["one batch"], taken["calls"]))
        table.append(
            {
                "samples": rows,
                "draws": draws,
                "one batch, s": together,
                f"{draws} calls, s": apart,
                "times as fast": middle,
                "smallest": low,
                "largest": high,
            }
        )
    return table


def against_eager(other: Callable[[IMDer], Callable[[Given], Tensor]], repetitions: int) -> Rows:
    """Compare another way of sampling with plain sampling; the first call is timed alone, since it may compile."""
    table: Rows = []
    for name, s in list(systems().items())[:2]:
        call = other(s.model)
        for rows in (32, 128, 1):
            given = Given.random(rows)
            started = time.perf_counter()
            result = call(given)
            first = time.perf_counter() - started
            plain = sample(s.model, given)
            taken = alternate({"plain": partial(sample, s.model, given), "other": partial(call, given)}, repetitions, 2)
            middle, low, high = ratio(taken["plain"], taken["other"])
            table.append(
                {
                    "samples": rows,
                    "system": name,
                    "first call, s": first,
                    "plain, s": sorted(taken["plain"])[repetitions // 2],
                    "times as fast": middle,
                    "smallest": low,
                    "largest": high,
                    "largest difference / deviation": float((result - plain).abs().max() / plain.std()),
                }
            )
    return table


def compiled(model: IMDer) -> Callable[[Given], Tensor]:
    """Compare with the compiled score network."""
    other = copy.deepcopy(model)
    networks: Any = other.recovery.networks
    networks[MISSING] = torch.compile(networks[MISSING])
    return lambda given: sample(other, given)


def in_bf16(model: IMDer) -> Callable[[Given], Tensor]:
    """Compare with sampling under autocast."""

    def call(given: Given) -> Tensor:
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            return sample(model, given)

    return call


def main() -> None:
    """Measure and print the requested tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to PyTorch")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--csv", help="where to write the tables of seconds and ratios")
    parser.add_argument("--compile", action="store_true", help="also: does torch.compile of the score network pay?")
    parser.add_argument("--bf16", action="store_true", help="also: does bfloat16 pay?")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    peak = matmul_peak()
    print(f"{machine()}\nlarge matrix products reach {peak / 1e9:.0f} GFLOP/s\n")
    kept: Rows = []
    for rows in (32, 128):
        for table in compared(rows, peak, options.repetitions):
            print(markdown(table), end="\n\n")
            kept += table
    print("Several recoveries of each sample (fast):\n")
    kept += (table := many_draws(options.repetitions))
    print(markdown(table), end="\n\n")
    for wanted, title, other in (
        (options.compile, "torch.compile of the score network, sampling only", compiled),
        (options.bf16, "bfloat16 by autocast, sampling only", in_bf16),
    ):
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as empty:  # an empty cache of compiled code
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
            kept += (table := against_eager(other, options.repetitions))
        print(f"{title}:\n\n{markdown(table)}\n")
    if options.csv:
        write_csv(kept, options.csv)


if __name__ == "__main__":
    main()
