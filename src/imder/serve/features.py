"""Requests of features: JSON, checked value by value, as samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from imder.data.corpus import Ragged, Split
from imder.serve.config import ServeConfig
from imder.serve.errors import Refusal
from imder.types import Spec

DEFAULT_ID = "clip"
"""The id of a sample that has none (``clip-0``, ``clip-1``, ... in a request of several).

The noise of recoveries depends on the id, so equal requests get equal answers.
"""
MOST_ID = 200
KEYS = ("features", "missing", "id")


@dataclass(frozen=True)
class FeatureSample:
    """One sample: its id, and for each available modality ``(T, D)`` float32."""

    id: str
    features: Mapping[str, NDArray[np.float32]]


def parse_json(body: bytes) -> Any:
    """A JSON document, without NaN and infinity.

    Raises:
        Refusal: it is none.
    """
    try:
        return from_json(body, allow_inf_nan=False, cache_strings=False)
    except ValueError as error:
        raise Refusal(400, f"the body is no valid JSON: {str(error).splitlines()[0][:200]}") from None


def read_sample(
    document: Any, spec: Spec, config: ServeConfig, where: str = "", default_id: str = DEFAULT_ID
) -> FeatureSample:
    """A sample from ``{"features": {modality: frames}, "missing": [modality, ...], "id": text}``.

    Raises:
        Refusal: as `read_features`, the id is wrong, or nothing is available.
    """
    features = read_features(document, spec, config, where)
    sample = document.get("id", default_id)
    if not isinstance(sample, str) or not 0 < len(sample) <= MOST_ID:
        raise Refusal(422, f"{where}id: a text of 1 to {MOST_ID} characters is needed")
    if not features:
        names = ", ".join(spec.names)
        raise Refusal(422, f"{where}no modality is available: give the features of at least one of {names}")
    return FeatureSample(sample, features)


def read_features(document: Any, spec: Spec, config: ServeConfig, where: str = "") -> dict[str, NDArray[np.float32]]:
    """For each available modality ``(T, D)``, from ``{"features": {modality: frames}, "missing": [modality, ...]}``.

    Frames are a list of T lists of D numbers, or one such list; a modality that is left out, null or empty is missing.

    Raises:
        Refusal: a key, type, shape or value is wrong.
    """
    if not isinstance(document, dict):
        raise Refusal(422, f"{where}a JSON object with the key 'features' is needed, such as {example(spec)}")
    check_keys(document, KEYS, where)
    given = document.get("features")
    if not isinstance(given, dict):
        raise Refusal(422, f"{where}features: an object is needed, with frames for each modality: {example(spec)}")
    missing = read_missing(document.get("missing"), spec, where)
    dims = {m.name: m.dim for m in spec.modalities}
    features = {}
    for name, frames in given.items():
        if name not in dims:
            raise Refusal(422, f"{where}features: unknown modality {_shortened(name)}; known are {', '.join(dims)}")
        values = _frames(frames, dims[name], config.max_frames, f"{where}features.{name}")
        if values is not None and name not in missing:
            features[name] = values
    return features


def read_samples(document: Any, spec: Spec, config: ServeConfig) -> list[FeatureSample]:
    """Samples from ``{"samples": [...]}``, each as in `read_sample`; one without an id is ``clip-`` and its number from 0.

    Raises:
        Refusal: as `read_sample`, or there are none or too many.
    """
    if not isinstance(document, dict) or [*document] != ["samples"] or not isinstance(document["samples"], list):
        raise Refusal(
            422, 'a JSON object with the key \'samples\' alone is needed: {"samples": [{"features": ...}, ...]}'
        )
    samples = document["samples"]
    if not 0 < len(samples) <= config.max_samples:
        status = 413 if samples else 422
        raise Refusal(status, f"samples: 1 to {config.max_samples} are taken at once, got {len(samples)}")
    return [
        read_sample(sample, spec, config, f"samples[{i}]: ", f"{DEFAULT_ID}-{i}") for i, sample in enumerate(samples)
    ]


def read_missing(given: Any, spec: Spec, where: str = "") -> frozenset[str]:
    """Names of modalities that count as missing.

    Raises:
        Refusal: it is no list of names.
    """
    if given is None:
        return frozenset()
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise Refusal(422, f"{where}missing: a list of modalities is needed, such as {[spec.names[0]]}")
    for name in given:
        if name not in spec.names:
            raise Refusal(
                422, f"{where}missing: unknown modality {_shortened(name)}; known are {', '.join(spec.names)}"
            )
    return frozenset(given)


def check_keys(keys: Iterable[str], known: Sequence[str], where: str = "", what: str = "a sample") -> None:
    """Raise a `Refusal` for an unknown key: a misspelt one would otherwise have no effect and no message."""
    for key in keys:
        if key not in known:
            raise Refusal(422, f"{where}unknown key {_shortened(key)}; {what} has {', '.join(known)}")


def split_of_samples(samples: Sequence[FeatureSample], spec: Spec) -> Split:
    """Samples with different modalities as one split."""
    features = {
        m.name: Ragged.from_list([s.features.get(m.name, np.zeros((0, m.dim), np.float32)) for s in samples], m.dim)
        for m in spec.modalities
    }
    return Split(ids=tuple(sample.id for sample in samples), features=features)


def example(spec: Spec) -> str:
    """The form of a request, in a message."""
    first = spec.modalities[0]
    return f'{{"features": {{"{first.name}": [[... {first.dim} numbers], ...]}}}}'


def _frames(given: Any, dim: int, most: int, where: str) -> NDArray[np.float32] | None:
    """``(T, dim)`` float32; None for null or an empty list."""
    if given is None or given == []:
        return None
    if not isinstance(given, list):
        raise Refusal(422, f"{where}: a list of frames is needed, each a list of {dim} numbers")
    if len(given) > most and isinstance(given[0], list):
        raise Refusal(413, f"{where}: {len(given)} frames; at most {most} are taken")
    try:
        values = np.asarray(given)
    except ValueError:
        raise Refusal(422, f"{where}: each frame needs {dim} numbers, but frames differ in length") from None
    if values.dtype.kind not in "iuf":
        raise Refusal(422, f"{where}: frames must be lists of {dim} numbers, without texts, nulls and booleans")
    return checked_frames(values, dim, most, where)


def checked_frames(values: NDArray[Any], dim: int, most: int, where: str) -> NDArray[np.float32]:
    """Numbers ``(T, dim)`` or ``(dim,)`` as ``(T, dim)`` float32.

    Raises:
        Refusal: another shape, too many frames, or a number that isn't finite.
    """
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != dim:
        raise Refusal(422, f"{where}: {dim} features in each frame are needed, got the shape {values.shape}")
    if len(values) > most:
        raise Refusal(413, f"{where}: {len(values)} frames; at most {most} are taken")
    with np.errstate(over="ignore"):
        frames = values.astype(np.float32)
    if not np.isfinite(frames).all():
        raise Refusal(422, f"{where}: a number is not finite in float32")
    return frames


def _shortened(name: Any) -> str:
    return ascii(str(name)[:40])
