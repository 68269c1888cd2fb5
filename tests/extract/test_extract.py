"""``imder extract`` from end to end: what goes wrong with a clip is that clip's, and nothing is lost."""

import csv
import errno
import json
import os
import signal
import time
from contextlib import suppress

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tiny_media import (
    frames_of,
    openface_columns,
    openface_rows,
    tiny_bert,
    tone,
    write_openface,
    write_video,
    write_wav,
)

for package in ("soundfile", "av", "transformers"):
    pytest.importorskip(package)

from imder.cli import main  # noqa: E402
from imder.data.compatible import check_recipe  # noqa: E402
from imder.data.corpus import key_of  # noqa: E402
from imder.data.formats.load import load_corpus  # noqa: E402
from imder.data.store import read_store, write_store  # noqa: E402
from imder.extract import runner  # noqa: E402
from imder.extract.clip import extract_clip  # noqa: E402
from imder.extract.recipe import Recipe  # noqa: E402
from imder.types import ImderError  # noqa: E402


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return str(tiny_bert(tmp_path_factory.mktemp("bert")))


def table(path, frames=3, seed=0):
    columns = openface_columns("sims")
    return write_openface(path, openface_rows(frames, columns, seed=seed), columns, blanks=True)


@pytest.fixture
def clips(tmp_path):
    """Four good clips, with naturally missing modalities, and their manifest."""
    write_wav(tmp_path / "a.wav", tone(0.4))
    write_video(tmp_path / "b.mkv", tone(0.3, seed=1))
    write_video(tmp_path / "mute.mp4")
    table(tmp_path / "a.csv")
    rows = [
        ("id", "video", "audio", "text", "openface", "label", "split", "dialogue", "position", "speaker"),
        ("ä 😀", "", "a.wav", "What a good day! 😀", "a.csv", "glad", "train", "d", "0", "x"),
        ("b", "b.mkv", "", "", "", "sad", "train", "d", "1", "y"),
        ("mute", "mute.mp4", "", "good", "", "glad", "test", "", "", ""),
        ("text", "", "", "a day", "", "", "test", "", "", ""),
    ]
    return write_manifest(tmp_path, rows)


def write_manifest(folder, rows, name="m.csv"):
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder / name


def run(source, out, bert, *more):
    words = ["extract", source, out, "--language", bert, *more]
    return main([str(word) for word in words])


def failures(out):
    with (out / "failures.csv").open(encoding="utf-8") as file:
        return {(row["id"], row["modality"]): row["reason"] for row in csv.DictReader(file)}


def test_clips_become_a_corpus(clips, tmp_path, bert, capsys):
    out = tmp_path / "store"
    assert run(clips, out, bert) == 0
    corpus = load_corpus(out)
    assert corpus.spec.names == ("language", "vision", "audio")
    assert [m.dim for m in corpus.spec.modalities] == [16, 49, 33]
    train, test = corpus["train"], corpus["test"]
    assert (train.ids, test.ids) == (("ä 😀", "b"), ("mute", "text"))
    assert train.present.tolist() == [[True, True, True], [False, False, True]]
    assert test.present.tolist() == [[True, False, False], [True, False, False]]
    assert train.features["audio"].lengths.tolist() == [frames_of(0.4), frames_of(0.3)]
    assert corpus.spec.classes == ("glad", "sad")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1], [0, -1])
    assert (train.texts, train.dialogue, train.position.tolist()) == (("What a good day! 😀", ""), ("d", "d"), [0, 1])
    assert train.speaker == ("x", "y")
    assert train.tokens.lengths.tolist() == [train.features["language"].lengths[0], 0]
    assert train.tokens[0][0, 0] == 2  # [CLS]
    assert not (out / "failures.csv").exists()
    assert "mute.mp4: a video without sound" in (out / "remarks.csv").read_text()
    assert not (tmp_path / "store.partial").exists()
    assert "4 clips (language in 3, vision in 1, audio in 2)" in " ".join(capsys.readouterr().out.split())


