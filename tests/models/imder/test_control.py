"""The recovery branch and its control: where both start, what they read, and that recovery must beat its control."""

from dataclasses import replace

import pytest
import torch

from imder.missingness.subsets import pattern_bits
from imder.models.imder.branch_weights import BRANCH_WEIGHTS
from imder.models.parts.context import ContextAttention, neighbours
from imder.models.parts.losses import to_prediction
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig
from imder.training.train import train
from imder.types import RecoveredEncoding
from small_dialogues import CLASSES, SPEC, batch_of, config_of, system_of

CASES = [(members, direction, spec) for members in (1, 3) for direction in ("none", "both") for spec in (SPEC, CLASSES)]
cases = pytest.mark.parametrize(("members", "direction", "spec"), CASES)


def begun(members=2, direction="both", spec=SPEC, **more):
    """A model at the start of phase `control`, and a batch."""
    model = system_of("fast", members, direction, spec=spec, **more)
    for branch in (model.recovery_branch, model.control_branch):
        for reader in branch.fusion.recovered.values():
            torch.nn.init.zeros_(reader.vector.weight)
            torch.nn.init.zeros_(reader.expert.weight)
    batch = batch_of(spec=spec)
    batches = [batch.with_available(batch.present)]
    for phase in ("recovery", "control"):
        model.on_phase_start(phase, batches, seed=0)
    return model, batch


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@cases
def test_both_branches_start_at_the_predictions_of_stage_1(members, direction, spec):
    """Whatever is drawn."""
    model, batch = begun(members, direction, spec)
    visible = batch.available.any(1)
    with torch.no_grad():
        encodings = model.encode(batch)
        branch, token, recovered = model.branches(encodings, batch, 4, 0, visible)
        assert branch.shape == (4, members, len(batch), *([] if spec.task == "regression" else [3]))
        assert all(x.sampled.std(0).min() > 0 for x in recovered.values())
        close(branch[:, :, visible], token.expand_as(branch)[:, :, visible])
        clips, near = model.fuse(encodings, batch.available), neighbours(batch, model.context_config)
        mask = batch.available | ~visible[:, None]
        for control in (model.control_branch, model.recovery_branch):
            wild = {
                k: RecoveredEncoding(x.rows, 100 * x.sampled, 100 * x.sampled, x.lengths) for k, x in recovered.items()
            }
            output = to_prediction(control(encodings, mask, wild, 4, clips, near), spec)
            close(output[:, :, visible], branch[:, :, visible])
    model.branch_weight.fill_(1.0)
    with_recovery = model.predict(batch, samples=4, seed=1).prediction
    model.branch_weight.zero_()
    close(with_recovery[visible], model.predict(batch).prediction[visible])


def test_the_control_reads_zeros_in_place_of_recoveries(monkeypatch):
    """It samples nothing and refines nothing; its loss is that of the branch on zeros, written out."""
    model, batch = begun()
    with torch.no_grad():
        for parameter in model.control_branch.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    for name in ("sample", "refine", "_recover", "_sampled"):
        monkeypatch.setattr(model, name, None)  # called, it would raise
    losses = model.losses(batch, "control", 0)
    assert list(losses) == ["task"]
    visible = batch.available.any(1)
    with torch.no_grad():
        encodings = model.encode(batch)
        clips, near = model.fuse(encodings, batch.available), neighbours(batch, model.context_config)
        zeros = {}
        for i, name in enumerate(SPEC.names):
            rows = (~batch.available[:, i] & visible).nonzero().squeeze(1)
            x = torch.zeros(1, len(rows), 6, model.steps[name])
            zeros[name] = RecoveredEncoding(rows, x, x, torch.full_like(rows, model.steps[name]))
        mask = batch.available | ~visible[:, None]
        output = model.control_branch(encodings, mask, zeros, 1, clips, near)[0, :, :, 0].mean(0)
    close(losses["task"].total, (output - batch.labels)[visible].abs().sum())
    assert losses["task"].count == int(visible.sum())
    other = {k: x + 5.0 for k, x in batch.features.items()}  # what isn't available is never read
    hidden = {
        k: torch.where(batch.available[:, i, None, None], batch.features[k], other[k]) for i, k in enumerate(other)
    }
    close(model.losses(replace(batch, features=hidden), "control", 3)["task"].total, losses["task"].total)


