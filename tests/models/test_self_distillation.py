"""Self-distillation: the averaged prediction from everything available teaches every subset."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imder.inference.predict import predict
from imder.models.registry import build
from imder.synthetic.known_truth import KnownTruth
from imder.training.config import EngineConfig, PhaseConfig, load_config
from imder.training.module import PhaseModule
from imder.training.prepare import check_objective
from imder.training.train import train
from imder.types import ImderError
from small_dialogues import CLASSES, SPEC, batch_of, config_of, scrambled, system_of

STILL = {
    "encoder__feature_dropout": 0.0,
    "context__dropout": 0.0,
    "fusion__input_dropout": 0.0,
    "fusion__dropout": 0.0,
}
CPU = EngineConfig(accelerator="cpu")


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def written_out(model, batch, weight):
    """The loss over every subset of every labelled row, one forward pass for each."""
    with torch.no_grad():
        teacher = model.predict(batch.with_available(batch.present)).prediction
    total, count = torch.zeros(()), 0
    for row in range(len(batch)):
        unlabelled = batch.labels[row] < 0 if batch.labels.dtype == torch.int64 else batch.labels[row].isnan()
        if unlabelled:
            continue
        for bits in range(1, 8):
            mask = torch.tensor([bool(bits >> k & 1) for k in range(3)])
            if (mask & ~batch.present[row]).any():
                continue
            available = batch.available.clone()
            available[row] = mask
            for output in model.outputs(batch.with_available(available))[:, row]:
                if model.spec.task == "regression":
                    label, taught = (output[0] - batch.labels[row]).abs(), (output[0] - teacher[row]).abs()
                else:
                    logs = output.log_softmax(0)
                    label, taught = -logs[batch.labels[row]], -(teacher[row] * logs).sum()
                total = total + ((1 - weight) * label + weight * taught) / model.members
            count += 1
    return total, count


@pytest.mark.parametrize("direction", ["none", "past"])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("spec", [SPEC, CLASSES], ids=["regression", "classification"])
def test_the_loss_and_its_gradients_are_the_formula(spec, members, direction):
    """The teacher is a constant: no gradient passes through it."""
    model = system_of("late-fusion", members, direction, spec=spec, **STILL).train()
    batch = batch_of((4, 1, 2), spec=spec)
    present = torch.ones_like(batch.present)
    present[::3, 1] = False
    batch = replace(batch, present=present, available=batch.available & present)
    batch.labels[1] = -1 if spec.task == "classification" else torch.nan
    loss = model.losses(batch, "stage1", 0, all_subsets=True, self_distillation=0.3)["task"]
    total, count = written_out(model, batch, 0.3)
    close(loss.total, total)
    assert loss.count == count
    assert model.training
    plain = model.losses(batch, "stage1", 0, all_subsets=True)["task"]
    close(plain.total, written_out(model, batch, 0.0)[0])
    assert not torch.isclose(plain.total, loss.total)
    weights = list(model.parameters())
    if spec.task == "regression" and members == 1:
        return  # where everything is available, |y - y| has its kink: the sign of its gradient is rounding
    ours, theirs = (torch.autograd.grad(x, weights, allow_unused=True) for x in (loss.total, total))
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()) + 1e-6)


def test_the_teacher_drops_nothing():
    """With dropout, teacher and students are one network in two modes; parts kept in evaluation mode stay there."""
    model, batch = system_of("late-fusion", 2, spec=CLASSES), batch_of(spec=CLASSES)
    expected = model.predict(batch.with_available(batch.present)).prediction
    model.train()
    model.encoders.eval()
    close(model._teacher(batch), expected)
    assert model.fusion.training
    assert not model.encoders.training


# ------------------------------------------------------------------------------------------------ settings
def test_auto_is_a_half_for_classes_and_nothing_for_numbers():
    config = PhaseConfig(self_distillation="auto")
    assert config.distillation_weight("classification") == 0.5
    assert config.distillation_weight("regression") == 0.0
    assert PhaseConfig(self_distillation=0.2).distillation_weight("regression") == 0.2
    assert PhaseConfig().distillation_weight("classification") == 0.0


@pytest.mark.parametrize("value", [1.0, -0.1, "sometimes"])
def test_a_weight_is_a_share(value):
    with pytest.raises(ImderError, match="self_distillation") as caught:
        load_config("late-fusion", overrides={"training.stage1.self_distillation": value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("late-fusion", {"training.stage1.missing": "any"}),
        ("late-fusion", {"training.missing_rate": 0.5}),
        ("gcnet", {}),
        ("mmin", {}),
        ("language-only", {"training.stage1.missing": "none"}),
    ],
)
def test_systems_and_masks_without_it_refuse_it(preset, overrides, tmp_path):
    config = load_config(preset, overrides=overrides | {"training.stage1.self_distillation": 0.5})
    corpus = KnownTruth.standard().corpus(20, 10, 10)
    with pytest.raises(ImderError, match=r"training\.stage1\.self_distillation: .* set it to 0") as caught:
        train(corpus, tmp_path / "run", config=config, engine=CPU)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("overrides", [{"training.missing_rate": 0.5}, {"training.stage1.missing": "any"}])
def test_auto_is_nothing_where_not_every_subset_is_trained(overrides, tmp_path):
    quick = {"training.stage1": {"max_epochs": 1, "self_distillation": "auto"}}
    config = load_config("late-fusion", overrides=overrides | quick)
    corpus = KnownTruth.standard().corpus(20, 10, 10, task="classification")
    assert np.isfinite(predict(train(corpus, tmp_path / "run", config=config, engine=CPU), corpus)["entropy"]).all()


def test_every_subset_is_refused_where_a_system_cannot_try_them():
    config = load_config("gcnet", overrides={"training.stage1.missing": "every"})
    model = build("gcnet", config.model, SPEC)
    with pytest.raises(ImderError, match=r"training\.stage1\.missing 'every': gcnet can't try") as caught:
        check_objective(model, "stage1", config.training)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("preset", ["late-fusion", "fast"])
def test_training_uses_the_weight_of_its_phase(preset, task, monkeypatch):
    """`auto`, as `fast` has it, for classes; a number for both tasks; nothing in a later phase."""
    spec = SPEC if task == "regression" else CLASSES
    for value, expected in (("auto", 0.5 if task == "classification" else None), (0.25, 0.25), (0.0, None)):
        config = config_of(preset, training={"stage1": {"self_distillation": value}})
        model = scrambled(build(config.system, config.model, spec))
        given = []
        losses = model.losses
        monkeypatch.setattr(
            model, "losses", lambda *a, losses=losses, given=given, **k: given.append(k) or losses(*a, **k)
        )
        for phase in model.phases(config.model)[:1]:
            settings = config.training.phase(phase)
            module = PhaseModule(model, phase, settings, config.training, None, None)
            monkeypatch.setattr(module, "log", lambda *a, **k: None)
            module._training = type("Loader", (), {"is_padding": staticmethod(lambda index: False)})()
            monkeypatch.setattr(PhaseModule, "current_epoch", 0)
            module.training_step(batch_of(spec=spec), 0)
        assert [k.get("self_distillation") for k in given] == [expected]
        assert all(k["all_subsets"] for k in given)
