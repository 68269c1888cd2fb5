"""``--threads``, OMP_NUM_THREADS, and the defaults of each command."""

import pytest

from imder.cli.entry import parse
from imder.cli.options import thread_count

COMMANDS = {"benchmark": ["corpus"], "tune": ["fast", "corpus"], "train": ["corpus"], "evaluate": ["run", "corpus"]}
USUAL = {"benchmark": 1, "tune": 1, "train": 0, "evaluate": 0}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_option_comes_before_the_variable_and_that_before_the_default(name, monkeypatch):
    words = [name, *COMMANDS[name]]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert thread_count(parse(words)[1], USUAL[name]) == USUAL[name]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert thread_count(parse(words)[1], USUAL[name]) == 3
    assert thread_count(parse([*words, "--threads", "2"])[1], USUAL[name]) == 2


def test_tune_uses_one_thread_unless_told(monkeypatch, tmp_path):
    """The default reaches torch."""
    import torch

    from imder.cli import tune
    from imder.types import ImderError

    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    try:
        with pytest.raises(ImderError):
            tune.run(parse(["tune", "fast", str(tmp_path / "nowhere")])[1])
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
