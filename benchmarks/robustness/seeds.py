"""The files that the campaign mutates, small and made here."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from mutations import attack

from imder.data.store import write_store
from imder.evaluation.evaluate import COLUMNS
from imder.extract.openface import columns_of
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, load_config
from imder.training.train import train

Seeds = tuple[tuple[str, bytes], ...]
"""(file name relative to the folder of a case, content)."""

RATE = 8000
CORPUS = "corpus"
CHECKPOINT, PHASE = "running-stage1.ckpt", "phases/stage1.safetensors"
RUN_FILES = ("config.json", "calibration.json", "trained_on.json", "metrics.json")
SUBTITLES = {
    "a.srt": "1\n00:00:00,000 --> 00:00:01,500\nHello <i>there</i>\n\n2\n00:00:01,500 --> 00:00:03,000\nof course\n",
    "a.vtt": "WEBVTT\n\nNOTE x\n\n00:00.000 --> 00:01.500 align:start\n<v Ann>Hello &amp; <00:00.700>bye\n",
    "a.csv": 'start,end,text\n0,1.5,Hello\n1.5,3,"of, course"\n',
}
TABLES = {
    "manifest.csv": 'id,audio,text,label,split\na,a.wav,Hello,1.5,train\nb,b.wav,"x, y",-1,test\n',
    "results.csv": f"{','.join(COLUMNS)},mae\n"
    "imder,r,c,test,random,0.1,0.1,,0,0,9,0.5\nimder,r,c,test,fixed,,,audio,0,0,9,nan\n",
}
YAML = """preset: fast
model:
  encoder: {width: 16, steps: 8}
  num_samples: 4
training:
  seed: 3
  stage1: {max_epochs: 2}
"""
CODE = """open("executed", "w").close()
from transformers import BertConfig, BertModel

class HostileConfig(BertConfig):
    model_type = "hostile"

class HostileModel(BertModel):
    config_class = HostileConfig
"""


def texts(files: dict[str, str]) -> Seeds:
    """Seeds of texts by name."""
    return tuple((name, text.encode()) for name, text in files.items())


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Six samples of three modalities, one of them with token ids."""
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


def pickles() -> Seeds:
    """Feature files of three protocols, ragged lists, and a file that calls a program."""
    padded = arrays()
    ragged = np.empty(6, object)
    for i in range(6):
        ragged[i] = padded["audio"][i, : i + 1]
    lists = {**padded, "audio": ragged, "id": padded["id"].tolist(), "raw_text": padded["raw_text"].tolist()}
    del lists["audio_lengths"]
    split = {"train": padded, "valid": lists, "test": padded}
    seeds = [(f"split-{protocol}.pkl", pickle.dumps(split, protocol)) for protocol in (0, 2, 4)]
    return *seeds, ("lists.pkl", pickle.dumps(lists, 4)), ("attack.pkl", attack({"audio": [1.0]}))


