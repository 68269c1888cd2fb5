"""Folders of transformers that bring code, or ask for more memory than they hold: one line, whatever standard input says."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hostile_code import write_code
from imder.data.store import write_store
from imder.models.base import Model
from imder.models.language.encoder import LanguageEncoder
from imder.types import ImderError
from tiny_media import tone, write_wav

MEMORY = 6 << 30  # of address space


def hostile(folder: Path, marker: Path) -> Path:
    """A transformer of a type that only its own code knows."""
    write_code(folder, marker)
    change(
        folder, model_type="hostile", auto_map={"AutoConfig": "code.HostileConfig", "AutoModel": "code.HostileModel"}
    )
    return folder


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def command(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command offline, with ``y`` for every question, in bounded memory."""
    return subprocess.run(
        [sys.executable, "-m", "imder", *map(str, words)],
        input="y\n" * 1000,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"HF_HUB_OFFLINE": "1"} | environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in result.stderr.splitlines() if "WARNING" not in line]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_run_s_language_folder_never_runs_its_code(corpus: Any, tuned: Any, tmp_path: Path) -> None:
    run, marker = shutil.copytree(tuned[0], tmp_path / "run"), tmp_path / "executed"
    hostile(run / "language", marker)
    write_store(corpus, tmp_path / "corpus")
    line = one_line(command("predict", run, tmp_path / "corpus", "--out", tmp_path / "p.csv"))
    assert str(run / "language") in line
    assert not marker.exists()


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_extraction_never_runs_code(where: str, bert: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    if where == "hub":
        repository = tmp_path / "hub" / "models--someone--bert"
        snapshot = repository / "snapshots" / ("0" * 40)
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        name = "someone/bert"
    else:
        snapshot = tmp_path / "bert"
        name = str(snapshot)
    hostile(Path(shutil.copytree(bert, snapshot)), marker)
    for name_of_clip in ("a", "b"):
        write_wav(tmp_path / f"{name_of_clip}.wav", tone(1.0))
    (tmp_path / "manifest.csv").write_text("id,audio,text,label\na,a.wav,what a day,1\nb,b.wav,another day,0\n")
    words = ("extract", tmp_path / "manifest.csv", tmp_path / "store", "--language", name)
    line = one_line(command(*words, HF_HUB_CACHE=str(tmp_path / "hub")))
    assert "--language" in line
    assert "never run" in line
    assert not marker.exists()


def test_the_code_is_real(bert: Path, tmp_path: Path) -> None:
    import transformers

    folder = hostile(Path(shutil.copytree(bert, tmp_path / "bert")), tmp_path / "executed")
    transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_kernels_of_the_hub_are_refused(key: str, bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "bert"))
    change(folder, **{key: "kernels-community/flash-attn"})
    with pytest.raises(ImderError, match="code from elsewhere"):
        LanguageEncoder(folder)
    change(folder, **{key: "eager"})
    assert LanguageEncoder(folder).dim == 16


@pytest.mark.parametrize(
    "values", [{"hidden_size": 1 << 20}, {"vocab_size": 1 << 40}, {"num_hidden_layers": 10**9}, {"hidden_size": -1}]
)
def test_a_transformer_larger_than_its_weights_is_not_built(values: Any, bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "bert"))
    change(folder, **values)
    with pytest.raises(ImderError, match="can't be read as a transformer"):
        LanguageEncoder(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"model_type": NaN}', b'{"model_type": 3}'])
def test_damaged_descriptions_are_one_line(content: bytes, bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "bert"))
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ImderError, match="can't be read as a transformer") as caught:
        LanguageEncoder(folder)
    assert "\n" not in str(caught.value)


def test_saving_deletes_no_files_of_others(tuned: Any, bert: Path, tmp_path: Path) -> None:
    model = tuned[1]
    (tmp_path / "mine" / "language").mkdir(parents=True)
    (tmp_path / "mine" / "language" / "thesis.tex").write_text("mine")
    with pytest.raises(ImderError, match=r"thesis\.tex.* not overwritten"):
        model.save_pretrained(tmp_path / "mine")
    assert (tmp_path / "mine" / "language" / "thesis.tex").read_text() == "mine"
    folder = Path(shutil.copytree(bert, tmp_path / "bert"))
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(ImderError, match="is not a model's"):
        model.save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before
    for _ in range(2):
        model.save_pretrained(tmp_path / "out")
    assert Model.from_pretrained(tmp_path / "out").language is not None
