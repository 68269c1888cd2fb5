"""``imder predict``: predictions for a corpus, for clips, or for a recording as a time series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imder.cli.console import say, say_all
from imder.cli.info import is_run
from imder.cli.options import add_available, add_prediction, add_run, add_transcription, available
from imder.cli.outputs import FAILURES, REMARKS, RESULTS, add_force, check_output, note_of, plot_of
from imder.cli.parser import number
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser

CLIP = ("video", "audio", "text", "openface", "transcript")
"""Options that hand over one clip or recording."""
AVAILABLE = ("available", "protocol", "rates")
"""Options that say what may be used of a corpus."""
EXTRACTION = ("language", "face_model", "transcribe", "asr_model", "asr_language", "audio_model", "openface_program")
"""Options of extraction, which apply to recordings only."""


def add_options(parser: Parser) -> None:
    """Options of ``imder predict``."""
    add_run(parser)
    parser.add_argument("corpus", nargs="?", help="corpus, manifest of clips, or folder of media")
    add_prediction(parser, samples=None, split=None)
    add_available(parser)
    parser.add_argument("--video", help="one clip: a video, whose sound is used unless --audio is given")
    parser.add_argument("--audio", help="one clip: a sound file")
    parser.add_argument("--text", help="one clip: the words")
    parser.add_argument("--openface", help="one clip: OpenFace's table of the face")
    parser.add_argument("--transcript", help="with --window: timed words (SRT, WebVTT, or CSV of start, end, text)")
    parser.add_argument("--window", type=number(above=0), help="seconds of a window: a time series of a long recording")
    parser.add_argument("--hop", type=number(above=0), help="seconds between windows (default: a quarter of --window)")
    parser.add_argument(
        "--min-coverage",
        type=number(least=0, most=1),
        help="with --window: share of it that a modality must cover to count as available (default: 0.1)",
    )
    parser.add_argument("--language", help="where the run's transformer is now (folder or name), or none")
    parser.add_argument(
        "--face-model", help="where the run's face_landmarker.task is now (default: as for imder extract)"
    )
    add_transcription(parser)
    parser.add_argument("--audio-model", help="where the run's speech model for sound is now (folder or name)")
    parser.add_argument("--openface-program", help="FeatureExtraction or its folder, for videos (default: on PATH)")
    parser.add_argument("--level", type=float, default=0.9, help="how often intervals or sets should hold the label")
    parser.add_argument("--out", help="CSV to write; a single clip needs none")
    add_force(parser)


def run(options: Namespace) -> int:
    """Predict whatever was handed over."""
    given = {name: options[name] for name in CLIP if options[name] is not None}
    if options.corpus is not None and given:
        raise ImderError(
            f"{options.corpus} and --{next(iter(given))}: predict a corpus or manifest, or one clip, not both"
        )
    for name in ("hop", "min_coverage"):
        if options[name] is not None and options.window is None:
            raise ImderError(f"--{name.replace('_', '-')} is about windows: give --window too")
    from imder.extract.manifest import is_source

    clips = options.corpus is None or (is_source(options.corpus) and not is_run(options.corpus))
    _check_outputs(options, clips)
    for name in AVAILABLE:
        if clips and options[name] is not None:
            raise ImderError(f"--{name} applies to a corpus; for clips, leave out the inputs that should not be used")
    for name in EXTRACTION:
        if not clips and options[name] is not None:
            raise ImderError(f"--{name.replace('_', '-')} applies to recordings, not to the features of a corpus")
    if options.corpus is None:
        if not given:
            raise ImderError(
                "say what to predict: a corpus, a manifest of clips, or one clip with --video, --audio, --text or --openface"
            )
        from imder.cli import predict_media

        return (
            predict_media.recording(options, given)
            if options.window is not None
            else predict_media.clip(options, given)
        )
    if options.window is not None:
        raise ImderError("--window is for one recording: give it with --video, --audio, --openface or --transcript")
    if not clips:
        return _corpus(options)
    from imder.cli import predict_media

    return predict_media.clips(options)


def _check_outputs(options: Namespace, clips: bool) -> None:
    """Check the files that will be written, before anything slow is imported or read."""
    if options.out is None:
        return
    inputs = (options.run, options.corpus, *map(options.get, CLIP))
    check_output(options.out, RESULTS, inputs, options.force)
    if options.window is not None:
        check_output(plot_of(options.out), (), inputs, options.force)
    elif options.corpus is not None and clips:
        check_output(note_of(options.out, "failures"), FAILURES, inputs, options.force)
        check_output(note_of(options.out, "remarks"), REMARKS, inputs, options.force)


def _corpus(options: Namespace) -> int:
    """Predictions for a corpus, as CSV."""
    from imder.cli.trained import load_both, promise, recovery_lines, say_calibration
    from imder.evaluation.results import write_csv
    from imder.inference.predict import predict
    from imder.jobs.progress import counting

    if options.out is None:
        raise ImderError("say where the predictions go with --out FILE.csv")
    model, corpus = load_both(options)
    with counting("predicting") as report:
        rows = predict(
            model,
            corpus,
            options.split,
            available=available(options, model.spec.names),
            samples=options.samples,
            seed=options.seed,
            batch_size=options.batch_size,
            level=options.level,
            progress=report,
        )
    write_csv(rows, options.out)
    if model.calibration is not None:
        say(f"with {promise(model, options.level)}")
    say_calibration(model)
    say_all(recovery_lines(model))
    lacking = sum(not row["available"] for row in rows)
    nothing = f", {lacking} samples have nothing available," if lacking else ""
    say(f"{len(rows) - lacking} predictions{nothing} saved in {options.out}")
    return 0
