"""Who may call: local names, pages of the service itself, holders of the token; and how many at once."""

import asyncio
import logging

import pytest

from imder.serve import ServeConfig
from imder.serve.guard import Guard
from imder.serve.metrics import Metrics

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "[::1", ""])
def test_without_a_token_only_local_names_are_answered(client, host):
    answer = client.get("/v1/model", headers={"Host": host})
    assert (answer.status_code, "127.0.0.1 and localhost alone" in answer.json()["error"]) == (403, True)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:80"])
def test_local_names_are_answered(client, host):
    assert client.get("/v1/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://[", "http://127.0.0.1:1"])
def test_pages_of_other_sites_are_refused(client, origin):
    answer = client.post("/v1/predict", json={"features": {"audio": [0, 0, 0]}}, headers={"Origin": origin})
    assert (answer.status_code, "pages of other sites" in answer.json()["error"]) == (403, True)
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_of_the_service_itself_may_call(client):
    assert client.get("/v1/model", headers={"Origin": "http://127.0.0.1"}).status_code == 200


def test_other_sites_may_call_if_they_are_allowed(serve):
    client = serve(origins=("https://example.org",))
    headers = {"Origin": "https://example.org"}
    answer = client.get("/v1/model", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    preflight = client.options("/v1/predict", headers=headers | {"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 200
    assert client.get("/v1/model", headers={"Origin": "https://example.com"}).status_code == 403


def test_a_token_is_needed_for_all_but_the_page_and_health(serve):
    client = serve(token=TOKEN)
    for path in ("/", "/docs/", "/healthz", "/readyz", "/openapi.json"):
        assert client.get(path).status_code == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer é"}):
        for path in ("/v1/model", "/metrics"):
            answer = client.get(path, headers={k: v.encode() for k, v in headers.items()})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "needs a token" in answer.json()["error"]
    right = {"Authorization": f"Bearer {TOKEN}", "Host": "example.org"}
    assert client.get("/v1/model", headers=right).status_code == 200


def test_more_requests_than_allowed_at_once_get_503():
    async def scenario():
        release, answers = asyncio.Event(), []

        async def app(scope, receive, send):
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async def call(guard):
            scope = {"type": "http", "method": "GET", "path": "/v1/model", "headers": [(b"host", b"localhost")]}

            async def send(message):
                if message["type"] == "http.response.start":
                    answers.append((message["status"], dict(message["headers"])))

            await guard(scope, None, send)

        guard = Guard(app, ServeConfig(concurrency=2), Metrics())
        waiting = [asyncio.ensure_future(call(guard)) for _ in range(2)]
        await asyncio.sleep(0)
        await call(guard)
        release.set()
        await asyncio.gather(*waiting)
        return answers

    answers = asyncio.run(scenario())
    assert [status for status, _ in answers] == [503, 200, 200]
    assert answers[0][1][b"retry-after"] == b"1"


def test_an_error_of_the_service_is_logged_without_the_request(predictor, serve, caplog, monkeypatch):
    client = serve()
    monkeypatch.setattr("imder.serve.app.read_sample", lambda *_: 1 / 0)
    with caplog.at_level(logging.INFO, "imder.serve"):
        answer = client.post("/v1/predict", json={"features": {"audio": [7, 7, 7]}}, headers={"X-Request-ID": "r1"})
    assert (answer.status_code, answer.json()["request_id"]) == (500, "r1")
    assert "request r1 failed: ZeroDivisionError" in caplog.text
    assert "division by zero" not in caplog.text
    assert "imder_internal_errors_total 1" in client.get("/metrics").text


def test_the_log_holds_no_content_and_no_paths(client, caplog):
    with caplog.at_level(logging.INFO, "imder.serve"):
        client.post("/v1/predict", json={"features": {"secret": [7]}}, headers={"X-Request-ID": "r2"})
        client.get("/secret?secret=1")
    assert "r2 POST /v1/predict 422" in caplog.text
    assert "secret" not in caplog.text
