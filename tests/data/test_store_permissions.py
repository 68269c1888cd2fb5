"""Stores get the permissions that any file of the user gets."""

from __future__ import annotations

import os
import stat

import pytest

from imder.data.store import write_store
from tiny_models import tiny_corpus


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_get_the_permissions_that_the_umask_leaves(tmp_path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_store(tiny_corpus(), tmp_path / "store", notes={"failures.csv": "id\n"})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o777 & ~umask
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").iterdir()}
    assert len(modes) == 6
    assert set(modes.values()) == {0o666 & ~umask}
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
