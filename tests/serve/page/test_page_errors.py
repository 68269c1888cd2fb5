"""What the page says when something fails: devices, files, the service, the connection."""

from __future__ import annotations

from typing import Any

import pytest

from playwright_clips import alert, choose, wait, wave

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("card", "content", "name", "kind", "sentence"),
    [
        ({"limits": {"seconds": 1}}, wave(3), "a.wav", "audio/wav", "lasts 3 s; this service takes at most 1 s"),
        (
            {"limits": {"bytes": 1000}},
            wave(3),
            "a.wav",
            "audio/wav",
            "a.wav has 48 kB; this service takes at most 1.0 kB",
        ),
        ({}, b"", "a.mp4", "video/mp4", "a.mp4 is empty"),
        ({}, b"%PDF", "a.pdf", "application/pdf", "a.pdf is neither a video, a sound nor a text"),
        ({}, b"{", "a.json", "application/json", "a.json is no valid JSON"),
        ({}, b'{"x": 1}', "a.json", "application/json", "a.json holds none of language, vision, audio"),
    ],
    ids=["too long", "too large", "empty", "another kind", "broken JSON", "other JSON"],
)
def test_a_file_that_cannot_be_used_is_not_sent(opened, service, card, content, name, kind, sentence):
    service.card |= card
    page = opened(service).page
    choose(page, content, name, kind)
    assert sentence in alert(page)
    assert service.asked == []
    service.card |= {"limits": {}}


def test_a_refusal_of_the_service_is_shown_and_can_be_tried_again(opened, service):
    service.failures = [(422, {"error": "the clip holds neither sound nor a face"}, {})]
    page = opened(service).page
    choose(page, b"0" * 100)
    assert alert(page).startswith("The clip holds neither sound nor a face.")
    page.click("text=Try again")
    page.wait_for_selector(".verdict")
    assert not page.locator("#alert").is_visible()


def test_a_refusal_without_a_sentence_gets_one(opened, service):
    service.failures = [(413, {}, {})]
    page = opened(service).page
    choose(page, b"0" * 100)
    assert "larger than this service accepts" in alert(page)


def test_a_busy_service_is_given_time(opened, service):
    service.failures = [(503, {"error": "busy"}, {"Retry-After": "1"}), (429, {"error": "busy"}, {"Retry-After": "1"})]
    page = opened(service).page
    choose(page, b"0" * 100)
    page.wait_for_selector("text=The service is busy; trying again in 1 s")
    page.wait_for_selector(".verdict")
    assert len(service.asked) == 3


def test_a_service_that_stays_busy_is_told(opened, service):
    service.failures = [(503, {"error": "the queue is full; try again later"}, {"Retry-After": "1"})] * 4
    page = opened(service).page
    choose(page, b"0" * 100)
    assert alert(page).startswith("The queue is full; try again later.")
    assert len(service.asked) == 4


def test_waiting_can_be_cancelled(opened, service):
    service.failures = [(503, {"error": "busy"}, {"Retry-After": "30"})]
    page = opened(service).page
    choose(page, b"0" * 100)
    page.wait_for_selector("text=The service is busy; trying again")
    page.click("#cancel")
    page.wait_for_selector("text=Stopped.")
    assert not page.locator("#progress").is_visible()
    assert len(service.asked) == 1


def test_a_token_is_asked_for_and_kept_for_all_requests(opened, service):
    service.token = "s3cret"
    page = opened(service, ready=False).page
    assert "access token" in alert(page)
    page.fill("#token", "wrong")
    page.press("#token", "Enter")
    wait(page, lambda: page.input_value("#token") == "")
    page.fill("#token", "s3cret")
    page.click("text=Use")
    page.wait_for_selector("#workspace:not([hidden])")
    choose(page, b"0" * 100)
    page.wait_for_selector(".verdict")
    sent = []
    page.route_web_socket("**/v1/stream", lambda socket: socket.on_message(lambda data: sent.append(data)))
    page.click("#tab-live")
    page.click("#start")
    wait(page, lambda: sent)
    assert '"token":"s3cret"' in sent[0]
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_a_lost_connection_is_told_and_the_clip_can_be_sent_again(opened, service):
    watched = opened(service)
    watched.context.set_offline(True)
    choose(watched.page, b"0" * 100)
    assert "The service doesn’t answer" in alert(watched.page)
    watched.context.set_offline(False)
    watched.page.click("text=Try again")
    watched.page.wait_for_selector(".verdict")


def test_a_service_that_goes_away_before_the_model_is_known(opened, service):
    def cut(route: Any) -> None:
        route.abort()

    page = opened(service).page
    page.route("**/v1/model", cut)
    page.reload()
    assert "The service doesn’t answer" in alert(page)
    page.unroute("**/v1/model")
    page.click("text=Try again")
    page.wait_for_selector("#workspace:not([hidden])")


def test_a_page_that_is_not_secure_says_how_to_open_it(opened, service):
    page = opened(service, ready=False).page
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    page.reload()
    page.click("#tab-record")
    page.click("#record")
    assert "only to pages from this computer (localhost) or over HTTPS" in alert(page)


def test_one_device_is_enough(opened, service):
    page = opened(service, ready=False).page
    page.add_init_script(
        """const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            if (wanted.video) throw new DOMException("", "NotReadableError");
            return open(wanted);
        };"""
    )
    page.reload()
    page.click("#tab-record")
    page.click("#record")
    assert "The camera cannot be used; another program may hold it. Recording the microphone alone." in alert(page)
    page.wait_for_selector("#timer:has-text('0:01 of')")
    page.click("#record")
    page.wait_for_selector(".verdict")
    assert service.asked[0]["audio"]["type"] == "audio/webm"


def test_a_sound_device_that_fails_leaves_the_pictures(opened, service):
    page = opened(service).page
    page.route("**/pcm-worklet.js", lambda route: route.abort())
    sent = []
    page.route_web_socket("**/v1/stream", lambda socket: socket.on_message(lambda data: sent.append(data)))
    page.click("#tab-live")
    page.click("#start")
    wait(page, lambda: len(sent) >= 3)
    assert isinstance(sent[-1], bytes)
