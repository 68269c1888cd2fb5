"""A run keeps its data and its process: other data, a second process and damaged checkpoints are refused in one line."""

import csv
import json
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.data.corpus import Corpus
from imder.data.split import Ragged
from imder.data.store import write_store
from imder.jobs.locks import Lock
from imder.training.config import RunConfig
from imder.training.run import LOCK, RunDirectory
from imder.training.train import train
from imder.types import ImderError
from processes import dead_process, ended_pid
from small_training import CPU, Epochs, Stop, assert_same_end, assert_same_weights, tiny, weights


@pytest.fixture(scope="module")
def interrupted(corpus, tmp_path_factory):
    """A run stopped in stage 1, as files by name."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(corpus, out, config=tiny(), engine=CPU, callbacks=[Stop("stage1", 2)])
    return {str(f.relative_to(out)): f.read_bytes() for f in out.rglob("*") if f.is_file()}


@pytest.fixture
def stopped(interrupted, tmp_path):
    for name, content in interrupted.items():
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "run"


def changed(corpus, split="train", **columns):
    part = corpus[split]
    return Corpus(corpus.name, corpus.spec, {**corpus.splits, split: replace(part, **columns)}, corpus.recipe)


def other_features(corpus, split):
    ragged = corpus[split].features["audio"]
    values = np.array(ragged.values)
    values[len(values) // 2 :] *= 1.01
    return {**corpus[split].features, "audio": Ragged(values, ragged.offsets)}


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("what", ["ids", "labels", "features"])
def test_other_data_is_refused(what, split, stopped, corpus):
    part = corpus[split]
    columns = {
        "ids": lambda: {"ids": [f"other {i}" for i in part.ids]},
        "labels": lambda: {"labels": np.where(np.arange(len(part)) == 3, part.labels + 1, part.labels).astype("f4")},
        "features": lambda: {"features": other_features(corpus, split)},
    }[what]()
    with pytest.raises(ImderError, match=rf"run: was started on other data: {what} of split '{split}' differ"):
        train(changed(corpus, split, **columns), stopped, resume=True, engine=CPU)


def test_another_test_split_and_a_store_of_the_same_data_are_accepted(stopped, corpus, finished, tmp_path):
    part = corpus["test"]
    other = changed(corpus, "test", labels=(part.labels + 1).astype("f4"))
    write_store(other, tmp_path / "store")
    train(tmp_path / "store", stopped, resume=True, engine=CPU)
    assert_same_weights(weights(finished[0]), weights(stopped))


@pytest.mark.parametrize("new", [True, False])
def test_a_second_training_is_refused_while_the_first_lives(new, stopped, corpus, tmp_path):
    out = tmp_path / "new" if new else stopped
    out.mkdir(exist_ok=True)
    first = Lock(out / LOCK)
    assert first.acquire()
    options = {"config": tiny()} if new else {"resume": True}
    with pytest.raises(ImderError, match=r"process \d+ on .* trains here; wait until it ends"):
        train(corpus, out, engine=CPU, **options)
    assert first.held()


@pytest.mark.parametrize("seconds", [0, 1e9, -1e9])
def test_the_lock_of_an_ended_process_is_taken_over_whatever_its_date(seconds, stopped, corpus, finished):
    lock = Lock(stopped / LOCK)
    assert lock.acquire()
    about = json.loads(lock.path.read_text())
    lock.path.write_text(json.dumps(about | {"pid": ended_pid(), "time": time.time() + seconds}))
    train(corpus, stopped, resume=True, engine=CPU)
    assert_same_end(finished[0], stopped)
    assert not lock.path.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": 1}', '{"token": "a", "pid": "x", "time": Infinity}'])
def test_a_damaged_lock_is_stale_after_half_a_minute(content, tmp_path):
    path = tmp_path / "a.lock"
    path.write_text(content)
    assert not Lock(path).acquire()
    for age in (31, -31):
        os.utime(path, (time.time() - age, time.time() - age))
        lock = Lock(path)
        assert lock.acquire()
        lock.release()
        path.write_text(content)


def damage(content, kind):
    half = len(content) // 2
    return {
        "empty": b"",
        "cut": content[:half],
        "text": b"no checkpoint",
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "cut", "text"])
def test_a_damaged_checkpoint_is_one_line(kind, stopped, corpus, finished):
    path = stopped / "running-stage1.ckpt"
    path.write_bytes(damage(path.read_bytes(), kind))
    with pytest.raises(
        ImderError, match=r"running-stage1.ckpt: damaged.*remove it to train this phase again"
    ) as caught:
        train(corpus, stopped, resume=True, engine=CPU)
    assert "\n" not in str(caught.value)
    path.unlink()
    train(corpus, stopped, resume=True, engine=CPU)
    assert_same_end(finished[0], stopped)


def _without(*path):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


def _set(value, *path):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


CHANGES = {
    "no state": _without("state_dict"),
    "no callbacks": _without("callbacks"),
    "no loops": _without("loops"),
    "loops of another kind": _set([1], "loops"),
    "no optimizer": _without("optimizer_states"),
    "no optimizers at all": _set([], "optimizer_states"),
    "an optimizer of another model": _set([{"state": {}, "param_groups": []}], "optimizer_states"),
    "weights of another model": _set({"model.a": torch.ones(2)}, "state_dict"),
    "no best weights": _set({}, "callbacks", "BestWeights"),
    "best weights left out": _set({}, "callbacks", "BestWeights", "best_state"),
    "best weights of another model": _set({"a": torch.ones(2)}, "callbacks", "BestWeights", "best_state"),
    "best weights that are none": _set({"a": "b"}, "callbacks", "BestWeights", "best_state"),
    "another average": _set({"a": torch.ones(2)}, "callbacks", "BestWeights", "average"),
    "a text for the epoch": _set("x", "callbacks", "BestWeights", "best_epoch"),
    "another training": _set("0" * 24, "callbacks", "Checkpoint", "key"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_foreign_checkpoint_is_one_line(change, stopped, corpus):
    path = stopped / "running-stage1.ckpt"
    content = torch.load(path, weights_only=True)
    CHANGES[change](content)
    torch.save(content, path)
    with pytest.raises(ImderError, match=r"running-stage1.ckpt: damaged.*remove it") as caught:
        train(corpus, stopped, resume=True, engine=CPU)
    assert "\n" not in str(caught.value)


class Attack:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_hostile_checkpoint_runs_nothing(stopped, corpus, capfd):
    torch.save({"state_dict": Attack()}, stopped / "running-stage1.ckpt")
    with pytest.raises(ImderError, match=r"running-stage1.ckpt: damaged"):
        train(corpus, stopped, resume=True, engine=CPU)
    assert "executed" not in capfd.readouterr().out


def test_the_checkpoint_of_another_seed_is_refused(stopped, corpus, tmp_path):
    other = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        train(corpus, other, config=tiny(training__seed=1), engine=CPU, callbacks=[Stop("stage1", 2)])
    (stopped / "running-stage1.ckpt").write_bytes((other / "running-stage1.ckpt").read_bytes())
    with pytest.raises(ImderError, match="other settings, for another phase or on other data"):
        train(corpus, stopped, resume=True, engine=CPU)


def test_leftovers_of_killed_trainings_are_removed(stopped, corpus):
    dead = dead_process()
    (stopped / f".model.safetensors.{dead}-00ff.part").touch()
    (stopped / "phases").mkdir()
    (stopped / "phases" / f".stage1.safetensors.{dead}-00ff.part").touch()
    train(corpus, stopped, resume=True, engine=CPU)
    assert not list(stopped.rglob("*.part"))


def test_resuming_keeps_the_csv_log(stopped, corpus, finished):
    def rows(run):
        with open(run / "logs" / "stage1" / "csv" / "metrics.csv") as file:
            return list(csv.DictReader(file))

    before = rows(stopped)
    assert {row["epoch"] for row in before} >= {"0"}
    train(corpus, stopped, resume=True, engine=CPU)
    after = rows(stopped)
    assert [row for row in after if row["epoch"] < "2"] == [row for row in before if row["epoch"] < "2"]
    assert [r["epoch"] for r in after if r["valid"]] == ["0", "1", "2"]
    assert [r["valid"] for r in after] == [r["valid"] for r in rows(finished[0])]


def test_a_corpus_is_no_place_for_a_run(corpus, tmp_path):
    write_store(corpus, tmp_path / "store")
    before = sorted(p.name for p in (tmp_path / "store").iterdir())
    with pytest.raises(ImderError, match=r"store: is a corpus .a store.; choose another folder"):
        train(corpus, tmp_path / "store", config=tiny(), engine=CPU)
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == before


def test_a_configuration_without_a_preset_resumes(corpus, finished, tmp_path):
    config = tiny()
    config = RunConfig(config.system, config.model, config.training)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", config=config, engine=CPU, callbacks=[Stop("stage1", 2)])
    assert RunDirectory(tmp_path / "run").open() == config
    train(corpus, tmp_path / "run", resume=True, engine=CPU)
    assert_same_weights(weights(finished[0]), weights(tmp_path / "run"))


def test_trainings_in_threads_equal_their_sequential_twins(corpus, finished, tmp_path):
    other = tiny(training__seed=1)
    train(corpus, tmp_path / "alone", config=other, engine=CPU)
    count, errors = Epochs(), []

    def run(name, config):
        try:
            train(corpus, tmp_path / name, config=config, engine=CPU, callbacks=[count])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in (("first", tiny()), ("second", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert_same_end(finished[0], tmp_path / "first")
    assert_same_end(tmp_path / "alone", tmp_path / "second")


def test_a_lock_appears_with_its_content(tmp_path, monkeypatch):
    """Killed at any instant, a process leaves a lock that names it, or none."""
    links = []

    def link(part, path):
        links.append(json.loads(part.read_text())["pid"])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(KeyboardInterrupt):
        Lock(tmp_path / "a.lock").acquire()
    assert links == [os.getpid()]
    assert not list(tmp_path.iterdir())


def test_locks_need_no_links(tmp_path, monkeypatch):
    def link(part, path):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    one, other = Lock(tmp_path / "a.lock"), Lock(tmp_path / "a.lock")
    assert one.acquire()
    assert not other.acquire()
    one.release()
    assert other.acquire()
    assert [p.name for p in tmp_path.iterdir()] == ["a.lock"]
