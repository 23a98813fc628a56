"""Fixtures: a hub on this machine that has a small model, a home to pull it to, and what an undisturbed pull makes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub.utils import close_session

from tests.weights.hub import Hub, serve
from tests.weights.pulls import digests, new_client, new_home, published, pull_from


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is published."""
    return published(tmp_path_factory.mktemp("published") / "model")


@pytest.fixture
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """See `tests.weights.hub`."""
    new_client(monkeypatch, tmp_path)
    with serve() as hub:
        hub.commit(files)
        yield hub
        close_session()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """See `new_home`."""
    return new_home(tmp_path / "home")


@pytest.fixture(scope="session")
def expected(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of what an undisturbed pull makes."""
    home = new_home(tmp_path_factory.mktemp("undisturbed") / "home")
    with pytest.MonkeyPatch.context() as monkeypatch, serve() as hub:
        new_client(monkeypatch, home)
        hub.commit(files)
        pull_from(hub, home)
        close_session()
    return digests(home)
