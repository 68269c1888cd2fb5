"""The valid frames of each modality of one split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.fields import marks
from imder.data.formats.padding import Frames, Padded, Padding, Sequences, valid_frames
from imder.data.formats.raw import Raw
from imder.data.formats.remarks import Remark
from imder.data.formats.tokens import attended
from imder.data.split import Ragged


def read_features(
    raw: Raw, modalities: Mapping[str, tuple[str, Sequences]], ids: tuple[str, ...], padding: Padding
) -> tuple[dict[str, Ragged], dict[str, int], list[Remark]]:
    """The valid frames of each modality, the number of their values that were not finite and became 0, and remarks.

    A sample without one finite value lacks the modality. float16 stays float16; every other type becomes float32, where
    values that overflow count as not finite.

    Raises:
        ImderError: rows, lengths or presence don't fit the features.
    """
    for field, sequences in modalities.values():
        if len(sequences) != len(ids):
            first = next(iter(modalities.values()))[0]
            raise raw.fault(field, f"{len(sequences)} rows where {first} has {len(ids)}")
    padded = {name: _padded(raw, name, field, x, ids) for name, (field, x) in modalities.items()}
    frames, remarks = valid_frames(raw, padded, ids, padding)
    features: dict[str, Ragged] = {}
    nonfinite: dict[str, int] = {}
    for name, (field, sequences) in modalities.items():
        ragged, nonfinite[name], lost = _finite(_cut(sequences, frames[name]))
        if lost:
            shown = raw.keys.get(field, field)
            text = f"{shown}: {{n}} of {{total}} samples have no finite value and count as missing"
            remarks.append(Remark(text, lost, len(ids)))
        features[name] = ragged
    return features, nonfinite, remarks


def _padded(raw: Raw, name: str, field: str, sequences: Sequences, ids: tuple[str, ...]) -> Padded:
    """A modality with what its fields of lengths and presence, or the mask of texts, say of its frames."""
    present = np.ones(len(ids), bool)
    for key in dict.fromkeys((f"{field}_present", f"{name}_present")):
        flags = marks(raw, key, ids)
        present &= True if flags is None else flags
    padded = Padded(field, sequences, None, "", present)
    frames = padded.frames
    zeros = np.zeros(len(ids), np.int64)
    for key in dict.fromkeys((f"{field}_lengths", f"{name}_lengths")):
        lengths = raw.numbers(key, ids)
        if lengths is None:
            continue
        fits = (lengths >= 0) & (lengths <= frames) & (lengths == np.floor(lengths))
        for i in np.flatnonzero(present & ~fits):
            raise raw.fault(key, f"the length {lengths[i]:g} lies outside [0, {frames[i]}]", ids[i])
        given = Frames(zeros, np.where(fits & present, lengths, 0).astype(np.int64))
        padded = Padded(field, sequences, given, key, present)
    if padded.given is None and name == "language" and (bounds := attended(raw, frames)) is not None:
        padded = Padded(field, sequences, Frames(*bounds).where(present), "", present)
    return padded


def _cut(sequences: Sequences, frames: Frames) -> Ragged:
    """The valid frames, as float16 or float32."""
    starts, stops = frames.starts, frames.stops
    if isinstance(sequences, list):
        parts = [x[start:stop] for x, start, stop in zip(sequences, starts, stops, strict=True)]
        values = Ragged.from_list(parts, sequences[0].shape[1] if sequences else 0).values
    elif (frames.lengths == sequences.shape[1]).all():
        values = sequences.reshape(frames.lengths.sum(), sequences.shape[2])
    else:
        steps = np.arange(sequences.shape[1])
        values = sequences[(steps >= starts[:, None]) & (steps < stops[:, None])]
    with np.errstate(over="ignore"):
        values = values.astype(np.float16 if values.dtype.itemsize == 2 else np.float32, copy=False)
    return Ragged(values, np.concatenate([[0], np.cumsum(frames.lengths)]).astype(np.int64))


def _finite(ragged: Ragged) -> tuple[Ragged, int, int]:
    """The sequences with 0 for values that aren't finite, the number of these, and how many sequences had no others.

    The latter become empty, and their values aren't counted. The largest number of a type, which ``numpy.nan_to_num`` leaves
    of infinities, isn't finite either.
    """
    values, largest = ragged.values, np.finfo(ragged.values.dtype).max
    if not values.size or (-largest < values.min() and values.max() < largest):
        return ragged, 0, 0
    bad = ~(np.abs(values) < largest)
    lost = _rows_without(~bad, ragged)
    if lost.any():
        keep = np.repeat(~lost, ragged.lengths)
        values, bad = values[keep], bad[keep]
        offsets = np.concatenate([[0], np.cumsum(np.where(lost, 0, ragged.lengths))]).astype(np.int64)
        ragged = Ragged(values, offsets)
    return Ragged(np.where(bad, values.dtype.type(0), values), ragged.offsets), int(bad.sum()), int(lost.sum())


def _rows_without(flags: NDArray[np.bool_], ragged: Ragged) -> NDArray[np.bool_]:
    """``(N,)``, which sequences have frames, but no True among their ``flags`` (frames, D)."""
    counts = np.concatenate([[0], np.cumsum(flags.any(axis=1))])
    flagged = counts[ragged.offsets[1:]] - counts[ragged.offsets[:-1]]
    return np.asarray((ragged.lengths > 0) & (flagged == 0))
