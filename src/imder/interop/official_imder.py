r"""Weights of the official IMDer code, loaded into `imder.IMDer`.

The networks are the same, so that weights only need renaming. Official names (letters l, v, a: language, vision, audio)
and ours, with M a modality:

    proj_l                      encoders.M.conv                   E_k
    cat_lv, cat_la, cat_va      recovery.condition.fuse.M+M       conditions from two modalities
    score_l.*                   recovery.scores.M.*               score networks
    rec_l.*                     refiners.M.*                      D_k
    trans_l_with_a              fusion.cross.M+M                  target + source
    trans_l_mem                 fusion.memory.M
    proj1, proj2, out_layer     fusion.expand, .contract, .head   the head

A leading ``Model.`` is dropped; ``version`` and ``_float_tensor`` buffers are ignored; ``text_model.*``, a fine-tuned
language encoder, is not part of the network and is returned separately: language features must then come from that encoder.
The official code doesn't standardise features and has one fusion: our buffers for these keep their neutral values.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imder.models.imder.training import IMDer
from imder.models.presets import read_preset
from imder.types import ImderError, Modality, Spec

logger = logging.getLogger(__name__)

PRESETS = ("official-mosi", "official-mosei")
LETTERS = {"l": "language", "v": "vision", "a": "audio"}
FRAMES = 50  # of every modality's input, fixed in the official code

_Names = Iterator[tuple[str, str]]


def _both(theirs: str, ours: str, bias: bool = True) -> _Names:
    yield f"{theirs}.weight", f"{ours}.weight"
    if bias:
        yield f"{theirs}.bias", f"{ours}.bias"


def _encoder_names(theirs: str, ours: str, layers: int) -> _Names:
    """A cross-modal transformer."""
    for i in range(layers):
        a, b = f"{theirs}.layers.{i}", f"{ours}.layers.{i}"
        yield f"{a}.self_attn.in_proj_weight", f"{b}.attention.qkv.weight"
        yield f"{a}.self_attn.in_proj_bias", f"{b}.attention.qkv.bias"
        yield from _both(f"{a}.self_attn.out_proj", f"{b}.attention.out")
        yield from _both(f"{a}.fc1", f"{b}.expand")
        yield from _both(f"{a}.fc2", f"{b}.contract")
        yield from _both(f"{a}.layer_norms.0", f"{b}.attention_norm")
        yield from _both(f"{a}.layer_norms.1", f"{b}.forward_norm")
    yield from _both(f"{theirs}.layer_norm", f"{ours}.norm")


def _score_names(theirs: str, ours: str) -> _Names:
    """A score network: four levels down, three up, the last."""
    yield f"{theirs}.embed.0.W", f"{ours}.fourier.W"
    yield from _both(f"{theirs}.embed.1", f"{ours}.embed")
    levels = [(f"conv{i}", f"attention_{i}", f"gnorm{i}", f"down.{i - 1}") for i in (1, 2, 3, 4)]
    levels += [(f"tconv{i}", f"attention_t{i}", f"tgnorm{i}", f"up.{4 - i}") for i in (4, 3, 2)]
    for dense, (conv, attention, norm, level) in enumerate(levels, start=1):
        yield from _both(f"{theirs}.{conv}", f"{ours}.{level}.conv", bias=False)
        if dense > 1:
            yield from _both(f"{theirs}.{conv}_cond", f"{ours}.{level}.condition", bias=False)
        yield from _encoder_names(f"{theirs}.{attention}", f"{ours}.{level}.attention", 2)
        yield from _both(f"{theirs}.dense{dense}.dense", f"{ours}.{level}.time")
        yield from _both(f"{theirs}.{norm}", f"{ours}.{level}.norm")
    yield from _both(f"{theirs}.tconv1", f"{ours}.last.conv")
    yield from _both(f"{theirs}.tconv1_cond", f"{ours}.last.condition")
    yield from _encoder_names(f"{theirs}.attention_t1", f"{ours}.last.attention", 2)


def _refiner_names(theirs: str, ours: str, blocks: int = 20) -> _Names:
    """A refinement network."""
    yield from _both(f"{theirs}.0", f"{ours}.expand")
    for i in range(blocks):
        a, b = f"{theirs}.1.body.{i}.body", f"{ours}.blocks.{i}"
        yield from _both(f"{a}.0", f"{b}.first")
        yield from _both(f"{a}.2", f"{b}.second")
        yield from _both(f"{a}.3.conv_du.0", f"{b}.squeeze")
        yield from _both(f"{a}.3.conv_du.2", f"{b}.excite")
    yield from _both(f"{theirs}.1.body.{blocks}", f"{ours}.last")
    yield from _both(f"{theirs}.2", f"{ours}.contract")


def official_names(layers: int) -> dict[str, str]:
    """Every official parameter name -> ours, for a fusion of that many layers (MOSI 4, MOSEI 6).

    >>> official_names(4)["trans_l_with_a.layer_norm.weight"]
    'fusion.cross.language+audio.norm.weight'
    """
    names: dict[str, str] = {}
    for letter, name in LETTERS.items():
        names.update(_both(f"proj_{letter}", f"encoders.{name}.conv", bias=False))
        names.update(_score_names(f"score_{letter}", f"recovery.scores.{name}"))
        names.update(_refiner_names(f"rec_{letter}", f"refiners.{name}"))
        names.update(_encoder_names(f"trans_{letter}_mem", f"fusion.memory.{name}", layers))
        for other, source in LETTERS.items():
            if other != letter:
                theirs, ours = f"trans_{letter}_with_{other}", f"fusion.cross.{name}+{source}"
                names.update(_encoder_names(theirs, ours, layers))
    for first, second in ("lv", "la", "va"):
        ours = f"recovery.condition.fuse.{LETTERS[first]}+{LETTERS[second]}"
        names.update(_both(f"cat_{first}{second}", ours))
    for theirs, ours in (("proj1", "expand"), ("proj2", "contract"), ("out_layer", "head")):
        names.update(_both(theirs, f"fusion.{ours}"))
    return names


def listing(names: list[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def map_official_names(state: Mapping[str, Tensor], layers: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Rename the parameters of an official IMDer network.

    Args:
        state: the official state dictionary.
        layers: layers of the fusion transformers (official-mosi 4, official-mosei 6).

    Returns:
        The parameters under our names (module text), and those of the language encoder (``text_model.*``, names unchanged),
        which are also reported as a warning in the log.

    Raises:
        ImderError: names are missing, or unknown.
    """
    renames = official_names(layers)
    ours: dict[str, Tensor] = {}
    aside: dict[str, Tensor] = {}
    unknown: list[str] = []
    for full, value in state.items():
        name = full.removeprefix("Model.")
        if name.startswith("text_model."):
            aside[name] = value
        elif name in renames:
            ours[renames[name]] = value
        elif name.rpartition(".")[2] not in ("version", "_float_tensor"):
            unknown.append(full)
    missing = [theirs for theirs, mapped in renames.items() if mapped not in ours]
    if missing or unknown:
        parts = [f"missing {listing(missing)}"] * bool(missing) + [f"unknown {listing(unknown)}"] * bool(unknown)
        raise ImderError(
            f"not the weights of an official IMDer network with {layers} fusion layers: {'; '.join(parts)}"
        )
    if aside:
        logger.warning(
            "the weights hold a fine-tuned language encoder (%d tensors under text_model.*), which is not part of this "
            "network and was left out: language features must come from that encoder, features from any other are "
            "silently wrong",
            len(aside),
        )
    return ours, aside


