"""``imder extract``: from raw clips to a store."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from imder.cli.console import PARTLY, counted, say, say_all, shown_failures
from imder.cli.options import add_backend, add_transcription, thread_count
from imder.cli.parser import number, whole

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser
    from imder.extract.manifest import Clip
    from imder.extract.recipe import Recipe, VisionRecipe
    from imder.extract.runner import Outcome


AUDIO = (
    "librosa33, mel64, egemaps, whisper[:SIZE or FOLDER], a speech model such as microsoft/wavlm-base-plus (name or folder), "
    "or none (default: whisper if it is installed, else librosa33)"
)

INSTALL_ALL = "pip install '.[all]'"


def add_options(parser: Parser) -> None:
    """Options of ``imder extract``."""
    parser.add_argument("source", help="CSV manifest, folder of media, or media file")
    parser.add_argument("out", help="store to write")
    parser.add_argument(
        "--language", help="transformer (folder or name), or none (default: BERT of the texts' language)"
    )
    parser.add_argument("--max-tokens", type=whole(1), default=50, help="tokens of a text, two of them special")
    parser.add_argument("--audio", help=AUDIO)
    parser.add_argument(
        "--audio-rate", type=number(above=0), help="speech models: steps a second (default: 10)", metavar="RATE"
    )
    parser.add_argument(
        "--audio-layers",
        help="speech models: mean, last, 4-8, or weights such as 3:1,6:2 (default: mean; whisper: the last but one)",
    )
    add_transcription(parser)
    parser.add_argument(
        "--vision",
        help="face (62), face+landmarks (1496), OpenFace columns: cues (49), sims (709), groups such as pose+aus, or none "
        "(default: cues with tables or the program of OpenFace, else face)",
    )
    parser.add_argument("--fps", type=whole(1), default=15, help="face: most frames a second")
    parser.add_argument(
        "--person", default="longest", help="face that counts: longest, largest, or its number 0, 1, ... as they appear"
    )
    parser.add_argument(
        "--face-model", help="face_landmarker.task (default: $IMDER_FACE_MODEL, else fetched once into the cache)"
    )
    parser.add_argument("--openface", help="OpenFace's FeatureExtraction or its folder (default: on PATH, if anywhere)")
    parser.add_argument(
        "--task", choices=["regression", "classification"], help="kind of labels (default: by the labels)"
    )
    add_backend(parser, "clips", "its share of the cores")


def run(options: Namespace) -> int:
    """Extract, then print what was made and what failed."""
    from imder.extract.choose import NONE, choose_recipe
    from imder.extract.extractors import leaves_video_unused
    from imder.extract.face.extractor import FaceOptions
    from imder.extract.runner import extract
    from imder.extract.vision import find_openface
    from imder.jobs.progress import counting

    openface = find_openface(options.openface)
    missing: list[str] = []
    choose = partial(
        choose_recipe,
        language=options.language,
        max_tokens=options.max_tokens,
        audio=options.audio,
        audio_rate=options.audio_rate,
        audio_layers=options.audio_layers,
        transcribe=options.transcribe,
        asr_model=options.asr_model,
        asr_language=options.asr_language,
        notify=missing.append,
        vision=options.vision,
        openface=openface,
        face=FaceOptions(options.fps, options.person, options.face_model),
    )

    def recipe_of(clips: tuple[Clip, ...]) -> Recipe:
        recipe = choose(clips)
        unused = [clip for clip in clips if clip.video is not None and clip.openface is None]
        if recipe.vision is not None:
            unused = [clip for clip in unused if leaves_video_unused(recipe, clip, openface)]
        if unused and options.vision != NONE:
            missing.append(
                f"vision is missing in {len(unused)} videos: it needs --vision face (pip install '.[face]'), "
                "or a table of OpenFace for each, or OpenFace's program (--openface)"
            )
        say_all(missing)
        if any("pip install" in line for line in missing):
            say(f"one command installs all that can be: {INSTALL_ALL}")
        say_all(_describe(recipe))
        return recipe

    with counting("extracting") as report:
        outcome = extract(
            options.source,
            options.out,
            recipe_of,  # type: ignore[arg-type]
            openface=openface,
            task=options.task,
            jobs=options.jobs,
            threads=thread_count(options),
            backend=options.backend,
            address=options.address,
            report=report,
        )
    say_all(_report(outcome, str(options.out)))
    return PARTLY if outcome.failures else 0


def resume_advice(options: Namespace) -> str:
    """How to continue an interrupted extraction."""
    del options
    return "the same command continues with the finished clips"


def _describe(recipe: Recipe) -> list[str]:
    """A line for each modality's features."""
    from imder.extract.recipe import SpeechRecipe

    lines = []
    if recipe.language is not None:
        language = recipe.language
        lines.append(f"language: {language.model}, at most {language.max_tokens} tokens of {language.dim} features")
    if recipe.transcription is not None:
        model = recipe.transcription.model
        lines.append(
            f"clips with sound and no text: transcribed by Whisper {model}, {recipe.transcription.language or 'language detected'}"
        )
    if recipe.vision is not None:
        lines.append(f"vision: {_vision(recipe.vision)}")
    if recipe.audio is not None:
        audio = recipe.audio
        rate = f"{audio.frames_per_second:.4g} frames a second at {audio.rate} Hz"
        kind = f"{audio.kind} ({audio.model}, layers {audio.layers})" if isinstance(audio, SpeechRecipe) else audio.kind
        lines.append(f"audio: {kind}, {audio.dim} features, {rate}")
    return lines


def _vision(recipe: VisionRecipe) -> str:
    """How faces are measured."""
    from imder.extract.recipe import FaceRecipe

    if isinstance(recipe, FaceRecipe):
        person = f"face {recipe.person}" if recipe.person.isdigit() else f"the {recipe.person} face"
        if recipe.person == "longest":
            person = "the face tracked longest"
        return f"{recipe.columns}, {recipe.dim} features a frame, at most {recipe.fps} frames a second, {person}"
    return f"OpenFace, {recipe.columns}, {recipe.dim} features a frame"


def _report(outcome: Outcome, out: str) -> list[str]:
    """What was made, remarks and failures."""
    from imder.extract.runner import about

    sizes = about(outcome)
    lines = []
    if outcome.resumed:
        lines.append(f"{counted(outcome.resumed, 'clip')} finished already")
    if outcome.transcribed:
        lines.append(f"{counted(outcome.transcribed, 'clip')} transcribed; the words and their times: {out}/words.csv")
    if outcome.remarks:
        kinds = Counter(name for _, name, _ in outcome.remarks)
        counts = ", ".join(f"{name} {n}" for name, n in kinds.items())
        lines.append(f"remarks on {counted(len(outcome.remarks), 'clip')} ({counts}): {out}/remarks.csv")
    if outcome.untracked:
        lines.append(f"vision: {outcome.untracked} frames without a tracked face were left out")
    advice = "once their causes are gone, the same command extracts only those clips"
    lines += shown_failures(outcome.failures, f"{out}/failures.csv", advice)
    present = ", ".join(f"{name} in {n}" for name, n in sizes["present"].items())
    lines.append(f"{counted(sizes['clips'], 'clip')} ({present}) in {outcome.seconds:.1f} s saved in {out}")
    return lines
