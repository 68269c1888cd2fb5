"""A training that finds the disk full: one line, nothing half-written, and it goes on as if nothing had been."""

import os
import subprocess
import sys
import tempfile

import pytest

from command_line import imder_
from full_disk import files_up_to
from imder.data.mapped import mapped_zeros
from imder.data.store import space_for, write_store
from imder.jobs.files import DiskFullError
from imder.synthetic.known_truth import KnownTruth
from imder.training.csv_log import PhaseCSVLogger
from imder.training.tensorboard_log import PhaseTensorBoardLogger
from small_training import assert_same_end

OPTIONS = ("--max-epochs", "2", "--engine.accelerator", "cpu", "--engine.checkpoint_seconds", "0", "--threads", "1")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "store"
    write_store(KnownTruth.standard().corpus(24, 16, 8), path)
    return path


@pytest.fixture(scope="module")
def uninterrupted(store):
    run = store.parent / "run"
    assert imder_("train", store, "--out", run, "--preset", "late-fusion", *OPTIONS) == 0
    return run


@pytest.mark.parametrize(
    ("size", "file"),
    [
        (20, "running.lock"),
        (600, ".json"),
        (20_000, "running-stage1.ckpt"),
    ],
)
def test_one_line_then_the_same_end(size, file, store, uninterrupted, tmp_path, capsys):
    run = tmp_path / "run"
    train = ("train", store, "--out", run, "--preset", "late-fusion", *OPTIONS)
    capsys.readouterr()
    with files_up_to(size):
        assert imder_(*train) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("stage1:")]
    assert len(lines) == 1
    assert file in lines[0].split(": cannot be written (File too large); free space")[0]
    assert not [path for path in run.rglob("*") if path.name.endswith(".part")]
    if (run / "config.yaml").exists():
        assert lines[0].endswith(f"then continue with: imder train {store} --resume {run}")
        train = ("train", store, "--resume", run, *OPTIONS[2:])
    else:
        assert lines[0].endswith("then run the command again")
    assert imder_(*train) == 0
    assert_same_end(uninterrupted, run)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["data", "inspect", "nowhere"]])
def test_output_to_a_full_disk(words, stream):
    with open("/dev/full", "w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: full}
        done = subprocess.run([sys.executable, "-m", "imder", *words], text=True, **streams)
    if stream == "stderr" or words[0] == "data":
        assert done.returncode == (2 if words[0] == "data" else 0)
    else:
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "No space left on device" in done.stderr


def test_maps_reserve_their_space(tmp_path):
    """Otherwise the process would be killed when it writes to them."""
    with files_up_to(1000), pytest.raises(DiskFullError, match=r"part: cannot be written \(File too large\)"):
        space_for((1000, 4), tmp_path / "part")
    values = space_for((1000, 4), tmp_path / "part")
    values[-1] = 2
    assert os.stat(tmp_path / "part").st_blocks * 512 >= 16_000
    assert not space_for((1000, 4), tmp_path / "part").any()
    with files_up_to(1000), tempfile.TemporaryFile() as file, pytest.raises(DiskFullError, match="here: cannot be"):
        mapped_zeros((1000, 4), file, "here")


def test_rows_and_events_end_whole(tmp_path):
    table, events = PhaseCSVLogger(tmp_path), PhaseTensorBoardLogger(tmp_path)
    for epoch in range(2):
        table.log_metrics({"epoch": epoch, "loss": 0.5}, epoch)
        table.save()
    written = (tmp_path / "csv" / "metrics.csv").read_bytes()
    with files_up_to(len(written) + 3):
        table.log_metrics({"epoch": 2, "loss": 0.5}, 2)
        with pytest.raises(DiskFullError, match=r"csv/metrics\.csv: cannot be written \(File too large\)"):
            table.save()
        with pytest.raises(DiskFullError, match=r"tensorboard/events.*: cannot be written"):
            events.log_metrics({"loss": 0.5, "valid": 1.0}, 0)
    table.finalize("failed")
    assert (tmp_path / "csv" / "metrics.csv").read_bytes() == written


def test_events_are_those_of_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    logger = PhaseTensorBoardLogger(tmp_path / "$HOME")  # a name like any other
    for step in range(3):
        logger.log_metrics({"loss": step / 2}, step)
    logger.finalize("success")
    (file,) = (tmp_path / "$HOME" / "tensorboard").iterdir()
    events = list(EventFileLoader(str(file)).Load())
    assert events[0].file_version == "brain.Event:2"
    assert [event.step for event in events[1:]] == [0, 1, 2]
    assert [event.summary.value[0].tag for event in events[1:]] == ["loss"] * 3
    PhaseTensorBoardLogger(tmp_path / "$HOME").log_metrics({"loss": 1.0}, 3)
    assert len(list((tmp_path / "$HOME" / "tensorboard").iterdir())) == 2
