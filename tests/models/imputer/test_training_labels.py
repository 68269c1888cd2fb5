"""Labels of training clips: their own or, without one, those of the predicted distribution."""

import pytest
import torch

from imder.models.imputer.labels import LabelDesign
from imder.models.imputer.training_labels import TrainingLabels
from imder.types import Batch, Modality, Spec

MODALITIES = (Modality("audio", 2, 1), Modality("vision", 2, 1))
CLASSES = Spec(MODALITIES, "classification", ("calm", "sad", "angry"))


def clips(labels: torch.Tensor | None, rows: int) -> Batch:
    """Clips without features."""
    mask = torch.ones(rows, 2, dtype=torch.bool)
    return Batch({}, {}, mask, mask, torch.arange(rows) * 0x9E3779B97F4A7C1, labels)


def test_known_labels_are_kept_and_unknown_ones_drawn_as_predicted() -> None:
    probabilities = torch.tensor([0.2, 0.5, 0.3])
    labels = TrainingLabels(LabelDesign(CLASSES), lambda batch: probabilities.expand(len(batch), 3).clone())
    batch = clips(torch.tensor([1, -1] * 3000), 6000)
    expected, labelled = labels.expected(batch)
    assert labelled.tolist() == [True, False] * 3000
    assert torch.equal(expected[:2], torch.stack([torch.tensor([0.0, 1.0, 0.0]), probabilities]))
    drawn = labels.draw(batch, seed=1)
    assert drawn[::2].argmax(1).eq(1).all()
    assert drawn.sum(1).eq(1).all()
    assert torch.allclose(drawn[1::2].mean(0), probabilities, atol=0.03)
    assert not torch.equal(drawn, labels.draw(batch, seed=2))
    rows = torch.tensor([5, 3])
    assert torch.equal(labels.draw(batch.take(rows), seed=1), drawn[rows])


def test_drawn_values_have_the_variance_of_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(20_000, generator=generator)
    label = 3 + 2 * value
    label[::2] = torch.nan
    design = LabelDesign(Spec(MODALITIES, "regression"))
    design.fit([label])
    labels = TrainingLabels(design, lambda batch: 3 + 2 * 0.6 * value)
    batch = clips(label, len(label))
    expected, labelled = labels.expected(batch)
    squares = labels.squares(expected, labelled)
    assert squares[::2].mean() == pytest.approx(1, abs=0.02)
    assert torch.equal(squares[1::2], expected[1::2].square())
    drawn = labels.draw(batch, seed=0)
    assert torch.equal(drawn[1::2], expected[1::2])
    assert float(drawn[::2].var()) == pytest.approx(1, abs=0.04)
    assert float((drawn - expected)[::2].var()) == pytest.approx(1 - 0.36, abs=0.04)


@pytest.mark.parametrize("labels", [None, torch.full((5,), -1)])
def test_without_labels_all_are_drawn(labels: torch.Tensor | None) -> None:
    source = TrainingLabels(LabelDesign(CLASSES), lambda batch: torch.tensor([[0.0, 1.0, 0.0]]).repeat(len(batch), 1))
    assert source.draw(clips(labels, 5), seed=0).argmax(1).tolist() == [1] * 5


def test_without_a_task_labels_have_width_0() -> None:
    labels = TrainingLabels(LabelDesign(Spec(MODALITIES, "none")), None)
    expected, labelled = labels.expected(clips(None, 4))
    assert expected.shape == labels.squares(expected, labelled).shape == labels.draw(clips(None, 4), 0).shape == (4, 0)
