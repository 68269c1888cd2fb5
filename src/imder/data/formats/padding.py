"""The valid frames of padded features.

Lengths say how many frames are valid, and the attention mask of ``text_bert`` says it of texts. The field's files often
give no more: in ``aligned_50.pkl`` vision and audio share the 50 frames of the text, zeros behind its end. Where modalities
share their number of frames, zero frames at the end (or, in files padded at the start, at the beginning) of all of them
therefore count as padding, and none of those within the text. A frame is a *zero frame* if it has no finite value but 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from imder.data.formats.raw import Raw
from imder.data.formats.remarks import Remark
from imder.types import ImderError

Padding = Literal["auto", "zeros", "none"]
"""Which frames without lengths are padding.

``auto``: zero frames at the end or the start, of modalities that share their number of frames with others;
``zeros``: of each modality by itself, however many frames it has; ``none``: no frame is padding, and lengths count from the
first frame.
"""
Sequences = NDArray[Any] | list[NDArray[Any]]
"""An array ``(N, T, D)``, or N arrays ``(T_i, D)``."""
_CHUNK = 1 << 22  # values examined at a time
_WORTH_A_REMARK = 0.01
KEEP = "padding='none' (imder data convert --padding none)"


def check_padding(padding: str) -> None:
    """Raise `ImderError` for an unknown choice."""
    if padding not in get_args(Padding):
        raise ImderError(f"padding: {padding!r} is unknown; use {', '.join(get_args(Padding))}")


@dataclass(frozen=True)
class Frames:
    """The valid frames of each sample: ``starts`` (N,) up to ``stops`` (N,)."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Valid frames of each sample, ``(N,)``."""
        return self.stops - self.starts

    def where(self, keep: NDArray[np.bool_]) -> Frames:
        """The same frames, none of the samples that are not kept."""
        return Frames(np.where(keep, self.starts, 0), np.where(keep, self.stops, 0))