@cases
def test_rows_of_a_branch_are_computed_as_if_alone(members, direction, spec):
    """Rows that lack nothing once, others draw after draw: against each draw in a call of its own."""
    model = system_of("fast", members, direction, spec=spec)
    batch = batch_of(spec=spec, empty=0.0)
    with torch.no_grad():
        encodings = model.encode(batch)
        _, _, recovered = model.branches(encodings, batch, 3, 0, torch.ones(len(batch), dtype=torch.bool))
        clips, near = model.fuse(encodings, batch.available), neighbours(batch, model.context_config)
        together = model.recovery_branch(encodings, batch.available, recovered, 3, clips, near)
        for s in range(3):
            one = {
                k: RecoveredEncoding(x.rows, x.sampled[s : s + 1], x.refined[s : s + 1], x.lengths)
                for k, x in recovered.items()
            }
            close(model.recovery_branch(encodings, batch.available, one, 1, clips, near)[0], together[s])
        assert together.std(0)[:, ~batch.available.all(1)].min() > 0
        assert not together.std(0)[:, batch.available.all(1)].any()


@pytest.mark.parametrize("phase", ["recovery", "control"])
def test_a_branch_learns_alone(phase):
    """Stage 1 stays, and so do the score networks and the other branch."""
    model, batch = begun()
    model.train()
    losses = model.losses(batch, phase, 0)
    sum(loss.weight * loss.total for loss in losses.values()).backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert reached == ({"refiners", "recovery_branch"} if phase == "recovery" else {"control_branch"})
    branch = model.recovery_branch if phase == "recovery" else model.control_branch
    assert branch.context.direct.weight.grad.abs().max() > 0
    readers = [p.grad for name, p in branch.fusion.recovered.named_parameters() if name.endswith("expert.weight")]
    assert all(grad.abs().max() > 0 for grad in readers)  # though they start at 0


def test_draws_are_read_amid_neighbours_one_at_a_time(monkeypatch):
    """The gathered neighbours are no more than those of one draw; the outputs are those of each draw by itself."""
    model, batch = system_of("fast", 2), batch_of()
    near = neighbours(batch, model.context_config)
    encodings, mask = model.encode(batch), batch.available | ~batch.available.any(1, keepdim=True)
    recovered = model._recover(encodings, mask, batch, 6, 0)
    clips, sizes = model.fuse(encodings, batch.available), []
    attend = ContextAttention.attend

    def recording(self, targets, read, rows):
        sizes.append(len(rows.rows))
        return attend(self, targets, read, rows)

    monkeypatch.setattr(ContextAttention, "attend", recording)
    together = model.recovery_branch(encodings, mask, recovered, 6, clips, near)
    complete = int(mask.all(1).sum())
    assert sizes == [complete, *[len(batch) - complete] * 6]
    for i in range(6):
        one = {k: replace(r, sampled=r.sampled[i : i + 1], refined=r.refined[i : i + 1]) for k, r in recovered.items()}
        close(together[i : i + 1], model.recovery_branch(encodings, mask, one, 1, clips, near))
    assert (together[0] - together[1]).abs().max() > 1e-4


@pytest.mark.parametrize("members", [1, 2])
def test_every_weight_is_judged_against_the_control_on_labelled_rows(members, monkeypatch):
    """The losses handed to the selection, against predictions mixed by hand."""
    model = system_of("fast", members)
    batch = batch_of()
    labels = batch.labels.clone()
    labels[::3] = torch.nan
    batch = replace(batch, labels=labels)
    added = []
    monkeypatch.setattr("imder.models.imder.training.BranchLosses.add", lambda self, *given: added.append(given))
    monkeypatch.setattr("imder.models.imder.training.BranchLosses.select", lambda self: {})
    model.on_phase_end("control", [batch], seed=5)
    ((patterns, keys, losses, control),) = added
    rows = (batch.available.any(1) & ~labels.isnan()).nonzero().squeeze(1)
    assert torch.equal(keys, batch.keys[rows])
    assert torch.equal(patterns, pattern_bits(batch.available[rows]))
    for column, weight in enumerate(BRANCH_WEIGHTS):
        model.branch_weight.fill_(weight)
        found = model.predict(batch, samples=4, seed=5).prediction
        close(losses[:, column], (found - labels).abs()[rows])
    close(control[:, 0], losses[:, 0])
    assert (control[:, 1:] - losses[:, 1:]).abs().max() > 1e-3


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_zeros_are_never_trusted(task, tmp_path):
    """Recovery of kind `zero` is its own control: after a real training its weight is 0 for every pattern."""
    corpus = KnownTruth.standard(lengths={"language": (1, 3), "vision": (2, 4), "audio": (1, 1)}).corpus(
        120, 90, 20, task=task
    )
    phase = {"max_epochs": 3, "batch_size": 32}
    config = config_of("fast", 2, recovery__kind="zero", training={"stage1": phase, "recovery": phase})
    model = train(corpus, tmp_path / "run", config=config, engine=EngineConfig(accelerator="cpu"))
    assert set(model.recovery_weights().values()) == {0.0}
    assert len(model.recovery_weights()) == 7
