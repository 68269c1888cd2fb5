"""The table of commands. A new command is one file with `add_options` and `run`, and one row here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from imder.cli.mistakes import nearest
from imder.types import ImderError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser

INTRODUCTION = "Emotion recognition from language, vision and audio when some of them are missing."


class CommandModule(Protocol):
    """What the file of a command holds. It imports torch and the like in `run` alone, so that help is quick.

    A command that can continue after an interrupt also has ``resume_advice(options) -> str``, what to type.
    """

    def add_options(self, parser: Parser) -> None:
        """Add the command's options to its parser."""
        ...

    def run(self, options: Namespace) -> int:
        """Run the command; returns the exit code."""
        ...


@dataclass(frozen=True)
class Command:
    """One row: the import path of the command's module, which is imported when the command is used, and its help line."""

    module: str
    help: str

    def load(self) -> CommandModule:
        """Import the command's module."""
        return cast(CommandModule, import_module(self.module))


COMMANDS: dict[str, Command] = {
    "train": Command("imder.cli.train", "train a system on a corpus"),
    "evaluate": Command("imder.cli.evaluate", "table of a trained system under a missing-modality protocol"),
    "predict": Command("imder.cli.predict", "predictions and their uncertainty for a corpus, clips or a recording"),
    "serve": Command("imder.cli.serve", "a trained system over HTTP, with a page to try it on"),
    "live": Command("imder.cli.live", "predictions of a camera and a microphone as they come, or of a file replayed"),
    "recover": Command("imder.cli.recover", "encodings of the missing modalities, sampled and refined"),
    "impute": Command("imder.cli.impute", "raw features of the missing modalities, as draws: a corpus for each"),
    "benchmark": Command("imder.cli.benchmark", "compare systems: a resumable grid of models and seeds"),
    "report": Command("imder.cli.report", "a run or a benchmark as one HTML file: figures, tables, settings"),
    "tune": Command("imder.cli.tune", "search a preset's learning rate, weight decay, dropout and width"),
    "extract": Command("imder.cli.extract", "features from videos, sound, transcripts and OpenFace tables"),
    "data inspect": Command("imder.cli.data_inspect", "sizes, lengths, labels, presence and oddities of a corpus"),
    "data convert": Command("imder.cli.data_convert", "write a corpus as a store: ragged, memory-mapped, no pickles"),
    "export": Command("imder.cli.export", "a trained system as ONNX files, for programs without Python"),
    "push": Command("imder.cli.push", "upload a trained model with its card to the hub"),
    "demo": Command("imder.cli.demo", "train and evaluate on a corpus whose exact answers are known"),
    "info": Command("imder.cli.info", "versions, devices, and a run or corpus in short, for bug reports"),
}
"""Commands by the words that a user types. The order is that of ``imder --help``."""


def find_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command that ``words`` begin with, in full, and the words after it.

    Raises:
        ImderError: no command, or an unknown one.
    """
    for length in (2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and name in COMMANDS:
            return name, list(words[length:])
    first = words[0] if words else ""
    group = group_members(first)
    if group:
        choices = ", ".join(name.removeprefix(f"{first} ") for name in group)
        given = f", not {words[1]!r}" if len(words) > 1 else ""
        raise ImderError(f"imder {first}: choose one of {choices}{given}")
    names = list(dict.fromkeys(name.split(" ")[0] for name in COMMANDS))
    if not first:
        raise ImderError(f"choose a command: {', '.join(names)} (imder --help)")
    if grouped := [name for name in COMMANDS if name.endswith(f" {first}")]:
        raise ImderError(f"there is no command {first!r}; did you mean {grouped[0]}?")
    raise ImderError(f"there is no command {first!r}{nearest(first, names)} (imder --help lists all)")


def group_members(name: str) -> list[str]:
    """The commands of a group: ``data`` has ``data inspect`` and ``data convert``."""
    return [member for member in COMMANDS if name and member.startswith(f"{name} ")]


def overview(group: str = "") -> str:
    """The text of ``imder --help``, or of a group's."""
    rows = {name: command.help for name, command in COMMANDS.items() if not group or name.startswith(f"{group} ")}
    width = max(map(len, rows))
    prog = f"imder {group}".rstrip()
    lines = [f"usage: {prog} COMMAND ...", "", INTRODUCTION, "", "commands:"]
    lines += [f"  {name:<{width}}  {text}" for name, text in rows.items()]
    lines += ["", "`imder COMMAND --help` describes a command's options; `imder --version` prints the version."]
    return "\n".join(lines)
