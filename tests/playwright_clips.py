"""What tests do on the page of the service."""

from __future__ import annotations

import math
import struct
from typing import Any

WORDS = "I really liked the ending"


def choose(page: Any, content: bytes, name: str = "somebody.mp4", kind: str = "video/mp4") -> None:
    """Choose a file with this content."""
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})


def wave(seconds: float, rate: int = 8000) -> bytes:
    """A tone as a WAV file."""
    samples = b"".join(struct.pack("<h", round(8000 * math.sin(i / 5))) for i in range(round(seconds * rate)))
    head = struct.pack(
        "<4sI8sIHHIIHH4sI",
        b"RIFF",
        36 + len(samples),
        b"WAVEfmt ",
        16,
        1,
        1,
        rate,
        2 * rate,
        2,
        16,
        b"data",
        len(samples),
    )
    return head + samples


def switch(page: Any, modality: str) -> Any:
    """The switch of a modality."""
    return page.locator(f"[role=switch][data-modality={modality}]")


def words_of(page: Any, selector: str) -> str:
    """Visible text with single spaces."""
    return " ".join(page.locator(selector).inner_text().split())


def wait(page: Any, condition: Any) -> None:
    """Let the page and the socket go on until ``condition`` holds."""
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("not within 30 seconds")


def alert(page: Any) -> str:
    """The message that the page shows, once it does."""
    page.wait_for_selector("#alert:not([hidden])")
    assert page.locator("#alert").get_attribute("role") == "alert"
    return words_of(page, "#alert")
