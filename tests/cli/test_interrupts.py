"""Ctrl-C at any moment: exit code 130, one line, no traceback."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Dying:
    def __del__(self):
        interrupt()
        sum(range(1000))

def swallowed():
    dying = Dying()
    del dying

def converted():
    try:
        interrupt()
        sum(range(1000))
    except KeyboardInterrupt:
        raise ImportError("a library that makes another error of it") from None

class Finder:
    def find_spec(self, name, path, target=None):
        if name == {module!r} and not hasattr(sys, "interrupted"):
            sys.interrupted = True
            {how}()

sys.meta_path.insert(0, Finder())
sys.argv = ["imder", "train", {corpus!r}, "--out", {out!r}, "--preset", "late-fusion", "--max-epochs", "1"]
from imder.cli import main
sys.exit(main())
"""


LONG = ("torch", "imder.training.train")


@pytest.mark.parametrize(
    ("module", "how"),
    [
        pytest.param(module, how, marks=pytest.mark.slow if module in LONG and how != "interrupt" else ())
        for module in ("imder.cli.entry", "jsonargparse", "numpy", "torch", "imder.training.train")
        for how in ("interrupt", "swallowed", "converted")
    ],
)
def test_an_interrupt_while_a_module_is_imported(module, how, tmp_path):
    program = PROGRAM.format(module=module, how=how, corpus=str(tmp_path / "none"), out=str(tmp_path / "run"))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.splitlines()[-1] == "imder: interrupted"
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "run").exists()
