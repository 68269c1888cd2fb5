"""Tables of OpenFace that other programs saved again: quotes, missing values, tabs, decimal commas, columns added."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from imder.extract.openface import read_openface
from imder.types import ImderError
from tiny_media import openface_columns, openface_rows

COLUMNS = openface_columns("aus")
ROWS = openface_rows(6, COLUMNS)
VALUES = ROWS[:, 5:].astype(np.float32)


def cells():
    """Header and rows as text."""
    return [list(COLUMNS), *([f"{x:g}" for x in row] for row in ROWS)]


def joined(rows, separator=","):
    return "\n".join(separator.join(row) for row in rows) + "\n"


def quoted(rows, quoting=csv.QUOTE_ALL, separator=","):
    text = io.StringIO()
    csv.writer(text, quoting=quoting, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue()


def r_write_csv(separator=","):
    header, *rows = cells()
    lines = [",".join(f'"{name}"' for name in ["", *header])]
    lines += [",".join([f'"{i}"', *row]) for i, row in enumerate(rows, 1)]
    return "\n".join(lines).replace(",", separator) + "\n"


def with_column(first, texts):
    header, *rows = cells()
    return quoted([[first, *header], *([text, *row] for text, row in zip(texts, rows, strict=True))], csv.QUOTE_MINIMAL)


SAVED_AGAIN = {
    "as OpenFace writes it": joined(cells()),
    "blanks after commas": joined(cells(), ", "),
    "R, write.csv": r_write_csv(),
    "R, write.csv2": r_write_csv(";").replace(".", ","),
    "everything quoted": quoted(cells()),
    "quoted, decimal commas": quoted([[x.replace(".", ",") for x in row] for row in cells()], separator=";"),
    "tabs": joined(cells(), "\t"),
    "tabs and decimal commas": joined(cells(), "\t").replace(".", ","),
    "decimal commas": joined(cells(), ";").replace(".", ","),
    "separators at the ends": joined([[*row, ""] for row in cells()]),
    "separators at the ends of rows": joined([cells()[0], *([*row, "", ""] for row in cells()[1:])]),
    "file names": with_column("filename", ["a.mp4"] * 6),
    "file names with separators": with_column("filename", ["a, b; c.mp4"] * 6),
    "notes that are empty": with_column("note", ["", "NA", "x", "1", "", "?"]),
    "blank lines": joined(cells()).replace("\n", "\n\n"),
    "ends of Windows": joined(cells()).replace("\n", "\r\n"),
    "ends of old Macs": joined(cells()).replace("\n", "\r"),
}


@pytest.mark.parametrize("form", SAVED_AGAIN)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_form_gives_the_same_numbers(tmp_path, form, encoding):
    (tmp_path / "a.csv").write_bytes(SAVED_AGAIN[form].encode(encoding))
    table = read_openface(tmp_path / "a.csv", "aus")
    assert_array_equal(table.values, VALUES)
    assert table.times is not None
    assert_array_equal(table.times, [float(f"{i / 30:g}") for i in range(6)])
    assert (table.untracked, table.people, table.broken_off) == (0, 1, False)


@pytest.mark.parametrize(
    "word", ["", "NA", "NaN", "nan", "-nan(ind)", "1.#QNAN", "None", "NULL", "#N/A", " ", '""', "inf"]
)
@pytest.mark.parametrize("column", ["AU06_r", "timestamp", "success"])
def test_missing_values_leave_their_frame_out(tmp_path, word, column):
    rows = cells()
    rows[3][COLUMNS.index(column)] = word
    (tmp_path / "a.csv").write_text(joined(rows))
    table = read_openface(tmp_path / "a.csv", "aus")
    assert_array_equal(table.values, np.delete(VALUES, 2, axis=0))
    assert table.untracked == 1


def test_a_column_of_missing_times_is_no_time(tmp_path):
    rows = cells()
    for row in rows[1:]:
        row[COLUMNS.index("timestamp")] = "NA"
    (tmp_path / "a.csv").write_text(joined(rows))
    table = read_openface(tmp_path / "a.csv", "aus")
    assert_array_equal(table.values, VALUES)
    assert table.times is None
    assert table.seconds is None


@pytest.mark.parametrize("words", [("TRUE", "FALSE"), ("True", "False"), ("1", "0"), ("1.0", "0.0")])
def test_success_as_a_word(tmp_path, words):
    rows = cells()
    for i, row in enumerate(rows[1:]):
        row[COLUMNS.index("success")] = words[i == 4]
    (tmp_path / "a.csv").write_text(joined(rows))
    assert_array_equal(read_openface(tmp_path / "a.csv", "aus").values, np.delete(VALUES, 4, axis=0))


def test_only_the_columns_asked_for_must_be_numbers(tmp_path):
    rows = cells()
    rows[2][COLUMNS.index("frame")] = "two"
    rows[2][COLUMNS.index("AU06_r")] = "high"
    (tmp_path / "a.csv").write_text(joined([["label", *rows[0]], *(["happy", *row] for row in rows[1:])]))
    with pytest.raises(ImderError, match=r"a\.csv: line 3: 'high' is not a number"):
        read_openface(tmp_path / "a.csv", "aus")
    rows[2][COLUMNS.index("AU06_r")] = "1"
    (tmp_path / "a.csv").write_text(joined([["label", *rows[0]], *(["happy", *row] for row in rows[1:])]))
    assert len(read_openface(tmp_path / "a.csv", "aus").values) == 6


@pytest.mark.parametrize("cell", ["1,5", "1.5,", "0x1", "1;5"])
def test_other_texts_are_refused(tmp_path, cell):
    rows = cells()
    rows[2][COLUMNS.index("AU06_r")] = f'"{cell}"'
    (tmp_path / "a.csv").write_text(joined(rows))
    with pytest.raises(ImderError, match=r"line 3: .* is not a number"):
        read_openface(tmp_path / "a.csv", "aus")


def test_rows_of_other_lengths(tmp_path):
    rows = cells()
    (tmp_path / "a.csv").write_text(joined([*rows[:3], rows[3][:-1], *rows[4:]]))
    with pytest.raises(ImderError, match="line 4: 39 values where the header has 40 columns"):
        read_openface(tmp_path / "a.csv", "aus")
    (tmp_path / "a.csv").write_text(joined([*rows[:3], [*rows[3], "7"], *rows[4:]]))
    with pytest.raises(ImderError, match="line 4: 41 values where the header has 40 columns"):
        read_openface(tmp_path / "a.csv", "aus")
    (tmp_path / "a.csv").write_text("\n\n" + joined(rows))
    with pytest.raises(ImderError, match="the file is empty"):
        read_openface(tmp_path / "a.csv", "aus")


@given(st.text(max_size=80))
def test_any_text_is_a_table_or_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "a.csv"
    path.write_text(joined(cells()) + text, encoding="utf-8", errors="surrogatepass")
    try:
        table = read_openface(path, "aus")
    except ImderError as error:
        message = str(error)
    else:
        message = f"{path}: read"
        assert_array_equal(table.values[:6], VALUES)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
