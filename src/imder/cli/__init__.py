"""The command line, one file for each kind of command. Nothing here is imported by the library, and only this prints."""

from imder.cli.entry import main

__all__ = ["main"]
