"""A real server on a real port, with workers that sleep in the place of a model; and what tests ask it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server.browsing import Desk, chromium, looking
from tests.server.serving import TAKING, Running, face, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def photo() -> bytes:
    return face()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that is ready; shared by the tests of a file."""
    with serving(tmp_path_factory.mktemp("data")) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that takes jobs, which stay queued: its model is known, but not loaded yet."""
    with serving(tmp_path_factory.mktemp("data"), **TAKING) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers with settings of their own, in folders of their own unless `data` names one."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(settings.pop("data", tmp_path / "data"), **settings))


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as browser:
        yield browser


@pytest.fixture
def look(browser: "Browser", server: Running) -> "Iterator[Callable[..., Desk]]":
    with looking(browser, server) as look:
        yield look
