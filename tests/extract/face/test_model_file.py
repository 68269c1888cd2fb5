"""The models' file: given, of the environment, in the cache, or fetched from a server that works or doesn't."""

from __future__ import annotations

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from imder.extract.face import model_file
from imder.extract.face.extractor import FaceOptions, bundle_of, face_recipe
from imder.extract.face.model_file import fetch, find_model, fingerprint
from imder.extract.face.runtime import load_bundle
from imder.types import ImderError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Answers(BaseHTTPRequestHandler):
    """A file, whole, cut off, slow, or missing."""

    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        try:
            if self.path == "/cut":
                self.wfile.write(CONTENT[:1000])
            elif self.path == "/silent":
                time.sleep(2)
            elif self.path == "/slow":
                for i in range(0, len(CONTENT), 1000):
                    self.wfile.write(CONTENT[i : i + 1000])
                    time.sleep(0.1)
            elif self.path == "/other":
                self.wfile.write(CONTENT[::-1])
            else:
                self.wfile.write(CONTENT)
        except OSError:  # the client has left
            pass

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server():
    running = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize("path", ["whole", "unsized"])
def test_a_file_is_fetched(server, tmp_path, path) -> None:
    fetch(f"{server}/{path}", tmp_path / "new" / "model", SHA256)
    assert (tmp_path / "new" / "model").read_bytes() == CONTENT
    assert fingerprint(tmp_path / "new" / "model") == SHA256


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", r"HTTP 404"),
        ("cut", r"after 1000 of 512000 bytes|IncompleteRead"),
        ("silent", r"timed out"),
        ("slow", r"not complete after 0\.5 s"),
        ("other", r"sent another file \(512000 bytes, SHA-256 [0-9a-f]{16}\.\.\.\), nothing was kept"),
    ],
)
def test_what_a_server_does_wrong_is_said_and_nothing_is_kept(server, tmp_path, path, reason) -> None:
    started = time.monotonic()
    with pytest.raises(ImderError, match=reason) as error:
        fetch(f"{server}/{path}", tmp_path / "model", SHA256, read_seconds=0.5, all_seconds=0.5)
    assert time.monotonic() - started < 5
    for advice in (SHA256, "--face-model FILE", "IMDER_FACE_MODEL=FILE", str(tmp_path / "model"), "--vision none"):
        assert advice in str(error.value)
    assert not list(tmp_path.iterdir())


def test_offline_the_address_and_the_ways_out_are_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("IMDER_FACE_MODEL", raising=False)
    monkeypatch.setattr(model_file, "URL", "http://127.0.0.1:9/face_landmarker.task")  # nothing listens there
    with pytest.raises(ImderError, match=r"^http://127.0.0.1:9/face_landmarker.task: cannot be fetched \(.*refused"):
        find_model()


def test_the_cache_is_filled_once(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("IMDER_FACE_MODEL", raising=False)
    monkeypatch.setattr(model_file, "URL", f"{server}/whole")
    monkeypatch.setattr(model_file, "SHA256", SHA256)
    path = find_model()
    assert path == tmp_path / "imder" / "face_landmarker.task"
    monkeypatch.setattr(model_file, "URL", f"{server}/gone")
    assert find_model() == path


def test_an_option_counts_more_than_the_environment(tmp_path, monkeypatch) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    monkeypatch.setenv("IMDER_FACE_MODEL", str(other))
    assert find_model() == other
    assert find_model(str(one)) == one
    with pytest.raises(ImderError, match=r"--face-model nowhere: there is no such file; it is face_landmarker.task"):
        find_model("nowhere")
    monkeypatch.setenv("IMDER_FACE_MODEL", "gone")
    with pytest.raises(ImderError, match="IMDER_FACE_MODEL gone: there is no such file"):
        find_model()


def test_a_file_of_something_else_is_refused(tmp_path) -> None:
    file = tmp_path / "face_landmarker.task"
    file.write_bytes(CONTENT)
    with pytest.raises(ImderError, match=r"is not face_landmarker.task with its three models"):
        load_bundle(file)
    with pytest.raises(ImderError, match=r"is not face_landmarker.task with its three models"):
        face_recipe("face", FaceOptions(model=str(file)))
    with pytest.raises(ImderError, match=r"isn't the file of models that the features were made with .*--face-model"):
        bundle_of(str(file), "0" * 64)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ImderError, match="--fps: at least 1, got 0"):
        face_recipe("face", FaceOptions(fps=0))
    for person in ("-1", "tallest", "1.5", ""):
        with pytest.raises(ImderError, match="--person: longest, largest, or a number from 0"):
            face_recipe("face", FaceOptions(person=person))
