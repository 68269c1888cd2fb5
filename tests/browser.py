"""A headless Chromium for tests, with a fake camera and a fake microphone (playwright, Debian's package chromium)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-domain-reliability",
    "--no-pings",
    "--autoplay-policy=no-user-gesture-required",
]
FAKE_DEVICES = "--use-fake-device-for-media-stream"
FAKE_CONSENT = "--use-fake-ui-for-media-stream"

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """The browser's program; skips the test where there is none, or no playwright to drive it."""
    pytest.importorskip("playwright", reason="needs playwright (pip install playwright)")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    return path


@contextmanager
def chromium(*, devices: bool = True, consent: bool = True) -> Iterator[Any]:
    """A running browser. ``devices``: it has a fake camera and microphone; ``consent``: pages may use them."""
    program = chromium_path()
    from playwright.sync_api import sync_playwright

    flags = [*FLAGS, *[FAKE_DEVICES] * devices, *[FAKE_CONSENT] * consent]
    with sync_playwright() as playwright, TemporaryDirectory() as home:
        browser = playwright.chromium.launch(
            executable_path=program, headless=True, args=flags, env={"HOME": home, "PATH": str(Path(program).parent)}
        )
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose requests, errors and console errors are kept."""

    def __init__(self, browser: Any, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)

    def outside(self, host: str) -> list[str]:
        """Requests that left ``host`` (``localhost:PORT``)."""
        kept = ("blob:", "data:", f"http://{host}/", f"ws://{host}/")
        return [url for url in self.requests if not url.startswith(kept)]
