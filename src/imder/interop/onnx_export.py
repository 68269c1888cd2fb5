"""A system as ONNX files, for clips alone and any number of rows and frames.

::

    OUT/predict.onnx           features, lengths, available -> prediction[, encodings]: no recovery
    OUT/denoise-<name>.onnx    one evaluation of a modality's denoiser, for a sampler
    OUT/fill.onnx              encodings and one recovery of what is missing -> prediction
    OUT/export.json            {"format": "imder-onnx", "system", "task", "classes", "modalities",
                                "recovery": null or {"weights", "draws", "solver", "sigmas", "width", "steps"}}

The last two kinds of files are written for a system whose recovery samples with score networks. Every file is compared with
the system under onnxruntime before the folder gets its name.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imder.diffusion.sample import SIGMA_MIN
from imder.diffusion.sigmas import log_uniform_sigmas
from imder.interop.onnx_graphs import Denoising, Filling, Predicting
from imder.jobs.files import atomic_folder, check_writable
from imder.models.base import Model
from imder.models.baselines.late_fusion import LateFusion
from imder.models.baselines.mult import MulT
from imder.models.baselines.regression import Regression
from imder.models.baselines.zero_fill import ZeroFill
from imder.models.fusion_system import FusionSystem
from imder.models.imder.distilled_recovery import DistilledRecovery
from imder.models.imder.network import IMDerNetwork
from imder.models.imder.recovery import RecoveryModel
from imder.models.imder.token_recovery import TokenRecovery
from imder.models.imder.training import IMDer
from imder.nn.mode import evaluating
from imder.types import ImderError

FORMAT = "imder-onnx"
ABOUT = "export.json"
TOLERANCE = 1e-4
"""Largest difference between a file and the system, relative to values above 1."""

_SYSTEMS = (LateFusion, ZeroFill, MulT, IMDer, Regression)
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_Shape = tuple[str | int, ...]


@dataclass(frozen=True)
class Graph:
    """A file: its module, and names and shapes of its inputs; an axis with a name has any size."""

    file: str
    module: nn.Module
    inputs: Mapping[str, _Shape]
    outputs: tuple[str, ...]

    def example(self, rows: int, seed: int) -> tuple[Tensor, ...]:
        """Random inputs, with sequences of up to ``rows + 2`` frames."""
        generator = torch.Generator().manual_seed(seed)
        frames = rows + 2
        values = []
        for name, shape in self.inputs.items():
            size = [rows if n == "batch" else frames if isinstance(n, str) else n for n in shape]
            kind = name.partition("_")[0]
            if kind == "available":
                values.append(torch.rand(size, generator=generator) < 0.5)
                values[-1][torch.arange(rows), torch.arange(rows) % size[1]] = True
            elif kind == "lengths":
                values.append(torch.randint(1, frames + 1, size, generator=generator))
            elif kind == "sigma":
                values.append(0.05 + 5 * torch.rand(size, generator=generator))
            else:
                values.append(torch.randn(size, generator=generator))
        return tuple(values)


def export_onnx(model: Model, out: str | Path, *, force: bool = False) -> list[str]:
    """Write a system's files into a folder.

    Args:
        model: late-fusion, zero-fill, mult, regression or IMDer with two branches.
        out: the folder, new or empty.
        force: replace an earlier export.

    Returns:
        The names of the files.

    Raises:
        ImderError: the system can't be exported, packages are missing, the folder holds something else, or a file differs
            from the system.
    """
    check_exportable(model)
    assert isinstance(model, FusionSystem)
    check_out(out, force)
    if lacking := [name for name in _PACKAGES if find_spec(name) is None]:
        raise ImderError(f"export needs {', '.join(lacking)}: pip install 'imder[export]'")
    model = model.to("cpu")
    with evaluating(model), torch.no_grad(), atomic_folder(os.path.realpath(out)) as folder:
        files = graphs(model)
        for graph in files:
            _write(graph, folder)
            _compare(graph, folder)
        (folder / ABOUT).write_text(json.dumps(about(model), indent=1) + "\n", encoding="utf-8")
    return [*(graph.file for graph in files), ABOUT]


def check_exportable(model: Model) -> None:
    """Raise an `ImderError` for a system that has no path without recovery, or steps that depend on values of a batch."""
    if model.language is not None:
        raise ImderError("export: this model reads token ids with its own language encoder, which can't be exported")
    if type(model) not in _SYSTEMS:
        exported = ", ".join(kind.system for kind in _SYSTEMS)
        raise ImderError(f"export: the system {model.system!r} can't be exported; {exported} can")
    if isinstance(model, IMDerNetwork) and not model.config.two_branches:
        raise ImderError(
            "export: this model's only fusion reads recoveries, so that it has no path without them; use fast"
        )
    if not model.predicts:
        raise ImderError("export: this model predicts nothing")


def samples(model: Model) -> bool:
    """Whether a system's recovery is exported: it samples with networks whose condition is made of tokens."""
    return (
        isinstance(model, IMDerNetwork)
        and model.recovery.kind.sampled
        and (isinstance(model.recovery, DistilledRecovery) or _takes_steps(model.recovery))
    )


