"""A fingerprint of a corpus, quick to compute and different for different corpora."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from imder.data.corpus import Corpus
from imder.data.split import Split

SAMPLED_FRAMES = 1024
"""Frames of each modality and split that a fingerprint reads."""


def fingerprint(corpus: Corpus) -> str:
    """A hash of ids, labels, lengths, speakers, dialogues, token ids and a sample of frames."""
    content = [repr(corpus.spec).encode()]
    for name, split in corpus.splits.items():
        content.append(name.encode())
        content += (part.encode() for part in split_fingerprint(split).values())
    return _hash(content)


def split_fingerprint(split: Split) -> dict[str, str]:
    """Hashes of the parts of a split: ids, labels, speakers and dialogues, features (lengths and a sample of frames)."""
    return {
        "ids": _hash([repr(list(split.ids)).encode()]),
        "labels": _hash([_bytes(split.labels)]),
        "speakers and dialogues": _hash([*map(_text, (split.speaker, split.dialogue)), _bytes(split.position)]),
        "features": _hash(_features(split)),
    }


def _features(split: Split) -> Iterator[bytes]:
    for ragged in (*split.features.values(), *([] if split.tokens is None else [split.tokens])):
        yield ragged.lengths.tobytes()
        some = np.unique(np.linspace(0, max(len(ragged.values) - 1, 0), SAMPLED_FRAMES).astype(np.int64))
        yield np.asarray(ragged.values[some[some < len(ragged.values)]], np.float64).tobytes()


def _bytes(column: np.ndarray | None) -> bytes:
    return b"" if column is None else np.ascontiguousarray(column, np.float64).tobytes()


def _text(column: Sequence[str] | None) -> bytes:
    return b"" if column is None else repr(list(column)).encode("utf-8", "surrogatepass")


def _hash(content: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for part in content:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
