"""Clips and their files, from a CSV manifest, a folder of media, or one media file.

A manifest has a header with any of the columns `COLUMNS`; paths are relative to the manifest. A folder is searched
recursively: files that differ only in their suffix (``a.mp4``, ``a.wav``, ``a.txt``, ``a.csv`` of OpenFace) are one clip,
whose id is the path within the folder, without suffix. A media file is one clip too, with ``a.txt`` and ``a.csv`` beside it.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imder.data.split_names import KNOWN, split_named
from imder.extract.decoded import DecodedFrames, DecodedSound
from imder.extract.openface import is_foreign
from imder.extract.text_files import csv_lines, read_text, separator_of
from imder.types import ImderError

log = logging.getLogger(__name__)

COLUMNS = ("id", "video", "audio", "text", "openface", "label", "split", "dialogue", "position", "speaker")
_VIDEO = "mp4 m4v mkv webm avi mov qt wmv asf mpg mpeg vob flv f4v 3gp 3g2 ts mts m2ts ogv mxf"
_SOUND = "wav flac ogg oga opus mp3 m4a m4b aac aif aiff aifc wma au caf w64 mka weba amr ac3"
VIDEOS = frozenset(f".{ending}" for ending in _VIDEO.split())
SOUNDS = frozenset(f".{ending}" for ending in _SOUND.split())

_SUBTITLES = frozenset({".srt", ".vtt", ".sbv", ".ass", ".ssa"})
_LONGEST_PATH = 200


@dataclass(frozen=True)
class Clip:
    """The files and properties of a clip; None for those that it lacks.

    Attributes:
        id: unique.
        video, audio, openface: files.
        text: the words; never blank.
        text_file: a file to read the words from, instead of ``text``.
        label: as written in the manifest.
        split: ``train``, ``valid`` or ``test``.
        dialogue, position, speaker: as in a corpus.
        sound: decoded sound, instead of ``audio``.
        frames: decoded frames, instead of the picture of ``video``.

    Raises:
        ImderError: a text or name holds half a surrogate pair, as Python reads bytes that aren't UTF-8.
    """

    id: str
    video: Path | None = None
    audio: Path | None = None
    openface: Path | None = None
    text: str | None = None
    text_file: Path | None = None
    label: str | None = None
    split: str | None = None
    dialogue: str | None = None
    position: int | None = None
    speaker: str | None = None
    sound: DecodedSound | None = None
    frames: DecodedFrames | None = None

    def __post_init__(self) -> None:
        for field in ("id", "text", "label", "dialogue", "speaker"):
            value = getattr(self, field) or ""
            if wrong := next((letter for letter in value if "\ud800" <= letter <= "\udfff"), None):
                raise ImderError(f"{field} {value[:60]!a}: {wrong!a} is not a character; names and texts are UTF-8")

    @property
    def has(self) -> dict[str, bool]:
        """For each modality, whether the clip has a source of it; a video may turn out to have no sound."""
        return {
            "language": self.text is not None or self.text_file is not None,
            "vision": self.openface is not None or self.picture_source is not None,
            "audio": self.sound_source is not None,
        }

    @property
    def sound_source(self) -> DecodedSound | Path | None:
        """What has the sound: an array, a sound file, or a video."""
        return self.sound or self.audio or self.video

    @property
    def picture_source(self) -> DecodedFrames | Path | None:
        """What has the picture: frames, or a video."""
        return self.frames or self.video


def read_source(path: str | Path) -> tuple[Clip, ...]:
    """The clips of a manifest or a folder, or the one of a media file.

    Raises:
        ImderError: the path doesn't exist, can't be read, or contradicts itself; the message names file and line.
    """
    path = Path(path)
    if not os.path.exists(path):  # also where the name is longer than names may be
        raise ImderError(f"{path}: there is no such file or folder")
    if path.suffix.lower() in VIDEOS | SOUNDS and not path.is_dir():
        return (_single(path.absolute()),)
    clips = tuple(_folder(path) if path.is_dir() else _manifest(path))
    if not clips:
        what = "no media or text in this folder" if path.is_dir() else "no rows below the header"
        raise ImderError(f"{path}: {what}")
    return clips


def is_source(path: str | Path) -> bool:
    """Whether a path looks like a manifest or a folder of media (`read_source`) and not like a corpus."""
    path = Path(path)
    if not path.is_dir():
        return path.suffix.lower() in (".csv", ".tsv", ".txt")
    if (path / "corpus.json").exists() or any(path.glob("*.npz")):
        return False
    return any(file.suffix.lower() in VIDEOS | SOUNDS | {".txt", ".csv"} for file in path.rglob("*"))


def _folder(path: Path) -> Iterator[Clip]:
    if (path / "manifest.csv").exists():
        raise ImderError(f"{path}: holds a manifest; to use it, give {path / 'manifest.csv'}")
    files_of: dict[str, dict[str, Path]] = {}
    subtitles = []
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        relative = file.relative_to(path)
        if any(part.startswith(".") for part in relative.parts) or _is_output(file.parent, path):
            continue
        suffix = file.suffix.lower()
        kind = "video" if suffix in VIDEOS else "audio" if suffix in SOUNDS else None
        kind = {".txt": "text_file", ".csv": "openface"}.get(suffix, kind)
        if suffix in _SUBTITLES:
            subtitles.append(relative.as_posix())
        if kind is None:
            continue
        clip = files_of.setdefault(relative.with_suffix("").as_posix(), {})
        if kind in clip:
            raise ImderError(f"{path}: {clip[kind].name} and {file.name} would both be the {kind} of one clip")
        clip[kind] = file.absolute()
    if subtitles:
        log.warning(
            "%s: %d files of subtitles are not read, such as %s; save the words of a clip as .txt",
            path,
            len(subtitles),
            subtitles[0],
        )
    tables = [name for name, files in files_of.items() if [*files] == ["openface"] and is_foreign(files["openface"])]
    if tables:
        log.warning(
            "%s: %d tables are not OpenFace's and not read, such as %s",
            path,
            len(tables),
            files_of[tables[0]]["openface"].name,
        )
    for name in tables:
        del files_of[name]
    alone = [name for name, files in files_of.items() if not {"video", "audio"} & files.keys()]
    if alone and len(alone) < len(files_of):
        log.warning(
            "%s: %d clips have a text or table, but no media of their name, such as %s", path, len(alone), alone[0]
        )
    for name, files in files_of.items():
        yield Clip(
            name,
            files.get("video"),
            files.get("audio"),
            files.get("openface"),
            text_file=files.get("text_file"),
        )


def _single(file: Path) -> Clip:
    """The clip of a media file, with the text and the table beside it."""
    text, table = (beside if (beside := file.with_suffix(suffix)).is_file() else None for suffix in (".txt", ".csv"))
    video, audio = (file, None) if file.suffix.lower() in VIDEOS else (None, file)
    return Clip(file.stem, video, audio, table, text_file=text)


def _is_output(folder: Path, top: Path) -> bool:
    """Whether a folder at or below ``top`` is part of a store or of an unfinished extraction."""
    ancestors = [folder, *folder.parents]
    return any((f / "corpus.json").exists() or f.suffix == ".partial" for f in ancestors[: ancestors.index(top) + 1])


def _manifest(path: Path) -> Iterator[Clip]:
    text = read_text(path, "; save it as CSV UTF-8")
    separator = separator_of(text)
    lines: dict[str, int] = {}
    rows = csv.reader(csv_lines(text), delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_header(path, header)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise ImderError(
                    f"{path}: line {rows.line_num}: {len(row)} cells where the header has {len(header)} "
                    "(put a text that contains the separator in double quotes)"
                )
            where = f"{path}: line {rows.line_num}"
            clip = _clip(where, path.absolute().parent, dict(zip(header, row)), rows.line_num)
            if clip.id in lines:
                raise ImderError(f"{path}: lines {lines[clip.id]} and {rows.line_num} have the same id {clip.id!r}")
            lines[clip.id] = rows.line_num
            if clip.text is not None and _names_file(path.absolute().parent, clip.text):
                log.warning("%s: text: %r is a file; its name is read as the words, not its content", where, clip.text)
            yield clip
    except csv.Error as error:
        raise ImderError(f"{path}: line {rows.line_num}: not CSV ({error})") from None


def _names_file(folder: Path, text: str) -> bool:
    return len(text) < _LONGEST_PATH and "." in text and os.path.isfile(folder / text)


def _check_header(path: Path, header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS:
            hint = f" (did you mean {name.lower()!r}?)" if name.lower() in COLUMNS else ""
            raise ImderError(f"{path}: unknown column {name!r}{hint}; a manifest may have {', '.join(COLUMNS)}")
        if header.count(name) > 1:
            raise ImderError(f"{path}: the column {name!r} occurs twice")
    if not {"video", "audio", "text", "openface"} & set(header):
        raise ImderError(f"{path}: no column to extract from; give video, audio, text or openface")


def _clip(where: str, folder: Path, row: Mapping[str, str], line: int) -> Clip:
    cells = {name: text.strip() for name, text in row.items() if text.strip()}
    files = {name: folder / cells[name] for name in ("video", "audio", "openface") if name in cells}
    for name, file in files.items():
        try:
            is_folder = not file.name or file.is_dir()
            usable = "\0" not in cells[name]
        except OSError:  # longer than names may be
            usable = False
        if not usable:
            raise ImderError(f"{where}: {name}: {cells[name][:60]!r} can't be a path")
        if is_folder:
            raise ImderError(f"{where}: {name}: {cells[name]!r} is a folder; the file itself is needed")
    default_id = next((Path(cells[k]).with_suffix("").as_posix() for k in files), f"clip-{line - 1}")
    split = cells.get("split")
    if split is not None:
        split = split_named(split)
        if split is None:
            raise ImderError(f"{where}: unknown split {cells['split']!r}; known are {KNOWN}")
    position = None
    if "position" in cells:
        try:
            position = int(cells["position"])
        except ValueError:
            raise ImderError(f"{where}: position: {cells['position']!r} is not a whole number") from None
        if "dialogue" not in cells:
            raise ImderError(f"{where}: a position without a dialogue")
    return Clip(
        cells.get("id", default_id),
        files.get("video"),
        files.get("audio"),
        files.get("openface"),
        text=cells.get("text"),
        label=cells.get("label"),
        split=split,
        dialogue=cells.get("dialogue"),
        position=position,
        speaker=cells.get("speaker"),
    )
