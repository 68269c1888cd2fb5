"""``imder extract``: from raw clips to a store."""

from __future__ import annotations

from collections import Counter
from functools import partial

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from imder.cli.progress import counting
from imder.extract.choose import NONE, choose_recipe
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.extract.runner import Outcome, about
from imder.extract.runner import extract as extract_clips
from imder.extract.vision import find_openface

console = Console()

PART = 3
"""Exit code: something could not be extracted."""
_SHOWN = 5


def extract(options: Namespace) -> int:
    """``imder extract``."""
    openface = find_openface(options.openface)
    choose = partial(
        choose_recipe,
        language=options.language,
        max_tokens=int(options.max_tokens),
        audio=options.audio,
        vision=options.vision,
        openface=openface,
    )

    def recipe_of(clips: tuple[Clip, ...]) -> Recipe:
        recipe = choose(clips)
        console.print(Text("\n".join(_describe(recipe))))
        unseen = sum(clip.video is not None and clip.openface is None for clip in clips)
        if unseen and openface is None and options.vision != NONE:
            console.print(
                f"nothing looks at the picture of {unseen} videos: "
                "vision needs a table of OpenFace, or its program (--openface)"
            )
        return recipe

    with counting("extracting") as report:
        outcome = extract_clips(
            options.source,
            options.out,
            recipe_of,  # type: ignore[arg-type]
            openface=openface,
            task=options.task,
            jobs=int(options.jobs),
            threads=int(options.threads),
            backend=options.backend,
            address=options.address,
            report=report,
        )
    for line in _report(outcome, str(options.out)):
        console.print(Text(line))
    return PART if outcome.failures else 0


def _describe(recipe: Recipe) -> list[str]:
    lines = []
    if recipe.language is not None:
        part = recipe.language
        lines.append(f"language: {part.model}, at most {part.max_tokens} tokens of {part.dim} features")
    if recipe.vision is not None:
        lines.append(f"vision: OpenFace, {recipe.vision.columns}, {recipe.vision.dim} features a frame")
    if recipe.audio is not None:
        sound = recipe.audio
        lines.append(
            f"audio: {sound.kind}, {sound.dim} features, {sound.frames_per_second:.4g} frames a second at {sound.rate} Hz"
        )
    return lines


def _report(outcome: Outcome, out: str) -> list[str]:
    """What was made, what is to be known of it, what failed."""
    sizes = about(outcome)
    lines = []
    if outcome.resumed:
        lines.append(f"{outcome.resumed} clips were finished already")
    if outcome.remarks:
        kinds = Counter(name for _, name, _ in outcome.remarks)
        counts = ", ".join(f"{name} {n}" for name, n in kinds.items())
        lines.append(f"remarks on {len(outcome.remarks)} clips ({counts}): {out}/remarks.csv")
    if outcome.untracked:
        lines.append(f"vision: {outcome.untracked} frames without a tracked face were left out")
    for sample, name, reason in outcome.failures[:_SHOWN]:
        lines.append(f"failed: {sample}: {name}: {reason}")
    if outcome.failures:
        more = len(outcome.failures) - _SHOWN
        lines.append(
            f"{f'and {more} more; ' if more > 0 else ''}{len(outcome.failures)} failures in {out}/failures.csv; "
            "once their causes are gone, the same command makes only those clips again"
        )
    here = ", ".join(f"{name} in {n}" for name, n in sizes["present"].items())
    lines.append(f"{sizes['clips']} clips ({here}) in {outcome.seconds:.1f} s saved in {out}")
    return lines
