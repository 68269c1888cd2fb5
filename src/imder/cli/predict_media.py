"""``imder predict`` of one clip, of a manifest of clips, and of a recording in windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from imder.cli.console import PARTLY, say, say_all, shown_failures
from imder.cli.extract import INSTALL_ALL
from imder.cli.outputs import note_of, plot_of
from imder.cli.trained import load_model, promise, recovery_lines, say_calibration
from imder.evaluation.results import write_csv
from imder.extract.assemble import table
from imder.extract.manifest import read_source
from imder.inference.predict import Row
from imder.jobs.files import atomic_write
from imder.jobs.progress import counting
from imder.media.plot import plot_series
from imder.media.predictor import Predictor
from imder.media.recording import Recording
from imder.media.windows import MIN_COVERAGE
from imder.types import ImderError, Spec


def clip(options: Namespace, given: dict[str, str]) -> int:
    """Predict one clip, and print the prediction."""
    if "transcript" in given:
        raise ImderError("--transcript has timed words and needs --window; for one clip give its words with --text")
    if options.split is not None:
        raise ImderError("--split: one clip has no splits")
    predictor = _predictor(options)
    predictions = predictor.predict_clips([predictor.clip(**given)], **_settings(options))
    row = predictions.only()
    if options.out is not None:
        write_csv([row], options.out)
    say_all(describe(row, predictor.model.spec, options.level))
    say_all(f"remark: {name}: {remark}" for _, name, remark in predictions.remarks)
    say_calibration(predictor.model, row["available"])
    if options.out is not None:
        say(f"saved in {options.out}")
    return 0


def clips(options: Namespace) -> int:
    """Predict the clips of a manifest or folder."""
    if options.out is None:
        raise ImderError("say where the predictions go with --out FILE.csv")
    files = {kind: note_of(options.out, kind) for kind in ("failures", "remarks")}
    manifest = read_source(options.corpus)
    predictor = _predictor(options)
    with counting("predicting") as report:
        predictions = predictor.predict_clips(
            manifest, split=options.split, batch_size=options.batch_size, progress=report, **_settings(options)
        )
    if not predictions.rows:
        sample, name, reason = predictions.failures[0]
        raise ImderError(
            f"{options.corpus}: nothing could be predicted; the first clip that failed: {sample}: {name}: {reason}"
        )
    write_csv(predictions.rows, options.out)
    _write_or_remove(files["failures"], predictions.failures, "reason")
    _write_or_remove(files["remarks"], predictions.remarks, "remark")
    say_all(shown_failures(predictions.failures, str(files["failures"])))
    if predictions.remarks:
        say(f"{len(predictions.remarks)} remarks in {files['remarks']}")
    if predictor.model.calibration is not None:
        say(f"with {promise(predictor.model, options.level)}")
    say_calibration(predictor.model)
    say_all(recovery_lines(predictor.model))
    say(f"{len(predictions.rows)} predictions saved in {options.out}")
    return PARTLY if predictions.failures else 0


def recording(options: Namespace, given: dict[str, str]) -> int:
    """Predict windows of a recording, as CSV and plot."""
    if options.out is None or Path(options.out).suffix.lower() == ".png":
        raise ImderError("say where the time series goes with --out FILE.csv; its plot goes to FILE.png")
    if options.split is not None:
        raise ImderError("--split: one recording has no splits")
    plot = plot_of(options.out)
    predictor = _predictor(options)
    with counting("reading the recording") as report:
        report(0, None)
        read = predictor.read_recording(**given)
        report(1, 1)
    hop = options.hop if options.hop is not None else options.window / 4
    min_coverage = MIN_COVERAGE if options.min_coverage is None else options.min_coverage
    with counting("predicting") as report:
        rows = predictor.predict_windows(
            read,
            options.window,
            hop,
            batch_size=options.batch_size,
            progress=report,
            min_coverage=min_coverage,
            **_settings(options),
        )
    write_csv(rows, options.out)
    title = f"{read.clip.id}: windows of {options.window:g} s, every {hop:g} s"
    plot_series(rows, predictor.model.spec, plot, level=options.level, title=title)
    names = predictor.model.spec.names
    counts = [f"{name} in {sum(name in row['available'].split('+') for row in rows)}" for name in names]
    say(f"{read.seconds:.1f} s, {len(rows)} windows: {', '.join(counts)}")
    if predictor.model.calibration is not None:
        say(f"with {promise(predictor.model, options.level)}")
    remarks = _recording_remarks(read, rows, options.window, hop, min_coverage, text_given="text" in given)
    say_all(f"remark: {remark}" for remark in remarks)
    say_calibration(predictor.model)
    say_all(recovery_lines(predictor.model))
    say(f"saved in {options.out} and {plot}")
    return 0


def describe(row: Row, spec: Spec, level: float) -> list[str]:
    """A prediction in lines: value or class, its uncertainty, and the modalities that it rests on."""
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
            ("spread", f"deviation {row['std']:.3f}"),
        ]
    lines.append(("available", row["available"].replace("+", ", ")))
    lines.append(("missing", row["missing"].replace("+", ", ") or "nothing"))
    if "recovered" in row:
        weight = f" (weight {row['recovery_weight']:.2f})" if row["recovered"] else ""
        lines.append(("recovered", f"{row['recovered'].replace('+', ', ') or 'nothing'}{weight}"))
    return [f"{row['id']}", *(f"  {name:<16} {value}" for name, value in lines)]


def _predictor(options: Namespace) -> Predictor:
    trained = load_model(options)

    def notify(text: str) -> None:
        """Say what will be missing, and the command that installs it."""
        say(text + (f" (all at once: {INSTALL_ALL})" if "pip install" in text else ""))

    return Predictor(
        trained.model,
        trained.model.device,
        recipe=trained.recipe,
        language=options.language,
        openface=options.openface_program,
        face_model=options.face_model,
        name=trained.name,
        transcribe=options.transcribe,
        asr_model=options.asr_model,
        asr_language=options.asr_language,
        audio_model=options.audio_model,
        notify=notify,
    )


def _settings(options: Namespace) -> dict[str, Any]:
    return {"samples": options.samples, "seed": options.seed, "level": options.level}


def _recording_remarks(
    read: Recording, rows: list[Row], window: float, hop: float, min_coverage: float, *, text_given: bool
) -> list[str]:
    """Remarks on the recording, and on windows that lack something."""
    remarks = [f"{name}: {remark}" for name, remark in read.remarks]
    if text_given:
        remarks.append("language: the text has no times, so every window has it (--transcript takes timed words)")
    for name in read.times:
        few = sum(0 < read.shares(row["start"], row["end"])[name] < min_coverage for row in rows)
        if few:
            remarks.append(f"{name}: covers less than {min_coverage:g} of {few} windows, and counts as missing there")
    if hop > window:
        remarks.append(f"{hop - window:g} s between any two windows are in neither: --hop is longer than --window")
    if empty := sum(not row["available"] for row in rows):
        remarks.append(f"{empty} windows have no modality at all and no prediction")
    return remarks


def _write_or_remove(path: Path, rows: list[tuple[str, str, str]], last: str) -> None:
    """Write a table of (id, modality, ``last``), or remove an earlier one where there is nothing to write."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as part:
        part.write_text(table(rows, last), encoding="utf-8")
