"""Browsers that refuse the camera and the microphone, or have none."""

from __future__ import annotations

import pytest

from browser import Watched, chromium
from fake_service import SCORE_CARD, fake_service
from playwright_clips import alert, switch, wait

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("devices", "consent", "sentence"), [
    (True, False, "does not let this page use the camera"),
    (False, True, "No camera was found. No microphone was found."),
])  # fmt: skip
@pytest.mark.parametrize("tab", ["record", "live"])
def test_devices_that_are_refused_or_missing(devices, consent, sentence, tab):
    with chromium(devices=devices, consent=consent) as other, fake_service(dict(SCORE_CARD)) as service:
        page = Watched(other).page
        page.goto(service.url)
        page.click(f"#tab-{tab}")
        button = page.locator("#record" if tab == "record" else "#start")
        button.click()
        assert sentence in alert(page)
        assert button.is_enabled()
        assert button.inner_text() in ("Record", "Start")
        if tab == "live":
            switch(page, "vision").click()
            button.click()
            wait(page, lambda: "the camera" not in alert(page))
            assert "microphone" in alert(page)
