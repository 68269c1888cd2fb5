"""``imder info``: what a bug report needs, without paths beyond the one that was typed."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imder.cli.console import counted, say_all

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from imder.cli.parser import Parser
    from imder.data.corpus import Corpus

REQUIRED = ("torch", "lightning", "jsonargparse", "numpy", "scikit-learn", "safetensors", "huggingface_hub", "joblib")
OPTIONAL = (
    "transformers",
    "soundfile",
    "av",
    "faster-whisper",
    "ai-edge-litert",
    "optuna",
    "ray",
    "distributed",
    "pyarrow",
    "opensmile",
)


def add_options(parser: Parser) -> None:
    """Options of ``imder info``."""
    parser.add_argument("path", nargs="?", metavar="RUN|CORPUS", help="run directory, model, or corpus to summarise")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def run(options: Namespace) -> int:
    """Print versions and devices, and the summary of a run or corpus."""
    facts: dict[str, Any] = {"system": system_facts()}
    if options.path is not None:
        if is_run(options.path):
            facts["run"] = run_facts(options.path)
        else:
            from imder.data.formats.load import load_corpus

            facts["corpus"] = corpus_facts(load_corpus(options.path, quiet=True))
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        say_all(lines(facts))
    return 0


def is_run(path: str | Path) -> bool:
    """Whether a path is a run, finished or not, or the folder of a model."""
    return any((Path(path) / name).is_file() for name in ("config.yaml", "config.json"))


def system_facts() -> dict[str, Any]:
    """Versions, processor, memory, GPUs and threads."""
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "imder": version("imder"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in (*REQUIRED, *OPTIONAL) if (found := _version(name)) is not None},
        "missing": [name for name in OPTIONAL if _version(name) is None],
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "threads": torch.get_num_threads(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "cuda": torch.version.cuda,
        "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus],
    }


def run_facts(path: str | Path) -> dict[str, Any]:
    """Configuration, phases and validation metrics of a run; of a model alone, its modalities and task."""
    from imder.training.run import RunDirectory, spec_of

    directory = RunDirectory(path)
    facts: dict[str, Any] = {"path": str(path)}
    if not (directory.path / "config.yaml").exists():
        entry = directory.entry("config.json")
        return facts | {"system": entry["system"].text(), "corpus": _spec_facts(spec_of(entry))}
    config = directory.open()
    facts |= {"system": config.system, "preset": config.preset, "seed": config.training.seed}
    facts |= {"finished": directory.finished(), "corpus": _spec_facts(directory.corpus()[1])}
    if directory.finished():
        facts |= directory.metrics()
        facts["calibrated"] = (directory.path / "calibration.json").exists()
    return facts


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    """Task, modalities, and of each split the numbers of samples, labels and present modalities."""
    from imder.data.inspect import inspect_corpus

    summary = inspect_corpus(corpus)
    keys = ("n", "labelled", "dropped", "present", "nonfinite", "dialogues", "speakers", "texts")
    return {
        "name": summary["name"],
        "task": summary["task"],
        "classes": summary["classes"],
        "modalities": summary["modalities"],
        "splits": {name: {key: split[key] for key in keys} for name, split in summary["splits"].items()},
        "extracted": corpus.recipe is not None,
    }


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts for reading."""
    system = facts["system"]
    packages = ", ".join(f"{name} {number}" for name, number in system["packages"].items())
    omp = system["omp_num_threads"]
    text = [
        f"imder {system['imder']}, Python {system['python']}, {system['platform']}",
        f"packages: {packages}",
        f"not installed: {', '.join(system['missing']) or 'nothing'}",
        f"CPU: {counted(system['cores'], 'core')}, {system['memory_gib']} GiB, {counted(system['threads'], 'thread')}"
        + (f" (OMP_NUM_THREADS={omp})" if omp else ""),
        f"GPU: {'; '.join(system['gpus']) or 'none'} (CUDA {system['cuda'] or 'not built in'})",
    ]
    if "run" in facts:
        text += ["", *_run_lines(facts["run"])]
    if "corpus" in facts:
        text += ["", *_corpus_lines(facts["corpus"])]
    return text


def _run_lines(run: dict[str, Any]) -> list[str]:
    corpus = run["corpus"]
    sizes = ", ".join(f"{name} {dim} x {length}" for name, (dim, length) in corpus["modalities"].items())
    text = [
        f"run {run['path']}: system {run['system']}"
        + (f", preset {run['preset'] or run['system']}, seed {run['seed']}" if "seed" in run else ""),
        f"  {corpus['task']}; features x longest sequence: {sizes}",
    ]
    if not run.get("finished", True):
        text.append("  training has not finished")
    for phase, reached in run.get("phases", {}).items():
        shown = [
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in reached.items()
        ]
        text.append(f"  phase {phase}: {', '.join(shown)}")
    if "valid" in run:
        text.append("  on validation: " + ", ".join(f"{name} {value:.3f}" for name, value in run["valid"].items()))
        text.append(f"  calibration: {'saved' if run['calibrated'] else 'none'}")
    for pattern, weight in run.get("recovery_weights", {}).items():
        text.append(f"  recovery weight for {pattern}: {weight:.2f}")
    return text


def _corpus_lines(corpus: dict[str, Any]) -> list[str]:
    classes = f", classes {', '.join(corpus['classes'])}" if corpus["classes"] else ""
    made = "made by imder extract" if corpus["extracted"] else "features of unknown making"
    text = [f"corpus {corpus['name']}: {corpus['task']}{classes}; {made}"]
    for name, modality in corpus["modalities"].items():
        text.append(f"  {name}: {modality['dim']} features ({modality['dtype']}), at most {modality['length']} frames")
    for name, split in corpus["splits"].items():
        present = ", ".join(f"{modality} {count}" for modality, count in split["present"].items())
        extra = "".join(f", {split[key]} {key}" for key in ("dialogues", "speakers") if split[key] is not None)
        text.append(f"  {name}: {split['n']} samples, {split['labelled']} labelled, present: {present}{extra}")
        if nonfinite := {modality: count for modality, count in split["nonfinite"].items() if count}:
            text.append(f"    not finite: {', '.join(f'{modality} {count}' for modality, count in nonfinite.items())}")
    return text


def _spec_facts(spec: Any) -> dict[str, Any]:
    modalities = {m.name: (m.dim, m.length) for m in spec.modalities}
    return {"task": spec.task, "classes": list(spec.classes), "modalities": modalities}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
