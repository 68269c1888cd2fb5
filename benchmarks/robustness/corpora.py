"""Random corpora: train small systems on each and check their predictions.

    python benchmarks/robustness/corpora.py [--corpora 300] [--seed 0] [--systems fast,gcnet] [--each 3] [--out FILE.json]

`random_corpus` makes the corpora, `corpus_checks` lists the systems, the checks and the outcomes. ``--each`` systems in turn are
trained on every corpus. With ``--out`` the counts are saved after every corpus, and a stopped campaign goes on from there if
neither its options nor any source file has changed. Exit code 1 where a case ended in anything but ``equal`` or ``refused``.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from corpus_checks import BAD, OUTCOMES, SECONDS, SYSTEMS, run_case, systems_of
from fuzz import saved, source_hash

from imder.jobs.files import atomic_write

_SHOWN = 600  # characters of a message

Case = dict[str, Any]


def campaign(
    corpora: int, seed: int = 0, each: int = 3, systems: Sequence[str] = SYSTEMS, done: Sequence[Case] = ()
) -> Iterator[list[Case]]:
    """Run the cases; yields all of them so far after each corpus.

    Args:
        corpora: their number.
        seed: of the corpora.
        each: systems trained on every corpus.
        systems: their names.
        done: the cases of a campaign that was stopped.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    signal.signal(signal.SIGALRM, _stop)
    cases = [*done]
    for number in range(cases[-1]["corpus"] + 1 if cases else 0, corpora):
        for system in systems_of(number, each, systems):
            started = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                signal.alarm(SECONDS)
                outcome, said = run_case(number, seed, system, Path(folder))
                signal.alarm(0)
            seconds = round(time.monotonic() - started, 2)
            shown = said if outcome == "refused" else said[-_SHOWN:]
            cases.append({"corpus": number, "system": system, "outcome": outcome, "said": shown, "seconds": seconds})
        yield cases


def _stop(signum: int, frame: object) -> NoReturn:
    raise TimeoutError(f"more than {SECONDS} s")


def table_of(cases: Sequence[Case]) -> str:
    """The counts of each system as a Markdown table, the sum last."""
    columns = ["system", "cases", *OUTCOMES]
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    for system in [*dict.fromkeys(case["system"] for case in cases), "all"]:
        own = [case["outcome"] for case in cases if system in ("all", case["system"])]
        lines.append("| " + " | ".join(map(str, [system, len(own), *map(own.count, OUTCOMES)])) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run the campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="names separated by commas (default: all)")
    parser.add_argument("--each", type=int, default=3, help="systems trained on every corpus")
    parser.add_argument("--out", type=Path, help="JSON file for the cases")
    options = parser.parse_args()
    systems = options.systems.split(",")
    about = {"corpora": options.corpora, "seed": options.seed, "systems": systems, "each": options.each}
    about |= {"source": source_hash(), "python": platform.python_version(), "torch": torch.__version__}
    cases = done = saved(options.out, about) if options.out else []
    for cases in campaign(options.corpora, options.seed, options.each, systems, done):
        outcomes = [case["outcome"] for case in cases]
        counts = ", ".join(f"{name} {outcomes.count(name)}" for name in OUTCOMES if name in outcomes)
        print(f"{cases[-1]['corpus'] + 1} corpora: {counts}", file=sys.stderr, flush=True)
        for case in cases[-options.each :]:
            if case["outcome"] in BAD:
                print(case, file=sys.stderr, flush=True)
        if options.out:
            with atomic_write(options.out) as part:
                part.write_text(json.dumps(about | {"rows": cases}, indent=1))
    print(table_of(cases))
    return int(any(case["outcome"] in BAD for case in cases))


if __name__ == "__main__":
    raise SystemExit(main())
