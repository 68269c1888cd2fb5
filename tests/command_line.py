"""The command line in this process, and what it writes."""

import csv

from imder.cli import main


def imder_(*words: object) -> int:
    """Run a command: its exit code."""
    return main([str(word) for word in words])


def rows_of(path):
    """The rows of a CSV, as texts."""
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))
