"""JSON and YAML of others: checked before use, and every fault one line that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from imder.jobs.documents import Entry, read_json, read_yaml
from imder.types import ImderError

DAMAGED = {
    "empty": b"",
    "cut": b'{"a": [1, 2',
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e999}',
    "long number": b'{"a": ' + b"9" * 5000 + b"}",
    "deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deeper than allowed": b"[" * 100 + b"]" * 100,
    "half a surrogate pair": b'{"a": "\\ud800"}',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_json_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.json").write_bytes(DAMAGED[name])
    with pytest.raises(ImderError, match=r"a\.json: (damaged|not UTF-8)") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_json_in_other_forms_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": "\\u00e9\\ud83d\\ude00", "b": [1e3, -2]}')
    assert read_json(path) == {"a": "é😀", "b": [1000.0, -2]}
    path.write_text('{"a": NaN}')
    assert str(read_json(path, finite=False)["a"]) == "nan"
    with pytest.raises(ImderError, match=r"none\.json: cannot be read .*; remove it"):
        read_json(tmp_path / "none.json", advice="; remove it")


ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGES = "m0: &m0 {k: 1}\n" + "".join(f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}\n" for i in range(1, 60))
BAD_YAML = {
    "alias bomb": (ALIASES, "more than"),
    "merge bomb": (MERGES, "merge keys"),
    "a list that holds itself": ("a: &a [*a]", "holds itself"),
    "deep": ("a: " + "[" * 5000 + "]" * 5000, ""),
    "code": ("a: !!python/object/apply:os.system [touch mark]", "constructor"),
    "a key that is a list": ("? [a]\n: 1", "unhashable"),
    "a wrong date": ("a: 2020-99-99", "month"),
    "a long number": ("a: " + "9" * 5000, "digits"),
    "a control character": ("a: \x01", "not allowed"),
    "two documents": ("a: 1\n---\nb: 2", "single document"),
    "too large": ("a: 1\n" * 100_000, "larger than 256 KiB"),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_bad_yaml_is_one_line(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, reason = BAD_YAML[name]
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ImderError, match=rf"a\.yaml: .*{reason}") as caught:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mark").exists()


def test_yaml_with_a_few_aliases_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &x [1, 2]\nb: *x\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 2], "b": [1, 2]}
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "a.yaml") is None


def test_entries_name_file_and_key() -> None:
    entry = Entry({"a": {"b": [1, "x", None, True, 2**70]}, "c": 1.5, "d": None}, "f.json")
    assert entry["a"]["b"].items()[0].whole() == 1
    assert entry["c"].real() == 1.5
    assert entry.get("d") is None
    assert entry.get("none") is None
    for take, message in [
        (lambda: entry["a"]["z"], r"f\.json: a: 'z' is missing"),
        (lambda: entry["none"], r"f\.json: 'none' is missing"),
        (lambda: entry["a"].text(), r"f\.json: a: expected a text"),
        (lambda: entry["c"].whole(), r"f\.json: c: expected a whole number, at least 0, got 1\.5"),
        (lambda: entry["c"].mapping(), r"f\.json: c: expected an object"),
        (lambda: entry["c"].items(), r"f\.json: c: expected a list"),
        (lambda: entry["c"].flag(), r"f\.json: c: expected true or false"),
        (lambda: entry["c"].real(2), r"f\.json: c: expected a number, at least 2"),
        (lambda: entry["a"]["b"].reals(), r"f\.json: a\.b\[1\]: expected a number"),
        (lambda: entry["a"]["b"].items()[3].whole(), r"f\.json: a\.b\[3\]: expected a whole number"),
        (lambda: entry["a"]["b"].items()[4].whole(), r"f\.json: a\.b\[4\]: expected a whole number, at most"),
    ]:
        with pytest.raises(ImderError, match=message):
            take()
