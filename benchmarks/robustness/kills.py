"""Kill commands with SIGKILL at random moments, go on, and compare the end with that of an uninterrupted run, to the bit.

    python benchmarks/robustness/kills.py --kills 100

A trial starts a command (`kill_programs`), kills it one to three times, each time starting it again, and lets it finish.
Moments are either drawn uniformly over the time of an uninterrupted run, or come a few milliseconds after a change of the
output folder, so that the instants around renames are hit too. In half of the kills of a command with workers it is one of
the workers that is killed. After the death of a command its workers must end within `ORPHANS` seconds.

The result is written after each trial; the same command goes on with it. A trial is a function of its number and the seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kill_programs import PROGRAMS, Program, make_inputs

ORPHANS, PATIENCE = 5.0, 300.0
"""Seconds for workers to end after their parent, and for a command to finish."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; returns 0 if every trial ended equal and no worker outlived its parent."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="names, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("kills.json"), help="the result; continued if it exists")
    options = parser.parse_args(argv)
    names = options.programs.split(",")
    done = json.loads(options.out.read_text())["trials"] if options.out.exists() else []
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        work = Path(folder)
        inputs = work / "inputs"
        inputs.mkdir()
        make_inputs(inputs)
        older = [*PROGRAMS["convert"].words(inputs, inputs / "older")]
        older[older.index(str(inputs / "large.pkl"))] = str(inputs / "other.pkl")
        subprocess.run(older, check=True, capture_output=True, cwd=inputs)
        references = {name: _reference(PROGRAMS[name], inputs, work / f"whole-{name}") for name in names}
        while sum(trial["kills"] for trial in done) < options.kills:
            number = len(done)
            name = names[number % len(names)]
            rng = random.Random(f"{options.seed} {number}")
            most = options.kills - sum(trial["kills"] for trial in done)
            trial = _trial(PROGRAMS[name], inputs, work / f"trial-{number}", references[name], rng, most)
            done.append({"trial": number, "program": name, **trial})
            shutil.rmtree(work / f"trial-{number}", ignore_errors=True)
            options.out.write_text(json.dumps({"summary": _summary(done), "trials": done}, indent=1) + "\n")
            print(json.dumps(done[-1]), flush=True)
    summary = _summary(done)
    print(json.dumps(summary, indent=1))
    return int(any(s["different"] or s["outlived"] for s in summary.values()))