def check_shapes(state: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> None:
    """Raise `ImderError`, naming the first few, for renamed parameters whose shape is not that of the model's."""
    if wrong := [
        f"{name} is {tuple(value.shape)}, the model has {tuple(model[name].shape)}"
        for name, value in state.items()
        if value.shape != model[name].shape
    ]:
        raise ImderError(f"the weights do not fit the model: {listing(wrong)}")


def _reason(error: Exception) -> str:
    """Why a file could not be read, in one line: torch's own messages have many."""
    message = str(error).strip()
    if refused := re.search(r"GLOBAL (\S+)", message):
        return f"it asks to run {refused[1]}, which was refused; a file of weights holds tensors only"
    if len(message) < 10:  # a bare key or nothing: the unpickler's message for a file that is no pickle
        return f"the file is damaged, or of another kind ({type(error).__name__})"
    return re.split(r"\.\s|\n", message)[0][:200]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a file of weights, ``.safetensors`` or written by ``torch.save``, without running any code in it.

    Raises:
        ImderError: the file is missing, damaged, or holds anything but named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ImderError(f"{path}: no such file of weights")
    state: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the type of exception depends on where a file is damaged
        raise ImderError(f"{path}: cannot be read as weights: {_reason(error)}") from error
    if not isinstance(state, Mapping) or not state:
        raise ImderError(f"{path}: holds no state dictionary (name -> tensor) but a {type(state).__name__}")
    if wrong := [str(name) for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ImderError(f"{path}: a state dictionary holds tensors only, but {listing(wrong)} is something else")
    return {str(name): value for name, value in state.items()}


def load_official_imder(weights: Mapping[str, Tensor] | str | Path, preset: str = "official-mosi") -> IMDer:
    """The network with official weights, ready to predict.

    Its spec: language, vision and audio with the dimensions of the weights, 50 frames each, regression.

    Args:
        weights: a state dictionary under the official names, or a file that holds one (`read_state_dict`).
        preset: ``official-mosi`` or ``official-mosei``.

    Raises:
        ImderError: the weights are of another network, or of another preset.
    """
    if preset not in PRESETS:
        raise ImderError(f"official weights go with {' or '.join(PRESETS)}, not with {preset!r}")
    if isinstance(weights, Mapping):
        return _load(weights, preset)
    state = read_state_dict(weights)
    try:
        return _load(state, preset)
    except ImderError as error:
        raise ImderError(f"{weights}: {error}") from None


def _load(state: Mapping[str, Tensor], preset: str) -> IMDer:
    renamed, _ = map_official_names(state, read_preset(preset)["model"]["fusion"]["layers"])
    modalities = []
    for name in LETTERS.values():
        weight = renamed[f"encoders.{name}.conv.weight"]
        if weight.ndim != 3:
            raise ImderError(
                f"the encoder of {name} is no convolution over time: its weights are {tuple(weight.shape)}"
            )
        modalities.append(Modality(name, weight.shape[1], FRAMES))
    model = IMDer.from_preset(preset, Spec(tuple(modalities)))
    own = model.state_dict()
    check_shapes(renamed, own)
    model.load_state_dict({**own, **renamed})
    return model.eval()
