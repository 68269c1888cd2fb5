"""One thread for each test process: small matrices, several processes. Ctrl-C works also where a shell ignores it.

Tests see Whisper only if they bring a stand-in for it or are slow, since it changes the default features of sound.
"""

import signal
from importlib.util import find_spec

import pytest
import torch

torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a background job of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)

_REAL = find_spec("faster_whisper")
if _REAL is not None:
    from imder.extract.speech import plan

    _is_installed = plan.installed

    def _has_stand_in():
        package = find_spec("faster_whisper")
        return package is not None and package.origin != _REAL.origin

    plan.installed = _has_stand_in

    @pytest.fixture(autouse=True)
    def _real_whisper(request, monkeypatch):
        if request.node.get_closest_marker("slow") is not None:
            monkeypatch.setattr(plan, "installed", _is_installed)
