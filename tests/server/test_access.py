"""Who is let in without a key: this machine's users alone, by whatever way others could come."""

from collections.abc import Callable
from typing import Any

import pytest

from fantasyid_engine.server.access import public_names
from fantasyid_engine.server.settings import Settings
from tests.server.serving import TAKING, Running, error_of

OURS: list[dict[str, Any]] = [{}, {"host": "::1"}, {"host": "localhost", "allowed_hosts": ("127.0.0.2", "[::1]")}]
OTHERS: list[dict[str, Any]] = [
    {"host": "0.0.0.0"},
    {"host": "::"},
    {"host": "10.0.0.1"},
    {"host": "videos.example"},
    {"allowed_hosts": ("videos.example",)},
    {"allowed_hosts": ("localhost", "192.0.2.1")},
]


@pytest.mark.parametrize("settings", OURS, ids=str)
def test_this_machine_s_users(start: Callable[..., Running], settings: dict[str, Any]) -> None:
    assert public_names(Settings(**settings)) == []
    assert start(**TAKING, **settings).get("/v1/videos").status_code == 200


@pytest.mark.parametrize("settings", OTHERS, ids=str)
def test_others_need_a_key(start: Callable[..., Running], settings: dict[str, Any]) -> None:
    """As behind a proxy, which comes from this machine for everybody."""
    assert len(public_names(Settings(**settings))) == 1
    server = start(**TAKING, **settings)
    answer = server.get("/v1/videos")
    assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
    assert server.get("/livez").status_code == 200
