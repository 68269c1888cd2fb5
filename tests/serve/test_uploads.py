"""Uploads of sound, video and text: equal to the prediction of the same files, and gone after the answer."""

import threading

import numpy as np
import pytest
from starlette.testclient import TestClient

import imder
from imder.extract.recipe import AudioRecipe, Recipe
from imder.serve import ServeConfig, create_app
from imder.types import Modality, Spec
from small_imder import small_model
from tiny_media import tone, write_wav

pytest.importorskip("av")

RECIPE = Recipe(audio=AudioRecipe("mel64", 22050, 512, 2048, 64)).to_dict()
SPEC = Spec((Modality("language", 6, 7), Modality("audio", 64, 300), Modality("vision", 4, 9)))


@pytest.fixture(scope="module")
def predictor():
    return imder.Predictor(small_model("fast", SPEC), recipe=RECIPE)


@pytest.fixture
def wav(tmp_path):
    return write_wav(tmp_path / "a.wav", tone(1.0))


@pytest.fixture
def client(predictor, tmp_path):
    config = ServeConfig(temporary=tmp_path, max_seconds=5, max_bytes=400_000, max_text=20)
    with TestClient(create_app(predictor, config), base_url="http://127.0.0.1") as client:
        yield client


def files_left(tmp_path):
    return [path for path in tmp_path.glob("imder-serve-*/**/*") if path.is_file() and path.name != "lock"]


def test_an_upload_is_predicted_as_its_file(client, predictor, wav, tmp_path):
    answer = client.post("/v1/predict", files={"audio": ("../../../etc/passwd", wav.read_bytes())})
    expected = predictor.predict_clip(audio=wav, name="clip")
    (row,) = answer.json()["predictions"]
    assert row["prediction"] == pytest.approx(expected["prediction"], abs=1e-5)
    assert row["available"] == {"language": False, "audio": True, "vision": False}
    assert answer.json()["remarks"] == []
    assert files_left(tmp_path) == []


def test_windows_of_a_recording_have_times_and_coverage(client, predictor, wav):
    answer = client.post(
        "/v1/predict", files={"audio": wav.read_bytes()}, data={"window": "0.4", "hop": "0.2", "id": "x"}
    )
    recording = predictor.read_recording(audio=wav, name="x")
    expected = predictor.predict_windows(recording, 0.4, 0.2)
    rows = answer.json()["predictions"]
    assert [(row["start"], row["end"]) for row in rows] == [(row["start"], row["end"]) for row in expected]
    np.testing.assert_allclose([row["prediction"] for row in rows], expected["prediction"], atol=1e-5)
    assert all(row["coverage"]["audio"] > 0.5 for row in rows)


def test_ignored_modalities_count_as_missing(client, wav):
    answer = client.post("/v1/predict", files={"audio": wav.read_bytes()}, data={"ignore": "vision"})
    assert answer.json()["predictions"][0]["available"]["audio"]
    refused = client.post("/v1/predict", files={"audio": wav.read_bytes()}, data={"ignore": ["audio", "vision"]})
    assert (refused.status_code, refused.json()["error"]) == (
        422,
        "nothing to predict from: all that was given is ignored",
    )


@pytest.mark.parametrize(
    ("files", "data", "status", "sentence"),
    [
        ({}, {"text": " "}, 422, "nothing to predict from: give a video, sound or a text"),
        ({}, {"text": "x" * 21}, 413, "text: 21 characters; at most 20 are taken"),
        ({}, {"text": "x" * 200}, 413, "text: longer than 80 bytes"),
        ({}, {"path": "/etc/passwd"}, 422, "unknown field 'path' in the form"),
        ({"audio": b"#EXTM3U\nfile:///etc/passwd"}, {}, 415, "audio: no known format of sound or video"),
        ({"audio": b""}, {}, 422, "audio: the file is empty"),
        ({"audio": b"RIFF\0\0\0\0WAVEfmt "}, {}, 422, "the audio"),
        ({"audio": b"RIFF" + bytes(400_000)}, {}, 413, "the request is longer than 400000 bytes"),
        ({"audio": b"fLaC"}, {"window": "nan"}, 422, "window: a number of seconds"),
        ({"audio": b"fLaC"}, {"window": "1e9"}, 422, "window: a number of seconds"),
        ({"audio": b"fLaC"}, {"hop": "1"}, 422, "hop: is about windows"),
        ({"audio": b"fLaC"}, {"ignore": "smell"}, 422, "ignore: unknown modality 'smell'"),
        ({"audio": b"fLaC"}, {"id": ["a", "b"]}, 422, "id: give it once"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(client, tmp_path, files, data, status, sentence):
    form = {name: (name, content) for name, content in files.items()} or {"ignore": (None, "")}
    answer = client.post("/v1/predict", files=form, data=data)
    assert answer.status_code == status, answer.text
    assert sentence in answer.json()["error"]
    assert str(tmp_path) not in answer.text
    assert files_left(tmp_path) == []


def test_a_form_that_ends_early_is_refused(client, wav, tmp_path):
    head = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    cut = client.post("/v1/predict", content=head + wav.read_bytes()[:1000], headers=kind)
    assert (cut.status_code, cut.json()["error"]) == (400, "the form ends early")
    rubbish = client.post("/v1/predict", content=b"\0" * 100, headers=kind)
    assert (rubbish.status_code, rubbish.json()["error"]) == (400, "the body is no valid multipart form")
    without = client.post("/v1/predict", content=head, headers={"Content-Type": "multipart/form-data"})
    assert (without.status_code, without.json()["error"]) == (400, "the content type of the form has no boundary")
    assert files_left(tmp_path) == []


def test_sound_that_is_too_long_is_refused_before_it_is_decoded(client, tmp_path):
    sound = write_wav(tmp_path / "long.wav", tone(6.0))
    answer = client.post("/v1/predict", files={"audio": sound.read_bytes()})
    assert (answer.status_code, answer.json()["error"]) == (413, "audio: longer than 5 seconds")


def test_a_text_that_the_run_cannot_read_is_refused(client):
    answer = client.post("/v1/predict", files={"text": (None, "good")})
    assert answer.status_code == 422
    assert "not language" in answer.json()["error"]


def test_an_upload_that_never_ends_is_given_up_and_said_where_readiness_is_asked(predictor, tmp_path, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr("imder.serve.media.predict_upload", lambda *_: release.wait())
    config = ServeConfig(temporary=tmp_path, media_timeout=0.01)
    with TestClient(create_app(predictor, config), base_url="http://127.0.0.1") as client:
        for _ in range(2):  # the second waits behind the first
            answer = client.post("/v1/predict", files={"audio": b"fLaC"})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert "was not predicted within 0.01 seconds" in answer.json()["error"]
        assert client.get("/readyz").status_code == 503
        release.set()
        while client.get("/readyz").status_code != 200:
            pass
    assert files_left(tmp_path) == []


def test_a_model_without_media_says_so(tmp_path):
    with TestClient(create_app(imder.Predictor(small_model("fast"))), base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/predict", files={"audio": b"RIFF"})
    assert (answer.status_code, answer.json()["error"]) == (
        415,
        "the model's features aren't made from media: send features as JSON",
    )
