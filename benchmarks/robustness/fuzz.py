"""Mutated files of every reader, each read in a child process of bounded time and memory.

    python benchmarks/robustness/fuzz.py [--cases 10000] [--seed 0] [--readers pickle,npz] [--out FILE.json] [--keep FOLDER]

`readers` lists the readers, `case` the outcomes. Cases are shared equally among the readers. With ``--out`` the counts are
saved after every 10 cases of each reader, and a stopped campaign goes on from there if neither its options nor any source file has changed.
Exit code 1 where a case ended in anything but ``read`` or ``refused``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from case import BAD, OUTCOMES, prepared, run_case
from readers import Reader, readers

import imder
from imder.jobs.files import atomic_write

SAVED = 10  # cases of each reader from one save to the next
_SHOWN = 300  # characters of a message

Row = dict[str, Any]


def campaign(
    cases: int,
    seed: int = 0,
    names: Sequence[str] = (),
    keep: Path | None = None,
    done: Sequence[Row] = (),
) -> Iterator[list[Row]]:
    """Run the cases, `SAVED` of a reader in turn; yields a row for each reader, after each turn of all.

    Args:
        cases: of all readers together.
        seed: of the mutations.
        names: the readers; all by default.
        keep: a folder for the files of cases that end badly.
        done: the rows of a campaign that was stopped.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as work:
        table = readers(Path(work))
        chosen = names or tuple(table)
        rows = [*done] or [_new_row(name) for name in chosen]
        totals = [cases // len(chosen) + (i < cases % len(chosen)) for i in range(len(chosen))]
        for row in rows:
            _warm_up(table[row["reader"]])
        while any(row["cases"] < total for row, total in zip(rows, totals)):
            for row, total in zip(rows, totals):
                for _ in range(min(SAVED, total - row["cases"])):
                    _count(row, run_case(table[row["reader"]], row["reader"], row["cases"], seed, keep))
            yield rows


def _new_row(name: str) -> Row:
    zeros = dict.fromkeys(("cases", *OUTCOMES), 0)
    return {"reader": name} | zeros | {"longest_seconds": 0.0, "largest_mib": 0, "seconds": 0.0, "bad": []}


def _count(row: Row, result: Any) -> None:
    row[result.outcome] += 1
    row["longest_seconds"] = max(row["longest_seconds"], round(result.seconds, 2))
    row["largest_mib"] = max(row["largest_mib"], result.memory >> 20)
    row["seconds"] += result.seconds
    if result.outcome in BAD:
        row["bad"].append({"case": row["cases"], "outcome": result.outcome, "said": result.said[-_SHOWN:]})
    row["cases"] += 1


def _warm_up(reader: Reader) -> None:
    """Read an unchanged file once here, so that children needn't import what the reader imports."""
    with tempfile.TemporaryDirectory() as work, open(os.devnull, "w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        try:
            reader.read(prepared(reader, Path(work), *reader.seeds[0]))
        finally:
            sys.stdout = out


def source_hash() -> str:
    """A hash of the library's and the campaign's source files."""
    digest = blake2b(digest_size=8)
    for folder in (Path(imder.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def saved(path: Path, about: Mapping[str, Any]) -> list[Row]:
    """The rows of a stopped campaign; none where there is no file.

    Raises:
        SystemExit: the file is of another campaign.
    """
    if not path.exists():
        return []
    content = json.loads(path.read_bytes())
    if different := [key for key, value in about.items() if content.get(key) != value]:
        raise SystemExit(f"{path}: of a campaign with another {', '.join(different)}; remove it or name another file")
    rows: list[Row] = content["rows"]
    return rows


def table_of(rows: Sequence[Row]) -> str:
    """The counts as a Markdown table, the sum of the readers last."""
    columns = ["reader", "cases", *OUTCOMES, "longest_seconds", "largest_mib"]
    total = {c: max(row[c] for row in rows) for c in columns[-2:]} | {
        c: sum(row[c] for row in rows) for c in columns[1:-2]
    }
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    lines += ["| " + " | ".join(str(row[c]) for c in columns) + " |" for row in [*rows, {"reader": "all"} | total]]
    return "\n".join(lines)


def main() -> int:
    """Run the campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default="", help="names separated by commas (default: all)")
    parser.add_argument("--out", type=Path, help="JSON file for the counts and the cases that ended badly")
    parser.add_argument("--keep", type=Path, help="folder for the files of cases that ended badly")
    options = parser.parse_args()
    names = tuple(filter(None, options.readers.split(",")))
    about = {"cases": options.cases, "seed": options.seed, "readers": [*names], "source": source_hash()}
    about |= {"python": platform.python_version(), "torch": torch.__version__}
    done = saved(options.out, about) if options.out else []
    rows = done
    for rows in campaign(options.cases, options.seed, names, options.keep, done):
        sums = {name: sum(row[name] for row in rows) for name in ("cases", "seconds", *OUTCOMES)}
        counts = ", ".join(f"{outcome} {sums[outcome]}" for outcome in OUTCOMES if sums[outcome])
        print(f"{sums['cases']} cases in {sums['seconds']:.0f} s: {counts}", file=sys.stderr, flush=True)
        date = time.strftime("%Y-%m-%d")
        if options.out:
            with atomic_write(options.out) as part:
                part.write_text(json.dumps(about | {"date": date, "rows": rows}, indent=1))
    print(table_of(rows))
    return int(any(row[outcome] for row in rows for outcome in BAD))


if __name__ == "__main__":
    raise SystemExit(main())
