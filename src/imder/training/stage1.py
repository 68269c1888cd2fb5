"""Stage 1 of another run: checked, and taken over instead of training one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from imder.data.compatible import check_recipe
from imder.data.corpus import Corpus
from imder.models.base import Model
from imder.models.language.config import OPTION, LanguageEncoderConfig
from imder.models.language.encoder import FOLDER
from imder.models.parts.context import ContextConfig
from imder.training.run import RunDirectory
from imder.types import ImderError

STAGE1 = "stage1"
"""The phase that systems with several share: encoders and fusion."""


def check_stage1(stage1: str | Path | None, config: LanguageEncoderConfig, corpus: Corpus) -> None:
    """Check that a run's stage 1 fits: the same recipe of features, and a language encoder in both runs or in neither.

    Raises:
        ImderError: it doesn't fit.
    """
    if stage1 is None:
        return
    check_recipe(RunDirectory(stage1).recipe(), corpus, str(stage1))
    has_encoder = (Path(stage1) / FOLDER).is_dir()
    if has_encoder and config.name is None:
        raise ImderError(f"{stage1}: its stage 1 belongs to a language encoder; add {OPTION}, or train another stage 1")
    if config.name is not None and not has_encoder:
        raise ImderError(f"{stage1}: its stage 1 has no language encoder; leave {OPTION} out, or train another stage 1")


def adopt_stage1(model: Model, run: RunDirectory) -> None:
    """Copy the weights of stage 1 from another run into a model.

    Raises:
        ImderError: the system has no stage 1 that learns, or the other run has none of these shapes.
    """
    path = run.weights(STAGE1)
    expected = _stage1_state(model)
    if not expected:
        raise ImderError(
            f"{path}: {model.system!r} learns nothing in a stage 1 that another run could give; leave it out"
        )
    try:
        with safe_open(path, "pt") as file:
            state = {k: file.get_tensor(k) for k in expected}
    except Exception as error:  # safetensors raises its own exception types, which it doesn't export
        raise ImderError(f"{path}: has no stage 1 for this configuration ({error})") from None
    if wrong := [k for k, v in state.items() if v.shape != expected[k].shape]:
        raise ImderError(f"{path}: stage 1 of another configuration ({wrong[0]} is {tuple(state[wrong[0]].shape)})")
    mine, theirs = _offsets(model.config), _offsets(run.open().model)
    if mine and mine != theirs:  # equally many offsets have equal shapes
        raise ImderError(f"{path}: stage 1 of another configuration (its context reads offsets {theirs}, not {mine})")
    model.load_state_dict({**model.state_dict(), **state})


def _offsets(config: Any) -> tuple[int, ...]:
    """The offsets of the neighbouring clips that a model's configuration reads."""
    context: ContextConfig | None = getattr(config, "context", None)
    return () if context is None else context.offsets


def _stage1_state(model: Model) -> dict[str, Tensor]:
    """Parameters and buffers of the modules that stage 1 trains; none where the system has no such phase."""
    if STAGE1 not in model.phase_names:
        return {}
    modules = {id(m) for part in model.trainable_modules(STAGE1) for m in part.modules()}
    state = model.state_dict()
    prefixes = tuple(prefix + "." for prefix, module in model.named_modules() if id(module) in modules)
    return {k: v for k, v in state.items() if k.startswith(prefixes)}
