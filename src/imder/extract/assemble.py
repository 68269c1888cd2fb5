"""Assembly of finished clips into a store; features larger than memory pass through files.

If all labels are numbers, the task is regression; otherwise they are classes, numbered in the order of their names. Clips
without any modality are left out and counted. A modality that no clip has is not part of the corpus.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imder.data.corpus import SPLITS, Corpus, Ragged, Split, spec_of
from imder.data.store import space_for, write_store
from imder.extract.clip import Extracted
from imder.extract.manifest import Clip
from imder.extract.recipe import Recipe
from imder.extract.speech.words import Word
from imder.types import ImderError, Task

Load = Callable[[Clip], Extracted]

_CAUSES = 3
_UNSPLIT = "all"
_DECIMAL_COMMA = re.compile(r"^([+-]?\d*),(\d+)$", re.ASCII)  # as spreadsheets of many countries write numbers
_LIKE_A_NUMBER = re.compile(r"[+\-\u2212\u2013]?\s*\d[\d\s.,'\u2019_]*%?")


def read_labels(
    clips: Sequence[Clip], task: Task | None, where: str
) -> tuple[Task, tuple[str, ...], dict[str, float | int]]:
    """Task, class names, and the labels by clip id.

    Raises:
        ImderError: the task is regression and a label isn't a number, the task is None and only some labels are numbers or
            all look like numbers in another notation, or there are fewer than two classes.
    """
    numbers: dict[str, float | int] = {}
    not_a_number: Clip | None = None
    labelled = [clip for clip in clips if clip.label is not None]
    for clip in labelled:
        try:
            value = float(_DECIMAL_COMMA.sub(r"\1.\2", str(clip.label).replace("\u2212", "-")))  # a minus in print
            if not np.isfinite(value):
                raise ValueError
            numbers[clip.id] = value
        except ValueError:
            not_a_number = not_a_number or clip
    if task == "regression" or (task is None and not_a_number is None):
        if not_a_number is not None:
            raise ImderError(f"{where}: clip {not_a_number.id!r}: the label {not_a_number.label!r} is not a number")
        return "regression", (), numbers
    if task is None and numbers and not_a_number is not None:
        number = next(clip for clip in labelled if clip.id in numbers)
        raise ImderError(
            f"{where}: the label of clip {not_a_number.id!r} is {not_a_number.label!r}, that of clip {number.id!r} is the "
            f"number {number.label}: correct one, or use numbers as class names too with --task classification"
        )
    names = tuple(sorted({str(clip.label) for clip in labelled}))
    if task is None and names and all(map(_LIKE_A_NUMBER.fullmatch, names)):
        raise ImderError(
            f"{where}: labels such as {names[0]!r} look like numbers: write them as -1234.5, or use them as class names with "
            "--task classification"
        )
    if len(names) < 2:
        raise ImderError(f"{where}: classification needs at least two classes, found {', '.join(names) or 'none'}")
    return "classification", names, {clip.id: names.index(str(clip.label)) for clip in labelled}


def check_splits(clips: Sequence[Clip], where: str) -> None:
    """Raise an `ImderError` if only some clips have a split, or only some of those in dialogues a position."""
    with_split = [clip for clip in clips if clip.split is not None]
    if with_split and len(with_split) < len(clips):
        without = next(clip for clip in clips if clip.split is None)
        raise ImderError(f"{where}: clip {without.id!r} has no split, others have one: give all or none")
    check_positions(clips, where)


def check_positions(clips: Sequence[Clip], where: str) -> None:
    """Raise an `ImderError` if some clips of dialogues have a position and others don't."""
    if any(clip.position is not None for clip in clips):
        for clip in clips:
            if clip.dialogue is not None and clip.position is None:
                raise ImderError(f"{where}: clip {clip.id!r} has a dialogue but no position, unlike others")


