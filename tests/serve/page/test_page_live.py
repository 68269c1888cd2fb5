"""Live streams of the page: what it sends of the fake camera and microphone, and what it shows of the answers."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest

from fake_service import row
from playwright_clips import WORDS, switch, wait, words_of

pytestmark = pytest.mark.slow


class FakeStream:
    """The service's end of the WebSocket: keeps what comes, answers one row for each second of sound."""

    def __init__(self, page: Any, card: dict[str, Any]) -> None:
        self.card = card
        self.messages: list[dict[str, Any]] = []
        self.sound: list[tuple[float, Any]] = []
        self.pictures: list[tuple[float, bytes]] = []
        self.ignored: list[str] = []
        self.socket: Any = None
        page.route_web_socket("**/v1/stream", self.opened)

    def opened(self, socket: Any) -> None:
        self.socket = socket
        socket.on_message(self.received)

    def received(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            kind, time = struct.unpack("<Bd", data[:9])
            if kind == 1:
                self.sound.append((time, np.frombuffer(data[9:], "<i2")))
            else:
                assert kind == 2
                self.pictures.append((time, data[9:]))
            return
        message = json.loads(data)
        self.messages.append(message)
        if message["type"] in ("start", "ignore"):
            self.ignored = message.get("ignore", message.get("modalities"))
        if message["type"] == "stop":
            self.send({"type": "end"})

    def send(self, message: dict[str, Any]) -> None:
        self.socket.send(json.dumps(message))

    def predict(self, end: float, missing: list[str]) -> None:
        self.send({"type": "prediction", **row(self.card, max(0.0, end - 4), end, missing)})

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


@pytest.fixture
def live(opened, service):
    page = opened(service).page
    stream = FakeStream(page, service.card)
    page.click("#tab-live")
    return page, stream


def test_sound_and_pictures_are_sent_with_their_times(live):
    image = pytest.importorskip("PIL.Image")
    page, stream = live
    page.click("#start")
    wait(page, lambda: len(stream.sound) >= 20 and len(stream.pictures) >= 5)
    (start,) = stream.of("start")
    assert start == {"type": "start", "window": 4, "hop": 1, "rate": 16000, "ignore": []}
    assert {len(samples) for _, samples in stream.sound} == {1600}
    times = np.array([time for time, _ in stream.sound])
    assert times[0] >= 0
    assert np.abs(np.diff(times) - 0.1).max() < 1e-3
    assert max(np.abs(samples).max() for _, samples in stream.sound) > 500  # the fake microphone beeps
    pictures = np.array([time for time, _ in stream.pictures])
    assert (np.diff(pictures) > 0).all()
    with image.open(io.BytesIO(stream.pictures[-1][1])) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (480, 360)
    assert abs(times[-1] - pictures[-1]) < 5
    ticks = [message["time"] for message in stream.of("time")]
    assert len(ticks) >= 1
    assert all(tick > 0.5 for tick in ticks)


def test_predictions_are_shown_as_they_come_and_the_camera_may_fail(live):
    page, stream = live
    page.click("#start")
    wait(page, lambda: stream.pictures and stream.sound)
    for end in range(1, 6):
        stream.predict(float(end), ["language"])
    page.wait_for_selector(".verdict")
    assert "used" in words_of(page, ".modality[data-modality=vision]")
    switch(page, "vision").click()
    wait(page, lambda: stream.of("ignore"))
    assert stream.of("ignore") == [{"type": "ignore", "modalities": ["vision"]}]
    sent, heard = len(stream.pictures), len(stream.sound)
    wait(page, lambda: len(stream.sound) >= heard + 10)
    assert len(stream.pictures) == sent
    stream.predict(6.0, ["language", "vision"])
    page.wait_for_selector(".modality.missing[data-modality=vision]")
    assert "failing" in words_of(page, ".modality[data-modality=vision]")
    assert page.locator("#stage-note").inner_text() == "The camera fails: no pictures are sent"
    switch(page, "vision").click()
    wait(page, lambda: len(stream.pictures) > sent + 2)
    assert stream.ignored == []


def test_the_microphone_may_fail(live):
    page, stream = live
    page.click("#start")
    wait(page, lambda: len(stream.sound) >= 5)
    switch(page, "audio").click()
    wait(page, lambda: stream.ignored == ["audio"])
    heard, seen = len(stream.sound), len(stream.pictures)
    wait(page, lambda: len(stream.pictures) >= seen + 5)
    assert len(stream.sound) == heard
    switch(page, "audio").click()
    wait(page, lambda: len(stream.sound) >= heard + 5)
    assert stream.sound[heard][0] > stream.sound[heard - 1][0] + 0.15  # the gap keeps its length


def test_words_are_said_by_typing_unless_they_fail(live):
    page, stream = live
    assert page.locator("#say").is_disabled()
    page.click("#start")
    wait(page, lambda: stream.sound)
    page.fill("#words", WORDS)
    page.press("#words", "Enter")
    wait(page, lambda: stream.of("words"))
    (message,) = stream.of("words")
    assert [word["text"] for word in message["words"]] == WORDS.split()
    assert all(0 <= word["start"] < word["end"] or word["start"] == word["end"] for word in message["words"])
    assert page.input_value("#words") == ""
    switch(page, "language").click()
    wait(page, lambda: stream.ignored == ["language"])
    page.fill("#words", WORDS)
    page.click("#say")
    page.wait_for_timeout(200)
    assert len(stream.of("words")) == 1


def test_a_device_that_failed_from_the_start_is_opened_when_it_works_again(live):
    page, stream = live
    switch(page, "vision").click()
    page.click("#start")
    wait(page, lambda: len(stream.sound) >= 3)
    assert stream.of("start")[0]["ignore"] == ["vision"]
    assert page.evaluate("document.getElementById('video').srcObject.getVideoTracks().length") == 0
    switch(page, "vision").click()
    wait(page, lambda: len(stream.pictures) >= 2)


def test_stopping_ends_the_stream_and_gives_the_devices_back(live):
    page, stream = live
    page.click("#start")
    wait(page, lambda: stream.sound)
    stream.predict(1.0, [])
    page.wait_for_selector(".verdict")
    page.evaluate("window.tracks = document.getElementById('video').srcObject.getTracks()")
    page.click("#start")
    wait(page, lambda: stream.of("stop"))
    wait(page, lambda: page.evaluate("tracks.map((track) => track.readyState)") == ["ended", "ended"])
    assert page.locator("#start").inner_text() == "Start"
    assert page.locator(".verdict").is_visible()  # the last prediction stays
    assert not page.locator("#alert").is_visible()


def test_leaving_the_tab_stops_the_stream(live):
    page, stream = live
    page.click("#start")
    wait(page, lambda: stream.sound)
    page.click("#tab-clip")
    wait(page, lambda: stream.of("stop"))


def test_a_window_with_nothing_says_so(live):
    page, stream = live
    page.click("#start")
    wait(page, lambda: stream.sound)
    stream.predict(4.0, ["language", "vision", "audio"])
    page.wait_for_selector("text=Nothing arrives")


def test_a_lost_connection_is_told_and_the_stream_can_start_again(live):
    page, stream = live
    page.click("#start")
    wait(page, lambda: stream.sound)
    stream.socket.close(code=1011)
    page.wait_for_selector("text=The connection to the service was lost")
    page.click("#start")
    wait(page, lambda: len(stream.of("start")) == 2)


def test_the_services_own_words_are_shown(live):
    page, stream = live
    page.click("#start")
    wait(page, lambda: stream.sound)
    stream.send({"type": "error", "error": "as many streams as this service takes are open"})
    stream.socket.close(code=1013)
    page.wait_for_selector("text=as many streams as this service takes are open")


@pytest.mark.parametrize(
    ("source_rate", "tone", "kept"), [(48000, 1000, True), (44100, 3000, True), (48000, 10000, False)]
)
def test_the_worklet_resamples_without_aliases(opened, service, source_rate, tone, kept):
    page = opened(service).page
    samples = page.evaluate(
        """async ([rate, tone]) => {
            const context = new OfflineAudioContext(1, rate, rate);
            await context.audioWorklet.addModule("pcm-worklet.js");
            const node = new AudioWorkletNode(context, "pcm", {numberOfOutputs: 0, processorOptions: {rate: 16000}});
            const blocks = [];
            node.port.onmessage = ({data}) => blocks.push(...new Int16Array(data.samples));
            const oscillator = new OscillatorNode(context, {frequency: tone});
            oscillator.connect(node);
            oscillator.start();
            await context.startRendering();
            for (let i = 0; i < 100 && blocks.length < 14400; i++) await new Promise((resolve) => setTimeout(resolve, 50));
            return blocks;
        }""",
        [source_rate, tone],
    )
    steady = np.array(samples)[1600:14400] / 32767
    if not kept:
        assert np.abs(steady).max() < 0.002
        return
    times = np.arange(len(steady)) / 16000
    waves = np.stack([np.sin(2 * np.pi * tone * times), np.cos(2 * np.pi * tone * times)], 1)
    weights, residual, _, _ = np.linalg.lstsq(waves, steady, rcond=None)
    assert np.hypot(*weights) == pytest.approx(1, abs=0.01)
    assert np.sqrt(residual[0] / len(steady)) < 0.002
