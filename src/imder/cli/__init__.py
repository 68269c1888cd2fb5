"""The command line: one file for each command, one table of commands. The library never imports it, and only it prints."""

from imder.cli.entry import main

__all__ = ["main"]
