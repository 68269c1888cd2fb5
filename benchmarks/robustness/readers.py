"""The readers of the campaign: the files that each begins with, the mutations, and the call that reads them.

pickle       feature files of several layouts and protocols (`imder data inspect`)
npz          the same as arrays
store        the files of a saved corpus
run          a trained model's configuration, calibration, metrics and weights (`imder info`, `imder.predict`)
checkpoint   a stopped training's checkpoint, configuration and the weights of its phase (`imder.train(resume=True)`)
yaml         configurations of a training
csv          manifests of recordings, tables of results
openface     tables of a face
subtitles    transcripts: srt, vtt, csv
sound        wav, flac, ogg, mp3, aiff, au (log-mel features)
video        avi, mkv, mp4, webm (log-mel features)
transformer  the folder of a text encoder
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import seeds
from mutations import BYTES, TEXT, Mutation, change_json, change_member, change_safetensors, insert_opcode, other_layout

from imder.cli import main
from imder.data.formats.load import load_corpus
from imder.evaluation.results import read_csv
from imder.extract.audio import MEL64, audio_features
from imder.extract.language import TextEncoder
from imder.extract.manifest import read_source
from imder.extract.media import Sound
from imder.extract.openface import read_openface
from imder.inference.predict import predict
from imder.media.transcript import read_transcript
from imder.training.config import EngineConfig, load_config
from imder.training.train import train


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        seeds: the files to mutate; their names are relative to the folder of a case.
        mutations: what may happen to them.
        read: reads the mutated file; `imder.types.ImderError`, or an exit code of 2, is a proper refusal.
        folder: files that the reader needs beside the mutated one, copied for each case.
    """

    seeds: seeds.Seeds
    mutations: Sequence[Mutation]
    read: Callable[[Path], object]
    folder: Path | None = None


def readers(folder: Path) -> dict[str, Reader]:
    """All readers; the files that they share are made in ``folder``."""
    run, stopped = seeds.trained_run(folder)
    store = seeds.store(folder / "store")
    bert, bert_files = seeds.transformer(folder / "bert")
    run_files = (*(json_files := seeds.files_of(run, *seeds.RUN_FILES)), *seeds.files_of(run, "model.safetensors"))
    stopped_files = (
        *seeds.files_of(stopped, seeds.CHECKPOINT, seeds.CHECKPOINT, "config.yaml", "trained_on.json"),
        *((f"{stopped.name}/{seeds.PHASE}", (run / seeds.PHASE).read_bytes()),),
        *seeds.hostile_checkpoint(stopped),
    )
    documents = (*TEXT, change_json, change_json, change_json)
    tensors = (*BYTES, change_safetensors, change_safetensors)
    archives = (*BYTES, change_member, change_member, change_member)
    return {
        "pickle": Reader(seeds.pickles(), (*BYTES, insert_opcode, insert_opcode), _inspect),
        "npz": Reader(seeds.npz(), archives, _inspect),
        "store": Reader(seeds.files_of(store), (*tensors, other_layout, change_json), _inspect_parent, store),
        "run": Reader((*json_files, *run_files), (*documents, change_safetensors, change_safetensors), _use_run, run),
        "checkpoint": Reader(
            stopped_files, (*archives, insert_opcode, change_json, change_safetensors), _resume, stopped
        ),
        "yaml": Reader((("a.yaml", seeds.YAML.encode()),), TEXT, lambda path: load_config(file=path)),
        "csv": Reader(seeds.texts(seeds.TABLES), TEXT, _table),
        "openface": Reader(seeds.openface(), TEXT, lambda path: read_openface(path, "pose")),
        "subtitles": Reader(seeds.texts(seeds.SUBTITLES), TEXT, read_transcript),
        "sound": Reader(seeds.sounds(), BYTES, _sound),
        "video": Reader(seeds.videos(folder), BYTES, _sound),
        "transformer": Reader(bert_files, (*documents, change_safetensors), _encode, bert),
    }


def _inspect(path: Path) -> object:
    return main(["data", "inspect", str(path)])


def _inspect_parent(path: Path) -> object:
    return _inspect(path.parent)


def _use_run(path: Path) -> object:
    run = path.parent
    code = main(["info", str(run)])
    return predict(run, load_corpus(run.parent / seeds.CORPUS), samples=1) and code


def _resume(path: Path) -> object:
    run = path if path.name == "run" else next(parent for parent in path.parents if parent.name == "run")
    engine = EngineConfig(accelerator="cpu", checkpoint_seconds=1e9)
    return train(run.parent / seeds.CORPUS, run, resume=True, engine=engine, logger="none")


def _table(path: Path) -> object:
    return read_source(path) if path.name.startswith("manifest") else read_csv(path)


def _sound(path: Path) -> object:
    recipe = MEL64.recipe("mel64", 0)
    return audio_features(Sound(path, recipe.rate), recipe)


def _encode(path: Path) -> object:
    encoder = TextEncoder(str(path.parent))
    return encoder.recipe(16), encoder("word1 and word2, word3", 16)
