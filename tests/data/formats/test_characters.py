"""Arrays of strings with numbers that are no characters."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from imder.data.formats.load import load_corpus
from imder.types import ImderError


@pytest.mark.parametrize("suffix", ["pkl", "npz"])
@pytest.mark.parametrize("number", [0x110000, 2**31, 2**32 - 1])
def test_numbers_that_are_no_characters(tmp_path, suffix, number):
    fields = {
        "text": np.zeros((2, 3, 4)),
        "audio": np.zeros((2, 3, 4)),
        "regression_labels": np.zeros(2),
        "raw_text": np.array([ord("a"), number], np.uint32).view("<U1"),
    }
    path = tmp_path / f"all.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps({"train": fields}))
    else:
        np.savez(path, **fields)
    with pytest.raises(ImderError, match=f"a character numbered {number}") as caught:
        load_corpus(path)
    assert str(path) in str(caught.value)
