"""What the page "extending" says, done: its files written into a copy of the package, its commands and Python run there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title (empty for none) and its text."""

    language: str
    title: str
    text: str


def sections() -> dict[str, list[Block]]:
    """The blocks of each section of the page."""
    parts = re.split(r"^## (.*)\n", PAGE.read_text(), flags=re.MULTILINE)
    return {name: [Block(*m) for m in FENCE.findall(text)] for name, text in zip(parts[1::2], parts[2::2], strict=True)}


class Project:
    """A copy of the package with every file and row of the page, a package beside it, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.source, self.site, self.work = folder / "src", folder / "site", folder / "work"
        shutil.copytree(ROOT / "src", self.source, ignore=shutil.ignore_patterns("__pycache__"))
        self.work.mkdir()
        for blocks in sections().values():
            for block in blocks:
                if block.title:
                    self._write(block)

    def _write(self, block: Block) -> None:
        if row := re.fullmatch(r"row of (\w+) in src/(\S+)", block.title):
            insert_row(self.source / row[2], row[1], block.text)
        elif appended := re.fullmatch(r"append to src/(\S+)", block.title):
            append(self.source / appended[1], block.text)
        elif imported := re.fullmatch(r"import in src/(\S+)", block.title):
            insert_import(self.source / imported[1], block.text)
        elif block.title == "pyproject.toml":
            install(self.site, tomllib.loads(block.text)["project"])
        else:
            inside = block.title.startswith("src/")
            path = self.source / block.title.removeprefix("src/") if inside else self.site / block.title
            assert not path.exists(), f"{block.title} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)

    def run(self, section: str) -> str:
        """Run the commands and the untitled Python of a section, in order, in one process; returns its output."""
        lines = ["from imder.cli import main"]
        for block in sections()[section]:
            if block.language == "python" and not block.title:
                lines.append(block.text)
            if block.language == "bash":
                for line in block.text.splitlines():
                    words = shlex.split(line, comments=True)
                    assert words[0] == "imder", line
                    lines.append(f"assert main({words[1:]!r}) in (0, None), {line!r}")
        path = os.pathsep.join([str(self.source), str(self.site)])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)], cwd=self.work, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def insert_row(path: Path, table: str, text: str) -> None:
    """Put a row before the first row of a table, which begins as the new one does."""
    lines = path.read_text().splitlines()
    (start,) = (i for i, line in enumerate(lines) if re.match(rf"{table}\b.*=", line))
    if lines[start].endswith("]"):  # a table on one line
        lines[start] = lines[start].replace("= [", f"= [{text.strip()} ")
        path.write_text("\n".join(lines) + "\n")
        return
    kind = re.match(r'"|\w+\(|[A-Z]', text)[0]
    if kind.isupper():  # a name among names
        kind = lines[start + 1].lstrip()[0]
    first = next(i for i in range(start + 1, len(lines)) if lines[i].lstrip().startswith(kind))
    indent = lines[first][: -len(lines[first].lstrip())]
    lines[first:first] = [indent + line if line else line for line in text.splitlines()]
    path.write_text("\n".join(lines) + "\n")


def append(path: Path, text: str) -> None:
    """Put a function behind the functions of a file: before its first class or table, or at its end."""
    whole = path.read_text()
    functions = whole.index("\ndef ")
    after = re.search(r"^(@dataclass|class [A-Z]|[A-Z]+: )", whole[functions:], re.MULTILINE)
    cut = len(whole) if after is None else functions + after.start()
    path.write_text(f"{whole[:cut].rstrip()}\n\n\n{text}\n\n{whole[cut:]}".rstrip() + "\n")


def insert_import(path: Path, text: str) -> None:
    """Put an import where the alphabet wants it among those of the package."""
    lines = path.read_text().splitlines()
    imports = [i for i, line in enumerate(lines) if line.startswith("from imder.")]
    at = next((i for i in imports if lines[i] > text), imports[-1] + 1)
    path.write_text("\n".join([*lines[:at], text.strip(), *lines[at:]]) + "\n")


def install(site: Path, project: dict) -> None:
    """What pip leaves of a package: its metadata with its entry points."""
    name = project["name"].replace("-", "_")
    folder = site / f"{name}-{project['version']}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {project['version']}\n")
    points = folder / "entry_points.txt"
    with points.open("a") as file:
        for group, entries in project.get("entry-points", {}).items():
            file.write(f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items()))
