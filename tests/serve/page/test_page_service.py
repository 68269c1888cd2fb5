"""The page before the real service: a clip, a recording and a live stream are predicted from their sound."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

import imder
from browser import Watched
from imder.extract.recipe import AudioRecipe, Recipe
from imder.serve import ServeConfig, create_app
from imder.types import Modality, Spec
from playwright_clips import alert, choose, switch, wait, words_of
from small_imder import small_model
from tiny_media import tone, write_wav

pytestmark = pytest.mark.slow

RECIPE = Recipe(audio=AudioRecipe("mel64", 22050, 512, 2048, 64)).to_dict()
SPEC = Spec((Modality("language", 6, 7), Modality("audio", 64, 300), Modality("vision", 4, 9)))


@pytest.fixture(scope="module")
def predictor() -> Any:
    for package in ("librosa", "soundfile", "av"):
        pytest.importorskip(package)
    return imder.Predictor(small_model("fast", SPEC), recipe=RECIPE)


@pytest.fixture(scope="module")
def host(predictor: Any, tmp_path_factory: Any) -> Iterator[str]:
    """``localhost:PORT`` of a running service."""
    app = create_app(predictor, ServeConfig(temporary=tmp_path_factory.mktemp("uploads"), max_seconds=20))
    with socket.create_server(("localhost", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"localhost:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def watched(browser: Any, host: str) -> Iterator[Watched]:
    """The service's page; no request leaves the host and no script fails."""
    watched = Watched(browser)
    watched.page.goto(f"http://{host}/")
    watched.page.wait_for_selector("#workspace:not([hidden])")
    yield watched
    watched.context.close()
    assert not watched.outside(host)
    assert not [error for error in watched.errors if not error.startswith("Failed to load resource")]


def shown(page: Any) -> float:
    page.wait_for_selector(".verdict", timeout=180_000)  # the first sound loads and compiles what reads it
    return float(words_of(page, ".verdict .value").replace("−", "-"))


def test_the_prediction_of_a_file_is_the_predictors(watched, predictor, tmp_path):
    page = watched.page
    wav = write_wav(tmp_path / "a.wav", tone(2.0))
    choose(page, wav.read_bytes(), name="a.wav", kind="audio/wav")
    assert shown(page) == pytest.approx(predictor.predict_clip(audio=wav, name="clip")["prediction"], abs=0.006)
    assert words_of(page, ".modality[data-modality=audio]") == "Microphone used"
    switch(page, "vision").click()
    page.wait_for_selector(".comparison")
    assert "failing" in words_of(page, ".modality[data-modality=vision]")
    switch(page, "audio").click()
    assert alert(page).startswith("Nothing to predict from")


def test_a_long_file_is_predicted_over_time(watched, tmp_path):
    page = watched.page
    choose(page, write_wav(tmp_path / "a.wav", tone(10.0)).read_bytes(), name="a.wav", kind="audio/wav")
    page.wait_for_selector(".plot[role=slider]")
    assert page.get_attribute(".plot", "aria-valuemax") == "7"


def test_what_the_browser_records_is_read(watched):
    page = watched.page
    page.click("#tab-record")
    page.click("#record")
    page.wait_for_selector("#timer:has-text('0:03 of')")
    page.click("#record")
    shown(page)
    assert words_of(page, ".modality[data-modality=audio]") == "Microphone used"
    assert not page.locator("#alert").is_visible()


def test_a_file_too_long_or_damaged_is_refused_in_words(watched, tmp_path):
    page = watched.page
    choose(page, write_wav(tmp_path / "a.wav", tone(30.0)).read_bytes(), name="a.wav", kind="audio/wav")
    assert alert(page).startswith("The clip lasts 30 s; this service takes at most 20 s.")
    choose(page, b"RIFF" + b"0" * 500, name="b.wav", kind="audio/wav")
    page.wait_for_selector("#alert:has-text('Try again')")
    assert alert(page).startswith("Audio: no known format of sound or video")


def test_live_sound_is_predicted_until_the_microphone_fails(watched):
    page = watched.page
    page.click("#tab-live")
    page.click("#start")
    shown(page)
    page.wait_for_selector(".modality.present[data-modality=audio]")
    page.wait_for_selector(".modality[data-modality=vision] .remark >> text=Frames can't be read")
    switch(page, "audio").click()
    page.wait_for_selector("text=Nothing arrives")
    switch(page, "audio").click()
    page.wait_for_selector(".modality.present[data-modality=audio]")
    page.click("#start")
    wait(page, lambda: page.locator("#start").inner_text() == "Start")
    assert not page.locator("#alert").is_visible()
