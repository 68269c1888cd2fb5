"""Live streams over a WebSocket."""

import io
import math
import struct

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import imder
from imder.extract.recipe import AudioRecipe, Recipe
from imder.serve import ServeConfig, create_app
from imder.serve.errors import Refusal
from imder.serve.messages import decode_jpeg, push_binary, push_document
from imder.serve.switched import SwitchedStream
from imder.types import Modality, Spec
from small_imder import small_model
from tiny_media import tone

pytest.importorskip("librosa")

RECIPE = Recipe(audio=AudioRecipe("mel64", 22050, 512, 2048, 64)).to_dict()
SPEC = Spec((Modality("language", 6, 7), Modality("audio", 64, 300), Modality("vision", 4, 9)))
START = {"type": "start", "window": 1, "hop": 0.5, "rate": 16000}


@pytest.fixture(scope="module")
def predictor():
    return imder.Predictor(small_model("fast", SPEC), recipe=RECIPE)


@pytest.fixture(scope="module")
def client(predictor):
    config = ServeConfig(token="0123456789abcdef", streams=1)
    with TestClient(create_app(predictor, config), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = "Bearer 0123456789abcdef"
        yield client


def sound(seconds, at=0.0):
    return struct.pack("<Bd", 1, at) + (tone(seconds, 16000) * 32767).astype("<i2").tobytes()


def jpeg(width=8, height=8):
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 10, 10)).save(file, "JPEG")
    return file.getvalue()


def received(socket):
    """All messages up to the end."""
    messages = []
    while not messages or messages[-1]["type"] != "end":
        messages.append(socket.receive_json())
    return messages


def predictions(socket):
    """The predictions up to the end; a model whose features were hardly fitted has remarks too."""
    messages = received(socket)
    assert {message["type"] for message in messages} <= {"prediction", "remark", "end"}
    return [message for message in messages if message["type"] == "prediction"]


def test_sound_becomes_predictions_of_windows(client):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(START)
        for i in range(8):
            socket.send_bytes(sound(0.25, i / 4))
        socket.send_json({"type": "stop"})
        rows = predictions(socket)
    assert [(row["start"], row["end"]) for row in rows][:3] == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
    assert all(row["available"] == {"language": False, "audio": True, "vision": False} for row in rows)
    assert all(np.isfinite(row["prediction"]) for row in rows)


def test_messages_without_sense_are_answered_and_the_stream_goes_on(client):
    rubbish = [b"", b"\x01", sound(0.1)[:-1], struct.pack("<Bd", 9, 0.0), struct.pack("<Bd", 1, float("nan"))]
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(START)
        for data in (*rubbish, struct.pack("<Bd", 2, 0.0) + b"no jpeg"):
            socket.send_bytes(data)
            assert socket.receive_json()["type"] == "error"
        for text in ("{", "[]", '{"type": "words"}', '{"type": "words", "words": [{"text": "a"}]}'):
            socket.send_text(text)
            assert socket.receive_json()["type"] == "error"
        socket.send_bytes(struct.pack("<Bd", 2, 0.0) + jpeg())
        socket.send_json({"type": "words", "words": [{"text": "a", "start": 0, "end": 0.2}]})
        socket.send_json({"type": "stop"})
        messages = received(socket)
    remarks = {message["modality"]: message["remark"] for message in messages if message["type"] == "remark"}
    assert remarks.keys() == {"vision", "language"}
    assert remarks["vision"].startswith("frames can't be read (")


def test_features_become_the_predictions_of_a_stream_in_the_process(client, predictor):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 5, 4)).astype(np.float32)
    with predictor.stream(1, 1) as stream:
        for i, frames in enumerate(values):
            stream.push_features("vision", frames, i + np.arange(5) / 5, frame_seconds=0.2, end=i + 1)
    expected = stream.ready()
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(START | {"hop": 1})
        for i, frames in enumerate(values):
            features = {"vision": frames.tolist(), "audio": [[0.0] * 64]}
            message = {"type": "features", "start": i, "end": i + 1, "features": features, "missing": ["audio"]}
            socket.send_json(message)
        socket.send_json({"type": "stop"})
        rows = predictions(socket)
    assert len(expected) == 3
    assert [row["available"]["vision"] for row in rows] == [True] * 3
    assert [row["prediction"] for row in rows] == pytest.approx([row["prediction"] for row in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"features": {"vision": [[1, 2]]}}, "4 features in each frame"),
        ({"features": {}, "end": 0}, "end: a time after 'start'"),
        ({"features": {}, "end": 61}, "by at most 60 seconds"),
        ({"features": {}, "end": None}, "end: a number"),
        ({"features": {}, "speed": 1}, "unknown key 'speed'"),
        ({"features": {}, "id": "a"}, "unknown key 'id'"),
    ],
)
def test_features_of_a_stream_that_do_not_fit_are_answered(client, message, sentence):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(START)
        socket.send_json({"type": "features", "start": 0, "end": 1} | message)
        assert sentence in socket.receive_json()["error"]


def test_sound_for_a_model_of_features_closes_the_stream_with_the_reason():
    with (
        TestClient(create_app(imder.Predictor(small_model("fast"))), base_url="http://127.0.0.1") as client,
        client.websocket_connect("/v1/stream", headers={"Host": "127.0.0.1"}) as socket,
    ):
        socket.send_json(START)
        socket.send_bytes(sound(0.1))
        error = socket.receive_json()["error"]
        assert error.startswith("the model reads features, no sound")
        assert '"type": "features"' in error
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_json()
    assert end.value.code == 1003
    assert end.value.reason
    assert error.startswith(end.value.reason)


