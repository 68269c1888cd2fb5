"""Requests of features: answers equal predictions offline, and what doesn't fit gets one sentence."""

import numpy as np
import pytest

from imder.data.corpus import Corpus, Ragged, Split

DIMS = {"language": 6, "audio": 3, "vision": 4}


def sample(seed, names=tuple(DIMS), frames=3):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((frames, DIMS[name])).round(3).tolist() for name in names}


def offline(predictor, features, name="clip"):
    arrays = {
        k: Ragged.from_list([np.array(features.get(k, np.zeros((0, d))), np.float32)], d) for k, d in DIMS.items()
    }
    split = Split((name,), arrays)
    return predictor.predict(Corpus("offline", predictor.model.spec, {"all": split}), "all")[0]


@pytest.mark.parametrize("names", [("language",), ("audio", "vision"), ("language", "audio", "vision")])
def test_an_answer_is_the_prediction_offline(client, predictor, names):
    features = sample(1, names)
    answer = client.post("/v1/predict", json={"features": features}).json()
    (row,) = answer["predictions"]
    expected = offline(predictor, features)
    assert row["prediction"] == pytest.approx(expected["prediction"], abs=1e-5)
    assert row["available"] == {name: name in names for name in DIMS}
    weights = {name: expected["recovery_weight"] for name in DIMS if name not in names}
    assert row["recovered"] == {name: {"weight": pytest.approx(w, abs=1e-6)} for name, w in weights.items()}


def test_the_noise_of_recoveries_follows_the_id(client, predictor):
    features = sample(2, ("vision",))
    rows = [
        client.post("/v1/predict", json={"features": features, "id": name}).json()["predictions"][0]
        for name in ("a", "b", "a")
    ]
    assert rows[0] == rows[2]
    assert rows[0]["prediction"] != rows[1]["prediction"]
    assert rows[1]["prediction"] == pytest.approx(offline(predictor, features, "b")["prediction"], abs=1e-5)


def test_missing_modalities_are_left_out_null_empty_or_named(client):
    features = sample(3)
    expected = client.post("/v1/predict", json={"features": {"audio": features["audio"]}}).json()["predictions"]
    for document in (
        {"features": features, "missing": ["language", "vision"]},
        {"features": features | {"language": None, "vision": []}},
    ):
        assert client.post("/v1/predict", json=document).json()["predictions"] == expected


def test_one_frame_may_be_a_plain_list(client):
    frame = [0.1, 0.2, 0.3]
    one, other = (client.post("/v1/predict", json={"features": {"audio": a}}).json() for a in (frame, [frame]))
    assert one["predictions"] == other["predictions"]


def test_several_samples_of_mixed_patterns_keep_their_order(client, predictor):
    patterns = [("language",), ("audio", "vision"), ("vision",), tuple(DIMS)] * 20
    samples = [{"features": sample(i, names, 1 + i % 5), "id": f"s{i}"} for i, names in enumerate(patterns)]
    answer = client.post("/v1/predict/batch", json={"samples": samples}).json()
    assert [row["id"] for row in answer["predictions"]] == [s["id"] for s in samples]
    for given, row in list(zip(samples, answer["predictions"], strict=True))[::7]:
        expected = offline(predictor, given["features"], given["id"])["prediction"]
        assert row["prediction"] == pytest.approx(expected, abs=1e-5)


def test_samples_without_an_id_are_numbered(client):
    samples = [{"features": sample(i, ("audio",))} for i in range(2)]
    answer = client.post("/v1/predict/batch", json={"samples": [*samples, samples[0] | {"id": "last"}]}).json()
    assert [row["id"] for row in answer["predictions"]] == ["clip-0", "clip-1", "last"]


def test_features_in_other_units_get_a_remark(client):
    features = sample(4) | {"vision": (1000 * np.ones((3, 4))).tolist()}
    answer = client.post("/v1/predict", json={"features": features}).json()
    (remark,) = answer["remarks"]
    assert (remark["id"], remark["modality"]) == ("clip", "vision")
    assert remark["remark"].startswith("100% of the values are over 10 standard deviations from the training mean")
    assert client.post("/v1/predict", json={"features": sample(4)}).json()["remarks"] == []


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "a JSON object with the key 'features' is needed"),
        ({}, "features: an object is needed"),
        ({"features": {}}, "no modality is available"),
        ({"features": {"smell": [[1]]}}, "unknown modality 'smell'"),
        ({"features": {"audio": [[1, 2]]}}, "3 features in each frame are needed, got the shape (1, 2)"),
        ({"features": {"audio": [[1, 2, 3], [1]]}}, "frames differ in length"),
        ({"features": {"audio": [["1", "2", "3"]]}}, "without texts"),
        ({"features": {"audio": [[1, 2, None]]}}, "without texts, nulls"),
        ({"features": {"audio": [[[1, 2, 3]]]}}, "got the shape (1, 1, 3)"),
        ({"features": {"audio": "abc"}}, "a list of frames is needed"),
        ({"features": {"audio": [[1e300, 0, 0]]}}, "not finite in float32"),
        ({"features": {"audio": [[10**400, 0, 0]]}}, "features.audio"),
        ({"features": {"audio": [[1, 2, 3]]}, "missing": ["smell"]}, "missing: unknown modality 'smell'"),
        ({"features": {"audio": [[1, 2, 3]]}, "missing": "audio"}, "missing: a list of modalities"),
        ({"features": {"audio": [[1, 2, 3]]}, "missing": ["audio"]}, "no modality is available"),
        ({"features": {"audio": [[1, 2, 3]]}, "id": ""}, "id: a text of 1 to 200 characters"),
        ({"features": {"audio": [[1, 2, 3]]}, "path": "/etc/passwd"}, "unknown key 'path'"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(client, document, sentence):
    answer = client.post("/v1/predict", json=document)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"features": {"audio": [[NaN, 0, 0]]}}', b"[" * 10_000])
def test_what_is_no_json_is_refused(client, body):
    answer = client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the body is no valid JSON")


def test_too_much_is_refused(serve):
    client = serve(max_frames=4, max_samples=2, max_json_bytes=2000)
    many = client.post("/v1/predict", json={"features": {"audio": [[0, 0, 0]] * 5}})
    assert (many.status_code, many.json()["error"]) == (413, "features.audio: 5 frames; at most 4 are taken")
    samples = client.post("/v1/predict/batch", json={"samples": [{"features": {"audio": [0, 0, 0]}}] * 3})
    assert (samples.status_code, samples.json()["error"]) == (413, "samples: 1 to 2 are taken at once, got 3")
    long = client.post("/v1/predict", content=b" " * 2001)
    assert (long.status_code, long.json()["error"]) == (413, "the request is longer than 2000 bytes")
