"""Averages of the neighbours' codes by hand."""

import torch

from imder.models.imputer.neighbour_codes import neighbour_codes
from imder.models.parts.context import ContextConfig, neighbours
from imder.types import Batch


def dialogue(available: list[list[bool]]) -> Batch:
    """Clips of one dialogue, in order."""
    mask = torch.tensor(available)
    index = torch.arange(len(mask))
    return Batch({}, {}, mask, mask, index, None, torch.zeros_like(index), index)


def test_nearer_neighbours_count_more_and_missing_ones_not_at_all() -> None:
    batch = dialogue([[True, True], [True, False], [True, True]])
    codes = {"a": torch.tensor([[1.0], [2.0], [4.0]]), "b": torch.tensor([[10.0], [99.0], [30.0]])}
    config = ContextConfig("both", 2)
    near = neighbour_codes(codes, batch.available, neighbours(batch, config), config)
    first = [(2.0 + 4.0 / 2) / (0.5 + 1.5), (30.0 / 2) / (0.5 + 0.5)]
    middle = [(1.0 + 4.0) / (0.5 + 2), (10.0 + 30.0) / (0.5 + 2)]
    assert torch.allclose(near[:2], torch.tensor([first, middle]))


def test_without_dialogues_averages_are_0() -> None:
    codes = {"a": torch.ones(2, 3), "b": torch.ones(2, 1)}
    assert torch.equal(
        neighbour_codes(codes, torch.ones(2, 2, dtype=torch.bool), None, ContextConfig()), torch.zeros(2, 4)
    )
