"""Media, tables and a transformer, all small, made where a test needs them."""

import csv
import math
from pathlib import Path

import numpy as np

RATE = 22050


def write_manifest(path, rows):
    """A CSV of rows, the header first."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def tone(seconds, rate=RATE, seed=0):
    """A voice of sorts: a gliding tone with overtones, pauses and some noise, ``(n,)`` float32."""
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (180 * t + 12 * np.sin(2.1 * t))
    voice = sum(np.sin(k * phase) / k for k in range(1, 6)) * (np.sin(1.3 * t) > -0.6)
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return (0.15 * voice + 0.005 * noise).astype(np.float32)


def write_wav(path, signal=None, rate=RATE, **more):
    import soundfile

    soundfile.write(path, tone(0.5, rate) if signal is None else signal, rate, **more)
    return path


def write_video(path, signal=None, rate=RATE, frames=10, late=0.0, gap=(0.0, 0.0), tracks=1):
    """A grey video (MPEG-4) with sound of 16 bits, or without any where ``signal`` is None.

    ``late``: seconds at which the sound begins; ``gap``: (seconds of sound, seconds without) in its middle; ``tracks``: how
    many sound tracks, all of them the same.
    """
    import av

    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        sounds = []
        if signal is not None:
            sounds = [container.add_stream("pcm_s16le", rate=rate, layout="mono") for _ in range(tracks)]
        for i in range(frames):
            image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * i % 256, np.uint8), format="rgb24")
            container.mux(picture.encode(image))
        container.mux(picture.encode(None))
        for sound in sounds:
            whole = np.round(signal * 32767).astype(np.int16)[None]
            for start in range(0, whole.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(whole[:, start : start + 1024], format="s16", layout="mono")
                wait = late + (gap[1] if start >= gap[0] * rate else 0)
                frame.sample_rate, frame.pts = rate, start + round(wait * rate)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def openface_columns(kind="sims", face=True):
    from imder.extract.openface import columns_of

    return ("frame", *(("face_id",) if face else ()), "timestamp", "confidence", "success", *columns_of(kind))


def write_openface(path, rows, columns, blanks=False, separator=",", end="\n"):
    """A table: ``rows`` (T, C) numbers. ``blanks``: the style of OpenFace 2.0, with blanks after the commas."""
    glue = separator + (" " if blanks else "")
    lines = [glue.join(columns), *(glue.join(f"{x:g}" for x in row) for row in rows)]
    path.write_text("\n".join(lines) + end)
    return path


def openface_rows(frames, columns, face_id=0, confidence=0.9, seed=0):
    """Plausible numbers, every frame tracked."""
    rows = np.round(np.random.default_rng(seed).uniform(0, 5, (frames, len(columns))), 3)
    known = {"frame": np.arange(1, frames + 1), "timestamp": np.arange(frames) / 30}
    known |= {"face_id": face_id, "confidence": confidence, "success": 1}
    for name, values in known.items():
        if name in columns:
            rows[:, columns.index(name)] = values
    return rows


def tiny_bert(folder, seed=0):
    """A random BERT with 16 features and the tokenizer for it, as a local folder."""
    import torch
    from transformers import BertConfig, BertModel

    folder = Path(folder)
    torch.manual_seed(seed)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "what", "day", "good", "##s"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrtuvwxyz"] + ["今", "天", "é", "!", "."]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    return folder


def frames_of(seconds, rate=RATE, hop=512):
    """How many frames a sound of so many seconds has."""
    return 1 + math.floor(round(seconds * rate)) // hop