def test_a_modality_that_is_switched_off_is_missing_until_it_is_switched_on(client):
    def second(i):
        for j in range(4):
            socket.send_bytes(sound(0.25, i + j / 4))

    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(START | {"hop": 1, "ignore": ["audio"]})
        second(0)
        socket.send_json({"type": "ignore", "modalities": []})
        second(1)
        socket.send_json({"type": "ignore", "modalities": ["audio", "vision"]})
        second(2)
        socket.send_json({"type": "time", "time": 4.0})
        socket.send_json({"type": "stop"})
        rows = predictions(socket)
    assert [row["end"] for row in rows][:4] == [1.0, 2.0, 3.0, 4.0]
    assert [row["available"]["audio"] for row in rows][:4] == [False, True, False, False]
    assert [row["prediction"] is None for row in rows][:4] == [True, False, True, True]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "ignore"},
        {"type": "ignore", "modalities": "audio"},
        {"type": "time"},
        {"type": "time", "time": -1},
        {"type": "time", "time": 1e300},
        {"type": "time", "time": 1, "now": 1},
        {"type": "stop", "seconds": 1},
        {"type": ["stop"]},
    ],
)
def test_switches_and_times_without_sense_are_answered(client, message):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(START)
        socket.send_json(message)
        assert socket.receive_json()["type"] == "error"


def test_parameters_in_the_address_are_refused(client):
    with client.websocket_connect("/v1/stream?window=2") as socket:
        assert socket.receive_json()["error"].startswith("parameters after '?' in the address aren't read")
    answer = client.post("/v1/predict?window=2", json={})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("parameters after '?' in the address aren't read")
    assert [client.get(f"{path}?_=1").status_code for path in ("/metrics", "/v1/model")] == [200, 200]


def test_too_many_of_them_end_it(client):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(START)
        for _ in range(20):
            socket.send_text("[]")
        errors = [socket.receive_json() for _ in range(20)]
        assert {error["type"] for error in errors} == {"error"}
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_json()
    assert end.value.code == 1008


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("stop", "the first message must be"),
        ({"window": 0}, "window: a number from 0.25"),
        ({"hop": True}, "hop: a number from 0.1"),
        ({"rate": 1}, "rate: a number from 8000"),
        ({"samples": 3}, "unknown key 'samples'; the first message has type, window"),
        ({"ignore": ["smell"]}, "modalities that fail: a list of"),
        ({"ignore": [[]]}, "modalities that fail: a list of"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(client, message, sentence):
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(message if isinstance(message, str) else START | message)
        assert sentence in socket.receive_json()["error"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def test_the_token_may_come_in_the_first_message(client):
    headers = {"Authorization": ""}
    for token, kind in (("0123456789abcdef", "end"), ("wrong", "error"), (None, "error")):
        with client.websocket_connect("/v1/stream", headers=headers) as socket:
            socket.send_json(START | ({} if token is None else {"token": token}))
            socket.send_json({"type": "stop"})
            assert socket.receive_json()["type"] == kind


def test_one_stream_more_than_allowed_is_refused(client):
    with client.websocket_connect("/v1/stream") as first:
        first.send_json(START)
        first.send_text("[]")
        first.receive_json()  # it is live
        with client.websocket_connect("/v1/stream") as second:
            second.send_json(START)
            assert "streams are live" in second.receive_json()["error"]
            with pytest.raises(WebSocketDisconnect) as end:
                second.receive_json()
        assert end.value.code == 1013


def test_pages_of_other_sites_get_no_stream(client):
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/v1/stream", headers={"Origin": "https://a.org"}),
    ):
        pass


def test_pictures_are_decoded_up_to_a_size(monkeypatch):
    monkeypatch.setattr("imder.serve.messages.MOST_PIXELS", 100)
    assert decode_jpeg(jpeg(6, 4)).shape == (4, 6, 3)
    for data in (jpeg()[:100], b"\xff\xd8", jpeg(11, 10)):
        with pytest.raises(Refusal):
            decode_jpeg(data)


def test_what_is_pushed_is_what_was_sent():
    calls = []

    class Recorder:
        def push_audio(self, samples, rate, time=None):
            calls.append((samples.tolist(), rate, time))

        def push_words(self, words):
            calls.append(words)

    push_binary(SwitchedStream(Recorder()), struct.pack("<Bdhh", 1, 1.5, -3, 7), 16000)
    words = [{"text": "a", "start": 0, "end": 1}]
    with pytest.raises(Refusal, match="words: unknown key 'path'; a word has text, start, end"):
        push_document(
            SwitchedStream(Recorder()), {"type": "words", "words": [words[0] | {"path": "x"}]}, SPEC, ServeConfig()
        )
    for wrong in ("high", True, [0.5], math.inf, math.nan):
        message = {"type": "words", "words": [words[0] | {"probability": wrong}]}
        with pytest.raises(Refusal, match="words: probability: a number is needed"):
            push_document(SwitchedStream(Recorder()), message, SPEC, ServeConfig())
    words += [words[0] | {"probability": 1.0000001}, words[0] | {"probability": None}]
    assert push_document(SwitchedStream(Recorder()), {"type": "words", "words": words}, SPEC, ServeConfig())
    assert not push_document(SwitchedStream(Recorder()), {"type": "stop"}, SPEC, ServeConfig())
    assert calls == [([-3, 7], 16000, 1.5), words]
