"""The convolution over time, and its other implementation."""

import pytest
import torch

from imder.nn.unet import TimeConv, use_convolutions
from small_imder import make_batch, small_model


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_both_implementations_are_torchs_convolution(length, stride):
    torch.manual_seed(0)
    conv, x = TimeConv(6, 4, stride), torch.randn(3, length, 6)
    product = conv(x)
    use_convolutions(conv)
    expected = torch.nn.functional.conv1d(x.transpose(1, 2), conv.weight.transpose(1, 2), conv.bias, stride, padding=1)
    for out in (product, conv(x)):
        torch.testing.assert_close(out, expected.transpose(1, 2), rtol=1e-5, atol=1e-6)


def test_predictions_are_equal_but_for_rounding():
    batch = make_batch()
    model, other = small_model("fast"), small_model("fast")
    use_convolutions(other)
    torch.testing.assert_close(other.predict(batch).prediction, model.predict(batch).prediction, rtol=0, atol=1e-5)
