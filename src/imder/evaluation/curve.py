"""Averages and areas of a metric over the settings of a protocol, as weights of the settings.

* The average: each condition counts once. Rates of the random protocol above (K - 1) / K all drop the share (K - 1) / K and
  are one condition.
* Under a protocol that erases frames, the two published conventions:

  * the mean over the rates below 1, 0 to .9 in the papers (LNLN and those that follow it);
  * AUILC, the area under the metric's line over the rates (TFR-Net, EMT-DLFR): with steps of .1 the sum of
    (x_i + x_{i + 1}) / 2 * .1 over neighbouring rates, 0 to 1. For CH-SIMS, 0 to .5, it is divided by the range.

The papers train one model for each rate for AUILC, and one model for all rates for the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imder.missingness.protocols import PROTOCOLS, frame_protocols


def summaries(
    protocol: str, rates: Sequence[float | None], effective: Sequence[float], *, sims: bool = False
) -> dict[str, NDArray[np.float64]]:
    """By name, the weights ``(S,)`` of the settings of a protocol.

    Args:
        protocol: its name.
        rates: of the settings, ascending; None where the protocol has none.
        effective: the effective missing rates of the settings.
        sims: whether metrics are those of CH-SIMS, whose AUILC is divided by the range.

    >>> {name: w.round(3).tolist() for name, w in summaries("frames", (0.0, 0.5, 1.0), (0, 0, 0)).items()}
    {'average, 0 to 0.5': [0.5, 0.5, 0.0], 'AUILC, 0 to 1': [0.25, 0.5, 0.25]}
    >>> summaries("random", (0.0, 0.5, 0.7), (0.0, 0.5, 0.5))["average"].tolist()
    [0.5, 0.25, 0.25]
    """
    numbers = [rate for rate in rates if rate is not None]
    if protocol not in frame_protocols() or len(numbers) < len(rates):
        return {"average": condition_weights(protocol, effective)}
    below = np.array(numbers) < 1
    out = {}
    if below.sum() > 1:
        used = np.array(numbers)[below]
        out[f"average, {used[0]:g} to {used[-1]:g}"] = below / below.sum()
    if numbers[0] == 0 and len(numbers) > 1:
        out[f"AUILC, 0 to {numbers[-1]:g}"] = area_weights(numbers, normalised=sims)
    return out


def area_weights(rates: Sequence[float], *, normalised: bool = False) -> NDArray[np.float64]:
    """The weights of values at ascending rates in the area under the line through them, by the trapezoidal rule.

    >>> area_weights([0.0, 0.1, 0.2]).round(3).tolist(), area_weights([0.0, 0.5], normalised=True).tolist()
    ([0.05, 0.1, 0.05], [0.5, 0.5])
    """
    steps = np.diff(np.asarray(rates, float))
    weights: NDArray[np.float64] = (np.append(0.0, steps) + np.append(steps, 0.0)) / 2
    return weights / steps.sum() if normalised else weights


def conditions(protocol: str, effective: Sequence[float]) -> list[list[int]]:
    """Groups of the settings of a protocol, by index, that are one condition, from their effective missing rates.

    With two modalities, the rates .5, .6 and .7 of the random protocol all drop half.

    >>> conditions("random", [0.0, 0.5, 0.5]), conditions("official", [0.0, 0.5, 0.5])
    ([[0], [1, 2]], [[0], [1], [2]])
    """
    if not PROTOCOLS[protocol].capped:
        return [[i] for i in range(len(effective))]
    groups: dict[float, list[int]] = {}
    for i, rate in enumerate(effective):
        groups.setdefault(round(rate, 3), []).append(i)
    return list(groups.values())


def condition_weights(protocol: str, effective: Sequence[float]) -> NDArray[np.float64]:
    """Weights ``(S,)``, summing to 1, of settings: each of their `conditions` counts once.

    >>> condition_weights("random", [0.0, 0.5, 0.5]).tolist()
    [0.5, 0.25, 0.25]
    """
    groups = conditions(protocol, effective)
    weights = np.zeros(len(effective))
    for group in groups:
        weights[group] = 1 / (len(groups) * len(group))
    return weights
