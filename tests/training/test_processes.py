"""Two processes train the same model as one process with twice the batch."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from imder.data.corpus import Corpus, Ragged
from imder.data.store import write_store
from imder.models.registry import build
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, load_config
from imder.training.engine import is_main_process, several
from imder.training.masks import natural_loader, training_loader, validation_loader
from imder.training.train import train

# Dropout is off: its masks belong to processes.
FAST = {
    "preset": "fast",
    "model": {
        "encoder": {"width": 4, "steps": 6, "feature_dropout": 0.0},
        "recovery": {
            "evaluations": 2,
            "network": {"widths": [8], "heads": 2, "embedding": 8, "condition_width": 8, "tokens": 2},
        },
        "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "fusion": {"hidden": 8, "dropout": 0.0, "input_dropout": 0.0},
        "members": 2,
        "context": {"direction": "both", "window": 2, "hidden": 8, "dropout": 0.0},
        "num_samples": 2,
    },
    "training": {
        "stage1": {"max_epochs": 3, "batch_size": 8},
        "score": {"max_epochs": 3, "batch_size": 8, "validate_every": 1, "warmup": 2},
        "recovery": {"max_epochs": 3, "batch_size": 8},
    },
}
PAPER = {
    "preset": "paper-mosi",
    "model": {
        "encoder": {"width": 8, "steps": 16},
        "recovery": {
            "evaluations": 3,
            "network": {"widths": [8, 8, 8, 8], "heads": 2, "attention_layers": 1, "embedding": 8},
        },
        "refinement": {"channels": 8, "blocks": 1, "reduction": 4},
        "fusion": {"heads": 2, "layers": 1, "audio_dropout": 0.0, "embedding_dropout": 0.0},
    },
    "training": {"stage1": {"max_epochs": 2, "batch_size": 8}, "joint": {"max_epochs": 2, "batch_size": 8}},
}

GCNET = {
    "preset": "gcnet",
    "model": {"hidden": 6, "dropout": 0.0, "attention": True},
    "training": {"stage1": {"max_epochs": 3, "batch_size": 8}},
}

MMIN = {
    "preset": "mmin",
    "model": {
        "encoder": {"width": 6, "hidden": [6], "text_dropout": 0.0},
        "cascade": {"layers": [12, 6], "blocks": 2},
        "head": [6],
        "teacher_dropout": 0.0,
        "dropout": 0.0,
    },
    "training": {"stage1": {"max_epochs": 2, "batch_size": 8}, "joint": {"max_epochs": 2, "batch_size": 8}},
}


def thinned(split, seed):
    """A quarter of the cells is naturally missing."""
    gone = np.random.default_rng(seed).random(split.present.shape) < 0.25
    gone[gone.all(1)] = False
    features = {
        name: Ragged.from_list([r[i][: 0 if gone[i, k] else None] for i in range(len(split))], r.dim)
        for k, (name, r) in enumerate(split.features.items())
    }
    return replace(split, features=features)


def corpus_of(task="regression"):
    """49 samples: three batches of 16 and one of a single sample, of which the second process has none."""
    whole = KnownTruth.standard().corpus(49, 23, 8, task=task)
    return Corpus(whole.name, whole.spec, {name: thinned(s, i) for i, (name, s) in enumerate(whole.splits.items())})


def command(folder, config, out, *more, **environment):
    (folder / f"{out}.yaml").write_text(yaml.safe_dump(config))
    given = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
    given |= {"OMP_NUM_THREADS": "1", **environment}
    words = ["train", "store", "--config", f"{out}.yaml", "--out", out, "--engine.accelerator", "cpu", *more]
    program = [sys.executable, "-m", "imder.cli", *words]
    return subprocess.Popen(program, cwd=folder, env=given, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(*arguments, **environment):
    with command(*arguments, **environment) as process:
        out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return out, error


def alone(folder, config, out):
    """The same in this process, with the batches of two."""
    overrides = {key: doubled(config)[key] for key in ("model", "training")}
    settings = load_config(config["preset"], overrides=overrides)
    train(folder / "store", folder / out, config=settings, engine=EngineConfig(accelerator="cpu"))


def doubled(config):
    phases = {name: phase | {"batch_size": 2 * phase["batch_size"]} for name, phase in config["training"].items()}
    return config | {"training": phases}


def assert_same_runs(first, second):
    """Weights to 1e-4 of the largest in each tensor, validation losses to 1e-4 of themselves."""
    ours, theirs = (load_file(out / "model.safetensors") for out in (first, second))
    assert ours.keys() == theirs.keys()
    for name, a in ours.items():
        a, b = a.float(), theirs[name].float()
        if name.endswith(
            "qkv.bias"
        ):  # softmax cancels a bias of all keys: its gradient is rounding, which Adam blows up
            a, b = (torch.cat([x.chunk(3)[0], x.chunk(3)[2]]) for x in (a, b))
        # Weights that start at 0 are a few of Adam's steps away from it, whose signs may be rounding where gradients cancel.
        started_at_zero = ".recovered." in name and name.endswith(("shift", "vector.weight", "expert.weight"))
        assert (a - b).abs().max() <= (1e-2 if started_at_zero else 1e-4) * b.abs().max(), name
    ours, theirs = (json.loads((out / "metrics.json").read_text()) for out in (first, second))
    for phase, found in ours["phases"].items():
        found.pop("seconds"), theirs["phases"][phase].pop("seconds")
        assert found == pytest.approx(theirs["phases"][phase], rel=1e-4)
    assert ours["valid"] == pytest.approx(theirs["valid"], rel=1e-4)


def check(folder, config, task):
    write_store(corpus_of(task), folder / "store")
    out, error = run(folder, config, "two", "--engine.devices", "2")
    alone(folder, config, "one")
    assert_same_runs(folder / "two", folder / "one")
    assert out.count("saved in two") == 1
    epochs = config["training"]["stage1"]["max_epochs"]
    assert error.count(f"stage1: epoch {epochs}/{epochs} ") == 1


def test_two_processes_train_as_one_does(tmp_path):
    check(tmp_path, FAST, "classification")  # an L1 loss of few rows has gradients that cancel but for rounding


@pytest.mark.slow
def test_two_processes_train_the_published_system_as_one_does(tmp_path):
    check(tmp_path, PAPER, "classification")


@pytest.mark.slow
def test_two_processes_share_whole_dialogues(tmp_path):
    check(tmp_path, GCNET, "regression")


@pytest.mark.slow
def test_two_processes_imagine_as_one_does(tmp_path):
    check(tmp_path, MMIN, "regression")


@pytest.mark.slow
def test_two_machines(tmp_path):
    """As two machines would: the command is started once on each, with its number."""
    write_store(corpus_of("classification"), tmp_path / "store")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        command(tmp_path, FAST, "two", "--engine.num_nodes", "2", **place, NODE_RANK=str(node)) for node in (0, 1)
    ]
    said = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "saved in two" in said[0][0]
    assert not said[1][0]
    alone(tmp_path, FAST, "one")
    assert_same_runs(tmp_path / "two", tmp_path / "one")


# Without processes.


def started(config, phase, corpus):
    settings = load_config(config["preset"], overrides={k: config[k] for k in ("model", "training")})
    torch.manual_seed(0)
    model = build(settings.system, settings.model, corpus.spec)
    for each in type(model).phases(settings.model):
        model.on_phase_start(each, natural_loader(corpus["train"], settings.training), 0)
        if each == phase:
            break
    model.eval().requires_grad_(False)
    for part in model.trainable_modules(phase):
        part.train().requires_grad_(True)
    return model, settings.training


def objective(model, phase, batches, **more):
    """Sums, counts and gradients of batches taken together."""
    model.zero_grad(set_to_none=True)
    losses = [model.losses(batch, phase, 3, **more) for batch in batches]
    totals = {name: sum(each[name].total for each in losses) for name in losses[0]}
    counts = {name: float(sum(each[name].count for each in losses)) for name in losses[0]}
    sum(losses[0][name].weight * totals[name] / max(counts[name], 1) for name in totals).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: float(total.detach()) for name, total in totals.items()}, counts, gradients


DISTILLED = FAST | {"model": FAST["model"] | {"recovery": FAST["model"]["recovery"] | {"distilled": True}}}
CASES = [
    (DISTILLED, "distillation"),
    (FAST, "stage1"),
    (FAST, "score"),
    (FAST, "recovery"),
    (FAST, "control"),
    (PAPER, "stage1"),
    (PAPER, "joint"),
]


@pytest.mark.parametrize(("config", "phase"), CASES)
def test_sums_counts_and_gradients_of_shares_are_those_of_the_whole(config, phase):
    corpus = corpus_of()
    model, training = started(config, phase, corpus)
    settings = replace(training.phase(model.settings_of(phase)), batch_size=48)
    every = {"all_subsets": settings.missing == "every"}
    whole = next(iter(training_loader(corpus["train"], settings, training, 0)))
    third = replace(settings, batch_size=16)
    shares = [next(iter(training_loader(corpus["train"], third, training, 0, rank, 3))) for rank in range(3)]
    assert sorted(torch.cat([s.keys for s in shares]).tolist()) == sorted(whole.keys.tolist())
    sums, counts, gradients = objective(model, phase, [whole], **every)
    model, _ = started(config, phase, corpus)
    split_sums, split_counts, split_gradients = objective(model, phase, shares, **every)
    assert split_counts == counts
    assert split_sums == pytest.approx(sums, rel=1e-4)
    assert split_gradients.keys() == gradients.keys()
    largest = max(float(g.abs().max()) for g in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(split_gradients[name], gradient, rtol=1e-3, atol=1e-5 * largest, msg=name)


def test_validation_is_shared_without_repeating_anything():
    corpus = corpus_of()
    training = load_config().training
    whole = validation_loader(corpus["valid"], training.recovery, training, all_patterns=True)
    pairs = {(int(b.keys[i]), tuple(b.available[i].tolist())) for b in whole for i in range(len(b))}
    assert len(pairs) == len(whole.rows)
    found = []
    for rank in range(3):
        share = replace(whole, batch_size=7, rank=rank, world=3)
        for index, batch in enumerate(share):
            assert len(batch)
            if not share.is_padding(index):
                found += [(int(batch.keys[i]), tuple(batch.available[i].tolist())) for i in range(len(batch))]
    assert len(found) == len(pairs)
    assert set(found) == pairs


def test_a_process_without_a_share_gets_one_that_does_not_count():
    corpus = corpus_of()
    training = load_config().training
    settings = replace(training.recovery, batch_size=8)
    passes = [training_loader(corpus["train"], settings, training, 0, rank, 2) for rank in (0, 1)]
    assert [[p.is_padding(i) for i in range(len(p))] for p in passes] == [[False] * 4, [False] * 3 + [True]]
    last = [list(p)[-1] for p in passes]
    assert torch.equal(last[0].keys, last[1].keys)


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_who_writes_files(environment, main, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process(EngineConfig(devices=2)) == main
    # With one process, numbers of machines and tasks don't count: a scheduler sets them in any job.
    assert is_main_process(EngineConfig()) == (main or "RANK" not in environment)


def test_which_engines_have_several_processes():
    assert not several(EngineConfig())
    assert all(map(several, (EngineConfig(devices=-1), EngineConfig(devices=2), EngineConfig(num_nodes=2))))
