"""Clips on the page: files, recordings, features, each switch, and what is shown of the answers."""

from __future__ import annotations

import csv
import io
import json

import pytest

from playwright_clips import WORDS, choose, switch, wave, words_of

pytestmark = pytest.mark.slow

FAILING = {"language": "the words", "vision": "the camera", "audio": "the microphone"}


@pytest.mark.parametrize("modality", FAILING)
def test_each_switch_makes_its_source_fail_and_work_again(opened, service, modality):
    page = opened(service).page
    page.fill("#words", WORDS)
    choose(page, b"0" * 1000)
    page.wait_for_selector(".verdict")
    before = words_of(page, ".verdict")
    control = switch(page, modality)
    assert control.get_attribute("aria-checked") == "true"
    control.click()
    page.wait_for_selector(".comparison")
    assert control.get_attribute("aria-checked") == "false"
    assert "failing" in words_of(page, f".modality[data-modality={modality}]")
    assert words_of(page, ".comparison").startswith(f"Without {FAILING[modality]},")
    assert service.asked[-1]["ignore"] == [modality]
    control.click()
    page.wait_for_selector(".comparison", state="detached")
    assert words_of(page, ".verdict") == before
    assert len(service.asked) == 2  # what was predicted once is kept


def test_two_sources_may_fail_but_not_all_three(opened, service):
    page = opened(service).page
    page.fill("#words", WORDS)
    choose(page, b"0" * 1000)
    page.wait_for_selector(".verdict")
    for modality in FAILING:
        switch(page, modality).click()
    page.wait_for_selector("text=Everything fails")
    assert ["language", "vision", "audio"] not in [request["ignore"] for request in service.asked]
    switch(page, "audio").click()
    page.wait_for_selector(".comparison")
    assert words_of(page, ".comparison").startswith("Without the words and the camera,")
    assert service.asked[-1]["ignore"] == ["language", "vision"]


def test_nothing_of_a_files_name_is_sent(opened, service):
    page = opened(service).page
    choose(page, wave(2), name="my secret diary.wav", kind="audio/wav")
    page.wait_for_selector(".verdict")
    assert service.asked[0]["audio"]["name"] == "audio"
    assert "video" not in service.asked[0]
    assert "missing" in words_of(page, ".modality[data-modality=vision]")


def test_a_text_beside_a_clip_becomes_its_words(opened, service):
    page = opened(service).page
    files = [("talk.mp4", "video/mp4", b"0" * 100), ("talk.txt", "text/plain", WORDS.encode())]
    page.set_input_files("#file", [{"name": name, "mimeType": kind, "buffer": data} for name, kind, data in files])
    page.wait_for_selector(".verdict")
    assert page.input_value("#words") == WORDS
    assert service.asked[0]["text"] == WORDS


def test_words_typed_afterwards_are_predicted_with(opened, service):
    page = opened(service).page
    choose(page, b"0" * 1000)
    page.wait_for_selector(".verdict")
    page.fill("#words", WORDS)
    page.wait_for_selector(".modality.present[data-modality=language]")
    assert [request.get("text") for request in service.asked] == [None, WORDS]


def test_a_long_clip_is_predicted_over_time_and_read_by_keyboard(opened, service):
    page = opened(service).page
    service.seconds = 12.0
    choose(page, wave(12), name="talk.wav", kind="audio/wav")
    slider = page.locator(".plot[role=slider]")
    slider.wait_for()
    assert (service.asked[0]["window"], service.asked[0]["hop"]) == ("4", "1")
    assert slider.get_attribute("aria-valuemax") == "9"
    assert words_of(page, ".when") == "0.0–4.0 s"
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert words_of(page, ".when") == "1.0–5.0 s"
    page.keyboard.press("End")
    assert words_of(page, ".when") == "8.0–12.0 s"
    assert slider.get_attribute("aria-valuetext").startswith("8.0–12.0 s: ")
    score = words_of(page, ".verdict .value").replace("−", "-")
    assert float(score) == pytest.approx(service.predictions(service.asked[0])[-1]["prediction"], abs=0.005)
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)
    assert words_of(page, ".when") not in ("0.0–4.0 s", "8.0–12.0 s")


def test_window_and_hop_are_settings(opened, service):
    page = opened(service).page
    page.locator(".settings summary").click()
    page.select_option("#mode", "windows")
    page.fill("#window", "3")
    page.fill("#hop", "0.5")
    choose(page, wave(2), name="talk.wav", kind="audio/wav")
    page.wait_for_selector(".plot[role=slider]")
    assert (service.asked[-1]["window"], service.asked[-1]["hop"]) == ("3", "0.5")
    page.select_option("#mode", "whole")
    page.wait_for_selector(".plot[role=img]")
    assert "window" not in service.asked[-1]


