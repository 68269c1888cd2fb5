"""``imder predict``: of a corpus, of clips, or of a recording as it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from imder.cli import commands
from imder.cli.progress import counting
from imder.evaluation.results import write_csv
from imder.extract.assemble import table
from imder.extract.manifest import is_source, read_source
from imder.inference.predict import Row
from imder.jobs.files import atomic_write
from imder.media.clips import ClipPredictions
from imder.media.plot import plot_series
from imder.media.predictor import Predictor
from imder.media.windows import MIN_COVERAGE, check_min_coverage
from imder.training.run import RunDirectory
from imder.types import ImderError, Spec

console = Console()

PART = 3
"""Exit code: something could not be used."""
_SHOWN = 5
_CLIP = ("video", "audio", "text", "openface", "transcript")


def predict(options: Namespace) -> int:
    """``imder predict``."""
    given = {name: options[name] for name in _CLIP if options[name] is not None}
    if options.corpus is not None and given:
        raise ImderError(
            f"{options.corpus} and --{next(iter(given))}: predict a corpus or manifest, or one clip, not both"
        )
    for name in ("hop", "least_share"):
        if options[name] is not None and options.window is None:
            raise ImderError(f"--{name.replace('_', '-')} says something of windows: give --window too")
    if options.least_share is not None:
        check_min_coverage(options.least_share)
    if options.corpus is None:
        if not given:
            raise ImderError(
                "say what to predict: a corpus, a manifest of clips, or one clip with --video, --audio, --text, --openface"
            )
        return _recording(options, given) if options.window is not None else _clip(options, given)
    if options.window is not None:
        raise ImderError("--window is for one recording: give it with --video, --audio, --openface or --transcript")
    if is_source(options.corpus):
        return _clips(options)
    commands.predict(options)
    return 0


def _predictor(options: Namespace) -> Predictor:
    commands.set_threads(options)
    model = commands.load_model(options)
    return Predictor(
        model,
        model.device,
        recipe=RunDirectory(options.run).recipe(),
        language=options.language,
        openface=options.openface_program,
        name=str(options.run),
    )


def _asked(options: Namespace) -> dict[str, Any]:
    return {"samples": options.samples, "seed": options.seed, "level": options.level}


def _clip(options: Namespace, given: dict[str, str]) -> int:
    if "transcript" in given:
        raise ImderError("--transcript says what was said when: it needs --window; a clip's words are its --text")
    if options.split is not None:
        raise ImderError("--split: one clip has no splits")
    predictor = _predictor(options)
    found = predictor.predict_clips([predictor.clip(**given)], **_asked(options))
    row = found.only()
    if options.out is not None:
        write_csv([row], options.out)
    for line in describe(row, predictor.model.spec, options.level):
        console.print(Text(line))
    _say(predictor, [f"{name}: {remark}" for _, name, remark in found.remarks], only=row["available"])
    if options.out is not None:
        console.print(f"saved in {options.out}")
    return 0


def _clips(options: Namespace) -> int:
    if options.out is None:
        raise ImderError("say where the predictions go with --out")
    clips = read_source(options.corpus)
    predictor = _predictor(options)
    with counting("predicting") as report:
        found = predictor.predict_clips(
            clips, split=options.split, batch_size=options.batch_size, progress=report, **_asked(options)
        )
    if not found.rows:
        sample, name, reason = found.failures[0]
        raise ImderError(
            f"{options.corpus}: nothing could be predicted; the first clip that failed: {sample}: {name}: {reason}"
        )
    write_csv(found.rows, options.out)
    beside = {
        kind: Path(options.out).with_name(f"{Path(options.out).stem}-{kind}.csv") for kind in ("failures", "remarks")
    }
    _write_or_remove(beside["failures"], found.failures, "reason")
    _write_or_remove(beside["remarks"], found.remarks, "remark")
    for line in _report(found, beside):
        console.print(Text(line))
    if predictor.model.calibration is not None:
        console.print(f"with {commands.promise(predictor.model, options.level)}")
    _say(predictor)
    console.print(f"{len(found.rows)} predictions saved in {options.out}")
    return PART if found.failures else 0


def _recording(options: Namespace, given: dict[str, str]) -> int:
    if options.out is None or Path(options.out).suffix.lower() == ".png":
        raise ImderError("say with --out FILE.csv where the time series goes; its plot goes to FILE.png")
    if options.split is not None:
        raise ImderError("--split: one recording has no splits")
    predictor = _predictor(options)
    with counting("reading the recording") as report:  # how long that takes nobody knows beforehand
        recording = predictor.read_recording(**given)
        report(1, 1)
    hop = options.hop if options.hop is not None else options.window / 4
    least = MIN_COVERAGE if options.least_share is None else options.least_share
    with counting("predicting") as report:
        rows = predictor.predict_windows(
            recording,
            options.window,
            hop,
            batch_size=options.batch_size,
            progress=report,
            min_coverage=least,
            **_asked(options),
        )
    plot = Path(options.out).with_suffix(".png")
    write_csv(rows, options.out)
    title = f"{recording.clip.id}: windows of {options.window:g} s, every {hop:g} s"
    plot_series(rows, predictor.model.spec, plot, level=options.level, title=title)
    empty = sum(not row["available"] for row in rows)
    counts = [
        f"{name} in {sum(name in row['available'].split('+') for row in rows)}" for name in predictor.model.spec.names
    ]
    console.print(Text(f"{recording.seconds:.1f} s, {len(rows)} windows: {', '.join(counts)}"))
    said = [f"{name}: {remark}" for name, remark in recording.remarks]
    if "text" in given:
        said.append(
            "language: the text has no times, so it belongs to every window (--transcript says what was said when)"
        )
    for name in recording.times:
        few = sum(0 < recording.shares(row["start"], row["end"])[name] < least for row in rows)
        if few:
            said.append(f"{name}: covers less than {least:g} of {few} windows, and counts as missing there")
    if hop > options.window:
        said.append(f"{hop - options.window:g} s between any two windows are in neither: --hop is longer than --window")
    if empty:
        said.append(f"{empty} windows have nothing: no prediction there")
    if predictor.model.calibration is not None:
        console.print(f"with {commands.promise(predictor.model, options.level)}")
    _say(predictor, said)
    console.print(f"saved in {options.out} and {plot}")
    return 0


def describe(row: Row, spec: Spec, level: float) -> list[str]:
    """A prediction in lines: what, how sure, from what."""
    share = f"{100 * level:g} %"
    if spec.task == "classification":
        likely = sorted(spec.classes, key=lambda name: -row[f"p_{name}"])
        lines = [
            ("prediction", str(row["label"])),
            ("probabilities", ", ".join(f"{name} {row[f'p_{name}']:.2f}" for name in likely)),
            *([(f"{share} set", ", ".join(row["set"].split("|")))] if "set" in row else []),
        ]
    else:
        lines = [
            ("prediction", f"{row['prediction']:.3f}"),
            *([(f"{share} interval", f"{row['low']:.3f} to {row['high']:.3f}")] if "low" in row else []),
            ("over recoveries", f"deviation {row['std']:.3f}"),
        ]
    lines.append(("available", row["available"].replace("+", ", ")))
    for word in ("missing", "recovered"):
        if word in row:
            lines.append((word, row[word].replace("+", ", ") or "nothing"))
    return [f"{row['id']}", *(f"  {name:<16} {value}" for name, value in lines)]


def _say(predictor: Predictor, remarks: list[str] | None = None, *, only: str | None = None) -> None:
    for remark in remarks or []:
        console.print(Text(f"remark: {remark}"))
    commands.say_calibration(predictor.model, only)


def _report(found: ClipPredictions, beside: dict[str, Path]) -> list[str]:
    lines = [f"failed: {sample}: {name}: {reason}" for sample, name, reason in found.failures[:_SHOWN]]
    if found.failures:
        more = len(found.failures) - _SHOWN
        lines.append(
            f"{f'and {more} more; ' if more > 0 else ''}{len(found.failures)} failures in {beside['failures']}"
        )
    if found.remarks:
        lines.append(f"{len(found.remarks)} remarks in {beside['remarks']}")
    return lines


def _write_or_remove(path: Path, rows: list[tuple[str, str, str]], last: str) -> None:
    """A table of (id, modality, ``last``); none of an earlier command is left where there is nothing to say."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as part:
        part.write_text(table(rows, last), encoding="utf-8")
