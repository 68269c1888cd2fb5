"""Hidden states of whole texts, each as if it were alone: computed in groups of equal length, without padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imder.data.corpus import Ragged

TOKENS_AT_ONCE = 4096


def states_of_texts(module: nn.Module, tokens: Ragged) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The row and the states ``(T, dim)`` of each text that has tokens, on the CPU.

    The transformer, in evaluation mode, computes where it is and is left as it is, so that threads can share it.
    """
    device = next(module.parameters()).device
    for rows in _groups_of_equal_length(tokens):
        ids = torch.from_numpy(np.stack([tokens[i][:, 0] for i in rows]).astype(np.int64)).to(device)
        with torch.inference_mode():
            states = module(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.float()
        yield from zip(rows, states.cpu().numpy(), strict=True)


def _groups_of_equal_length(tokens: Ragged) -> Iterator[list[int]]:
    """Groups of rows of texts of equal length, small enough for memory."""
    lengths = tokens.lengths
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        size = max(1, TOKENS_AT_ONCE // int(length))
        for begin in range(0, len(rows), size):
            yield rows[begin : begin + size].tolist()
