"""What a hub may answer, and what is said of it: one line, with what to do; nothing is left that looks like a model."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.weights import hub as client
from fantasyid_engine.weights.pull import pull
from tests.weights.hub import Fault, Hub
from tests.weights.pulls import DIT, PRESET, digests, pull_from

Change = Callable[[Hub], None]


def answers(file: str, *faults: Fault) -> Change:
    return lambda hub: hub.faults[file].extend(faults)


def lists(**rows: Any) -> Change:
    """The listing with other values."""

    def change(hub: Hub) -> None:
        hub.altered = rows

    return change


def nobody_listens(hub: Hub) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        hub.port = free.getsockname()[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(answers("", Fault(404, "RepoNotFound")), "has no repository acvlab/FantasyID", id="no-repository"),
        pytest.param(answers("", Fault(401, "RepoNotFound")), "or set HF_TOKEN", id="private"),
        pytest.param(answers("", Fault(401)), "(status 401): set HF_TOKEN", id="bad-token"),
        pytest.param(answers("", Fault(403, "GatedRepo")), "only to those who asked: do so at http", id="gated"),
        pytest.param(answers("", Fault(403)), "(status 403): set HF_TOKEN", id="forbidden"),
        pytest.param(answers("", Fault(500)), "(status 500): later run the same command again", id="broken"),
        pytest.param(lambda hub: hub.branches.clear(), "has no revision main: name another", id="no-revision"),
        pytest.param(nobody_listens, "cannot be had from http://127.0.0.1:", id="refused"),
        pytest.param(answers("", Fault(held=True, cut=0)), "cannot be had from http://127.0.0.1:", id="silent"),
        pytest.param(answers("", Fault(content=b"<html>")), "cannot be had from http://127.0.0.1:", id="no-hub"),
        pytest.param(lists(sha="main"), "answers for acvlab/FantasyID as no hub does: commit", id="no-commit"),
        pytest.param(lists(siblings=[]), "at main has no transformer (transformer/*.json and", id="empty"),
        pytest.param(answers(DIT, Fault(404, "EntryNotFound")), "and does not have it", id="no-file"),
        pytest.param(answers(DIT, Fault(500)), f"does not give {DIT} of acvlab/FantasyID (status 500)", id="no-answer"),
    ],
)
def test_what_a_hub_refuses(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch, change: Change, says: str) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.5)
    change(hub)
    with pytest.raises(WeightsError) as error:
        pull_from(hub, home)
    assert says in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400
    assert {path.name for path in (home / PRESET).iterdir()} == {"face_encoder"}


@pytest.mark.parametrize("lacks", ["size", "blobId"])
def test_a_listing_must_state_sizes_and_digests(hub: Hub, home: Path, lacks: str) -> None:
    rows = hub.listing(hub.branches["main"])["siblings"]
    hub.altered = {
        "siblings": [{name: value for name, value in row.items() if name not in (lacks, "lfs")} for row in rows]
    }
    with pytest.raises(WeightsError, match=r"as no hub does: .*: no size or digest is stated"):
        pull_from(hub, home)


@pytest.mark.parametrize("file", [DIT, "vae/config.json"])
def test_wrong_bytes_are_refused_and_removed(
    hub: Hub, home: Path, files: dict[str, bytes], expected: dict[str, str], file: str
) -> None:
    """Whether the hub states their SHA-256 or only git's digest."""
    wrong = bytearray(files[file])
    wrong[-1] ^= 1
    hub.faults[file] = [Fault(content=bytes(wrong))]
    with pytest.raises(WeightsError, match=rf"^{file} came other than the hub states it, and was removed: run"):
        pull_from(hub, home)
    assert not (home / PRESET / DIT).exists()
    pull_from(hub, home)
    assert [request.range for request in hub.asked_for(file)] == [None, None]
    assert digests(home) == expected


def test_the_token_stays_with_the_hub(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in LFS are elsewhere."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull_from(hub, home)
    assert hub.asked_for(DIT)
    for request in hub.requests:
        assert request.token == (None if request.path.startswith("/lfs/") else "Bearer hf_secret")


def test_a_password_in_an_address_is_not_shown(hub: Hub, home: Path) -> None:
    hub.branches.clear()
    hub.faults[""] = [Fault(500)]
    with pytest.raises(WeightsError, match="http://127") as error:
        pull(PRESET, home, endpoint=hub.endpoint.replace("//", "//me:secret@"))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("endpoint", ["ftp://hub", "hub.example", "file:///etc"])
def test_addresses_that_are_none(home: Path, endpoint: str) -> None:
    with pytest.raises(WeightsError, match="is no address of a hub"):
        pull(PRESET, home, endpoint=endpoint)


def test_offline(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing here, with a part, and with all."""

    def offline(value: bool) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", value)

    offline(True)
    with pytest.raises(WeightsError, match=r"offline .* and nothing of acvlab/FantasyID is here: unset it"):
        pull_from(hub, home)
    offline(False)
    hub.faults[DIT] = [Fault(status=404)]
    with pytest.raises(WeightsError, match="status 404"):
        pull_from(hub, home)
    offline(True)
    with pytest.raises(WeightsError, match=rf"offline .* and {PRESET} lacks {DIT}, .*: unset it to go on"):
        pull_from(hub, home)
    offline(False)
    pull_from(hub, home)
    offline(True)
    assert "is all there" in pull_from(hub, home)[0]