@dataclass(frozen=True)
class Padded:
    """A modality whose features may be padded.

    Attributes:
        field: its field.
        sequences: its features.
        given: its valid frames by lengths (then ``by_lengths``) or by the mask of texts; None where neither is known.
        by_lengths: the name of the field of lengths, empty without one.
        present: ``(N,)``, which samples aren't marked absent.
    """

    field: str
    sequences: Sequences
    given: Frames | None
    by_lengths: str
    present: NDArray[np.bool_]

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames of each sample, padding included, ``(N,)``."""
        if isinstance(self.sequences, list):
            return np.array([len(s) for s in self.sequences], np.int64)
        return np.full(len(self.sequences), self.sequences.shape[1], np.int64)

    @property
    def width(self) -> int:
        """The number of frames that all samples with features share; 0 where they differ or are single vectors."""
        frames = self.frames
        longest = int(frames.max(initial=0))
        return longest if longest > 1 and (frames[frames > 0] == longest).all() else 0


@dataclass(frozen=True)
class _Values:
    """Where the values of samples lie, ``(N,)`` each.

    Attributes:
        first, stop: the first frame with a value up to the last; both 0 without any.
        frames: of all frames, padding included.
        is_finite: whether a sample has a finite value, be it 0.
    """

    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    frames: NDArray[np.int64]
    is_finite: NDArray[np.bool_]

    @property
    def known(self) -> NDArray[np.bool_]:
        return self.stop > 0

    @property
    def at_end(self) -> bool:
        """Whether more samples have zero frames before than behind their values: the padding is at the start."""
        lead, trail = self.first, self.frames - self.stop
        return bool((self.known & (lead > trail)).sum() > (self.known & (trail > lead)).sum())

    def extents(self, at_end: bool) -> NDArray[np.int64]:
        """Frames from the unpadded side to the last value, ``(N,)``."""
        return np.where(self.known, self.frames - self.first if at_end else self.stop, 0)


def valid_frames(
    raw: Raw, modalities: Mapping[str, Padded], ids: Sequence[str], padding: Padding
) -> tuple[dict[str, Frames], list[Remark]]:
    """The valid frames of each modality, and remarks on what was assumed.

    Raises:
        ImderError: lengths count zero frames of a sample only, while its values lie behind them.
    """
    frames: dict[str, Frames] = {}
    remarks: list[Remark] = []
    values: dict[str, _Values] = {}
    for name, m in modalities.items():
        everything = Frames(np.zeros(len(ids), np.int64), m.frames)
        frames[name] = everything if m.given is None else m.given
        if padding == "none" or (m.given is not None and not m.by_lengths):
            continue
        values[name] = _values(m.sequences, m.frames)
        if m.by_lengths:
            frames[name] = _by_lengths(raw, m, values[name], ids, remarks)
    for names in _groups(modalities, padding):
        frames |= _by_zeros(raw, modalities, values, names, padding, remarks)
    remarks += [r for name, v in values.items() for r in _zero_samples(raw, name, modalities[name], v, frames[name])]
    return frames, remarks


def _values(sequences: Sequences, frames: NDArray[np.int64]) -> _Values:
    first = np.zeros(len(frames), np.int64)
    stop = np.zeros(len(frames), np.int64)
    is_finite = np.zeros(len(frames), bool)
    for rows, x in _chunks(sequences):
        finite = np.isfinite(x)
        is_finite[rows] = finite.any(axis=(1, 2))
        occupied = (finite & (x != 0)).any(axis=2)
        any_value = occupied.any(axis=1)
        first[rows] = np.where(any_value, occupied.argmax(axis=1), 0)
        stop[rows] = np.where(any_value, occupied.shape[1] - occupied[:, ::-1].argmax(axis=1), 0)
    return _Values(first, stop, frames, is_finite)


def _chunks(sequences: Sequences) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The samples in chunks ``(n, T, D)``, without empty ones."""
    if isinstance(sequences, list):
        yield from ((slice(i, i + 1), x[None]) for i, x in enumerate(sequences) if x.size)
    elif sequences.size:
        step = max(1, _CHUNK // (sequences.shape[1] * sequences.shape[2]))
        for begin in range(0, len(sequences), step):
            yield slice(begin, begin + step), sequences[begin : begin + step]


def _by_lengths(raw: Raw, m: Padded, values: _Values, ids: Sequence[str], remarks: list[Remark]) -> Frames:
    """The given lengths, counted from the side on which the values are."""
    assert m.given is not None, "a modality with lengths"
    lengths = m.given.lengths
    partly = m.present & values.known & (lengths > 0) & (lengths < values.frames)
    behind = values.stop > lengths
    before = values.first < values.frames - lengths
    name = raw.keys.get(m.field, m.field)
    if (partly & behind & ~before).any() and not (partly & ~behind & before).any():
        text = f"{name}: the {{n}} samples shorter than the array are padded at the start: their last frames are valid"
        remarks.append(Remark(f"{text}; {KEEP} counts {m.by_lengths} from the first frame", int(partly.sum()), 1))
        frames = Frames(np.where(m.present, values.frames - lengths, 0), np.where(m.present, values.frames, 0))
    else:
        frames = m.given
    outside = m.present & values.known & ((values.first < frames.starts) | (values.stop > frames.stops))
    for i in np.flatnonzero(outside & (lengths > 0)).tolist():
        if not _any_value(m.sequences[i][frames.starts[i] : frames.stops[i]]):
            raise raw.fault(
                m.by_lengths,
                f"{lengths[i]} frames of {name} are valid, but they are zeros, and values follow up to frame "
                f"{values.stop[i]}; correct the lengths, or take them as they are with {KEEP}",
                ids[i],
            )
    if outside.any():
        text = f"{name}: {{n}} of {{total}} samples hold values beyond {m.by_lengths}, which are not read"
        remarks.append(Remark(text, int(outside.sum()), len(outside)))
    return frames


def _any_value(x: NDArray[Any]) -> bool:
    return bool((np.isfinite(x) & (x != 0)).any())


def _groups(modalities: Mapping[str, Padded], padding: Padding) -> list[list[str]]:
    """Names of modalities without lengths that are padded together."""
    unknown = [name for name, m in modalities.items() if m.given is None]
    if padding == "none":
        return []
    if padding == "zeros":
        return [[name] for name in unknown]
    groups: dict[int, list[str]] = {}
    for name in unknown:
        groups.setdefault(modalities[name].width, []).append(name)
    return [[name] for name in groups.pop(0, [])] + list(groups.values())


def _by_zeros(
    raw: Raw,
    modalities: Mapping[str, Padded],
    values: Mapping[str, _Values],
    names: Sequence[str],
    padding: Padding,
    remarks: list[Remark],
) -> dict[str, Frames]:
    """The frames of modalities without lengths that share their number of frames."""
    one = modalities[names[0]]
    known = {n: m.given for n, m in modalities.items() if m.given is not None and m.width == one.width > 0}
    owner = "language" if "language" in known else next(iter(known), "")
    reference = known.get(owner)
    sides = {name: values[name].at_end for name in names}
    extents = {name: values[name].extents(sides[name]) for name in names}
    is_alone = reference is None and len(names) == 1
    common = np.max(list(extents.values()), axis=0) if reference is None else reference.lengths
    frames = {}
    for name in names:
        v, at_end = values[name], sides[name]
        extent = np.maximum(common, extents[name])
        extent = np.where(extent > 0, np.minimum(extent, v.frames), v.frames)  # without any value: left as it is
        n, total = int((v.frames - extent).sum()), int(v.frames.sum())
        shown = raw.keys.get(name, modalities[name].field)
        if is_alone and padding == "auto":
            if modalities[name].width and n > _WORTH_A_REMARK * total:
                place = "first" if at_end else "last"
                text = f"{shown}: {{n}} of {{total}} frames ({{share}}) are zeros, the {place} ones of their samples, and are read"
                remarks.append(
                    Remark(f"{text}; if they are padding, give {shown}_lengths or padding='zeros'", n, total)
                )
            extent = v.frames
        elif n:
            place = "before the first value" if at_end else "after the last value"
            if reference is not None:
                place = f"before those of {owner}" if at_end else f"behind those of {owner}"
            text = f"{shown}: {{n}} of {{total}} frames ({{share}}) are zeros {place} and count as padding"
            remarks.append(Remark(f"{text}; {KEEP} keeps them", n, total))
        beyond = (reference is not None) & (common > 0) & (extents[name] > common)
        if beyond.any() and reference is not None:
            text = f"{shown}: {{n}} of {{total}} samples hold values beyond the frames of {owner}, which are read"
            remarks.append(Remark(text, int(beyond.sum()), len(beyond)))
        frames[name] = Frames(v.frames - extent, v.frames) if at_end else Frames(np.zeros_like(extent), extent)
    return {name: f.where(modalities[name].present) for name, f in frames.items()}


def _zero_samples(raw: Raw, name: str, m: Padded, values: _Values, frames: Frames) -> list[Remark]:
    """A remark on samples whose valid frames are all zero."""
    zeros = (frames.lengths > 0) & ~values.known & values.is_finite
    if not zeros.any():
        return []
    shown = raw.keys.get(m.field, m.field)
    text = f"{shown}: {{n}} of {{total}} samples hold only zeros; if they lack the modality, say so in {shown}_present"
    return [Remark(text, int(zeros.sum()), len(zeros))]