def test_what_was_done_stays_with_the_corpus(clips, tmp_path, bert):
    assert run(clips, tmp_path / "one", bert) == 0
    assert run(clips, tmp_path / "two", bert, "--audio", "mel64") == 0
    one, two = (Recipe.from_dict(read_store(tmp_path / n).recipe, n) for n in ("one", "two"))
    assert one.key() != two.key()
    check_recipe(one.to_dict(), load_corpus(tmp_path / "one"), "runs/a")
    check_recipe(None, load_corpus(tmp_path / "one"), "runs/a")
    with pytest.raises(
        ImderError, match=r"than those runs/a was trained on \(audio: kind is librosa33 in the first and mel64"
    ):
        check_recipe(one.to_dict(), load_corpus(tmp_path / "two"), "runs/a")
    write_store(load_corpus(tmp_path / "one"), tmp_path / "copy")
    assert Recipe.from_dict(load_corpus(tmp_path / "copy").recipe, "copy") == one
    assert_array_equal(
        load_corpus(tmp_path / "copy")["train"].tokens.values, read_store(tmp_path / "one")["train"].tokens.values
    )
    assert one.versions["soxr"]
    with pytest.raises(ImderError, match="a recipe of format 99"):
        Recipe.from_dict({"format": 99}, "x")


def test_bad_clips_fail_alone(clips, tmp_path, bert, capsys):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "cut.mp4").write_bytes((write_video(tmp_path / "whole.mp4", tone(0.3))).read_bytes()[:900])
    (tmp_path / "bad.csv").write_text("AU01_r,AU02_r\n1,2\n")
    table(tmp_path / "broken.csv").write_bytes(b"frame\xff\xfe")
    write_wav(tmp_path / "short.wav", tone(0.1))
    write_wav(tmp_path / "8.wav", tone(0.2), subtype="PCM_U8")
    write_wav(tmp_path / "24.wav", np.stack([tone(0.2)] * 2, 1), subtype="PCM_24")
    good = [("id", "video", "audio", "text", "openface"), ("good", "", "a.wav", "a", "a.csv")]
    bad = [
        ("empty", "", "empty.wav", "a", ""),
        ("cut", "cut.mp4", "", "", ""),
        ("gone", "", "gone.wav", "", "gone.csv"),
        ("silent", "", "mute.mp4", "day", ""),
        ("columns", "", "a.wav", "", "bad.csv"),
        ("unreadable", "", "a.wav", "", "broken.csv"),
        ("nothing", "", "", "", ""),
        ("short", "", "short.wav", "", ""),
        ("eight", "", "8.wav", "", ""),
        ("24", "", "24.wav", "", ""),
    ]
    source, out = write_manifest(tmp_path, good + bad, "bad-clips.csv"), tmp_path / "store"
    assert run(source, out, bert) == 3
    found = failures(out)
    assert set(found) == {
        *(("empty", "audio"), ("cut", "audio"), ("gone", "audio"), ("gone", "vision"), ("silent", "audio")),
        *(("columns", "vision"), ("unreadable", "vision"), ("nothing", "all")),
    }
    assert "the file is empty" in found["empty", "audio"]
    assert "lacks the column" in found["columns", "vision"]
    split = load_corpus(out)["all"]
    assert split.ids == ("good", "empty", "silent", "columns", "unreadable", "short", "eight", "24")
    assert split.dropped == 3
    assert "failed: empty: audio" in " ".join(capsys.readouterr().out.split())
    # once it is put right, only what failed is made again
    write_wav(tmp_path / "empty.wav", tone(0.2))
    assert run(source, out, bert) == 3
    assert ("empty", "audio") not in failures(out)
    assert "5 clips finished already" in " ".join(capsys.readouterr().out.split())


def test_what_can_be_read_is_used_and_remarked(tmp_path, bert):
    """A file that breaks off counts up to there, one with nothing in it is a missing modality; none is a failure."""
    folder, out = tmp_path / "clips", tmp_path / "store"
    folder.mkdir()
    columns = openface_columns("sims")
    rows = openface_rows(6, columns)
    rows[1, columns.index("success")] = 0
    cut = write_openface(folder / "cut.csv", rows, columns, blanks=True)
    cut.write_text(cut.read_text()[:-40])
    rows[:, columns.index("success")] = 0
    write_openface(folder / "lost.csv", rows, columns)
    video = write_video(folder / "cut.mkv", tone(1.0))
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 6 // 10])
    write_wav(folder / "lost.wav", tone(0.3))
    write_wav(folder / "stereo.wav", np.stack([tone(0.3)] * 2, 1))
    (folder / "stereo.txt").write_text("\ufeff \n", encoding="utf-8")
    assert run(folder, out, bert) == 0
    with (out / "remarks.csv").open(encoding="utf-8") as file:
        remarks = {(row["id"], row["modality"]): row["remark"] for row in csv.DictReader(file)}
    assert set(remarks) == {("cut", "vision"), ("cut", "audio"), ("lost", "vision"), ("stereo", "language")}
    assert "damaged after 0." in remarks["cut", "audio"]
    assert remarks["cut", "vision"].startswith("the last row is incomplete and was left out; 1 frames without")
    assert remarks["lost", "vision"].endswith("no frame is left")
    assert remarks["stereo", "language"] == "the text is empty"
    split = load_corpus(out)["all"]
    assert split.ids == ("cut", "lost", "stereo")
    assert split.features["vision"].lengths.tolist() == [4, 0, 0]
    lengths = split.features["audio"].lengths.tolist()
    assert 0 < lengths[0] < frames_of(1.0)
    assert_array_equal(split.features["audio"][1], split.features["audio"][2])  # both channels the same: their mean


