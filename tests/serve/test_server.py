"""A real process: it answers, finishes what is in progress after SIGTERM, and leaves nothing behind."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys

import pytest

from imder.cli import main
from small_imder import small_model

BODY = json.dumps({"features": {"audio": [0.0, 1.0, 2.0]}}).encode()
HEAD = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "model"
    small_model("fast").save_pretrained(folder)
    return folder


def test_requests_in_progress_are_finished_after_sigterm(run, tmp_path):
    command = [sys.executable, "-m", "imder", "serve", str(run), "--port", "0", "--device", "cpu", "--threads", "1"]
    environment = {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        port = int(re.search(r"http://127.0.0.1:(\d+),", process.stdout.readline())[1])
        client = http.client.HTTPConnection("localhost", port)
        client.request("GET", "/readyz")  # waits until the service has started
        assert json.load(client.getresponse()) == {"status": "ready"}
        assert next(path.name for path in tmp_path.iterdir()).startswith("imder-serve-")

        unknown = socket.create_connection(("localhost", port))
        unknown.sendall(b"\x00 rubbish\r\n\r\n")
        assert unknown.recv(1000).startswith(b"HTTP/1.1 400")

        waiting = socket.create_connection(("localhost", port))
        waiting.sendall(HEAD + BODY[:10])
        client.request("GET", "/healthz")  # the server has read what was sent before
        assert client.getresponse().read() == b'{"status":"ok"}'
        process.send_signal(signal.SIGTERM)
        assert client.sock.recv(1) == b""  # idle connections are closed: the signal has arrived
        waiting.sendall(BODY[10:])
        answer = http.client.HTTPResponse(waiting)
        answer.begin()
        assert "prediction" in json.load(answer)["predictions"][0]
        assert process.wait() == 0
        log = process.stderr.read()
    assert re.search(r"[0-9a-f]{32} POST /v1/predict 200 [\d.]+ ms", log)
    assert not list(tmp_path.glob("imder-serve-*/*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--host", "0.0.0.0"), "others could reach the service; give a --token-file"),
        (("--token-file", "absent"), "--token-file absent: can't be read"),
        (("--port", "99999"), "choose another --host or --port"),
        (("--port", "-1"), "--port"),
    ],
)
def test_mistakes_are_one_line(run, options, message, capsys):
    assert main(["serve", str(run), "--device", "cpu", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_token_is_long_enough(run, tmp_path, capsys):
    file = tmp_path / "token"
    file.write_text("short\n")
    assert main(["serve", str(run), "--token-file", str(file)]) == 2
    assert "at least 16 printable ASCII characters" in capsys.readouterr().err
