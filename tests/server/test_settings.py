"""What an operator may set, and what is said of what is none."""

import base64
from pathlib import Path

import pytest

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.server.settings import Settings, read_settings

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


def test_options_go_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text(f'port = 1\nmax_steps = 7\nwebhook_secret = "{SECRET}"\n')
    settings = read_settings(tmp_path / "serve.toml", {"port": 2})
    assert (settings.port, settings.max_steps, settings.webhook_secret) == (2, 7, SECRET)


@pytest.mark.parametrize("name", ["max_body_bytes", "max_bytes_in_flight", "max_photo_pixels"])
def test_sizes_may_be_set_to_their_defaults_and_more(name: str) -> None:
    value = 2 * getattr(Settings(), name)
    assert getattr(read_settings(None, {name: value}), name) == value


@pytest.mark.parametrize(
    "secret", ["", "hunter2hunter2hunter2hunter2hunter2", SECRET[:-9], SECRET.removeprefix("whsec_")]
)
def test_a_webhook_secret_that_is_none_is_refused_at_once(secret: str) -> None:
    with pytest.raises(ConfigError, match="webhook_secret is not whsec_ and 24 to 64 bytes") as caught:
        read_settings(None, {"webhook_secret": secret})
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("port", 70_000), ("max_connections", 0), ("allowed_hosts", "a"), ("max_stepz", 1)]
)
def test_the_setting_is_named(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"serve: {name}: "):
        read_settings(None, {name: value})
    (tmp_path / "serve.toml").write_text(f"{name} = {value!r}\n")
    with pytest.raises(ConfigError, match=f"serve.toml: {name}: "):
        read_settings(tmp_path / "serve.toml", {})
