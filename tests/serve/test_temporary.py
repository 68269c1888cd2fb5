"""The folder of uploads: private, empty after each request, and swept when the process that made it is gone."""

import os

import pytest

from imder.serve.temporary import TemporaryFolder
from imder.types import ImderError


def test_files_of_a_process_that_was_killed_are_swept(tmp_path):
    living = TemporaryFolder(tmp_path)
    if not (child := os.fork()):
        with TemporaryFolder(tmp_path).request() as path:
            (path / "audio").write_bytes(b"secret")
            os._exit(9)
    os.waitpid(child, 0)
    assert list(tmp_path.glob("*/*/*/audio"))
    other = TemporaryFolder(tmp_path)
    assert not list(tmp_path.glob("*/*/*/audio"))
    with living.request() as path:
        assert path.stat().st_mode & 0o077 == 0
        (path / "audio").write_bytes(b"")
    assert not path.exists()
    for folder in (living, other):
        folder.close()
        assert not folder.path.exists()


def test_a_folder_that_others_can_enter_is_refused(tmp_path):
    base = tmp_path / f"imder-serve-{os.getuid()}"
    base.mkdir()
    base.chmod(0o755)
    with pytest.raises(ImderError, match="only this user can enter"):
        TemporaryFolder(tmp_path)


def test_a_link_to_elsewhere_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"imder-serve-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImderError, match="only this user can enter"):
        TemporaryFolder(tmp_path)
