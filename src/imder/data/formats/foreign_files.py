"""Files that are no corpora by their first bytes or their ending: what they are, and how to convert them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from imder.types import ImderError

HAND_OVER = "read it in Python, and give its arrays to imder.Corpus.from_arrays"
CONTENTS: dict[bytes, str] = {
    b"version https://git-lfs": "a pointer of Git LFS in place of the file; fetch the file with: git lfs pull",
    b"version https://hawser": "a pointer of Git LFS in place of the file; fetch the file with: git lfs pull",
    b"\x1f\x8b": "compressed by gzip; unpack it (gunzip) first",
    b"BZh": "compressed by bzip2; unpack it (bunzip2) first",
    b"\xfd7zXZ\x00": "compressed by xz; unpack it (unxz) first",
    b"\x28\xb5\x2f\xfd": "compressed by zstandard; unpack it (unzstd) first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"Rar!\x1a\x07": "a RAR archive; unpack it first",
    b"x\x9c": f"compressed by zlib, as joblib does; {HAND_OVER} (joblib.load)",
    b"x\x01": f"compressed by zlib, as joblib does; {HAND_OVER} (joblib.load)",
    b"x^": f"compressed by zlib, as joblib does; {HAND_OVER} (joblib.load)",
    b"x\xda": f"compressed by zlib, as joblib does; {HAND_OVER} (joblib.load)",
    b"\x93NUMPY": f"a single array (.npy); {HAND_OVER} (numpy.load)",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, such as a .csd of the CMU Multimodal SDK or a MATLAB file of version 7.3; "
    f"{HAND_OVER} (h5py.File)",
    b"MATLAB 5.0": f"a MATLAB file; {HAND_OVER} (scipy.io.loadmat)",
    b"PAR1": f"a Parquet file; {HAND_OVER} (pandas.read_parquet)",
    b"ARROW1": f"an Arrow file; {HAND_OVER} (pyarrow)",
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19": f"a file of torch.save; {HAND_OVER} (torch.load)",
}
"""Beginnings of files, and what these are."""
ENDINGS: dict[str, str] = {
    **dict.fromkeys(
        (".csv", ".tsv", ".txt"),
        "a table; a manifest of recordings goes to imder extract, features as numbers to a .npz",
    ),
    **dict.fromkeys((".json", ".jsonl"), f"JSON; {HAND_OVER}"),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), f"a file of torch.save; {HAND_OVER} (torch.load)"),
    **dict.fromkeys((".csd", ".h5", ".hdf5"), f"an HDF5 file; {HAND_OVER} (h5py.File)"),
    ".mat": f"a MATLAB file; {HAND_OVER} (scipy.io.loadmat)",
    ".arff": f"an ARFF table of Weka; {HAND_OVER} (scipy.io.arff)",
    ".joblib": f"a file of joblib; {HAND_OVER} (joblib.load)",
    ".safetensors": f"a file of tensors; {HAND_OVER} (safetensors.numpy.load_file)",
    **dict.fromkeys((".xls", ".xlsx"), f"a spreadsheet; {HAND_OVER} (pandas.read_excel)"),
}
"""Endings of files that their first bytes don't tell."""
_PAGES = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<?xml", b"<!--")
_HEAD = 512
_SHOWN = 40


def foreign_file(path: Path) -> str:
    """What a file is and how to convert it; empty where its first bytes tell nothing.

    Raises:
        ImderError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ImderError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return "a web page, not the file; its download failed (a login, a quota, or a link to a page about the file)"
    if (text := next((text for start, text in CONTENTS.items() if head.startswith(start)), "")) != "":
        return text
    return ""


def plain_text(path: Path) -> str:
    """What a file of plain text says first, such as an error of a server; empty where it holds anything else."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    try:
        text = head.decode("utf-8-sig", "strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return ""
    shown = " ".join(text.split())
    if not shown.isprintable() or not set(" ,;:{") & set(text.partition("\n")[0]):  # old pickles are text too
        return ""
    return f"text that begins {shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + '...'!r}"


def unknown_file(path: Path) -> str:
    """What a file without a reader is and what to do with it, as the end of a sentence; empty where nothing tells."""
    if not path.is_file():
        return ""
    what = foreign_file(path) or ENDINGS.get(path.suffix.lower(), "")
    what = what or ("a pickle; name it .pkl" if is_like_pickle(path) else "")
    return f": it is {what}" if what else ""


def is_like_pickle(path: Path) -> bool:
    """Whether a file begins and ends as pickles do."""
    with path.open("rb") as file:
        begins = file.read(1) == b"\x80"
        file.seek(-1, os.SEEK_END)
        return begins and file.read(1) == b"."


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "an incomplete zip archive (npz and torch files are zip archives too)"
    if names and all(name.endswith(".npy") for name in names):
        return "an npz file; name it .npz"
    if any(name.endswith("data.pkl") for name in names):
        return f"a file of torch.save; {HAND_OVER} (torch.load)"
    if "[Content_Types].xml" in names:
        return f"a document or a spreadsheet; {HAND_OVER} (pandas.read_excel)"
    return "a zip archive; unpack it first"
