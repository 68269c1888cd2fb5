"""A service of a small model whose recoveries count, and clients of it."""

import pytest
from starlette.testclient import TestClient

import imder
from imder.serve import ServeConfig, create_app
from small_imder import small_model


@pytest.fixture(scope="session")
def predictor():
    return imder.Predictor(small_model("fast"))


@pytest.fixture(scope="session")
def client(predictor):
    with TestClient(create_app(predictor), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def serve(predictor):
    """Clients of services with other settings."""
    clients = []

    def client(**settings):
        client = TestClient(create_app(predictor, ServeConfig(**settings)), base_url="http://127.0.0.1")
        clients.append(client.__enter__())
        return client

    yield client
    for client in clients:
        client.__exit__(None, None, None)
