"""``imder live``: predictions of a camera and a microphone as they come, or of a file as if it came from them."""

from __future__ import annotations

import csv
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imder.cli.console import counted, say, say_all
from imder.cli.options import add_device, add_run, add_seed, add_threads, thread_count
from imder.cli.outputs import add_force, check_output
from imder.cli.parser import number, whole
from imder.types import ImderError

if TYPE_CHECKING:
    from io import TextIOWrapper

    from jsonargparse import Namespace

    from imder.cli.parser import Parser
    from imder.media.stream import Answer, Stream
    from imder.types import Spec

COLUMNS = (("start", "end", "available", "missing"),)
"""Columns of the table of an earlier stream."""
_TICK = 0.25  # seconds after which time passes without any data


def add_options(parser: Parser) -> None:
    """Options of ``imder live``."""
    add_run(parser)
    parser.add_argument("--camera", help="number or name of a camera")
    parser.add_argument("--microphone", help="number or name of a microphone, or default")
    parser.add_argument("--replay", help="a video or sound file, in place of devices")
    parser.add_argument("--transcript", help="with --replay: timed words (SRT, WebVTT, or CSV of start, end, text)")
    parser.add_argument("--speed", type=number(least=0), help="of --replay: 0 for as fast as possible (default: 1)")
    parser.add_argument("--window", type=number(above=0), default=4.0, help="seconds of a window")
    parser.add_argument("--hop", type=number(above=0), default=1.0, help="seconds between windows")
    parser.add_argument(
        "--tolerance", type=number(least=0), default=0.5, help="seconds by which sources may lag behind each other"
    )
    parser.add_argument(
        "--min-coverage",
        type=number(least=0, most=1),
        default=0.1,
        help="share of a window that a modality must cover to count as available",
    )
    parser.add_argument("--seconds", type=number(above=0), help="end after so many seconds (default: at Ctrl-C)")
    parser.add_argument("--samples", type=whole(1), help="recoveries per prediction (default: the preset's)")
    parser.add_argument("--level", type=float, default=0.9, help="how often intervals or sets should hold the label")
    parser.add_argument("--language", help="where the run's transformer is now (folder or name), or none")
    parser.add_argument(
        "--face-model", help="where the run's face_landmarker.task is now (default: as for imder extract)"
    )
    parser.add_argument("--audio-model", help="where the run's speech model for sound is now (folder or name)")
    parser.add_argument("--out", help="CSV to write, a row for each window as it comes")
    add_seed(parser)
    add_device(parser)
    add_threads(parser)
    add_force(parser)


def run(options: Namespace) -> int:
    """Predict until the file ends, the time is over, or a user interrupts."""
    devices = options.camera is not None or options.microphone is not None
    if devices == (options.replay is not None):
        raise ImderError("say what to predict: --camera 0, --microphone default or both, or --replay FILE")
    if options.transcript is not None and options.replay is None:
        raise ImderError("--transcript: timed words are read with --replay only")
    if options.speed is not None and options.replay is None:
        raise ImderError("--speed: devices run in real time; it applies to --replay only")
    if options.out is not None:
        check_output(options.out, COLUMNS, (options.run, options.replay, options.transcript), options.force)
    from imder.jobs.threads import set_threads
    from imder.media.media_recipe import MediaOptions, media_recipe
    from imder.media.predictor import Predictor

    set_threads(thread_count(options))
    predictor = Predictor(
        options.run,
        options.device,
        language=options.language,
        face_model=options.face_model,
        audio_model=options.audio_model,
    )
    media_recipe(predictor.recipe, MediaOptions(), predictor.name)  # a run on other features reads nothing here
    spec = predictor.model.spec
    predicted = 0
    with nullcontext() if options.out is None else _opened(options.out) as file:
        table = None if file is None else csv.writer(file, lineterminator="\n")
        if table is not None:
            table.writerow(header(spec))

        def show(answer: Answer) -> None:
            nonlocal predicted
            predicted += answer["prediction"] is not None
            say(line(answer, spec))
            if table is not None and file is not None:
                table.writerow(cells(answer, spec))
                file.flush()

        stream = predictor.stream(
            options.window,
            options.hop,
            tolerance=options.tolerance,
            min_coverage=options.min_coverage,
            samples=options.samples,
            seed=options.seed,
            level=options.level,
            callback=show,
            block=options.replay is not None and options.speed == 0,
            name="live" if options.replay is None else Path(options.replay).stem,
        )
        say_all(_unused(options, stream))
        remarks = _replay(options, stream) if options.replay is not None else _watch(options, stream)
    say_all(f"remark: {remark}" for remark in remarks)
    say_all(f"left out {counted(count, 'time')}: {problem}" for problem, count in stream.problems.items())
    if options.out is not None:
        say(f"saved in {options.out}")
    return 0 if predicted else 1


