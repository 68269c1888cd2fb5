"""The service's own addresses, and what every answer carries."""


def test_a_request_id_is_answered_and_made_where_there_is_none(client):
    document = {"features": {"audio": [0, 0, 0]}}
    answer = client.post("/v1/predict", json=document, headers={"X-Request-ID": "mine-1"})
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == "mine-1"
    unfit = [client.post("/v1/predict", json=document, headers={"X-Request-ID": text}) for text in ("a b", "x" * 65)]
    ids = {answer.json()["request_id"] for answer in unfit}
    assert len(ids) == 2
    assert all(len(text) == 32 for text in ids)


def test_the_card_describes_the_model(client, predictor):
    card = client.get("/v1/model").json()
    assert card["task"] == "regression"
    assert card["modalities"] == list(predictor.model.spec.names)
    assert card["classes"] is None
    assert card["media"] is False
    assert card["limits"]["samples"] == 256


def test_it_is_healthy_and_ready(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_unknown_addresses_and_methods_get_a_sentence(client):
    for answer, status in ((client.get("/v2"), 404), (client.put("/"), 405)):
        assert answer.status_code == status
        assert "does nothing at this address" in answer.json()["error"]
    for answer, allowed in ((client.get("/v1/predict"), "POST"), (client.delete("/v1/model"), "GET")):
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["error"].startswith(f"this address takes {allowed}, not ")


def test_the_reference_is_where_messages_say(client):
    assert client.get("/docs").headers["content-type"].startswith("text/html")


def test_the_page_comes_from_the_package_alone(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