def test_the_table_can_be_taken_home(opened, service):
    page = opened(service).page
    choose(page, wave(12), name="talk.wav", kind="audio/wav")
    page.wait_for_selector(".plot[role=slider]")
    page.click("text=As a table")
    page.wait_for_selector("tbody tr")
    assert page.locator("tbody tr").count() == 9
    with page.expect_download() as download:
        page.click("#download")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    sent = service.predictions(service.asked[0])
    assert [float(row["prediction"]) for row in rows] == [row["prediction"] for row in sent]
    assert rows[0]["vision_available"] == "false"
    assert float(rows[0]["audio_coverage"]) == sent[0]["coverage"]["audio"]


def test_classes_are_shown_with_set_and_probabilities(opened, class_service):
    page = opened(class_service).page
    choose(page, b"0" * 1000)
    page.wait_for_selector(".verdict")
    (row,) = class_service.predictions(class_service.asked[0])
    assert words_of(page, ".verdict .value") == row["prediction"]
    assert page.locator(".bars li.in-set .bar-name").all_inner_texts() == [
        name for name in class_service.card["classes"] if name in row["set"]
    ]
    shares = page.locator(".bars .bar-share").all_inner_texts()
    assert shares == [f"{round(100 * share)} %" for share in row["probabilities"].values()]
    assert not page.locator("#words-box").is_visible()
    switch(page, "audio").click()
    page.wait_for_selector(".comparison")
    assert class_service.asked[-1]["ignore"] == ["audio"]


def test_a_model_of_features_takes_a_file_of_features(opened, service):
    service.card |= {"media": False}
    page = opened(service).page
    assert not page.locator("#tab-record").is_visible()
    choose(page, b"0" * 100)
    page.wait_for_selector("text=This model reads features, not recordings")
    features = {"audio": [[0.1, 0.2]], "language": [[1.0]], "vision": [[0.5]]}
    choose(page, json.dumps({"features": features}).encode(), name="features.json", kind="application/json")
    page.wait_for_selector(".verdict")
    switch(page, "vision").click()
    page.wait_for_selector(".comparison")
    assert [(request["features"], request["ignore"]) for request in service.asked] == [
        (features, []),
        (features, ["vision"]),
    ]


def test_a_recording_of_camera_and_microphone_is_predicted(opened, service, tmp_path):
    av = pytest.importorskip("av")
    page = opened(service).page
    page.click("#tab-record")
    page.click("#record")
    page.wait_for_selector("#timer:has-text('0:02 of')")
    page.click("#record")
    page.wait_for_selector(".verdict")
    assert service.asked[0]["video"]["type"] == "video/webm"
    (tmp_path / "clip.webm").write_bytes(service.asked[0]["video_content"])
    with av.open(str(tmp_path / "clip.webm")) as container:
        assert {stream.type for stream in container.streams} == {"audio", "video"}
        pictures = sum(1 for _ in container.decode(video=0))
    assert pictures > 1  # how many depends on the load of the machine
    switch(page, "vision").click()
    page.wait_for_selector(".comparison")
    assert service.asked[1]["video_content"] == service.asked[0]["video_content"]
    assert service.asked[1]["ignore"] == ["vision"]


def test_a_recording_ends_by_itself_at_the_services_limit(opened, service):
    service.card |= {"limits": {"seconds": 2}}
    page = opened(service).page
    page.click("#tab-record")
    page.click("#record")
    page.wait_for_selector(".verdict")
    assert page.locator("#record").inner_text() == "Record again"
    assert len(service.asked) == 1


def test_tabs_keep_their_clips(opened, service):
    page = opened(service).page
    choose(page, wave(2), name="talk.wav", kind="audio/wav")
    page.wait_for_selector(".verdict")
    before = words_of(page, ".verdict")
    page.click("#tab-live")
    page.wait_for_selector("text=Start the stream.")
    page.click("#tab-clip")
    page.wait_for_selector(".verdict")
    assert words_of(page, ".verdict") == before
    assert len(service.asked) == 1


def test_what_the_service_could_not_use_is_told(opened, service):
    service.remarks = [{"modality": "vision", "remark": "no face was found"}]
    page = opened(service).page
    choose(page, b"0" * 100)
    page.wait_for_selector(".verdict")
    assert "No face was found" in words_of(page, ".modality[data-modality=vision]")


def test_a_model_without_calibration_and_scale_shows_its_score(opened, service):
    service.card |= {"level": None, "range": None}
    page = opened(service).page
    choose(page, wave(12), name="talk.wav", kind="audio/wav")
    page.wait_for_selector(".verdict")
    assert not page.locator(".scale").count()
    page.click("text=What the numbers mean")
    text = words_of(page, "#explain")
    assert "The score is on the scale of the training labels." in text
    assert "[object" not in text
    assert "band" not in text.split("Recovered")[0]
