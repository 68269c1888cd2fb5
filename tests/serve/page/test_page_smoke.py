"""The page in a browser, in a few seconds: a clip, its prediction, a camera that fails."""

from __future__ import annotations

from playwright_clips import WORDS, choose, switch, words_of


def test_a_clip_is_predicted_and_again_without_the_camera(opened, service):
    watched = opened(service)
    page = watched.page
    page.fill("#words", WORDS)
    choose(page, b"0" * 20_000)
    page.wait_for_selector(".verdict")
    with_everything = words_of(page, ".verdict")
    switch(page, "vision").click()
    page.wait_for_selector(".comparison")
    assert [request["ignore"] for request in service.asked] == [[], ["vision"]]
    assert service.asked[0]["text"] == WORDS
    assert service.asked[0]["video"] == {"name": "video", "type": "video/mp4", "bytes": 20_000}
    assert words_of(page, ".comparison").startswith("Without the camera, the score is")
    assert words_of(page, ".verdict") != with_everything
    assert "its recovery does not count" in words_of(page, ".modality[data-modality=vision]")
    assert {url.removeprefix(service.url) for url in watched.requests} >= {"", "app.js", "v1/model", "v1/predict"}
