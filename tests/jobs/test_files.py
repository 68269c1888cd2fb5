"""`atomic_write` and `atomic_folder`: complete or absent, under the user's umask."""

import errno
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

from full_disk import files_up_to
from imder.jobs.files import DiskFullError, atomic_folder, atomic_write, remove_leftovers
from imder.jobs.processes import process_tag
from imder.types import ImderError
from processes import dead_process


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_appears_when_the_block_ends(tmp_path, durable):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path, durable=durable) as part:
        part.write_text("a")
        assert part.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "a"
    assert list(path.parent.iterdir()) == [path]


def test_after_an_exception_the_old_file_is_there_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as part:
            part.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(ImderError, match="a/b: cannot be written"), atomic_write(tmp_path / "a" / "b"):
        pass


def test_files_get_the_umask_whatever_library_writes_them(tmp_path, umask):
    weights = {"a": torch.ones(2)}
    with atomic_write(tmp_path / "a.safetensors") as part:
        save_file(weights, part)  # 0600, left alone
    with atomic_write(tmp_path / "a.txt") as part:
        part.write_text("a")
    assert mode(tmp_path / "a.safetensors") == mode(tmp_path / "a.txt") == 0o666 & ~umask
    assert torch.equal(load_file(tmp_path / "a.safetensors")["a"], weights["a"])


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as one, atomic_write(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the outer block ends last


def test_a_folder_replaces_the_old_one_whole(tmp_path, umask):
    folder = tmp_path / "language"
    folder.mkdir()
    (folder / "old.txt").touch()
    with atomic_folder(folder) as part:
        (part / "inner").mkdir()
        save_file({"a": torch.ones(1)}, part / "inner" / "a.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["language"]
    assert [p.name for p in folder.iterdir()] == ["inner"]
    assert mode(folder) == mode(folder / "inner") == 0o777 & ~umask
    assert mode(folder / "inner" / "a.safetensors") == 0o666 & ~umask


def test_after_an_exception_the_old_folder_is_there(tmp_path):
    folder = tmp_path / "language"
    folder.mkdir()
    (folder / "old.txt").touch()

    def fail():
        with atomic_folder(folder) as part:
            (part / "new.txt").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in tmp_path.rglob("*")] == ["language", "old.txt"]


def test_leftovers_of_killed_processes_are_removed_with_their_file_alone(tmp_path):
    dead = dead_process()
    (tmp_path / f".a.ckpt.{dead}-00ff.part").mkdir()
    for name in ("a.ckpt", f".b.ckpt.{dead}-00ff.part"):
        (tmp_path / name).touch()
    with atomic_write(tmp_path / "a.ckpt") as part:
        part.write_text("new")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".b.ckpt.{dead}-00ff.part", "a.ckpt"]


def test_only_leftovers_of_ended_processes_of_this_machine_are_removed(tmp_path):
    (tmp_path / "inner").mkdir()
    dead, other = tmp_path / "inner" / f".a.{dead_process()}-00ff.part", "00000000" + dead_process()[8:]
    kept = [
        f".a.{process_tag()}-00ff.part",
        f".a.{other}-00ff.part",
        ".a.part",
        "notes.part",
        f"a.{dead_process()}-00ff.part",
    ]
    for name in kept:
        (tmp_path / "inner" / name).touch()
    dead.touch()
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in (tmp_path / "inner").iterdir()) == sorted(kept)


def test_a_folder_whose_replacement_was_killed_between_the_two_renames_comes_back(tmp_path):
    folder, dead = tmp_path / "store", dead_process()
    old, new = tmp_path / f".store.{dead}-00ff.replaced", tmp_path / f".store.{dead}-00ff.part"
    for path, text in ((old, "old"), (new, "new")):
        path.mkdir()
        (path / "a.txt").write_text(text)

    def fail():
        with atomic_folder(folder):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    assert (folder / "a.txt").read_text() == "old"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("unexpected pos 64")])
def test_a_full_disk_is_one_kind_of_error_whatever_a_library_makes_of_it(tmp_path, error):
    path = tmp_path / "a"
    path.write_text("old")

    def write():
        with atomic_write(path) as part:
            part.write_bytes(bytes(90))
            raise error

    with files_up_to(100), pytest.raises(DiskFullError, match=r"a: cannot be written \((No space|File too)"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(type(error) if isinstance(error, RuntimeError) else DiskFullError):
        write()
