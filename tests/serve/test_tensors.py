"""Requests of features in binary: the answers of JSON, and one sentence for what doesn't fit."""

import numpy as np
import pytest
from safetensors.numpy import save

HEAD = {"Content-Type": "application/octet-stream"}


def arrays(seed, **frames):
    rng = np.random.default_rng(seed)
    dims = {"language": 6, "audio": 3, "vision": 4}
    return {name: rng.standard_normal((count, dims[name])).astype(np.float32) for name, count in frames.items()}


def test_an_answer_is_that_of_json(client):
    features = arrays(0, language=2, vision=5)
    binary = client.post("/v1/predict", content=save(features, {"id": "a", "format": "pt"}), headers=HEAD).json()
    document = {"id": "a", "features": {name: values.tolist() for name, values in features.items()}}
    assert binary["predictions"] == client.post("/v1/predict", json=document).json()["predictions"]


def test_samples_are_numbered(client):
    given = [arrays(1, audio=1), arrays(2, language=3, audio=1), arrays(3, vision=2)]
    tensors = {f"{i}.{name}": values for i, sample in enumerate(given) for name, values in sample.items()}
    body = save(tensors, {"1": "second", "format": "np"})
    rows = client.post("/v1/predict/batch", content=body, headers=HEAD).json()["predictions"]
    assert [row["id"] for row in rows] == ["clip-0", "second", "clip-2"]
    documents = [{"features": {name: values.tolist() for name, values in sample.items()}} for sample in given]
    documents[1]["id"] = "second"
    expected = client.post("/v1/predict/batch", json={"samples": documents}).json()["predictions"]
    assert [row["prediction"] for row in rows] == pytest.approx([row["prediction"] for row in expected], abs=1e-6)


def test_single_frames_and_other_floats_are_read(client):
    (values,) = arrays(4, vision=1).values()
    bodies = [save({"vision": v}) for v in (values, values[0], values.astype(np.float64))]
    answers = [client.post("/v1/predict", content=body, headers=HEAD).json()["predictions"] for body in bodies]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("", b"", 400, "no safetensors document"),
        ("", b"\xff" * 8 + b"{}", 400, "no safetensors document"),
        ("", save({}), 422, "no modality is available"),
        ("", save({"smell": np.ones(3, np.float32)}), 422, "unknown modality 'smell'"),
        ("", save({"audio": np.ones(3, np.int64)}), 422, "floats of 16, 32 or 64 bits"),
        ("", save({"audio": np.ones((2, 2), np.float32)}), 422, "3 features in each frame"),
        ("", save({"audio": np.full(3, np.nan, np.float32)}), 422, "not finite"),
        ("", save({"audio": np.full(3, 1e300)}), 422, "not finite"),
        ("", save({"audio": np.ones(3, np.float32)}, {"id": ""}), 422, "id: a text of 1"),
        (
            "",
            save({"audio": np.ones(3, np.float32)}, {"missing": "audio"}),
            422,
            "unknown key 'missing'; a sample has id",
        ),
        ("/batch", save({"0.audio": np.ones(3, np.float32)}, {"1": "b"}), 422, "metadata: unknown key '1'; ids have"),
        ("/batch", save({"audio": np.ones(3, np.float32)}), 422, "a name such as '0.language'"),
        (
            "/batch",
            save({f"{i}.audio": np.ones(3, np.float32) for i in ("0", "00")}),
            422,
            "a name such as '0.language'",
        ),
        ("/batch", save({"1.audio": np.ones(3, np.float32)}), 422, "numbered from 0 to 0"),
        ("/batch", save({f"{i}.audio": np.ones(3, np.float32) for i in range(257)}), 413, "1 to 256 samples"),
        ("/batch", save({}), 422, "1 to 256 samples"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(client, path, body, status, sentence):
    answer = client.post(f"/v1/predict{path}", content=body, headers=HEAD)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]


def test_too_many_frames_are_refused(serve):
    body = save({"audio": np.ones((6, 3), np.float32)})
    assert serve(max_frames=5).post("/v1/predict", content=body, headers=HEAD).status_code == 413