def npz() -> Seeds:
    """A file with all splits in one."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays())  # type: ignore[arg-type]  # its stubs mix up the options
    return (("all.npz", file.getvalue()),)


def openface() -> Seeds:
    """A table of eight frames."""
    columns = ["frame", "face_id", "timestamp", "confidence", "success", *columns_of("pose")]
    rows = [f"{i},0,{i / 30:.3f},0.9,1" + ",0.5" * len(columns_of("pose")) for i in range(1, 9)]
    return (("openface.csv", "\n".join([",".join(columns), *rows, ""]).encode()),)


def tone(seconds: float = 0.4) -> np.ndarray[Any, Any]:
    """Sound, ``(n,)`` float32."""
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 220 * t) + 0.01 * np.random.default_rng(0).normal(size=len(t))).astype(np.float32)


def sounds() -> Seeds:
    """A tone in six formats."""
    import soundfile

    seeds = []
    kinds = {
        "wav": "PCM_16",
        "flac": "PCM_16",
        "ogg": "VORBIS",
        "mp3": "MPEG_LAYER_III",
        "aiff": "PCM_24",
        "au": "ULAW",
    }
    for suffix, kind in kinds.items():
        file = io.BytesIO()
        soundfile.write(file, tone(), RATE, format=suffix.upper(), subtype=kind)
        seeds.append((f"a.{suffix}", file.getvalue()))
    return tuple(seeds)


def videos(folder: Path) -> Seeds:
    """Ten grey frames and a tone in four containers."""
    kinds = {
        "avi": ("mpeg4", "pcm_s16le"),
        "mkv": ("mpeg4", "flac"),
        "mp4": ("mpeg4", "aac"),
        "webm": ("vp8", "libopus"),
    }
    for suffix, codecs in kinds.items():
        _write_video(folder / f"a.{suffix}", *codecs)
    return tuple((f"a.{suffix}", (folder / f"a.{suffix}").read_bytes()) for suffix in kinds)


def _write_video(path: Path, picture_codec: str, sound_codec: str) -> None:
    import av

    rate = 48000 if sound_codec == "libopus" else RATE
    signal = np.repeat(tone(), rate // RATE)[None]
    with av.open(str(path), "w") as container:
        picture: Any = container.add_stream(picture_codec, rate=10)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        sound: Any = container.add_stream(sound_codec, rate=rate, layout="mono")
        for i in range(4):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * i, np.uint8))))
        container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(signal, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(sound.format.name, "mono", rate, sound.frame_size or None)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))


def trained_run(folder: Path) -> tuple[Path, Path]:
    """A run with all that a later command reads, and the same run stopped in its phase; a corpus beside each."""
    run, stopped, corpus = folder / "whole" / "run", folder / "part" / "run", KnownTruth.standard().corpus(48, 16, 16)
    config = load_config("late-fusion", overrides={"training.stage1.max_epochs": 2})

    class Stop(L.Callback):
        """Copies the run when its second epoch begins, with its checkpoint."""

        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 1:
                shutil.copytree(run, stopped, ignore=shutil.ignore_patterns("*.lock"))

    engine = EngineConfig(accelerator="cpu", checkpoint_seconds=0)
    train(corpus, run, config=config, engine=engine, logger="none", callbacks=[Stop()])
    assert (stopped / CHECKPOINT).exists()
    for parent in (run.parent, stopped.parent):
        write_store(corpus, parent / CORPUS)
    return run, stopped


def store(folder: Path) -> Path:
    """A saved corpus of classes."""
    write_store(KnownTruth.standard().corpus(6, 4, 4, task="classification"), folder)
    return folder


def files_of(folder: Path, *names: str) -> Seeds:
    """The named files of a folder, or all."""
    paths = [folder / name for name in names] or sorted(path for path in folder.iterdir() if path.is_file())
    return tuple((str(path.relative_to(folder.parent)), path.read_bytes()) for path in paths)


def hostile_checkpoint(stopped: Path) -> Seeds:
    """The checkpoint of a stopped run, with a call of a program among its contents."""
    content = torch.load(stopped / CHECKPOINT, weights_only=True)
    file = io.BytesIO()
    torch.save(content | {"hyper_parameters": _Touch()}, file)
    return ((f"{stopped.name}/{CHECKPOINT}", file.getvalue()),)


class _Touch:
    """An object whose pickle calls a program."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch executed",)


def transformer(folder: Path) -> tuple[Path, Seeds]:
    """A small text encoder's folder; its files, and its configuration with code of its own."""
    import transformers

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 30,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    transformers.BertModel(transformers.BertConfig(**sizes, max_position_embeddings=16)).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(25))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 16})
    )
    (folder / "code.py").write_text(CODE)
    seeds = tuple(seed for seed in files_of(folder) if not seed[0].endswith(".py"))
    config = json.loads((folder / "config.json").read_bytes())
    own_code = {"AutoConfig": "code.HostileConfig", "AutoModel": "code.HostileModel", "AutoTokenizer": ["code.X", None]}
    hostile = config | {"model_type": "hostile", "auto_map": own_code}
    return folder, (*seeds, (f"{folder.name}/config.json", json.dumps(hostile).encode()))