def test_an_interruption_loses_nothing(clips, tmp_path, bert, monkeypatch):
    seen = []
    real = runner.extract_clip

    def counted(clip, *more):
        seen.append(clip.id)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(clip, *more)

    monkeypatch.setattr(runner, "extract_clip", counted)
    out = tmp_path / "store"
    assert run(clips, out, bert) == 130
    assert not out.exists()
    assert run(clips, out, bert) == 0
    assert seen == ["ä 😀", "b", "mute", "mute", "text"]
    monkeypatch.setattr(runner, "extract_clip", real)
    assert run(clips, tmp_path / "whole", bert) == 0
    for name in ("train", "test"):
        assert (out / f"{name}.safetensors").read_bytes() == (tmp_path / "whole" / f"{name}.safetensors").read_bytes()


def test_other_options_are_not_mixed(clips, tmp_path, bert, monkeypatch, capsys):
    monkeypatch.setattr(runner, "extract_clip", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(clips, tmp_path / "store", bert) == 130
    assert run(clips, tmp_path / "store", bert, "--audio", "mel64") == 2
    assert "was started with other options" in capsys.readouterr().err


@pytest.mark.parametrize("when", ["a clip", "the store"])
def test_a_full_disk(clips, tmp_path, bert, monkeypatch, capsys, when):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "store"
    name = "imder.extract.folder.np.savez" if when == "a clip" else "imder.data.store_writer.write_tensors"
    with monkeypatch.context() as patch:
        patch.setattr(name, full)
        assert run(clips, out, bert) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "imder: error" in error
    assert not out.exists()
    assert not list((tmp_path / "store.partial").glob(".*"))
    assert run(clips, out, bert) == 0
    assert len(load_corpus(out)["train"]) == 2


@pytest.mark.slow
def test_a_killed_worker_is_a_failure_of_its_clip(clips, tmp_path, bert, monkeypatch):
    """Two processes, so that there is one to kill; the other clips are made all the same."""
    (tmp_path / "bomb.py").write_text(
        "import os, signal\n"
        "from imder.extract import runner\n"
        "real = runner.extract_clip\n"
        "def extract_clip(clip, *more):\n"
        "    if clip.id == 'b':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(clip, *more)\n"
        "share = runner._share\n"
        "def _share(*arguments):\n"
        "    runner.extract_clip = extract_clip\n"
        "    return share(*arguments)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    import bomb
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)  # workers of earlier tests don't know the module
    monkeypatch.setattr(runner, "_share", bomb._share)
    assert run(clips, tmp_path / "store", bert, "--jobs", "2") == 3
    assert "killed" in failures(tmp_path / "store")["b", "all"]
    assert load_corpus(tmp_path / "store")["train"].ids == ("ä 😀",)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("ray", "dask")]


@pytest.mark.parametrize("backend", ["loky", *SLOW])
def test_backends_give_the_same(clips, tmp_path, bert, backend):
    if backend != "loky":
        pytest.importorskip({"ray": "ray", "dask": "distributed"}[backend])
    assert run(clips, tmp_path / "one", bert) == 0
    assert run(clips, tmp_path / "two", bert, "--jobs", "2", "--backend", backend, "--threads", "1") == 0
    one, two = load_corpus(tmp_path / "one"), load_corpus(tmp_path / "two")
    for name, split in one.splits.items():
        assert split.ids == two[name].ids
        for modality, ragged in split.features.items():
            np.testing.assert_allclose(ragged.values, two[name].features[modality].values, atol=1e-5)


