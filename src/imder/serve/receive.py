"""Bodies of requests, received within a bound of bytes and of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from imder.serve.errors import CLOSE, Refusal


def stated_length(request: Request) -> int | None:
    """The length that a request states, in bytes; None if it states none."""
    text = request.headers.get("content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None


async def chunks(request: Request, most: int, seconds: float) -> AsyncIterator[bytes]:
    """The body of a request, piece by piece.

    Args:
        request: the request.
        most: bytes that are accepted.
        seconds: in which the whole body must arrive.

    Raises:
        Refusal: it is too long or too slow, or ends early.
    """
    too_long = Refusal(413, f"the request is longer than {most} bytes", CLOSE)
    if (stated_length(request) or 0) > most:
        raise too_long
    count = 0
    stream = request.stream()
    until = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(until):
                piece = await anext(stream, None)
        except TimeoutError:
            raise Refusal(408, f"the request did not arrive within {seconds:g} seconds", CLOSE) from None
        except ClientDisconnect:
            raise Refusal(400, "the request ended early", CLOSE) from None
        if piece is None:
            return
        count += len(piece)
        if count > most:
            raise too_long
        if piece:
            yield piece


async def body(request: Request, most: int, seconds: float) -> bytes:
    """The whole body of a request, as `chunks`."""
    return b"".join([piece async for piece in chunks(request, most, seconds)])
