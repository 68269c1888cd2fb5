"""Reference outputs of the released research code: the rule that filled its parameters, and the comparison."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"


def fill(name: str, shape: list[int], imder: bool = True) -> Tensor:
    """The value of the parameter called `name`; `imder`: with IMDer's two exceptions (norm weights, fixed features)."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if imder and name.endswith("embed.0.W"):
        return torch.from_numpy((30 * rng.standard_normal(shape)).astype(np.float32))
    fan = math.prod(shape[1:]) if len(shape) > 1 else 0
    scale = 1 / math.sqrt(fan) if fan else 0.05
    base = 1 if imder and ("gnorm" in name or "layer_norm" in name) and name.endswith("weight") else 0
    return torch.from_numpy((base + scale * rng.standard_normal(shape)).astype(np.float32))


def description(name: str) -> dict:
    """`official_<name>_parameters.json`."""
    return json.loads((GOLDEN / f"official_{name}_parameters.json").read_text())


def state_dict(name: str) -> dict[str, Tensor]:
    """All parameters of `official_<name>`, filled, under the released code's names."""
    shapes = description(name)["parameters"]
    return {key: fill(key, shape, imder=name in ("mosi", "mosei")) for key, shape in shapes.items()}


def arrays(name: str) -> dict[str, Tensor]:
    """Inputs and outputs recorded in `official_<name>.npz`."""
    with np.load(GOLDEN / f"official_{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def deviation(ours: Tensor, recorded: Tensor) -> float:
    """max|a - b| / max|b|."""
    assert ours.shape == recorded.shape, (ours.shape, recorded.shape)
    return float((ours.double() - recorded.double()).abs().max() / recorded.double().abs().max())


def assert_parity(ours: Tensor, recorded: Tensor, what: str) -> None:
    found = deviation(ours, recorded)
    assert found <= 1e-4, f"{what}: max|a - b| is {found:.1e} of max|b|"
