"""Strings of strangers' files stay data: they neither break a message's line nor steer the terminal."""

import pickle

import numpy as np
import pytest

from imder.cli import main
from imder.training.config import load_config
from imder.types import ImderError

HOSTILE = "\x1b]0;title\x07\x9b2J\u202e\u2028calm\r\n"


def test_a_message_is_one_line():
    assert str(ImderError("a  b\n c\x1b[0m\t\x85d")) == "a  b c\\x1b[0m d"
    assert str(pickle.loads(pickle.dumps(ImderError("a\nb")))) == "a b"
    with pytest.raises(ImderError) as caught:
        load_config(overrides={"training": {"seed\n2": 1}})
    assert str(caught.value).startswith("unknown key training.seed 2")


@pytest.mark.parametrize("where", ["class", "modality", "id"])
def test_a_terminal_shows_what_a_file_holds(where, tmp_path, capsys):
    modality = HOSTILE if where == "modality" else "vision"
    part = {
        "id": [HOSTILE if where == "id" else "a", "b"],
        "audio": np.ones((2, 3, 2), np.float32),
        modality: np.full((2, 3, 2), np.nan) if where == "id" else np.ones((2, 3, 2), np.float32),
        "annotations": [HOSTILE if where == "class" else "x", "y"],
        "classification_labels": np.array([0, 1]),
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"train": part, "valid": part | {"id": ["c", HOSTILE]}}))
    main(["data", "inspect", str(tmp_path / "a.pkl")])
    shown = "".join(capsys.readouterr())
    assert "\\x1b]0;tit" in shown
    assert not set(shown) & (set(HOSTILE) - set("]0;title2Jcalm\n"))
