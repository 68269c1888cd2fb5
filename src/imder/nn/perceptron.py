"""A perceptron: hidden layers of ReLU and dropout, then a linear one.

    h_0 = x,   h_i = dropout(relu(W_i h_{i-1} + b_i)),   y = W h_n + b

The heads of the official MMIN code (there ``FcClassifier``), and the encoders of its port to single vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Perceptron(nn.Module):
    """``(B, inputs)`` -> ``(B, outputs)``.

    Args:
        inputs: width of the input.
        hidden: widths of the hidden layers, in order; empty for a linear map.
        outputs: width of the output.
        dropout: after each hidden layer.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
            inputs = width
        self.hidden = nn.Sequential(*layers)
        self.out = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs)`` -> ``(B, outputs)``."""
        y: Tensor = self.out(self.hidden(x))
        return y
