"""Requests of features in binary: a safetensors document, which holds numbers alone and can't run code.

A sample has a tensor ``(T, D)`` or ``(D,)`` of 16, 32 or 64-bit floats for each available modality, under its name, and
``id`` in the metadata. In a request of several samples, tensors are named ``0.audio``, ``1.audio``, ``1.language``, ..., and
the metadata's keys ``0``, ``1``, ... hold ids. The key ``format``, by which files name the library that wrote them, is accepted
and not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from imder.serve.config import ServeConfig
from imder.serve.errors import Refusal
from imder.serve.features import DEFAULT_ID, MOST_ID, FeatureSample, check_keys, checked_frames, parse_json
from imder.types import Spec

MEDIA_TYPE = "application/octet-stream"
_FLOATS = (np.float16, np.float32, np.float64)

Arrays = Mapping[str, NDArray[Any]]


def read_tensors(body: bytes, spec: Spec, config: ServeConfig) -> FeatureSample:
    """The sample of a binary request.

    Raises:
        Refusal: the body is no safetensors document, a name, key, type, shape or value is wrong, or nothing is available.
    """
    arrays, metadata = _document(body)
    check_keys(metadata, ("id",), "metadata: ")
    return _sample(arrays, metadata.get("id", DEFAULT_ID), spec, config)


def read_numbered_tensors(body: bytes, spec: Spec, config: ServeConfig) -> list[FeatureSample]:
    """The samples of a binary request of several.

    Raises:
        Refusal: as `read_tensors`, or numbers are missing, or there are too many.
    """
    arrays, metadata = _document(body)
    samples: dict[int, dict[str, NDArray[Any]]] = {}
    for name, values in arrays.items():
        number, _, modality = name.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) < 9 and str(int(number)) == number):
            raise Refusal(422, f"tensor {name[:40]!a}: a name such as '0.{spec.names[0]}' is needed")
        samples.setdefault(int(number), {})[modality] = values
    count = len(samples)
    if not 0 < count <= config.max_samples:
        raise Refusal(413 if count else 422, f"1 to {config.max_samples} samples are taken at once, got {count}")
    if set(samples) != set(range(count)):
        raise Refusal(422, f"samples are numbered from 0 to {count - 1}, each with a tensor at least")
    for key in metadata:
        if key not in map(str, range(count)):
            raise Refusal(422, f"metadata: unknown key {key[:40]!a}; ids have the numbers of samples, 0 to {count - 1}")
    return [
        _sample(samples[i], metadata.get(str(i), f"{DEFAULT_ID}-{i}"), spec, config, f"sample {i}: ")
        for i in range(count)
    ]


def _document(body: bytes) -> tuple[Arrays, Mapping[str, str]]:
    """Arrays and metadata of a safetensors document, without ``format``."""
    try:
        arrays = load(body)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError):
        raise Refusal(400, "the body is no safetensors document of floats") from None
    header = parse_json(body[8 : 8 + int.from_bytes(body[:8], "little")])
    metadata = header.get("__metadata__") or {}
    return arrays, {key: value for key, value in metadata.items() if key != "format"}


def _sample(arrays: Arrays, name: str, spec: Spec, config: ServeConfig, where: str = "") -> FeatureSample:
    dims = {m.name: m.dim for m in spec.modalities}
    if not 0 < len(name) <= MOST_ID:
        raise Refusal(422, f"{where}id: a text of 1 to {MOST_ID} characters is needed")
    features = {}
    for modality, values in arrays.items():
        if modality not in dims:
            raise Refusal(422, f"{where}unknown modality {modality[:40]!a}; known are {', '.join(dims)}")
        if values.dtype not in _FLOATS:
            raise Refusal(422, f"{where}{modality}: floats of 16, 32 or 64 bits are needed, got {values.dtype}")
        if values.size:
            features[modality] = checked_frames(values, dims[modality], config.max_frames, f"{where}{modality}")
    if not features:
        raise Refusal(422, f"{where}no modality is available: give the features of at least one of {', '.join(dims)}")
    return FeatureSample(name, features)
