"""Remarks on a file that was read: what was assumed, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """A remark on one split.

    Attributes:
        text: a sentence, in which ``{n}``, ``{total}`` and ``{share}`` stand for the numbers below.
        n: how many of ``total`` it is about; 0 where the sentence has no numbers.
        total: of how many.
    """

    text: str
    n: int = 0
    total: int = 0


def sentences(remarks: Iterable[Remark]) -> tuple[str, ...]:
    """The remarks on all splits as sentences: those of one text once, with their numbers added.

    >>> sentences([Remark("{n} of {total} ({share})", 1, 10), Remark("unread"), Remark("{n} of {total} ({share})", 4, 10)])
    ('5 of 20 (25 %)', 'unread')
    """
    numbers: dict[str, tuple[int, int]] = {}
    for remark in remarks:
        n, total = numbers.get(remark.text, (0, 0))
        numbers[remark.text] = n + remark.n, total + remark.total
    return tuple(_filled(text, n, total) for text, (n, total) in numbers.items())


def _filled(text: str, n: int, total: int) -> str:
    if not total:
        return text
    share = f"{100 * n / total:.0f} %" if 200 * n >= total else "less than 1 %"
    return text.replace("{n}", str(n)).replace("{total}", str(total)).replace("{share}", share)
