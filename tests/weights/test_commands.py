"""`weights pull`, `verify`, `list` and `licences` as a user meets them; the hub is a server on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from fantasyid_engine.cli import app
from fantasyid_engine.errors import WeightsError
from fantasyid_engine.weights.licences import LICENCES, not_accepted
from tests.weights.hub import Hub
from tests.weights.pulls import DIT, MESH, PRESET, flip

COMMAND = Path(sys.executable).with_name("fantasyid-engine")


@pytest.fixture
def home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one that commands look in; nothing is accepted."""
    (home / "licences.json").unlink()
    monkeypatch.setenv("FANTASYID_MODELS", str(home))
    return home


def run(*arguments: str | Path, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["weights", *map(str, arguments)], input=answer)


def refusal(result: Result) -> str:
    """The message of the error that ended a command, which is one line with exit code 78."""
    assert isinstance(result.exception, WeightsError) and result.exception.exit_code == 78
    return str(result.exception)


@pytest.fixture
def pulled(hub: Hub, home: Path) -> Path:
    done = run("pull", PRESET, "--endpoint", hub.endpoint, "--accept-licences")
    assert done.exit_code == 0, done.output
    return home / PRESET


def process(hub: Hub, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A real one, that finds the mirror in its environment."""
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf")}
    command = [COMMAND, "weights", "pull", PRESET, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_refused_where_nobody_can_be_asked(hub: Hub, home: Path) -> None:
    done = process(hub, home)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("fantasyid-engine: the terms of FantasyID, CogVideoX-5B,")
    assert done.stderr.endswith("then pull with --accept-licences\n") and done.stderr.count("\n") == 1
    assert hub.requests == []


def test_a_whole_pull_says_what_it_does_and_nothing_else(hub: Hub, home: Path, files: dict[str, bytes]) -> None:
    """No bars, no warnings where there is no terminal."""
    done = process(hub, home, "--accept-licences")
    assert (done.returncode, done.stderr) == (0, "")
    assert (home / PRESET / DIT).read_bytes() == files[DIT]
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FantasyID: ") and lines[3].startswith("CogVideoX-5B: ")
    assert f"fetched {DIT} ({len(files[DIT]) / 1000:.1f} kB)" in lines and f"wrote {home / PRESET}" in lines
    flame = home / PRESET / "face_encoder" / "flame.safetensors"
    assert lines[-1] == f"    fantasyid-engine weights convert generic_model.pkl {flame}"


def test_terms_are_shown_and_asked_once(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, which is a fake."""
    commands = sys.modules["fantasyid_engine.cli.weights"]
    monkeypatch.setattr(commands, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    arguments = ["pull", PRESET, "--endpoint", hub.endpoint]
    no = run(*arguments, answer="n\n")
    assert "have not been accepted" in refusal(no) and hub.requests == []
    assert "NON-COMMERCIAL: scientific research only" in no.output and "insightface" not in no.output
    yes = run(*arguments, answer="y\n")
    assert yes.exit_code == 0 and yes.output.count("Do you accept these terms") == 1
    assert not_accepted(home) == []
    again = run(*arguments)
    assert again.exit_code == 0 and "accept" not in again.output and "is all there" in again.output


def test_a_preset_that_cannot_be_pulled_asks_for_no_terms(home: Path) -> None:
    assert "nothing to pull" in refusal(run("pull", "avatar-mini", "--accept-licences"))
    assert not_accepted(home)


def test_verify(pulled: Path) -> None:
    for arguments in (["verify"], ["verify", PRESET], ["verify", pulled]):
        done = run(*arguments)
        assert done.exit_code == 0 and f"{pulled}: 13 of 13 files are as in its manifest\n" in done.output
    flip(pulled / DIT)
    (pulled / "vae" / "config.json").unlink()
    (pulled / "tokenizer" / "more.txt").write_text("mine")
    done = run("verify", PRESET)
    message = refusal(done)
    assert all(f"{PRESET}/{name}" in message for name in (DIT, "vae/config.json", "tokenizer/more.txt"))
    assert f"fantasyid-engine: {pulled / DIT} is corrupt" in done.output
    assert f"{pulled}: 11 of 14 files" in done.output


def test_verify_what_has_nothing_to_compare_with(pulled: Path, tmp_path: Path) -> None:
    (pulled / "manifest.json").unlink()
    assert f"{pulled} has no manifest.json, nothing to compare its files with" in refusal(run("verify", pulled))
    assert "no model folder at" in refusal(run("verify", tmp_path / "nowhere"))


def test_list(hub: Hub, home: Path) -> None:
    """Before a pull, with only the mesh there; after it; and without the mesh."""
    lines = run("list").output.splitlines()
    assert lines[0].startswith("avatar-mini     present")
    assert lines[1].startswith(f"fantasyid-5b    incomplete  {home / PRESET}: ")
    assert lines[1].endswith("fetch it with: fantasyid-engine weights pull fantasyid-5b")
    run("pull", PRESET, "--endpoint", hub.endpoint, "--accept-licences")
    output = run("list").output
    assert f"fantasyid-5b    present     {home / PRESET}\n" in output
    assert "  face_encoder/detection_Resnet50_Final.safetensors: there\n" in output
    assert "  face_encoder/flame.safetensors: not there, a request needs --vertices\n" in output
    assert "transform.pkl" not in output
    (home / PRESET / MESH).unlink()
    output = run("list").output
    assert f"fantasyid-5b    incomplete  {home / PRESET}: {home / PRESET / MESH} is missing" in output
    assert (
        "to fetch by hand (needed): transform.pkl: assets/transform.pkl of github.com/Fantasy-AMAP/fantasy-id" in output
    )
    assert f"    fantasyid-engine weights convert transform.pkl {home / PRESET / MESH}\n" in output


def test_list_as_json(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANTASYID_MODELS", str(tmp_path / "a home"))
    mini, big = json.loads(run("list", "--json").output)["presets"]
    assert (mini["name"], mini["state"], mini["problem"], mini["errands"]) == ("avatar-mini", "present", "", [])
    assert (big["name"], big["state"]) == ("fantasyid-5b", "absent")
    assert [errand["file"] for errand in big["errands"]] == ["transform.pkl", "deca_model.tar", "generic_model.pkl"]
    assert [errand["needed"] for errand in big["errands"]] == [True, False, False]
    place = tmp_path / "a home" / PRESET / MESH
    assert big["errands"][0]["command"] == f"fantasyid-engine weights convert transform.pkl '{place}'"


def test_licences() -> None:
    output = run("licences").output
    assert all(row.url in output and row.terms in output for row in LICENCES)
    assert output.count("NON-COMMERCIAL") == sum(row.non_commercial for row in LICENCES)
    rows = json.loads(run("licences", "--json").output)["licences"]
    assert [row["name"] for row in rows] == [row.name for row in LICENCES]


def test_a_home_without_terms_is_not_touched(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANTASYID_MODELS", str(tmp_path / "new"))
    assert "have not been accepted" in refusal(run("pull", PRESET, "--endpoint", hub.endpoint))
    assert not (tmp_path / "new").exists()
