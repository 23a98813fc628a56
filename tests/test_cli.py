"""The command line as a user meets it: real processes, help texts, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
import typer

from fantasyid_engine import __version__
from fantasyid_engine.cli import app
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.folder import save_network
from fantasyid_engine.weights.manifest import sha256
from tests.small import PAPER, RELEASED, hierarchy, randomise, write_released_folder

COMMAND = Path(sys.executable).with_name("fantasyid-engine")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)


def test_version() -> None:
    assert run("--version").stdout == f"fantasyid-engine {__version__}\n"


def commands(command: click.Command, path: str = "") -> dict[str, list[str]]:
    """Every command and group with its arguments and options."""
    shown = {path: sorted(name for parameter in command.params for name in parameter.opts)}
    for name, inner in getattr(command, "commands", {}).items():
        shown |= commands(inner, f"{path} {name}".strip())
    return shown


def test_options_are_frozen() -> None:
    """The whole set of commands and options; a change here is a change of the interface."""
    assert commands(typer.main.get_command(app)) == {
        "": ["--version"],
        "avatars": ["--count", "--frames", "--seed", "--size", "--split", "out"],
        "doctor": ["--json", "--model"],
        "evaluate": [
            *("--answers", "--arcface", "--inception", "--out", "--overwrite", "--real", "--references", "--study"),
            "videos",
        ],
        "faces": [],
        "faces encode": [
            *("--deca-input", "--device", "--face", "--model", "--out", "--overwrite", "--shape", "--vertices"),
            *("-o", "photo"),
        ],
        "faces list": ["--avatars", "--model", "--out", "--overwrite", "-o", "photo"],
        "generate": [
            *(
                "--backend",
                "--bit-depth",
                "--consent-ref",
                "--deca-input",
                "--device",
                "--face",
                "--frames",
                "--from",
                "--guidance",
                "--image",
                "--model",
            ),
            *("--negative-prompt", "--out", "--overwrite", "--precision", "--preview", "--prompt", "--seed", "--shape"),
            *("--steps", "--vae-tile", "--vertices"),
        ],
        "serve": [
            *("--allow-input-urls", "--config", "--data", "--device", "--host", "--log-prompts", "--model", "--port"),
            "--require-consent",
        ],
        "serve keys": [],
        "serve keys create": ["--data", "--max-queued", "name"],
        "serve keys list": ["--data"],
        "serve keys revoke": ["--data", "name"],
        "serve purge": ["--consent-ref", "--data", "--older-than-days", "--photo"],
        "train": [],
        "train avatar-perception": ["--only", "--out", "--seed", "--smoke"],
        "train data": [],
        "train data build": ["folder", "name"],
        "train data filter": ["--faces", "--out", "--subtitles", "manifest"],
        "train data prepare": ["--faces", "--model", "--out", "--stride", "--vertices", "--views", "manifest"],
        "train export": ["--best", "--checkpoint", "--half", "--raw", "out", "run"],
        "train init": ["--from-released", "--seed", "--without", "out"],
        "train recipes": [],
        "train report": [
            "--device",
            "--out",
            "--people",
            "--precision",
            "--seed",
            "--steps",
            "--without-shape",
            "model",
        ],
        "train run": ["--cpu", "--out", "--smoke", "--stages-of", "recipe"],
        "train table3": ["--out", "reports"],
        "verify": ["--json", "--trust", "file"],
        "weights": [],
        "weights convert": ["source", "target"],
        "weights inspect": ["--json", "folder"],
        "weights licences": ["--json"],
        "weights list": ["--json"],
        "weights pull": ["--accept-licences", "--endpoint", "--revision", "preset"],
        "weights verify": ["model"],
    }


@pytest.mark.parametrize(
    "command", [name for name, options in commands(typer.main.get_command(app)).items() if name and options]
)
def test_help_has_an_example(command: str) -> None:
    assert f"Example: fantasyid-engine {command}" in run(*command.split(), "--help").stdout


def test_a_recipe_needs_no_run_before_it() -> None:
    done = run("train", "nothing.toml", "--out", "x")
    assert done.returncode == 78 and "nothing.toml cannot be read" in done.stderr
    assert "Example: fantasyid-engine train avatar-mini" in run("train").stderr


@pytest.fixture
def released(tmp_path: Path) -> Path:
    network = Network(RELEASED, hierarchy())
    randomise(network)
    write_released_folder(network, tmp_path / "model")
    return tmp_path / "model"


def test_inspect_authors_layout(released: Path) -> None:
    done = run("weights", "inspect", released)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "released form: 3 layers, 3 injections, 25 ID tokens a face"
    rows = {line.split()[0]: line.split() for line in lines[2:]}
    modules = {"transformer_blocks", "face_abstractor", "vertex_spiral_net", "layer_attention", "visual"}
    assert modules | {"total"} <= rows.keys()
    assert rows["transformer_blocks"][3] == "100.0%"
    assert float(rows["face_abstractor"][3].rstrip("%")) < 100
    mesh = released / "face_encoder" / "mesh.safetensors"
    assert any(sha256(mesh) in line and "face_encoder/mesh.safetensors" in line for line in lines)


def test_inspect_own_layout_as_json(tmp_path: Path) -> None:
    network = Network(PAPER, hierarchy())
    save_network(network, hierarchy(), tmp_path / "model")
    report = json.loads(run("weights", "inspect", tmp_path / "model", "--json").stdout)
    assert (report["form"], report["layers"], report["injections"], report["id_tokens"]) == ("paper", 3, 3, 12)
    counted = sum(module["parameters"] for module in report["modules"])
    assert counted == sum(tensor.numel() for tensor in network.state_dict().values())
    assert all(module["dead"] == 0 for module in report["modules"])


def test_convert_and_errors(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    done = run("weights", "convert", tmp_path / "x.pt", tmp_path / "x.safetensors")
    assert (done.returncode, done.stdout) == (0, f"wrote {tmp_path / 'x.safetensors'}: 1 tensors\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["weights", "inspect", "nowhere"], 78, "no model folder at nowhere"),
        (["weights", "inspect", "."], 78, ". is no model folder: it has neither transformer/ nor a config.json"),
        (["weights", "inspect", "x.pt"], 78, "x.pt is a file; name its model folder"),
        (["weights", "convert", "x.pt", "y.safetensors"], 73, "cannot write y.safetensors: it exists already"),
        (["weights", "convert", "nowhere.pt", "x.safetensors"], 78, "nothing to convert at nowhere.pt"),
        (
            ["weights", "convert", "x.pt", "x.pt/y.safetensors"],
            73,
            "cannot write x.pt/y.safetensors: x.pt is not a folder",
        ),
        (["weights", "convert", "bad\nname\x1b[31m.pt", "x.safetensors"], 78, r"bad\nname\x1b[31m.pt"),
    ],
)
def test_errors_are_one_line_with_their_exit_code(
    tmp_path: Path, arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(2)}, "x.pt")
    Path("y.safetensors").write_bytes(b"mine")
    done = run(*arguments)
    assert done.returncode == code
    assert done.stderr.startswith("fantasyid-engine: ") and done.stderr.count("\n") == 1
    assert message in done.stderr
    assert done.stdout == ""
    assert Path("y.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize("arguments", [["wieghts"], ["weights", "convert"], ["weights", "inspect", ".", "--x"]])
def test_wrong_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Usage: fantasyid-engine" in done.stderr
    assert "Traceback" not in done.stderr
