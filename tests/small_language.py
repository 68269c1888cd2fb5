"""A tiny transformer, a corpus of words, and comparisons for tests of language encoders."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from imder.data.corpus import Ragged, Split, spec_of
from imder.training.config import EngineConfig, load_config

CPU = EngineConfig(accelerator="cpu", checkpoint_seconds=0)
WORDS = 50
FUSION = {"model": {"encoder": {"width": 4, "steps": 6}, "fusion": {"hidden": 8}, "members": 1}}
LATE = FUSION | {"training": {"stage1": {"max_epochs": 3, "batch_size": 16}, "calibration_samples": 0}}
FAST = {
    "model": {
        **FUSION["model"],
        "recovery": {
            "evaluations": 2,
            "network": {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2},
        },
        "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "num_samples": 2,
    },
    "training": {
        name: {"max_epochs": 2, "batch_size": 16, "validate_every": 1} for name in ("stage1", "score", "recovery")
    },
}


def tiny_bert(folder, dropout=0.1, seed=0):
    import transformers

    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(f"word{i}" for i in range(WORDS)) + "\n")
    return folder


def split_of(n, seed):
    """Samples whose label is in their words; the first of every ten has none."""
    rng = np.random.default_rng(seed)
    lengths = np.where(np.arange(n) % 10 == 0, 0, rng.integers(3, 9, n))
    tokens = [rng.integers(0, WORDS, (t, 1)) for t in lengths]
    language = [rng.standard_normal((t, 5)).astype(np.float32) for t in lengths]
    other = {
        name: [rng.standard_normal((4, dim)).astype(np.float32) for _ in range(n)]
        for name, dim in (("vision", 3), ("audio", 2))
    }
    labels = [float(np.mean(t < WORDS // 2)) if len(t) else 0.5 for t in tokens]
    features = {
        "language": Ragged.from_list(language, 5),
        **{k: Ragged.from_list(v, v[0].shape[1]) for k, v in other.items()},
    }
    ids = tuple(f"{seed}-{i}" for i in range(n))
    speaker = tuple(f"speaker {i % 6}" for i in range(n))
    return Split(
        ids,
        features,
        (4 * np.array(labels, np.float32) - 2),
        speaker=speaker,
        tokens=Ragged.from_list(tokens, 1),
    )


def without_tokens(corpus):
    return replace(corpus, splits={k: replace(s, tokens=None) for k, s in corpus.splits.items()})


def config_of(bert, preset="late-fusion", settings=LATE, **more):
    encoder = {f"training.language_encoder.{key}": value for key, value in more.items()}
    return load_config(preset, overrides=settings | {"training.language_encoder.name": str(bert)} | encoder)


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


def changed(first, second):
    """Names of weights that differ in any bit."""
    assert first.keys() == second.keys()
    return {k for k in first if not torch.equal(first[k], second[k])}


def directly(folder, tokens):
    """Each text alone through the transformer."""
    import transformers

    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return [
            model(input_ids=torch.from_numpy(tokens[i][:, 0])[None]).last_hidden_state[0].numpy()
            if len(tokens[i])
            else np.zeros((0, 16))
            for i in range(len(tokens))
        ]


def precomputed(corpus, folder):
    """The corpus with the transformer's features instead of its own, and without token ids."""
    splits = {}
    for name, split in corpus.splits.items():
        language = Ragged.from_list([x.astype(np.float32) for x in directly(folder, split.tokens)], 16)
        splits[name] = replace(split, features={**split.features, "language": language}, tokens=None)
    return replace(corpus, splits=splits, spec=spec_of(splits, "regression"))


def table(rows):
    return np.array([row["prediction"] for row in rows])
