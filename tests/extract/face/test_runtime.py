"""The networks of faces under several threads."""

import sys
from threading import Thread
from types import SimpleNamespace

import numpy as np

from imder.extract.face.runtime import Network


def test_threads_that_share_a_network_get_their_own_outputs(monkeypatch):
    outputs = []

    class Interpreter:
        """Doubles its input; during the first computation another thread comes with its own."""

        other = None

        def __init__(self, **options):
            pass

        def allocate_tensors(self):
            pass

        def get_input_details(self):
            return [{"index": 0}]

        def get_output_details(self):
            return [{"index": 1}]

        def set_tensor(self, index, values):
            self.values = values

        def invoke(self):
            if self.other is None:
                self.other = Thread(target=lambda: outputs.append(network(np.ones(1))))
                self.other.start()
                self.other.join(0.05)  # it must not get further than its turn

        def get_tensor(self, index):
            return 2 * self.values

    monkeypatch.setitem(sys.modules, "ai_edge_litert", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace(Interpreter=Interpreter))
    network = Network(b"")
    assert network(np.zeros(1))[0].tolist() == [0.0]
    network._interpreter.other.join()
    assert outputs[0][0].tolist() == [2.0]
