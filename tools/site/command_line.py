"""Write docs/command-line.md from the parsers of the commands: `python tools/site/command_line.py`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imder.cli.commands import COMMANDS
from imder.cli.parser import Parser
from imder.models.presets import read_preset

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
PRESET = "fast"
INTRODUCTION = """# Command line

Written by `tools/site/command_line.py` from the commands themselves; `imder COMMAND --help` prints the same.

```text
{overview}
```

Exit codes: 0 if everything worked, 1 if nothing did, 2 for a mistake in the call, 3 if a part failed (it is listed), 130 after Ctrl-C.
Options must be written in full. `python -m imder` is the same as `imder`.
"""
TRAIN = """Every key of the configuration is an option: `--model.KEY` and `--training.KEY`, on top of the preset and of `--config`.
`RUN/config.yaml` holds the complete configuration of a run, and is a file for `--config`. The keys of `--model` are those of the
preset's system; below, those of IMDer with what the preset `fast` sets."""


def page() -> str:
    """The whole page."""
    width = max(map(len, COMMANDS))
    overview = "\n".join(f"imder {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
    parts = [INTRODUCTION.format(overview=overview)]
    for name, command in COMMANDS.items():
        parser = Parser(f"imder {name}", command.help, [])
        command.load().add_options(parser)
        parts += [f"## imder {name}", capitalised(command.help), usage(parser), *tables(parser, name)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def usage(parser: Parser) -> str:
    """Positional arguments and required options."""
    words = [parser.prog]
    for action in actions(parser):
        if action.option_strings and action.required:
            words.append(f"{action.option_strings[-1]} {metavar(action)}")
        elif not action.option_strings:
            name = str(action.metavar or action.dest).upper()
            words.append(f"[{name}]" if action.nargs == "?" else name)
    return f"```text\n{' '.join(words)} [options]\n```"


def tables(parser: Parser, name: str) -> list[str]:
    """Arguments and options; the configuration's keys by group."""
    plain = [a for a in actions(parser) if "." not in a.dest]
    rows = [[f"`{shown(a)}`", default(a), description(a)] for a in plain]
    parts = [table(["argument or option", "default", "meaning"], rows)]
    keys = [a for a in actions(parser) if "." in a.dest]
    if not keys:
        return parts
    settings = flat(read_preset(PRESET))
    parts.append(TRAIN)
    phases = list(dict.fromkeys(m[1] for a in keys if (m := re.match(r"training\.(\w+)\.max_epochs", a.dest))))
    for title, prefix in groups(keys, phases):
        chosen = [a for a in keys if a.dest.startswith(prefix) and "." not in a.dest.removeprefix(prefix)]
        known = any(a.dest in settings for a in chosen)
        heads = ["key", "type", "default", *(["`fast`"] if known else []), "meaning"]
        rows = [
            [
                f"`{a.dest.removeprefix(prefix)}`",
                f"`{metavar(a)}`",
                default(a),
                *([value(settings.get(a.dest))] if known else []),
                description(a),
            ]
            for a in chosen
        ]
        words = f"One of `--training.PHASE` for each phase: {', '.join(phases)}; `fast` here: `{phases[0]}`."
        parts += [f"### {title}", *([words] if prefix.startswith("training.stage1") else []), table(heads, rows)]
    return parts


def groups(keys: Iterable[argparse.Action], phases: Sequence[str]) -> list[tuple[str, str]]:
    """Title and prefix of each group of keys; of the phases the first stands for all."""
    found = dict.fromkeys(a.dest.rpartition(".")[0] + "." for a in keys)
    kept = [p for p in found if not any(p == f"training.{phase}." for phase in phases[1:])]
    return [(f"--{p.rstrip('.').replace(f'training.{phases[0]}', 'training.PHASE')}", p) for p in kept]


def actions(parser: Parser) -> list[argparse.Action]:
    """What can be typed, without help and files of configuration groups."""
    return [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction) and type(action).__name__ != "_ActionConfigLoad"
    ]


def shown(action: argparse.Action) -> str:
    """An argument's name, or an option with its value."""
    if not action.option_strings:
        return str(action.metavar or action.dest).upper()
    return action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {metavar(action)}"


def metavar(action: argparse.Action) -> str:
    """What stands for an option's value."""
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    text = str(action.metavar) if action.metavar else ""
    kind = getattr(action, "_typehint", None)
    if text.startswith("{"):
        return text
    if kind is not None:
        return (
            str(getattr(kind, "__name__", kind))
            if isinstance(kind, type)
            else str(kind).replace("typing.", "").replace(" | ", " or ")
        )
    return text or action.dest.upper().replace("_", "-")


def default(action: argparse.Action) -> str:
    """A default, empty where there is none."""
    plain = "." not in action.dest and action.default is False
    return "" if plain else value(action.default)


def value(found: Any) -> str:
    """A value as it is typed."""
    if found is None or found == argparse.SUPPRESS:
        return ""
    if isinstance(found, bool):
        return f"`{str(found).lower()}`"
    if isinstance(found, (list, tuple)):
        text = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in found)
        return f"`{text}`"
    return f"`{found:g}`" if isinstance(found, float) else f"`{found}`"


def description(action: argparse.Action) -> str:
    """A help text in one line of Markdown."""
    text = " ".join((action.help or "").replace("``", "`").split())
    return re.sub(r" \(default: %\(default\)s\)", "", text).replace("|", "\\|")


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping by dotted keys."""
    out: dict[str, Any] = {}
    for key, entry in mapping.items():
        out |= flat(entry, f"{prefix}{key}.") if isinstance(entry, Mapping) else {f"{prefix}{key}": entry}
    return out


def capitalised(text: str) -> str:
    """A sentence."""
    return f"{text[0].upper()}{text[1:]}."


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", r"\|") if "`" in cell and "\\|" not in cell else cell
             for cell in row] for row in rows)]  # fmt: skip
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