def test_a_folder_of_media(tmp_path, bert):
    folder = tmp_path / "clips"
    folder.mkdir()
    write_wav(folder / "a.wav", tone(0.2))
    (folder / "a.txt").write_text("a good day", encoding="utf-8")
    (folder / "b.txt").write_bytes(b"\xff")
    assert run(folder, folder / "store", bert) == 3
    assert "is not UTF-8 text" in failures(folder / "store")["b", "language"]
    assert load_corpus(folder / "store")["all"].texts == ("a good day",)
    (folder / "b.txt").unlink()
    assert run(folder, folder / "store", bert) == 0
    assert load_corpus(folder / "store")["all"].ids == ("a",)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--audio", "mfcc"), "--audio: unknown kind 'mfcc'"),
        (("--vision", "head"), "--vision: unknown columns 'head'"),
        (("--language", "none", "--vision", "none"), "at least two modalities, these clips have only audio"),
        (("--openface", "/nowhere"), "no program FeatureExtraction there"),
        (("--task", "regression"), "the label 'glad' is not a number"),
        (("--max-tokens", "2"), "--max-tokens: at least 3"),
        (("--address", "x"), "(--address): loky has no cluster"),
    ],
)
def test_options_that_are_wrong(clips, tmp_path, bert, capsys, more, message):
    assert run(clips, tmp_path / "store", bert, *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_tables_without_the_columns_are_found_out_before_any_work(clips, tmp_path, bert, capsys):
    columns = openface_columns("pose+aus")
    write_openface(tmp_path / "a.csv", openface_rows(2, columns), columns)
    assert run(clips, tmp_path / "store", bert) == 2
    assert "it has those of --vision pose+aus" in capsys.readouterr().err
    assert not (tmp_path / "store.partial").exists()


def test_nothing_else_is_overwritten(clips, tmp_path, bert, capsys):
    out = tmp_path / "store"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert run(clips, out, bert) == 2
    assert "it is not overwritten" in capsys.readouterr().err
    assert (out / "thesis.tex").read_text() == "years of work"
    (tmp_path / "other.partial").mkdir()
    (tmp_path / "other.partial" / "x").touch()
    assert run(clips, tmp_path / "other", bert) == 2
    assert "move it away" in capsys.readouterr().err


def test_a_finished_store_is_not_made_again(clips, tmp_path, bert, capsys):
    """Nor replaced by one of other options."""
    assert run(clips, tmp_path / "store", bert) == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").iterdir()}
    for more in ((), ("--max-tokens", "4")):
        assert run(clips, tmp_path / "store", bert, *more) == 2
        assert "exists already" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "store").iterdir()} == before


def test_an_interrupt_that_a_library_swallows_is_not_lost(clips, tmp_path, bert, monkeypatch):
    """As numba's compiler does: the clip is finished, the next one isn't begun."""
    done = []

    def swallowing(clip, *args):
        done.append(clip.id)
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        return extract_clip(clip, *args)

    monkeypatch.setattr(runner, "extract_clip", swallowing)
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore interrupts
    try:
        assert run(clips, tmp_path / "store", bert) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert len(done) == 1
    assert len(list((tmp_path / "store.partial").glob("*.npz"))) == 1
    monkeypatch.undo()
    assert run(clips, tmp_path / "store", bert) == 0


def test_two_at_once_are_refused(clips, tmp_path, bert, capsys):
    from imder.jobs.locks import Lock

    (tmp_path / "store.partial").mkdir()
    lock = Lock(tmp_path / "store.partial" / "lock")
    assert lock.acquire()
    assert run(clips, tmp_path / "store", bert) == 2
    assert "another process extracts to it" in capsys.readouterr().err


def test_the_store_is_read_without_the_extra(clips, tmp_path, bert):
    """Nothing of a store needs what made it."""
    assert run(clips, tmp_path / "store", bert) == 0
    about = json.loads((tmp_path / "store" / "corpus.json").read_text())
    assert "beside" not in about
    assert (tmp_path / "store" / "remarks.csv").exists()
    assert set(about["recipe"]) == {"format", "language", "vision", "audio", "versions"}
    assert load_corpus(tmp_path / "store")["train"].keys[1] == key_of("b")
