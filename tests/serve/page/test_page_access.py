"""The page by keyboard, for screen readers, on a phone, in light and dark."""

from __future__ import annotations

from typing import Any

import pytest

from playwright_clips import WORDS, choose, switch, wave, words_of

pytestmark = pytest.mark.slow

UNNAMED = """() => [...document.querySelectorAll('button, input, select, textarea, video, [role]')]
    .filter((element) => element.checkVisibility() && element.getAttribute('role') !== 'presentation')
    .filter((element) => !(element.getAttribute('aria-label') || element.labels?.length || element.textContent.trim()
        || (element.getAttribute('aria-labelledby') && document.getElementById(element.getAttribute('aria-labelledby')))))
    .filter((element) => !['status', 'alert'].includes(element.getAttribute('role')))
    .map((element) => element.outerHTML.slice(0, 80))"""

CONTRASTS = """() => {
    const colour = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) { const c = colour(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; }
        return colour(getComputedStyle(document.body).backgroundColor);
    };
    const found = [];
    for (const element of document.querySelectorAll('body *')) {
        if (element.closest('video, :disabled, .visually-hidden, .skip, .badge') || !element.checkVisibility()) continue;
        if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
        const style = getComputedStyle(element);
        const ink = colour(element instanceof SVGElement ? style.fill : style.color);
        const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        if (ratio < 4.5) found.push([element.textContent.trim().slice(0, 30), element.className.baseVal ?? element.className, ratio.toFixed(2)]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375, 320])
def test_text_is_legible_controls_have_names_and_nothing_is_cut(opened, service, scheme, width):
    page = opened(service, color_scheme=scheme, viewport={"width": width, "height": 800}).page
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(CONTRASTS) == []
    page.fill("#words", WORDS)
    choose(page, wave(12), name="talk.wav", kind="audio/wav")
    page.wait_for_selector(".verdict")
    switch(page, "audio").click()
    page.wait_for_selector(".comparison")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(CONTRASTS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input')].filter((e) => e.checkVisibility())
            .filter((e) => e.getBoundingClientRect().height < 32).map((e) => e.id)"""
    )
    assert small == []


def focused(page: Any) -> str:
    return page.evaluate(
        "document.activeElement.id || document.activeElement.dataset.modality || document.activeElement.textContent"
    )


def test_everything_is_reached_by_keyboard_in_order(opened, service):
    page = opened(service).page
    order = []
    for _ in range(10):
        page.keyboard.press("Tab")
        order.append(focused(page))
    before = ["Skip to the page", "API", "tab-clip", "choose", "words", "Settings"]
    assert order == [*before, "language", "vision", "audio", "What the numbers mean"]


def test_tabs_follow_the_arrows_and_switches_the_space_bar(opened, service):
    page = opened(service).page
    page.focus("#tab-clip")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "tab-record"
    assert page.get_attribute("#tab-record", "aria-selected") == "true"
    assert page.locator("#record").is_visible()
    page.keyboard.press("End")
    assert page.get_attribute("#panel", "aria-labelledby") == "tab-live"
    page.keyboard.press("ArrowRight")
    assert focused(page) == "tab-clip"
    switch(page, "vision").focus()
    page.keyboard.press("Space")
    assert switch(page, "vision").get_attribute("aria-checked") == "false"


def test_a_screen_reader_hears_the_prediction_and_the_states(opened, service):
    page = opened(service).page
    page.fill("#words", WORDS)
    choose(page, b"0" * 100)
    page.wait_for_selector(".verdict")
    announcer = page.locator("#announcer")
    assert announcer.get_attribute("aria-live") == "polite"
    first = announcer.text_content()
    assert words_of(page, ".verdict .value") in first
    assert "band" in first
    switch(page, "vision").click()
    page.wait_for_selector(".comparison")
    assert announcer.text_content().endswith("without the camera.")
    tree = page.locator("main").aria_snapshot()
    assert 'switch "Camera failing"' in tree
    assert 'switch "Microphone working" [checked]' in tree
    assert 'list "What the prediction is made from"' in tree
