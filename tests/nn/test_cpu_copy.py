"""Copies of modules on the CPU."""

import pytest
import torch
from torch import nn

from imder.nn.cpu_copy import copied_to_cpu


def test_a_copy_on_the_cpu_takes_no_memory_of_the_device(monkeypatch):
    device = {"device": "meta"}  # stands for a GPU
    module = nn.ModuleList([nn.Linear(2, 2, **device), nn.BatchNorm1d(2, **device), nn.Linear(2, 2, **device)])
    module[2].weight = module.requires_grad_(False)[0].weight  # tied
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", lambda tensor, device: torch.ones(tensor.shape, device=device))
        patch.setattr(torch.Tensor, "clone", lambda *_, **__: pytest.fail("copied on the device"))
        copy = copied_to_cpu(module)
    assert {t.device.type for t in (*module.parameters(), *module.buffers())} == {"meta"}
    assert {t.device.type for t in (*copy.parameters(), *copy.buffers())} == {"cpu"}
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert copy[2].weight is copy[0].weight
    assert copy[0](torch.ones(1, 2)).tolist() == [[3.0, 3.0]]
    assert copied_to_cpu(copy) is copy
