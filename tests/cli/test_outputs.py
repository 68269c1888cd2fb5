"""Commands never replace their inputs, or files that aren't results, without --force."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import imder_
from imder.cli.outputs import FAILURES, RESULTS, check_output
from imder.types import ImderError


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_inputs_and_other_files_stay(command: str, run: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.copytree(folder / "corpus", tmp_path / "corpus")
    (tmp_path / "notes.csv").write_text("id,text\na,mine\n")
    (tmp_path / "thesis.tex").write_text("mine")
    os.symlink(tmp_path / "thesis.tex", tmp_path / "link.csv")
    options = ["--samples", 1, *(["--draws", 1, "--rates", 0.3] if command == "evaluate" else [])]
    files = [copy / "config.json", copy / "model.safetensors", tmp_path / "corpus" / "test.npz"]
    files += [tmp_path / "notes.csv", tmp_path / "thesis.tex", tmp_path / "link.csv"]
    for file in files:
        before = file.read_bytes()
        assert imder_(command, copy, tmp_path / "corpus", "--out", file, *options) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert str(file) in error
        assert "--force" in error
        assert file.read_bytes() == before
    assert imder_(command, copy, tmp_path / "corpus", "--out", tmp_path, *options) == 2
    assert "is a folder" in capsys.readouterr().err
    out = tmp_path / "out.csv"
    for _ in range(2):  # an earlier result of the same command is replaced
        assert imder_(command, copy, tmp_path / "corpus", "--out", out, *options) == 0
    assert imder_(command, copy, tmp_path / "corpus", "--out", tmp_path / "notes.csv", "--force", *options) == 0
    assert "mine" not in (tmp_path / "notes.csv").read_text()


def test_recover_replaces_no_input(run: Path, folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert imder_("data", "convert", folder / "lacking.npz", tmp_path / "store") == 0
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "store").iterdir())
    assert imder_("recover", run, tmp_path / "store", "--out", tmp_path / "store") == 2
    assert "--force" in capsys.readouterr().err
    assert imder_("recover", run, tmp_path / "store", "--out", run, "--force") == 2
    assert imder_("recover", run, tmp_path / "store", "--out", folder / "lacking.npz", "--force") == 2
    assert sorted((p.name, p.read_bytes()) for p in (tmp_path / "store").iterdir()) == before


def test_results_are_known_by_their_columns(tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    for header in ("id,available,missing,prediction", 'available,"missing"', ""):
        out.write_text(f"{header}\n" if header else "")
        check_output(out, RESULTS, (), False)
    for content in (b"id,available\n", b"\x00\xff\n", b"\n\n", b"x" * 10**6, b"available;missing\n"):
        out.write_bytes(content)
        with pytest.raises(ImderError, match=r"a\.csv: holds something else"):
            check_output(out, RESULTS, (), False)
        check_output(out, RESULTS, (), True)
    out.write_text("id,modality,reason\n")
    check_output(out, FAILURES, (), False)
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"a photograph")
    with pytest.raises(ImderError, match="something else"):
        check_output(picture, (), (), False)
    with pytest.raises(ImderError, match="is an input"):
        check_output(out, FAILURES, (None, out), False)
    os.symlink(tmp_path / "nowhere", tmp_path / "b.csv")
    with pytest.raises(ImderError, match="something else"):
        check_output(tmp_path / "b.csv", RESULTS, (), False)


CLAIMS = [
    '{"format": "imder-corpus", "version": 1, "beside": ["mine", "folder", "../outside"], "splits": {}}',
    '{"format": "imder-corpus", "splits": {"mine": {}, "../outside": {}, "folder/x": {}}}',
    '{"format": "imder-corpus", "splits": {"mine": {}}, "spec": {}}',
]


@pytest.mark.parametrize("claims", CLAIMS)
def test_convert_deletes_nothing_that_a_description_claims(
    claims: str, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    (out / "folder").mkdir(parents=True)
    (out / "corpus.json").write_text(claims)
    for file in (out / "mine", out / "mine.json", out / "folder" / "x.json", tmp_path / "outside"):
        file.write_text("[]")
    assert imder_("data", "convert", folder / "corpus", out, "--force") == 2
    assert "not overwritten" in capsys.readouterr().err
    assert {p.name for p in out.rglob("*")} == {"corpus.json", "folder", "mine", "mine.json", "x.json"}
    assert (tmp_path / "outside").read_text() == "[]"


@pytest.mark.parametrize("kind", ["a link", "a folder", "another file"])
def test_convert_replaces_only_files_of_a_store(kind: str, folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert imder_("data", "convert", folder / "corpus", out) == 0
    (tmp_path / "mine").write_text("mine")
    if kind == "a link":
        os.symlink(tmp_path / "mine", out / "failures.csv")
    elif kind == "a folder":
        (out / "remarks.csv").mkdir()
    else:
        (out / "failed.csv").write_text("mine")
    assert imder_("data", "convert", folder / "corpus", out, "--force") == 2
    assert "not overwritten" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine"
    assert len(list(out.iterdir())) == 8


EARLY = """
import sys
from pathlib import Path
from imder.cli import main

top = Path(sys.argv[1])
run, corpus, clip = str(top / "run"), str(top / "corpus.npz"), ["--audio", str(top / "a.wav")]
weights, below = str(top / "run" / "model.safetensors"), str(top / "a.wav" / "new.csv")
series = ["predict", run, *clip, "--window", "2", "--out", str(top / "holiday.csv")]
clips = ["predict", run, str(top / "manifest.csv"), "--out", str(top / "out.csv")]
commands = [series, clips]
for out in (weights, below):
    commands += [["predict", run, corpus, "--out", out], ["predict", run, *clip, "--out", out]]
    commands += [[command, run, corpus, "--out", out] for command in ("evaluate", "recover", "impute")]
commands += [[command, run, corpus, "--out", run, "--force"] for command in ("recover", "impute")]
for words in commands:
    assert main(words) == 2, words
    assert "torch" not in sys.modules, words
"""


def test_outputs_are_checked_before_anything_slow_is_imported(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    files = ["run/config.yaml", "run/model.safetensors", "corpus.npz", "a.wav", "holiday.png", "out-remarks.csv"]
    for name in files:
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "manifest.csv").write_text("id,audio\na,a.wav\n")
    done = subprocess.run([sys.executable, "-c", EARLY, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refusals = done.stderr.splitlines()
    assert len(refusals) == 14
    assert all(line.startswith("imder: error: ") for line in refusals)
    assert "holiday.png: holds something else" in refusals[0]
    assert "out-remarks.csv: holds something else" in refusals[1]
    assert sum("a.wav is no folder" in line for line in refusals) == 5
    assert all((tmp_path / name).read_bytes() == b"mine" for name in files)
