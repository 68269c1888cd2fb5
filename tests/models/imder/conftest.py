"""A small model of every kind."""

import pytest

from small_imder import KINDS, small_model


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return small_model(request.param)
