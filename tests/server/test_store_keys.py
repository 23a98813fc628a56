"""API keys: shown once, kept as hashes, refused once they are revoked."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.server.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        yield store


def test_a_token_finds_its_key(store: Store) -> None:
    first, token = store.add_key("farm", now=1, max_queued=5)
    second, other = store.add_key("page", now=2)
    assert re.fullmatch(r"fid_[A-Za-z0-9_-]{43}", token)
    assert (store.find_key(token), store.find_key(other)) == (first, second)
    assert store.keys() == [first, second]
    assert (first.name, first.max_queued, second.max_queued, first.revoked_at) == ("farm", 5, None, None)


@pytest.mark.parametrize("token", ["", "fid_", "x", "fid_" + 43 * "A", "fid_" + 43 * "é", "\ud800", "' OR 1=1 --"])
def test_other_tokens_find_none(store: Store, token: str) -> None:
    _, real = store.add_key("farm", now=1)
    assert store.find_key(token) is None
    for near in (real[:-1], real + "\n", real.upper(), real + real):
        assert store.find_key(near) is None


def test_no_token_is_on_the_disk(store: Store, tmp_path: Path) -> None:
    _, token = store.add_key("farm", now=1)
    everything = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"farm" in everything
    assert token.encode() not in everything and token.removeprefix("fid_").encode() not in everything


@pytest.mark.parametrize("by", ["name", "id"])
def test_revoked(store: Store, by: str) -> None:
    key, token = store.add_key("farm", now=1)
    other, _ = store.add_key("page", now=1)
    revoked = store.revoke_key(getattr(key, by), now=5)
    assert revoked is not None and (revoked.id, revoked.revoked_at) == (key.id, 5)
    assert store.find_key(token) is None
    assert [revoked, other] == sorted(store.keys(), key=lambda found: found.name)
    assert store.revoke_key(key.id, now=9) == revoked, "the first time counts"
    assert store.revoke_key("farm", now=9) is None, "no good key has this name"
    assert store.revoke_key("nobody", now=9) is None


def test_a_revoked_name_is_free(store: Store) -> None:
    first, _ = store.add_key("farm", now=1)
    with pytest.raises(InputError, match="there is a key 'farm' already"):
        store.add_key("farm", now=2)
    store.revoke_key("farm", now=3)
    second, token = store.add_key("farm", now=4)
    assert store.find_key(token) == second != first
    revoked = store.revoke_key("farm", now=5)
    assert revoked is not None and revoked.id == second.id


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31m", "x" * 101, "key_0123456789abcdef"])
def test_names_that_are_none(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="is no name of a key"):
        store.add_key(name, now=1)
    assert store.keys() == []
