"""Pictures of time series."""

import numpy as np
import pytest

from command_line import imder_, rows_of
from imder.media.plot import _cells, plot_series
from imder.types import ImderError


def test_cells_of_the_plot_stay_within_their_windows():
    """Halfway between middles; where windows leave gaps, so do the cells."""
    rows = [{"start": s, "end": s + 4.0} for s in (0.0, 1.0, 2.0, 2.5)]
    edges, kept = _cells(rows)
    assert edges.tolist() == [0, 2.5, 3.5, 4.25, 6.5]  # the ends of the first and last windows are filled
    assert kept(np.arange(4.0)).tolist() == [0, 1, 2, 3]
    edges, kept = _cells([{"start": s, "end": s + 1.0} for s in (0.0, 3.0)])
    assert edges.tolist() == [0, 1, 3, 4]
    assert np.isnan(kept(np.array([5.0, 6.0]))).tolist() == [False, True, False]
    assert _cells(rows[:1])[0].tolist() == [0, 4]


def test_classes_over_time(media, long, tmp_path):
    out = tmp_path / "s.csv"
    words = ("predict", media / "ridge", "--audio", long["audio"], "--openface", long["openface"], "--text", "a day")
    assert imder_(*words, "--window", "2", "--hop", "2", "--out", out) == 0
    rows = rows_of(out)
    wanted = ["start", "end", "available", "missing", "text", "label", "p_glad", "p_sad", "entropy", "set"]
    wanted += ["share_vision", "share_audio"]
    assert list(rows[0]) == wanted
    assert all("language" in row["available"] for row in rows)  # it has no times: everywhere
    assert (tmp_path / "s.png").stat().st_size > 10_000


def test_nothing_half_drawn(predictor, tmp_path):
    row = {"start": 0.0, "end": 1.0, "available": "audio", "prediction": 0.5}
    with pytest.raises(ImderError, match="cannot be written"):
        plot_series([row], predictor.model.spec, "/dev/null/x.png", level=0.9)
    plot_series([row], predictor.model.spec, tmp_path / "x.png", level=0.9)  # no calibration: no interval
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
