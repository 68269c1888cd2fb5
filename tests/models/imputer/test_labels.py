"""Draws of labels: each alone has the predicted distribution, all together hold every class in its share."""

import torch

from imder.models.imputer.labels import LabelDesign
from imder.types import Modality, Output, Spec

MODALITIES = (Modality("audio", 2, 1), Modality("vision", 2, 1))
CLASSES = Spec(MODALITIES, "classification", ("calm", "sad", "angry"))


def drawn(probabilities: list[float], rows: int, draws: int, seed: int = 0) -> torch.Tensor:
    """Class numbers ``(S, B)`` drawn from the same probabilities for all rows."""
    prediction = torch.tensor([probabilities]).expand(rows, -1)
    available = torch.ones(rows, 2, dtype=torch.bool)
    output = Output(prediction, prediction[None])
    return LabelDesign(CLASSES).draw(output, available, torch.arange(rows), draws, seed, None).argmax(2)


def test_all_draws_of_a_clip_hold_each_class_in_its_share() -> None:
    counts = torch.nn.functional.one_hot(drawn([0.25, 0.5, 0.25], 100, 8), 3).sum(0)
    assert bool(((counts - torch.tensor([2, 4, 2])).abs() <= 1).all())
    assert torch.allclose(counts.float().mean(0), torch.tensor([2.0, 4.0, 2.0]), atol=0.2)


def test_one_draw_has_the_predicted_distribution() -> None:
    shares = torch.nn.functional.one_hot(drawn([0.2, 0.5, 0.3], 4000, 16)[3], 3).float().mean(0)
    assert torch.allclose(shares, torch.tensor([0.2, 0.5, 0.3]), atol=0.03)


def test_a_class_of_probability_0_is_never_drawn() -> None:
    assert not bool((drawn([0.0, 0.6, 0.4], 500, 16) == 0).any())
    assert not bool((drawn([0.6, 0.4, 0.0], 500, 16) == 2).any())


def test_draws_depend_on_the_key_not_on_the_row() -> None:
    prediction = torch.rand(6, 3).softmax(1)
    available, keys = torch.ones(6, 2, dtype=torch.bool), torch.arange(6)
    design, order = LabelDesign(CLASSES), torch.tensor([3, 1, 5, 0, 2, 4])
    one = design.draw(Output(prediction, prediction[None]), available, keys, 16, 1, None)
    other = design.draw(Output(prediction[order], prediction[None, order]), available, keys[order], 16, 1, None)
    assert torch.equal(one[:, order], other)


def test_values_are_standardised_and_drawn_from_the_spread() -> None:
    design = LabelDesign(Spec(MODALITIES, "regression"))
    design.fit([torch.tensor([1.0, 3.0, float("nan")]), torch.tensor([1.0, 3.0])])
    assert torch.allclose(design.of_labels(torch.tensor([2.0, 4.0])), torch.tensor([[0.0], [2.0]]))
    spread = torch.tensor([[0.0], [2.0], [4.0], [6.0]])
    values = design.draw(
        Output(spread.mean(0), spread), torch.ones(1, 2, dtype=torch.bool), torch.tensor([7]), 8, 0, None
    )
    assert sorted((values[:, 0, 0] * design.scale + design.mean).tolist()) == [0, 0, 2, 2, 4, 4, 6, 6]


def test_without_a_task_a_label_has_width_0() -> None:
    assert LabelDesign(Spec(MODALITIES, "none")).width == 0


def test_equal_labels_have_a_scale_of_their_own_size():
    """A prediction that differs from them by rounding is no other label; one far away stays finite."""
    for value in (0.0, 2.0, 1e30):
        design = LabelDesign(Spec(MODALITIES))
        design.fit([torch.tensor([value, value, torch.nan])])
        near = torch.tensor([value]) * (1 + 1e-6) + 1e-6
        assert design.of_labels(near).abs() < 1e-5
        assert design.of_labels(torch.tensor([-3e38])).isfinite().all()
