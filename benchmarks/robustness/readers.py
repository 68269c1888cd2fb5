"""The readers of the campaign: the files that each begins with, the mutations, and the call that reads them."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mutations import BYTES, TEXT, Mutation, attack, change_json, change_member, insert_opcode

from imder.cli.entry import main
from imder.data.formats.load import load_corpus
from imder.data.store import write_store
from imder.evaluation.evaluate import COLUMNS
from imder.evaluation.results import read_csv
from imder.extract.manifest import read_source
from imder.extract.openface import columns_of, read_openface
from imder.inference.predict import predict
from imder.media.transcript import read_transcript
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import load_config
from imder.training.train import train

RUN_FILES = ("config.json", "calibration.json", "trained_on.json", "metrics.json", "model.safetensors")


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        seeds: the files to mutate, by name; names are relative to the folder of a case.
        mutations: what may happen to them.
        read: reads the mutated file; `imder.types.ImderError`, or an exit code of 2, is a proper refusal.
        folder: files that the reader needs beside the mutated one; copied for each case.
    """

    seeds: dict[str, bytes]
    mutations: Sequence[Mutation]
    read: Callable[[Path], object]
    folder: Path | None = None


def _inspect(path: Path) -> object:
    return main(["data", "inspect", str(path)])


def _of_run(path: Path) -> object:
    run = path.parent
    main(["info", str(run)])
    return predict(run, load_corpus(run.parent / "corpus"), samples=1)


def _table(path: Path) -> object:
    if path.name.startswith("manifest"):
        return read_source(path)
    return read_openface(path, "pose") if path.name.startswith("openface") else read_csv(path)


def _arrays() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    rng = np.random.default_rng(0)
    return {
        "audio": rng.normal(size=(6, 5, 3)).astype(np.float32),
        "text": rng.normal(size=(6, 4, 2)).astype(np.float32),
        "text_bert": np.ones((6, 3, 4), np.int64),
        "audio_lengths": np.array([5, 4, 3, 2, 1, 0]),
        "regression_labels": np.linspace(-3, 3, 6),
        "id": np.array([f"v{i // 2}$_${i % 2}" for i in range(6)]),
        "raw_text": np.array(["good", "bad", "", "é", "so so", "x"]),
    }


def _pickles() -> dict[str, bytes]:
    arrays = _arrays()
    ragged = np.empty(6, object)
    for i in range(6):
        ragged[i] = arrays["audio"][i, : i + 1]
    lists = {**arrays, "audio": ragged, "id": arrays["id"].tolist(), "raw_text": arrays["raw_text"].tolist()}
    del lists["audio_lengths"]
    split = {"train": arrays, "valid": lists, "test": arrays}
    seeds = {f"split-{protocol}.pkl": pickle.dumps(split, protocol) for protocol in (0, 2, 4)}
    return seeds | {"lists.pkl": pickle.dumps(lists, 4), "attack.pkl": attack("executed")}


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **_arrays())  # type: ignore[arg-type]  # its stubs mix up the options
    return file.getvalue()


SUBTITLES = {
    "a.srt": "1\n00:00:00,000 --> 00:00:01,500\nHello <i>there</i>\n\n2\n00:00:01,500 --> 00:00:03,000\nof course\n",
    "a.vtt": "WEBVTT\n\nNOTE x\n\n00:00.000 --> 00:01.500 align:start\n<v Ann>Hello &amp; <00:00.700>bye\n",
    "a.csv": "start,end,text\n0,1.5,Hello\n1.5,3,\"of, course\"\n",
}
TABLES = {
    "manifest.csv": "id,audio,text,label,split\na,a.wav,Hello,1.5,train\nb,b.wav,\"x, y\",-1,test\n",
    "results.csv": f"{','.join(COLUMNS)},mae\nimder,r,c,test,random,0.1,0.1,,0,0,9,0.5\nimder,r,c,test,fixed,,,audio,0,0,9,nan\n",
}
YAML = "preset: fast\nmodel:\n  encoder: {width: 16, steps: 8}\n  num_samples: 4\ntraining:\n  seed: 3\n  stage1: {max_epochs: 2}\n"


def readers(folder: Path) -> dict[str, Reader]:
    """All readers; the files that they share are made in ``folder``."""
    run, store, corpus = folder / "run", folder / "store", KnownTruth.standard().corpus(48, 16, 16)
    train(corpus, run, config=load_config("late-fusion", overrides={"training.stage1.max_epochs": 1}))
    write_store(KnownTruth.standard().corpus(6, 4, 4, task="classification"), store)
    shutil.rmtree(run / "logs", ignore_errors=True)
    shutil.rmtree(run / "phases", ignore_errors=True)
    write_store(corpus, folder / "corpus")
    columns = ["frame", "face_id", "timestamp", "confidence", "success", *columns_of("pose")]
    openface = ",".join(columns) + "\n" + "".join(f"{i},0,{i / 30:.3f},0.9,1" + ",0.5" * len(columns_of("pose")) + "\n" for i in range(1, 9))
    json_files = {f"run/{name}": (run / name).read_bytes() for name in RUN_FILES}
    store_files = {f"store/{p.name}": p.read_bytes() for p in sorted(store.iterdir())}
    tables = {name: text.encode() for name, text in TABLES.items()} | {"openface.csv": openface.encode()}
    return {
        "pickle": Reader(_pickles(), (*BYTES, insert_opcode, insert_opcode), _inspect),
        "npz": Reader({"all.npz": _npz()}, (*BYTES, change_member, change_member, change_member), _inspect),
        "store": Reader(store_files, (*BYTES, insert_word_json, change_json), lambda p: _inspect(p.parent), store),
        "json": Reader(json_files, (*TEXT, change_json, change_json, change_json), _of_run, run),
        "yaml": Reader({"a.yaml": YAML.encode()}, TEXT, lambda p: load_config(file=p)),
        "csv": Reader(tables, TEXT, _table),
        "subtitles": Reader({k: v.encode() for k, v in SUBTITLES.items()}, TEXT, read_transcript),
    }


def insert_word_json(data: bytes, chance: object, others: Sequence[bytes]) -> bytes:
    """The document with all keys, in another layout."""
    try:
        return json.dumps(json.loads(data), indent=3).encode("utf-16" if len(data) % 2 else "utf-8")
    except (ValueError, RecursionError):
        return data + data