def _summary(trials: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for name in PROGRAMS:
        own = [trial for trial in trials if trial["program"] == name]
        result[name] = {
            "trials": len(own),
            "kills": sum(trial["kills"] for trial in own),
            "different": sum(trial["problem"] != "" for trial in own),
            "outlived": sum(trial["outlived"] for trial in own),
            "slowest_worker_end": max((trial["workers_ended"] for trial in own), default=0.0),
        }
    return result


def _reference(program: Program, inputs: Path, folder: Path) -> tuple[dict[str, str], float]:
    """What an uninterrupted run makes, and its seconds."""
    folder.mkdir()
    out = folder / "out"
    program.prepare(inputs, out)
    begun = time.monotonic()
    subprocess.run(program.words(inputs, out), check=True, capture_output=True, cwd=inputs)
    return program.digest(out), time.monotonic() - begun


def _trial(
    program: Program, inputs: Path, folder: Path, reference: tuple[dict[str, str], float], rng: random.Random, most: int
) -> dict[str, Any]:
    """Kill one to three times, finish, compare."""
    expected, seconds = reference
    folder.mkdir()
    out, kills, outlived, slowest = folder / "out", 0, 0, 0.0
    program.prepare(inputs, out)
    for _ in range(min(most, rng.randint(1, 3))):
        process = _start(program.words(inputs, out), folder)
        _wait_for_moment(process, folder, rng, seconds)
        if process.poll() is not None:
            break
        victims = _children(process.pid) if rng.random() < 0.5 else []
        if victims:
            os.kill(rng.choice(victims), signal.SIGKILL)
            kills += 1
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                return _result(kills, outlived, slowest, "hangs after a worker was killed", process, folder)
            if process.returncode == 0:
                break
            continue
        process.kill()
        process.wait()
        kills += 1
        ended = _workers_ended(process.pid)
        slowest = max(slowest, ended)
        outlived += ended > ORPHANS
        _end_session(process.pid)
    process = _start(program.words(inputs, out), folder)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return _result(kills, outlived, slowest, "hangs", process, folder)
    log = (folder / "log").read_text(errors="replace")
    problem = ""
    if process.returncode and "exists already" not in log:  # an extraction that had finished says so
        problem = f"exit {process.returncode}: {log[-400:]}"
    elif "Traceback" in log:
        problem = f"traceback: {log[-400:]}"
    else:
        got = program.digest(out)
        if different := sorted(k for k in expected.keys() | got.keys() if expected.get(k) != got.get(k)):
            problem = f"different: {', '.join(different[:5])}"
        elif left := [p.name for p in folder.rglob("*") if p.name.endswith((".part", ".replaced", ".lock", ".ckpt"))]:
            problem = f"left over: {', '.join(left[:5])}"
        elif others := sorted(p.name for p in folder.iterdir() if p.name not in ("out", "log")):
            problem = f"left over beside the output: {', '.join(others[:5])}"
    return _result(kills, outlived, slowest, problem, process, folder)


def _result(
    kills: int, outlived: int, slowest: float, problem: str, process: subprocess.Popen[bytes], folder: Path
) -> dict[str, Any]:
    _end_session(process.pid)
    if problem:
        kept = Path(tempfile.mkdtemp(prefix="kills-problem-"))
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        problem += f" ({kept})"
    return {"kills": kills, "outlived": outlived, "workers_ended": round(slowest, 2), "problem": problem}


def _start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with open(folder / "log", "wb") as log:
        return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True)


def _wait_for_moment(process: subprocess.Popen[bytes], folder: Path, rng: random.Random, seconds: float) -> None:
    """Wait until a random time, or until shortly after a random change of the output."""
    begun = time.monotonic()
    if rng.random() < 0.4:
        end = begun + rng.uniform(0.02, 1.0) * seconds
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        return
    changes, before = int(rng.expovariate(1 / 12)), _listing(folder)
    while process.poll() is None and time.monotonic() < begun + 3 * seconds:
        now = _listing(folder)
        changes, before = changes - (now != before), now
        if changes < 0:
            time.sleep(rng.uniform(0, 0.004))
            return
        time.sleep(0.001)


def _listing(folder: Path) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for path, _, files in os.walk(folder):
        for name in files:
            if name != "log":
                try:
                    found.add((name, os.stat(os.path.join(path, name)).st_size))
                except OSError:
                    continue
        found.add((path, -1))
    return found


def _sessions() -> dict[int, tuple[int, int, str]]:
    """Parent, session and state of each process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        found[int(path.parent.name)] = int(fields[1]), int(fields[3]), fields[0]
    return found


def _children(pid: int) -> list[int]:
    """The workers of a command that are at work, without joblib's tracker of resources."""
    children = [child for child, (parent, _, state) in _sessions().items() if parent == pid and state != "Z"]
    return [c for c in children if b"tracker" not in Path(f"/proc/{c}/cmdline").read_bytes()]


def _members(session: int) -> list[int]:
    return [pid for pid, (_, own, state) in _sessions().items() if own == session and state != "Z"]


def _workers_ended(session: int) -> float:
    """Seconds until no process of a session is left, at most a little more than `ORPHANS`."""
    begun = time.monotonic()
    while _members(session) and time.monotonic() - begun <= ORPHANS + 0.5:
        time.sleep(0.02)
    return time.monotonic() - begun


def _end_session(session: int) -> None:
    for pid in _members(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


if __name__ == "__main__":
    sys.exit(main())
