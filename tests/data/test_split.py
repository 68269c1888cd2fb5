"""Splits: rows by number or by mask."""

import numpy as np
import pytest

from imder.data.split import Ragged, Split


def test_take_reads_masks_and_negative_numbers():
    split = Split(("a", "b", "c"), {"audio": Ragged.from_list([np.full((n, 1), n, np.float32) for n in (1, 2, 3)], 1)})
    assert split.take(np.array([False, True, True])).ids == ("b", "c")
    assert split.take(np.array([-1, 0])).ids == ("c", "a")
    assert split.take(np.array([-1])).features["audio"].lengths.tolist() == [3]
    with pytest.raises(IndexError):
        split.take(np.array([True]))
    with pytest.raises(IndexError):
        split.take(np.array([3]))
