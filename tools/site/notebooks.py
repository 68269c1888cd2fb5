"""Write docs/notebooks from the notebooks in examples/, with their stored outputs: `python tools/site/notebooks.py`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCE, TARGET = ROOT / "examples", ROOT / "docs" / "notebooks"


def pages() -> dict[Path, bytes]:
    """Every file of the folder: a page for each notebook, and its pictures."""
    files: dict[Path, bytes] = {}
    for path in sorted(SOURCE.glob("*.ipynb")):
        parts: list[str] = []
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                parts.append(source)
                continue
            parts.append(f"```python\n{source}\n```")
            for output in cell["outputs"]:
                text, picture = shown(output)
                if picture:
                    name = f"{path.stem}-{number}.png"
                    files[TARGET / name] = picture
                    text = f"![Output of the cell above]({name})"
                parts.append(text)
        title, _, rest = "\n\n".join(parts).partition("\n")
        note = f"*The notebook `examples/{path.name}` of the repository, with the outputs of a run.*"
        files[TARGET / f"{path.stem}.md"] = f"{title}\n\n{note}\n{rest}\n".encode()
    return files


def shown(output: dict[str, Any]) -> tuple[str, bytes]:
    """An output as Markdown, or as a picture."""
    if output["output_type"] == "stream":
        return f"```text\n{''.join(output['text']).rstrip()}\n```", b""
    data = output["data"]
    if "image/png" in data:
        return "", base64.b64decode("".join(data["image/png"]))
    if "text/html" in data:
        return f'<div class="output">{"".join(data["text/html"])}</div>', b""
    return f"```text\n{''.join(data['text/plain'])}\n```", b""


def main() -> None:
    """Write them."""
    TARGET.mkdir(exist_ok=True)
    for path, content in pages().items():
        path.write_bytes(content)


if __name__ == "__main__":
    main()
