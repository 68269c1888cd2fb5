"""A system of one phase needs its layers and `forward`: losses, subsets and predictions follow."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from imder.models.single_phase import SinglePhaseModel
from imder.types import Batch, Modality, Spec

SPEC = Spec((Modality("a", 2, 3), Modality("b", 1, 3)))


@dataclass(frozen=True)
class SumConfig:
    scale: float = 1.0


class Sum(SinglePhaseModel):
    system = "sum"
    config_type = SumConfig

    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.maps = nn.ModuleDict({m.name: nn.Linear(m.dim, spec.outputs) for m in spec.modalities})

    def forward(self, batch):
        parts = [
            torch.where(batch.available[:, i, None], self.maps[k](x.sum(1)), 0.0)
            for i, (k, x) in enumerate(batch.features.items())
        ]
        return self.config.scale * torch.stack(parts).sum(0)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    features = {m.name: torch.randn(4, 3, m.dim, generator=generator) for m in SPEC.modalities}
    lengths = {m.name: torch.full((4,), 3) for m in SPEC.modalities}
    available = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
    labels = torch.tensor([1.0, -1.0, torch.nan, 0.5])
    return Batch(features, lengths, torch.ones_like(available), available, torch.arange(4), labels)


def test_every_subset_counts_once(batch):
    model = Sum(SPEC, SumConfig())
    loss = model.losses(batch, "stage1", 0, all_subsets=True)["task"]
    expected = torch.zeros(())
    for mask in ([True, False], [False, True], [True, True]):
        masks = torch.tensor(mask).expand(4, 2)
        rows = (batch.available | ~masks).all(1) & ~batch.labels.isnan()
        output = model(batch.with_available(masks))[:, 0]
        expected = expected + (output - batch.labels).abs()[rows].sum()
    torch.testing.assert_close(loss.total, expected)
    assert loss.count == 7  # three subsets of two labelled samples, one of the third


def test_predictions_and_phases(batch):
    model = Sum(SPEC, SumConfig(2.0))
    assert model.phases(model.config) == ("stage1",)
    assert model.trainable_modules("stage1") == [model.maps]
    assert torch.equal(model.predict(batch).prediction, model(batch)[:, 0])
    assert model.recovery_weights() == {}


def test_rows_of_a_batch_may_be_taken_in_any_order(batch):
    rows = torch.tensor([2, 0, 2])
    taken = batch.take(rows)
    assert len(taken) == 3
    assert torch.equal(taken.keys, rows)
    assert torch.equal(taken.available, batch.available[rows])
    assert all(torch.equal(taken.features[k], x[rows]) for k, x in batch.features.items())
    assert taken.dialogue is None
