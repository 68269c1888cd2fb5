"""A browser for each module (playwright's loop may not outlive it), a fake service and a page for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from browser import Watched, chromium
from fake_service import CLASS_CARD, SCORE_CARD, FakeService, fake_service


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service(dict(SCORE_CARD)) as fake:
        yield fake


@pytest.fixture
def class_service() -> Iterator[FakeService]:
    with fake_service(dict(CLASS_CARD)) as fake:
        yield fake


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Opens a service's page; afterwards no request has left the host and no script has failed."""
    pages: list[tuple[Watched, FakeService]] = []

    def open_page(service: FakeService, ready: bool = True, **context: Any) -> Watched:
        watched = Watched(browser, **context)
        pages.append((watched, service))
        watched.page.goto(service.url)
        if ready:
            watched.page.wait_for_selector("#workspace:not([hidden])")
        return watched

    yield open_page
    for watched, service in pages:
        watched.context.close()
        assert not watched.outside(service.host)
        assert not [error for error in watched.errors if not error.startswith("Failed to load resource")]