def write_corpus(
    clips: Sequence[Clip],
    load: Load,
    recipe: Recipe,
    out: str | Path,
    work: Path,
    *,
    source: str,
    task: Task | None = None,
    notes: Mapping[str, str] | None = None,
) -> Corpus:
    """Write the store of finished clips.

    Args:
        clips: all clips, in order.
        load: returns the extracted features of a clip.
        recipe: the recipe of the features.
        out: the store.
        work: a folder for temporary files, removed afterwards.
        source: the manifest or folder, for the corpus' name and messages.
        task: the task; None to infer it from the labels.
        notes: contents of failures.csv and remarks.csv.

    Raises:
        ImderError: fewer than two modalities are left, or the store can't be written.
    """
    label_task, classes, labels = read_labels(clips, task, source)
    lengths = {clip.id: {name: len(values) for name, values in load(clip).features.items()} for clip in clips}
    names = [name for name in recipe.dims if any(name in modalities for modalities in lengths.values())]
    if len(names) < 2:
        raise ImderError(
            f"{source}: a corpus needs at least two modalities, these clips give {', '.join(names) or 'none'}{_causes(clips, load)}"
        )
    recipe = recipe.only(set(names))
    work.mkdir(parents=True, exist_ok=True)
    try:
        splits = {}
        for split in (*SPLITS, _UNSPLIT):
            members = [clip for clip in clips if (clip.split or _UNSPLIT) == split]
            if members:
                splits[split] = _split(members, split, load, lengths, recipe, work, label_task, labels)
        corpus = Corpus(_name(Path(source)), spec_of(splits, label_task, classes), splits, recipe.to_dict())
        write_store(corpus, out, notes=notes)
    except OSError as error:
        raise ImderError(f"{work}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return corpus


def _causes(clips: Sequence[Clip], load: Load) -> str:
    """How many modalities of clips failed and the first of them, as the end of a sentence."""
    failures = [(clip.id, *failure) for clip in clips for failure in load(clip).failures.items()]
    if not failures:
        return ""
    first = "; ".join(f"{clip}: {modality}: {reason}" for clip, modality, reason in failures[:_CAUSES])
    return f"; {len(failures)} failed, such as {first}"


def _name(source: Path) -> str:
    """The name of the source without suffix, or of its folder if the file is called manifest."""
    source = source.absolute()
    return source.parent.name if source.stem == "manifest" else source.stem


def _split(
    clips: Sequence[Clip],
    split: str,
    load: Load,
    lengths: Mapping[str, Mapping[str, int]],
    recipe: Recipe,
    work: Path,
    task: Task,
    labels: Mapping[str, float | int],
) -> Split:
    kept = [clip for clip in clips if any(name in lengths[clip.id] for name in recipe.dims)]
    offsets = {
        name: np.concatenate([[0], np.cumsum([lengths[c.id].get(name, 0) for c in kept])]).astype(np.int64)
        for name in recipe.dims
    }
    values = {
        name: space_for((int(offsets[name][-1]), dim), work / f"{split}.{name}") for name, dim in recipe.dims.items()
    }
    texts: list[str] = []
    tokens: list[NDArray[np.int64]] = []
    for i, clip in enumerate(kept):
        extracted = load(clip)
        for name in recipe.dims:
            if name in extracted.features:
                values[name][offsets[name][i] : offsets[name][i + 1]] = extracted.features[name]
        texts.append(extracted.text or "")
        tokens.append(np.zeros((0, 1), np.int64) if extracted.tokens is None else extracted.tokens[:, None])
    has_positions = any(clip.position is not None for clip in clips)
    return Split(
        ids=tuple(clip.id for clip in kept),
        features={name: Ragged(values[name], offsets[name]) for name in recipe.dims},
        labels=_labels(kept, task, labels),
        texts=tuple(texts) if any(texts) else None,
        dialogue=_names([clip.dialogue for clip in kept]),
        position=np.array([clip.position or 0 for clip in kept], np.int64) if has_positions else None,
        speaker=_names([clip.speaker for clip in kept]),
        nonfinite=dict.fromkeys(recipe.dims, 0),
        dropped=len(clips) - len(kept),
        tokens=Ragged.from_list(tokens, 1) if "language" in recipe.dims and tokens else None,
    )


def _labels(clips: Sequence[Clip], task: Task, labels: Mapping[str, float | int]) -> NDArray[Any] | None:
    if not any(clip.id in labels for clip in clips):
        return None
    if task == "regression":
        return np.array([labels.get(clip.id, np.nan) for clip in clips], np.float32)
    return np.array([labels.get(clip.id, -1) for clip in clips], np.int64)


def _names(names: Sequence[str | None]) -> tuple[str, ...] | None:
    return tuple(name or "" for name in names) if any(names) else None


def words_table(words: Sequence[tuple[str, Word]], model: str) -> str:
    """CSV of the words of transcripts: id, start and end in seconds, text, and the origin of the words."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("id", "start", "end", "text", "origin"))
    writer.writerows(
        (i, word.start, word.end, word.text.strip(), f"transcribed by Whisper {model}") for i, word in words
    )
    return file.getvalue()


def table(rows: Sequence[tuple[str, str, str]], last: str) -> str:
    """CSV with the columns id, modality and ``last``."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("id", "modality", last))
    writer.writerows(rows)
    return file.getvalue()
