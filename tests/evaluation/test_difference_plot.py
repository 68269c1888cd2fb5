"""Pictures of differences over the missing rate: what is drawn, from the figure's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imder.evaluation.difference_plot import difference_figure, difference_lines, plot_rate_differences, spread
from imder.types import ImderError

RATES = {0.0: 0.0, 0.3: 0.3, 0.6: 0.6, 0.7: 0.667, 0.8: 0.667}


def rows(models: int, metric: str = "mae", reference: str = "late-fusion") -> list[dict[str, Any]]:
    """Model ``m<i>`` differs by i / 10 + rate, with an interval of .2 around."""
    about = {"protocol": "random", "metric": metric, "reference": reference, "available": ""}
    return [
        about | {"model": f"m{i}", "rate": rate, "effective_rate": share, "difference": i / 10 + rate}
        | {"low": i / 10 + rate - 0.1, "high": i / 10 + rate + 0.1}
        for i in range(models)
        for rate, share in RATES.items()
    ]  # fmt: skip


def test_lines_are_over_the_share_that_is_missing() -> None:
    """Rates that are one condition are one point; averages and other settings have no rate."""
    lines = difference_lines(rows(2), "random")
    assert list(lines) == ["m0", "m1"]
    assert lines["m1"] == pytest.approx(
        np.array([[0, 0.3, 0.6, 0.667], [0.1, 0.4, 0.7, 0.8], [0, 0.3, 0.6, 0.7], [0.2, 0.5, 0.8, 0.9]])
    )
    assert difference_lines([row for row in rows(2) if row["rate"] in (0.7, 0.8)], "random") == {}


def test_a_few_systems_share_a_panel_and_name_their_lines() -> None:
    lines = difference_lines(rows(3), "random")
    figure = difference_figure(lines, "late-fusion", 100)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["m0", "m1", "m2", "late-fusion"]
    zero, *drawn = axes.get_lines()
    assert list(zero.get_ydata()) == [0, 0]
    for line, one in zip(lines.values(), drawn, strict=True):
        assert np.asarray(one.get_ydata()) == pytest.approx(100 * line[1])
    bands = [band.get_paths()[0].vertices for band in axes.collections]
    assert [(100 * line[2].min(), 100 * line[3].max()) for line in lines.values()] == [
        pytest.approx((b[:, 1].min(), b[:, 1].max())) for b in bands
    ]
    colours = [one.get_color() for one in drawn]
    assert len(set(colours)) == 3
    assert [text.get_color() for text in axes.texts[:3]] == colours


def test_more_systems_get_a_panel_each() -> None:
    lines = difference_lines(rows(6), "random")
    visible = [axes for axes in difference_figure(lines, "late-fusion").axes if axes.get_visible()]
    assert [axes.get_title() for axes in visible] == list(lines)
    for line, axes in zip(lines.values(), visible, strict=True):
        assert np.asarray(axes.get_lines()[-1].get_ydata()) == pytest.approx(line[1])
        assert len(axes.collections) == 1
        assert axes.get_ylim() == visible[0].get_ylim()


@pytest.mark.parametrize(("metric", "best"), [("mae", range(8)), ("acc2", range(2, 10))])
def test_of_many_systems_the_best_are_drawn(metric: str, best: range, tmp_path: Path, monkeypatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr("imder.evaluation.difference_plot.save_figure", lambda figure, path: figures.append(figure))
    plot_rate_differences(rows(10, metric), metric, tmp_path / "a.png")
    assert [axes.get_title() for axes in figures[0].axes] == [f"m{i}" for i in best]
    assert figures[0].get_suptitle().endswith("the best 8 of 10 systems")
    plot_rate_differences(rows(10, metric), metric, tmp_path / "a.png", leave_out=[f"m{i}" for i in range(3, 10)])
    assert [text.get_text() for text in figures[1].axes[0].texts] == ["m0", "m1", "m2", "late-fusion"]
    assert "best" not in figures[1].get_suptitle()


def test_files_and_mistakes(tmp_path: Path) -> None:
    plot_rate_differences(rows(2), "mae", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ImderError, match=r"differences from several systems \(imder, late-fusion\)"):
        plot_rate_differences(rows(2) + rows(2, reference="imder"), "mae", tmp_path / "b.png")
    with pytest.raises(ImderError, match="no differences in 'nll' at two rates of the random protocol"):
        plot_rate_differences(rows(2), "nll", tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_names_keep_their_distance_and_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        positions = rng.normal(size=7)
        moved = np.array(spread(positions.tolist(), 0.5))
        order = np.argsort(positions)
        assert (np.diff(moved[order]) >= 0.5 - 1e-9).all()
        assert moved.mean() == pytest.approx(positions.mean())
    assert spread([3.0, 1.0], 0.5) == [3.0, 1.0]
