"""Answers to requests that can't be served: a status and one sentence."""

from __future__ import annotations

from collections.abc import Mapping

RETRY_AFTER = 1
"""Seconds after which a client may try again."""

CLOSE = {"Connection": "close"}
"""Header of an answer to a request whose body isn't read to its end."""


class Refusal(Exception):
    """A request that is refused.

    Attributes:
        status: of HTTP.
        sentence: what is wrong and what to do, for the caller.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = " ".join(sentence.split())
        self.headers = dict(headers or {})


def busy(sentence: str, status: int = 429, *, close: bool = False) -> Refusal:
    """A refusal for now: the caller should try again after `RETRY_AFTER` seconds; ``close`` if its body isn't read."""
    return Refusal(status, sentence, {"Retry-After": str(RETRY_AFTER)} | (CLOSE if close else {}))