def _unused(options: Namespace, stream: Stream) -> list[str]:
    """A line for each source that the run doesn't read."""
    from imder.extract.manifest import SOUNDS

    path = options.replay
    is_video = path is not None and Path(path).suffix.lower() not in SOUNDS
    sources = {
        "vision": ("the picture", options.camera is not None or is_video),
        "audio": ("the sound", options.microphone is not None or path is not None),
        "language": ("the transcript", options.transcript is not None),
    }
    reasons = {what: stream.why_unread(name) for name, (what, given) in sources.items() if given}
    return [f"remark: {what} is not used: {reason}" for what, reason in reasons.items() if reason]


def _opened(out: str) -> TextIOWrapper:
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        return Path(out).open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise ImderError(f"--out {out}: can't be written ({error.strerror or error})") from None


def _replay(options: Namespace, stream: Stream) -> list[str]:
    from imder.extract.manifest import SOUNDS
    from imder.media.live.replay import Replay
    from imder.media.transcript import read_transcript

    path = Path(options.replay).expanduser()
    if not path.is_file():
        raise ImderError(f"--replay {path}: there is no such file")
    is_sound = path.suffix.lower() in SOUNDS
    words = None if options.transcript is None else read_transcript(options.transcript)
    replay = Replay(
        video=None if is_sound else path,
        audio=path if is_sound else None,
        cues=() if words is None else words.cues,
        speed=1.0 if options.speed is None else options.speed,
        until=options.seconds,
    )
    try:
        replay.into(stream)
    except KeyboardInterrupt:
        stream.close()
    return [*replay.remarks, *(() if words is None else words.remarks)]


def _watch(options: Namespace, stream: Stream) -> list[str]:
    import time

    from imder.media.live.devices import Camera, Microphone

    devices: list[Camera | Microphone] = []
    try:
        if options.camera is not None:
            devices.append(Camera(options.camera))
        if options.microphone is not None:
            devices.append(Microphone(options.microphone))
        begin = time.monotonic()
        for device in devices:
            device.start(stream, begin)
        while options.seconds is None or time.monotonic() - begin < options.seconds:
            time.sleep(_TICK)
            stream.advance(max(0.0, time.monotonic() - begin - options.tolerance))
    except KeyboardInterrupt:
        pass
    finally:
        for device in devices:
            device.stop()
        stream.close()
    return []


def line(answer: Answer, spec: Spec) -> str:
    """A prediction in a line: time, value or class with its interval or set, and each modality with its coverage."""
    parts = [f"{answer['start']:8.2f} to {answer['end']:8.2f} s"]
    if answer["prediction"] is None:
        parts.append("no prediction")
    elif spec.task == "classification":
        probability = answer["probabilities"][answer["prediction"]]
        parts.append(f"{answer['prediction']} {probability:.2f}")
        if "set" in answer:
            parts.append(f"{{{', '.join(answer['set'])}}}")
    else:
        parts.append(f"{answer['prediction']:+.3f}")
        if "low" in answer:
            parts.append(f"({answer['low']:+.3f} to {answer['high']:+.3f})")
    coverage = answer.get("coverage", {})
    for name, available in answer["available"].items():
        share = f" {coverage[name]:.2f}" if name in coverage else ""
        recovered = answer["recovered"].get(name, {"weight": 0.0})["weight"]
        parts.append(
            f"{name}{share}" if available else f"no {name}" + (f" (recovered {recovered:.2f})" if recovered else "")
        )
    return "  ".join(parts)


def header(spec: Spec) -> list[str]:
    """The columns of the table."""
    if spec.task == "classification":
        values = ["prediction", "set", *(f"p_{name}" for name in spec.classes)]
    else:
        values = ["prediction", "low", "high"]
    return [
        *("start", "end", "available", "missing"),
        *values,
        *(f"share_{name}" for name in spec.names),
        *(f"recovery_weight_{name}" for name in spec.names),
        "text",
    ]


def cells(answer: Answer, spec: Spec) -> list[Any]:
    """A row of the table."""
    available = answer["available"]
    if spec.task == "classification":
        probabilities = answer.get("probabilities", {})
        values = [answer["prediction"], "|".join(answer.get("set", ())), *map(probabilities.get, spec.classes)]
    else:
        values = [answer["prediction"], answer.get("low"), answer.get("high")]
    return [
        answer["start"],
        answer["end"],
        "+".join(name for name in spec.names if available[name]),
        "+".join(name for name in spec.names if not available[name]),
        *values,
        *(answer.get("coverage", {}).get(name) for name in spec.names),
        *(answer["recovered"].get(name, {}).get("weight") for name in spec.names),
        answer.get("text"),
    ]
