r"""Weights of the released IMDer code under this library's names.

The networks are the same, so a weight file needs nothing but renaming. The released names (letters l, v, a: language,
vision, audio) and ours, with M a modality:

    proj_l                      encoders.M.conv                 E_k
    cat_lv, cat_la, cat_va      condition.fuse.M+M              conditions from two modalities
    score_l.*                   scores.M.*                      score networks
    rec_l.*                     refiners.M.*                    D_k
    trans_l_with_a              fusion.cross.M+M                target + source
    trans_l_mem                 fusion.memory.M
    proj1, proj2, out_layer     fusion.hidden, .mixed, .out     the head

A leading ``Model.`` is dropped; ``version`` and ``_float_tensor`` buffers carry nothing; ``text_model.*``, a fine-tuned
language encoder, is no part of the network and is kept aside: with it, language features must come from that encoder.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imder.models.mult import MulTFusion, SubsetCondition
from imder.nn.rcab import ResidualChannelAttention
from imder.nn.score import PublishedScoreNetwork
from imder.types import ImderError

logger = logging.getLogger(__name__)

LETTERS = {"l": "language", "v": "vision", "a": "audio"}
CONDITION_ORDER = ("language", "vision", "audio")
READOUT_ORDER = ("language", "audio", "vision")

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
    """Every released parameter name and ours, for a fusion of that many layers (MOSI 4, MOSEI 6).

    >>> official_names(4)["trans_l_with_a.layer_norm.weight"]
    'fusion.cross.language+audio.norm.weight'
    """
    names: dict[str, str] = {}
    for letter, name in LETTERS.items():
        names.update(_both(f"proj_{letter}", f"encoders.{name}.conv", bias=False))
        names.update(_score_names(f"score_{letter}", f"scores.{name}"))
        names.update(_refiner_names(f"rec_{letter}", f"refiners.{name}"))
        names.update(_encoder_names(f"trans_{letter}_mem", f"fusion.memory.{name}", layers))
        for other, source in LETTERS.items():
            if other != letter:
                theirs, ours = f"trans_{letter}_with_{other}", f"fusion.cross.{name}+{source}"
                names.update(_encoder_names(theirs, ours, layers))
    for first, second in ("lv", "la", "va"):
        names.update(_both(f"cat_{first}{second}", f"condition.fuse.{LETTERS[first]}+{LETTERS[second]}"))
    for theirs, ours in (("proj1", "hidden"), ("proj2", "mixed"), ("out_layer", "out")):
        names.update(_both(theirs, f"fusion.{ours}"))
    return names


def _listing(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def map_official_names(state: Mapping[str, Tensor], layers: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Rename the parameters of a released IMDer network.

    Args:
        state: the released state dictionary.
        layers: layers of the fusion transformers (official-mosi 4, official-mosei 6).

    Returns:
        The parameters under our names (module text), and what was kept aside (``text_model.*``, names unchanged); the
        latter is also reported as a warning in the log.

    Raises:
        ImderError: names are missing, or unknown.
    """
    known = official_names(layers)
    ours: dict[str, Tensor] = {}
    aside: dict[str, Tensor] = {}
    unknown: list[str] = []
    for full, value in state.items():
        name = full.removeprefix("Model.")
        if name.startswith("text_model."):
            aside[name] = value
        elif name in known:
            ours[known[name]] = value
        elif name.rpartition(".")[2] not in ("version", "_float_tensor"):
            unknown.append(full)
    missing = [theirs for theirs, mapped in known.items() if mapped not in ours]
    if missing or unknown:
        parts = [f"missing {_listing(missing)}"] * bool(missing) + [f"unknown {_listing(unknown)}"] * bool(unknown)
        raise ImderError(f"not the weights of a released IMDer network with {layers} fusion layers: {'; '.join(parts)}")
    if aside:
        logger.warning(
            "the weights hold a fine-tuned language encoder (%d tensors under text_model.*), which is not part of this "
            "network and was left out: language features must come from that encoder, features from any other are "
            "silently wrong",
            len(aside),
        )
    return ours, aside


def check_shapes(state: Mapping[str, Tensor], model: nn.Module) -> None:
    """See that renamed parameters fit a model exactly: same names, same shapes (`ImderError` naming the first few)."""
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if missing := [name for name in expected if name not in state]:
        raise ImderError(f"the weights lack what the model has: {_listing(missing)}")
    if unknown := [name for name in state if name not in expected]:
        raise ImderError(f"the weights hold what the model has not: {_listing(unknown)}")
    if wrong := [
        f"{name} is {tuple(state[name].shape)}, the model has {shape}"
        for name, shape in expected.items()
        if tuple(state[name].shape) != shape
    ]:
        raise ImderError(f"the weights do not fit the model: {_listing(wrong)}; check the features' dimensions")


def _reason(error: Exception) -> str:
    """Why a file could not be read, in one line: torch's own messages run over many."""
    message = str(error).strip()
    if refused := re.search(r"GLOBAL (\S+)", message):
        return f"it asks to run {refused[1]}, which was refused; a file of weights holds tensors only"
    if len(message) < 10:  # a bare key or nothing: what the unpickler says of a file that is no pickle
        return f"the file is damaged, or of another kind ({type(error).__name__})"
    return re.split(r"\.\s|\n", message)[0][:200]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a file of weights: ``.safetensors``, or what ``torch.save`` wrote, read without running any code in it.

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
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        raise ImderError(f"{path}: cannot be read as weights: {_reason(error)}") from error
    if not isinstance(state, Mapping) or not state:
        raise ImderError(f"{path}: holds no state dictionary (name -> tensor) but a {type(state).__name__}")
    if wrong := [str(name) for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ImderError(f"{path}: a state dictionary holds tensors only, but {_listing(wrong)} is something else")
    return {str(name): value for name, value in state.items()}


def build_parts(dims: Mapping[str, int], layers: int) -> nn.Module:
    """The released network's layers under our names, untrained, as a container without a forward pass.

    Args:
        dims: features per frame of language, vision and audio.
        layers: layers of the fusion transformers.
    """
    parts = nn.Module()
    parts.encoders = nn.ModuleDict(
        {m: nn.ModuleDict({"conv": nn.Conv1d(dims[m], 32, 3, bias=False)}) for m in CONDITION_ORDER}
    )
    parts.condition = SubsetCondition(CONDITION_ORDER)
    parts.scores = nn.ModuleDict({m: PublishedScoreNetwork(causal=True, zero_is_padding=True) for m in CONDITION_ORDER})
    parts.refiners = nn.ModuleDict({m: ResidualChannelAttention() for m in CONDITION_ORDER})
    parts.fusion = MulTFusion(READOUT_ORDER, layers=layers, causal=True, zero_is_padding=True)
    return parts


def load_parts(state: Mapping[str, Tensor], dims: Mapping[str, int], layers: int) -> nn.Module:
    """`build_parts` with released weights, in evaluation mode."""
    renamed, _ = map_official_names(state, layers)
    parts = build_parts(dims, layers)
    check_shapes(renamed, parts)
    parts.load_state_dict(renamed)
    return parts.eval()
