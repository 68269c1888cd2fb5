"""Help and version."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from command_line import imder_
from imder.cli.commands import COMMANDS, Command
from imder.data.store import write_store
from imder.synthetic.known_truth import KnownTruth


def test_the_overview_lists_every_command(capsys):
    assert imder_("--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: imder COMMAND")
    assert all(name in shown and command.help in shown for name, command in COMMANDS.items())
    assert max(map(len, shown.splitlines())) <= 95
    assert imder_("data", "--help") == 0
    shown = capsys.readouterr().out
    assert "data convert" in shown
    assert "train" not in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_describes_its_options(name, capsys):
    assert imder_(*name.split(" "), "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: imder {name}")
    assert COMMANDS[name].help[1:] in " ".join(shown.split())


def test_the_help_of_train_has_the_keys_of_the_preset(capsys):
    assert imder_("train", "--help") == 0
    shown = capsys.readouterr().out
    assert "--model.encoder.width" in shown
    assert "--training.score.max_epochs" in shown
    assert imder_("train", "--preset", "zero-fill", "--help") == 0
    shown = capsys.readouterr().out
    assert "--model.fusion.hidden" in shown
    assert "--model.recovery" not in shown


HEAVY = ("torch", "lightning", "sklearn", "matplotlib", "scipy", "pandas", "transformers")


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], *([*name.split(" "), "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_imports_nothing_heavy(words):
    """The help of ``train`` needs the dataclasses of a system, hence torch; every other is quick."""
    if words[0] == "train":
        pytest.skip("its keys are those of a system")
    program = f"import sys; from imder.cli import main; main({words!r}); print(*({HEAVY!r} & sys.modules.keys()))"
    program = program.replace(repr(HEAVY), f"set({HEAVY!r})")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "imder", "--version"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert version("imder") in done.stdout


def test_a_new_command_is_one_file_and_one_row(tmp_path, monkeypatch, capsys):
    (tmp_path / "count_samples.py").write_text(
        "from imder.cli.console import say\n"
        "from imder.cli.options import add_corpus, read_corpus\n\n\n"
        "def add_options(parser):\n"
        "    add_corpus(parser)\n\n\n"
        "def run(options):\n"
        "    say(str(sum(map(len, read_corpus(options).splits.values()))))\n"
        "    return 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "data count", Command("count_samples", "number of samples of a corpus"))
    write_store(KnownTruth.standard().corpus(8, 4, 4), tmp_path / "corpus")
    assert imder_("data", "count", tmp_path / "corpus") == 0
    assert capsys.readouterr().out == "16\n"
    assert imder_("data", "--help") == 0
    assert "data count" in capsys.readouterr().out
    assert imder_("data", "count", "--corp", "x") == 2
