"""The encoder of Whisper (Radford et al., 2023, section 2.2), with all its hidden states, from CTranslate2's weights.

CTranslate2 returns the last hidden state only, and others carry more of the voice. The file ``model.bin`` is a list of named
arrays, documented by `ctranslate2.specs.model_spec`; nothing in it is executed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from imder.types import ImderError

_PREFIX = "encoder/"
_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2", 5: "<u2"}  # 5: bfloat16, the upper half of a float32
_BFLOAT16 = 5
_VERSIONS = (5, 6)  # of the file's format


def read_encoder(path: Path) -> dict[str, NDArray[Any]]:
    """The encoder's arrays in a ``model.bin``, in float32 (quantised ones are scaled back), by their names.

    Raises:
        ImderError: the file can't be read, or isn't of this format.
    """
    try:
        arrays = dict(_arrays(np.memmap(path, np.uint8, "r")))
    except (OSError, ValueError, LookupError, struct.error) as error:
        raise ImderError(f"{path}: not a model of CTranslate2 ({' '.join(str(error).split())[:200]})") from None
    return {
        name: _scaled(values, arrays.get(f"{name}_scale"))
        for name, values in arrays.items()
        if not name.endswith("_scale")
    }


def _arrays(file: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield (name, array) of the encoder."""
    position = 0

    def number(kind: str) -> int:
        nonlocal position
        size = struct.calcsize(kind)
        (value,) = struct.unpack(f"<{kind}", file[position : position + size].tobytes())
        position += size
        return int(value)

    def text() -> str:
        nonlocal position
        size = number("H")
        value = file[position : position + size - 1].tobytes().decode()  # without the zero at its end
        position += size
        return value

    if (version := number("I")) not in _VERSIONS:
        raise ValueError(f"its version is {version}, known are {', '.join(map(str, _VERSIONS))}")
    if (spec := text()) != "WhisperSpec":
        raise ValueError(f"it is a {spec[:40]!r}, not a WhisperSpec")
    number("I")  # revision
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        if name.startswith(_PREFIX):
            values = file[position : position + size].view(_TYPES[kind]).reshape(shape)
            if kind == _BFLOAT16:
                values = (values.astype(np.uint32) << 16).view(np.float32)
            yield name.removeprefix(_PREFIX), values
        position += size


def _scaled(values: NDArray[Any], scale: NDArray[Any] | None) -> NDArray[np.float32]:
    exact: NDArray[np.float32] = values.astype(np.float32)
    if scale is not None:  # one for each row, or one for all
        exact /= scale.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return exact


class WhisperEncoder:
    """Two convolutions, then transformer layers with the norm first.

    Args:
        path: CTranslate2's ``model.bin``.

    Attributes:
        layers: number of hidden states, the input of the first layer included.
        dim: width of the states.
        longest: greatest number of states.

    Raises:
        ImderError: the file can't be read, or lacks an array of the encoder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._weights = {name: torch.from_numpy(values) for name, values in read_encoder(path).items()}
        self._blocks = 0
        while f"layer_{self._blocks}/ffn/linear_0/weight" in self._weights:
            self._blocks += 1
        self.layers = self._blocks + 1
        self.longest, self.dim = self._weight("position_encodings/encodings").shape
        self._heads = int(self._weight("num_heads"))

    def _weight(self, name: str) -> Tensor:
        try:
            return self._weights[name]
        except KeyError:
            raise ImderError(f"{self._path}: has no array {_PREFIX}{name}, which Whisper's encoder needs") from None

    @torch.inference_mode()
    def __call__(self, mel: NDArray[np.float32]) -> list[Tensor]:
        """Hidden states ``(T, D)`` of a log-mel spectrogram ``(bands, 2 T)``, those after the last norm last."""
        states = torch.from_numpy(np.ascontiguousarray(mel, np.float32))[None]
        for name, stride in (("conv1", 1), ("conv2", 2)):
            weight, bias = self._weight(f"{name}/weight"), self._weight(f"{name}/bias")
            states = F.gelu(F.conv1d(states, weight, bias, stride, padding=1))
        states = states[0].T + self._weight("position_encodings/encodings")[: states.shape[2]]
        hidden = [states]
        for i in range(self._blocks):
            attention, ffn = f"layer_{i}/self_attention", f"layer_{i}/ffn"
            states = states + self._attended(self._norm(states, f"{attention}/layer_norm"), attention)
            inner = F.gelu(self._linear(self._norm(states, f"{ffn}/layer_norm"), f"{ffn}/linear_0"))
            states = states + self._linear(inner, f"{ffn}/linear_1")
            hidden.append(states)
        hidden[-1] = self._norm(states, "layer_norm")
        return hidden

    def _attended(self, states: Tensor, name: str) -> Tensor:
        queries, keys, values = (
            part.view(len(states), self._heads, -1).transpose(0, 1)
            for part in self._linear(states, f"{name}/linear_0").chunk(3, -1)
        )
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return self._linear(attended.transpose(0, 1).reshape(states.shape), f"{name}/linear_1")

    def _norm(self, states: Tensor, name: str) -> Tensor:
        return F.layer_norm(states, states.shape[-1:], self._weight(f"{name}/gamma"), self._weight(f"{name}/beta"))

    def _linear(self, states: Tensor, name: str) -> Tensor:
        return F.linear(states, self._weight(f"{name}/weight"), self._weights.get(f"{name}/bias"))