def _takes_steps(recovery: RecoveryModel) -> bool:
    """Whether a sampler of several steps, which a program needs besides the files, is the one that programs know."""
    settings = recovery.config
    return type(recovery) is TokenRecovery and settings.solver == "dpmpp_2m" and settings.evaluations > 1


def graphs(model: FusionSystem) -> list[Graph]:
    """The files of a system that `check_exportable` accepts."""
    modalities, names = model.spec.modalities, model.spec.names
    available: dict[str, _Shape] = {"available": ("batch", len(names))}
    features: dict[str, _Shape] = {f"features_{m.name}": ("batch", f"frames_{m.name}", m.dim) for m in modalities}
    lengths: dict[str, _Shape] = {f"lengths_{k}": ("batch",) for k in names}
    recovers = samples(model)
    encoded = tuple(f"encoding_{k}" for k in names) if recovers else ()
    out = [
        Graph(
            "predict.onnx", Predicting(model, recovers), {**available, **features, **lengths}, ("prediction", *encoded)
        )
    ]
    if not recovers:
        return out
    assert isinstance(model, IMDerNetwork)
    width = model.config.encoder.width
    drawn: dict[str, _Shape] = {k: ("batch", width, model.steps[k]) for k in names}
    encodings: dict[str, _Shape] = {f"encoding_{k}": ("batch", model.members * width, model.steps[k]) for k in names}
    for k in names:
        inputs = {"x": drawn[k], "sigma": ("batch",), **available, **encodings}
        out.append(Graph(f"denoise-{k}.onnx", Denoising(model, k), inputs, ("denoised", "sampled")))
    sampled = {f"sampled_{k}": shape for k, shape in drawn.items()}
    return [*out, Graph("fill.onnx", Filling(model), {**available, **encodings, **sampled}, ("prediction",))]


def about(model: FusionSystem) -> dict[str, Any]:
    """What a program needs besides the files (module text)."""
    recovery = None
    if samples(model):
        assert isinstance(model, IMDerNetwork)
        config = model.config.recovery
        largest = model.recovery.schedule.std(torch.tensor(1.0)).item()
        recovery = {
            "weights": model.recovery_weights(),
            "draws": model.config.num_samples,
            "solver": "distilled" if config.distilled else config.solver,
            "sigmas": [largest]
            if config.distilled
            else log_uniform_sigmas(config.evaluations - 1, largest, SIGMA_MIN).tolist(),
            "width": model.config.encoder.width,
            "steps": model.steps,
        }
    described = model.spec.to_dict()
    return {"format": FORMAT, "system": model.system, **described, "recovery": recovery}


def check_out(out: str | Path, force: bool) -> None:
    """Raise an `ImderError` unless the folder is new or empty, or holds an earlier export alone and ``force`` is True."""
    if not str(out):
        raise ImderError("out: the path of a folder is needed, got an empty one")
    target = Path(os.path.realpath(out))
    check_writable(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise ImderError(f"{out}: is a file; an export is a folder")
    present = sorted(path.name for path in target.iterdir())
    if others := [name for name in present if name != ABOUT and not _is_exported(target / name)]:
        raise ImderError(f"{out}: holds {others[0]!r}, which is no file of imder export; it is not overwritten")
    if present and not force:
        raise ImderError(f"{out}: holds an earlier export; replace it with --force, or choose another folder")


def _is_exported(path: Path) -> bool:
    own = path.name in ("predict.onnx", "fill.onnx") or (path.name.startswith("denoise-") and path.suffix == ".onnx")
    try:
        description = json.loads((path.parent / ABOUT).read_bytes())
        return own and path.is_file() and not path.is_symlink() and bool(description["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(graph: Graph, folder: Path) -> None:
    """Trace a module with 3 rows and write it; the exporter's remarks on its own operators are left out."""
    axes = [{i: n for i, n in enumerate(shape) if isinstance(n, str)} for shape in graph.inputs.values()]
    named = {"available": 1, "x": 3}[next(iter(graph.inputs))]  # arguments before *inputs
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.module.eval(),
                graph.example(3, seed=0),
                dynamo=True,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=(*axes[:named], tuple(axes[named:])),
                external_data=False,
                verbose=False,
            )
    finally:
        log.setLevel(level)
    assert program is not None
    program.save(str(folder / graph.file))


def _compare(graph: Graph, folder: Path) -> None:
    """Raise an `ImderError` if a file computes something else than its module, with other rows and frames than were traced."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / graph.file), options, providers=["CPUExecutionProvider"])
    for rows in (1, 5):
        values = graph.example(rows, seed=rows)
        expected = graph.module(*values)
        results = session.run(None, {k: v.numpy() for k, v in zip(graph.inputs, values)})
        for name, ours, theirs in zip(graph.outputs, results, expected if isinstance(expected, tuple) else (expected,)):
            if not np.allclose(ours, theirs.numpy(), rtol=TOLERANCE, atol=TOLERANCE):
                worst = float(np.abs(ours - theirs.numpy()).max())
                raise ImderError(
                    f"export: {graph.file} differs from the model by {worst:.2g} in {name}; nothing was written"
                )
