"""What is observed of some clips: rows of it."""

import torch

from imder.models.imder.remaining import erase
from small_dialogues import batch_of, system_of


def test_taken_rows_have_their_own_encodings_neighbours_and_remains():
    """In any order, and several times."""
    model, batch = system_of("fast", recovery__inpaint=True), erase(batch_of(), 3)
    observed = model.observe(model.encode(batch), batch, model.remaining(batch))
    taken, rows = observed.take(torch.tensor([5, 0, 5])), [5, 0, 5]
    assert (len(observed), len(taken)) == (len(batch), 3)
    for i, row in enumerate(rows):
        one = observed.take(slice(row, row + 1))
        assert torch.equal(taken.available[i], batch.available[row])
        assert torch.equal(taken.neighbours.available[i], one.neighbours.available[0])
        for name, encoding in observed.encodings.items():
            assert torch.equal(taken.encodings[name][i], encoding[row])
            assert torch.equal(taken.neighbours.means[name][i], one.neighbours.means[name][0])
            assert torch.equal(taken.remaining_of(name).averaged[i], observed.remaining[name].averaged[row])
    assert model.observe(model.encode(batch), batch).remaining_of("audio") is None
