"""Texts that may quote a stranger's file, made fit for a terminal and for one line."""

from __future__ import annotations

import re

_BREAKS = re.compile(r"\s*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    r"""A text that may quote a stranger's file, as a terminal shows it instead of obeying it.

    Control characters, and those that change the direction of writing, are escaped; line feeds stay.

    >>> harmless("\x1b[2Jcalm\n")
    '\\x1b[2Jcalm\n'
    """
    return _CONTROLS.sub(lambda control: ascii(control[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""`harmless` without breaks of lines, which become spaces.

    >>> one_line("unknown key max_epoch\n2")
    'unknown key max_epoch 2'
    """
    return harmless(_BREAKS.sub(" ", text))
