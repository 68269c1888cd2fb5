"""The result pages say what the measured values in their CSV files say."""

import re
from pathlib import Path

import pytest
import results_pages
from results_data import names, read_results

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("path", results_pages.pages(), ids=lambda path: path.stem)
def test_a_page_is_up_to_date(path):
    assert path.read_text() == results_pages.pages()[path], "run python benchmarks/results_pages.py"


@pytest.mark.parametrize("name", names())
def test_a_mean_lies_inside_its_interval(name):
    results = read_results(name)
    assert results.differences
    for difference, low, high in results.differences.values():
        assert float(low) - 5e-4 <= float(difference) <= float(high) + 5e-4


def test_a_gain_is_positive_where_the_reference_is_better():
    results = read_results("mosi_complete")
    assert results.reference == "imder"
    assert all(g > 0 for g in results.gain("random", "average", "mae", "ridge"))  # ridge's MAE is larger
    assert all(g > 0 for g in results.gain("random", "average", "corr", "gcnet"))  # GCNet's correlation is smaller
    assert results.gain("random", "average", "mae", "nonsense") is None


def test_without_imder_the_reference_is_the_first_system(tmp_path):
    (tmp_path / "benchmarks.toml").write_text(
        '[small]\ntitle = "Small"\ncorpus = "A corpus"\ncommand = "imder benchmark"\nminutes = 1\nseeds = 1\n'
        'resampled = "3 speakers"\nnotes = []\n'
    )
    values = [
        f"random,{setting},{rate},,accuracy,{system},60.0,"
        for setting, rate in (("0", "0.000"), ("average", ""))
        for system in ("late-fusion:context", "late-fusion")
    ]
    (tmp_path / "small.csv").write_text(
        "\n".join(["protocol,setting,effective_rate,n,metric,system,mean,deviation", *values])
    )
    pairs = (("late-fusion", "late-fusion:context", "-"), ("late-fusion:context", "late-fusion", "+"))
    differences = [
        f"random,{setting},accuracy,{system},{sign}2.0,{sign}1.0,{sign}3.0,{reference}"
        for setting in ("0", "0.3", "average")
        for system, reference, sign in pairs
    ]
    (tmp_path / "small-differences.csv").write_text(
        "\n".join(["protocol,setting,metric,system,difference,low,high,reference", *differences])
    )
    results = read_results("small", tmp_path)
    assert results.reference == "late-fusion:context"
    assert {key[3] for key in results.differences} == {"late-fusion"}
    assert {key[3] for key in results.from_plain} == {"late-fusion:context"}
    assert "## Differences from late-fusion:context" in results_pages.page(results)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_a_table_fits_a_screen(path):
    for line in path.read_text().splitlines():
        if re.match(r"\|[ -]", line):
            assert line.replace(r"\|", "").count("|") - 1 <= 8, f"{line[:60]}: more than 8 columns"
