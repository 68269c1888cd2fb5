"""A device `fake` that holds its values in ordinary memory, and on which a program's mistakes with devices are errors.

Tensors on it are wrappers around CPU tensors. As on a real accelerator, an operation on tensors of two devices raises (single
numbers and indices excepted), as do a CPU generator and ``.numpy()``. Registering the device changes the process, so tests
use it in a process of their own.
"""

from __future__ import annotations

import torch
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.connectors.accelerator_connector import _AcceleratorConnector
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "fake"
_LIBRARY = torch.library.Library("_", "IMPL")  # its kernels go when it does
_aten = torch.ops.aten
_COPIES = {_aten.copy_.default, _aten._to_copy.default, _aten._copy_from.default}
_WITH_LENGTHS = {_aten._pack_padded_sequence.default, _aten._pad_packed_sequence.default}
_INDEXED = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}


class FakeTensor(torch.Tensor):
    """A tensor on the fake device; ``held`` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=f"{NAME}:0",
        )
        tensor.held = held
        return tensor

    def __repr__(self):
        return f"FakeTensor({self.held})"

    def new_tensor(self, data, **options):
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device} | options)

    def tolist(self):
        return self.held.tolist()

    def numpy(self, *, force=False):
        if not force:
            raise TypeError(f"can't convert a tensor of {NAME}:0 to numpy; use .cpu() first")
        return self.held.detach().numpy()

    def __reduce_ex__(self, protocol):
        return self.held.detach().__reduce_ex__(protocol)  # checkpoints are read on the CPU

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is _aten._fused_sdp_choice.default:
            return 0  # the formula written out
        if func is _aten._to_copy.default:
            return _copied(args[0], kwargs)
        _check(func, args, kwargs)
        return _run(func, args, kwargs)


def _check(func, args, kwargs):
    """Raise where a real accelerator would."""
    if func in _COPIES | _WITH_LENGTHS:
        return
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type == "cpu":
        raise RuntimeError(f"{func}: expected a generator of {NAME}, got one of the CPU")
    values = (args[0], *args[2:]) if func in _INDEXED else args
    for value in tree_iter((values, kwargs)):
        if isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor) and value.ndim:
            raise RuntimeError(f"{func}: expected all tensors to be on {NAME}:0, found one on {value.device}")


def _run(func, args, kwargs):
    """The operation on the values held; the results are on the fake device."""
    owners = {id(x.held): x for x in tree_iter((args, kwargs)) if isinstance(x, FakeTensor)}

    def held(value):
        if isinstance(value, FakeTensor):
            return value.held
        return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value

    formula = _FORMULAS.get(func, func)
    results = formula(*tree_map(held, args), **tree_map(held, kwargs))
    if func is _aten.copy_.default and not isinstance(args[0], FakeTensor):
        return args[0]  # a copy from the device to the CPU
    if func in _WITH_LENGTHS:
        return FakeTensor(results[0]), results[1]  # lengths stay on the CPU
    return tree_map(
        lambda x: owners.get(id(x)) if id(x) in owners else FakeTensor(x) if isinstance(x, torch.Tensor) else x, results
    )


def _lstm_cell(input_gates, hidden_gates, cell, input_bias=None, hidden_bias=None):
    """One step of an LSTM, which accelerators have as one operation and the CPU has not."""
    gates = sum(x for x in (input_gates, hidden_gates, input_bias, hidden_bias) if x is not None)
    enter, keep, new, show = gates.chunk(4, dim=1)
    cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return show.sigmoid() * cell.tanh(), cell, gates


def _lstm_cell_backward(grad_hidden, grad_cell, cell_before, cell, gates, has_bias):
    """Gradients of `_lstm_cell`: of the gates, the cell before, and the bias."""
    enter, keep, new, show = gates.chunk(4, dim=1)
    enter, keep, new, show = enter.sigmoid(), keep.sigmoid(), new.tanh(), show.sigmoid()
    grad_hidden = torch.zeros_like(cell) if grad_hidden is None else grad_hidden
    grad_cell = torch.zeros_like(cell) if grad_cell is None else grad_cell
    through = grad_cell + grad_hidden * show * (1 - cell.tanh().square())
    parts = (
        through * new * enter * (1 - enter),
        through * cell_before * keep * (1 - keep),
        through * enter * (1 - new.square()),
        grad_hidden * cell.tanh() * show * (1 - show),
    )
    grad_gates = torch.cat(parts, dim=1)
    return grad_gates, through * keep, grad_gates.sum(0) if has_bias else None


_FORMULAS = {
    _aten._thnn_fused_lstm_cell.default: _lstm_cell,
    _aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_cell_backward,
}


def _copied(tensor, kwargs):
    """`Tensor.to`, from, to or on the device."""
    device = torch.device(kwargs.pop("device", None) or tensor.device)
    held = tensor.held if isinstance(tensor, FakeTensor) else tensor
    moved = _aten._to_copy.default(held, **kwargs)
    return FakeTensor(moved) if device.type == NAME else moved


def _created(func, *args, **kwargs):
    """Operations that create tensors on the device."""
    if any(isinstance(value, torch.Tensor) for value in tree_iter((args, kwargs))):
        return FakeTensor.__torch_dispatch__(func, (), args, kwargs)
    _check(func, args, kwargs)
    return _run(func, args, kwargs)


class FakeAccelerator(Accelerator):
    """Lightning's view of the device."""

    def setup_device(self, device):
        pass

    def get_device_stats(self, device):
        return {}

    def teardown(self):
        pass

    @staticmethod
    def parse_devices(devices):
        return [0]

    @staticmethod
    def get_parallel_devices(devices):
        return [torch.device(NAME, 0)]

    @staticmethod
    def auto_device_count():
        return 1

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def name():
        return NAME


def _through_cpu(create):
    def created(data, *, device=None, **options):
        return create(data, **options) if device is None else create(data, **options).to(device)

    return created


class _Module(_DummyBackendModule):
    """What ``torch.fake`` offers; random numbers come from the CPU's state."""

    @staticmethod
    def get_rng_state(device=None):
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state, device=None):
        pass

    @staticmethod
    def manual_seed_all(seed):
        pass

    @staticmethod
    def device_count():
        return 1


def register():
    """Make the device known to torch and Lightning; it stays until the process ends."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    # `torch.tensor` can't reach a device whose kernels are Python.
    for name in ("tensor", "as_tensor"):
        setattr(torch, name, _through_cpu(getattr(torch, name)))
    _LIBRARY.fallback(_created, "PrivateUse1")
    AcceleratorRegistry.register(NAME, FakeAccelerator)
    choose = _AcceleratorConnector._choose_strategy

    def chosen(connector):
        if connector._accelerator_flag == NAME:
            return SingleDeviceStrategy(torch.device(NAME, 0))
        return choose(connector)

    # Lightning would put an accelerator that it doesn't know on the CPU.
    _AcceleratorConnector._choose_strategy = chosen
