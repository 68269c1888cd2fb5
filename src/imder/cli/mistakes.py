"""Messages of the parser, rewritten: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches

from imder.models.configuration import plain_message


def nearest(word: str, choices: Iterable[str]) -> str:
    """``; did you mean ...?`` with the most similar choice, or nothing where none is similar.

    The only choice that ends in ``.word``, or else that begins with it, comes first. Of options with dots the last parts must be
    similar, since most begin alike.

    >>> nearest("--protoc", ["--protocol", "--draws"])
    '; did you mean --protocol?'
    >>> nearest("--epochs", ["--training.score.epochs", "--steps"])
    '; did you mean --training.score.epochs?'
    >>> nearest("--loss", ["--protocol", "--draws"])
    ''
    >>> nearest("--model.recovery.distilled", ["--model.encoder.steps"]), nearest("--model.encoder.step", ["--model.encoder.steps"])
    ('', '; did you mean --model.encoder.steps?')
    """
    names = [name for name in choices if "." not in word or _last_alike(word, name)]
    nested = [name for name in names if name.endswith(f".{word.removeprefix('--')}")]
    longer = [name for name in names if name.startswith(word)]
    matches = next((m for m in (nested, longer) if len(m) == 1), get_close_matches(word, longer or names, 1, 0.7))
    return f"; did you mean {matches[0]}?" if matches else ""


def _last_alike(word: str, name: str) -> bool:
    """Whether the parts after the last dots are similar."""
    return SequenceMatcher(None, word.rpartition(".")[2], name.rpartition(".")[2]).ratio() >= 0.6


def explain(message: str, prog: str, options: Sequence[str]) -> str:
    r"""The parser's message in plain words.

    Args:
        message: what jsonargparse or argparse says.
        prog: the command, such as ``imder train``.
        options: all option names of the command, among which the nearest to an unknown one is looked for.

    >>> explain("unrecognized arguments: --protoc random", "imder evaluate", ["--protocol"])
    'unknown option --protoc; did you mean --protocol?'
    >>> explain('Parser key "draws": Expected a <class \'int\'>. Got value: x', "imder evaluate", ["--draws"])
    "--draws: 'x' is not a whole number"
    """
    text = " ".join(message.split())
    if match := re.match(r"[Uu]nrecognized arguments: (.*)", text):
        return _unrecognized(match[1].split(" "), prog, options)
    if match := re.match(r"Group '(.*?)' does not accept option '(.*?)'", text):
        return _unrecognized([f"--{match[1]}.{match[2]}"], prog, options)
    if match := re.match(r"argument (\S+): invalid choice: '?(.*?)'? \(choose from (.*)\)", text):
        choices = [choice.strip("' ") for choice in match[3].split(",")]
        return f"{match[1]}: {match[2]!r} is not one of {', '.join(choices)}{nearest(match[2], choices)}"
    if match := re.match(r"argument (\S+): expected one argument", text):
        return f"{match[1]}: give a value"
    if match := re.match(r"the following arguments are required: (.*)", text):
        words = [w if w.startswith("-") else w.upper() for w in match[1].split(", ")]
        return f"{prog}: {' and '.join(words)} missing (see {prog} --help)"
    return plain_message(re.sub(r"^argument (\S+?):", r"\1:", text), "--")


def _unrecognized(words: Sequence[str], prog: str, options: Sequence[str]) -> str:
    """The first unknown option, or, where every word that is left over is a plain one, the first of them."""
    unknown = next((word for word in words if word.startswith("-")), None)
    if unknown is None:
        return f"unexpected argument {words[0]!r} (see {prog} --help)"
    name = unknown.partition("=")[0]
    return f"unknown option {name}{nearest(name, options) or f' (see {prog} --help)'}"
