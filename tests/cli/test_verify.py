"""`verify` as a user meets it, and what `generate` says and refuses of signing and consent."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fantasyid_engine.cli import app
from fantasyid_engine.errors import ConfigError, EngineError, InputError
from fantasyid_engine.result import VideoResult
from fantasyid_engine.video.provenance import find_signer
from fantasyid_engine.video.sidecar import FORMAT
from tests.face.pictures import avatar
from tests.video.pictures import moving
from tests.video.signers import write_signer

COMMAND = Path(sys.executable).with_name("fantasyid-engine")
NOTE = "note: signed with a development certificate: it proves nothing about who made it"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def refusal(done: Result, kind: type[EngineError] = InputError) -> str:
    assert isinstance(done.exception, kind), done.output
    assert done.stdout == "" and str(done.exception).isprintable()
    return str(done.exception)


def save(path: Path, consent: str | None = "contract 5", **options: Any) -> Path:
    record = {
        "format": FORMAT,
        "request": {"prompt": "smiles", "consent_ref": consent},
        "model": {"name": "mini"},
        "output": {"frames_sha256": "ab" * 32},
    }
    return VideoResult(moving(2, 32, 32), 8, 7, (), record).save(path, **options)


@pytest.mark.parametrize("name", ["x.mp4", "x.mov", "x"])
def test_a_development_certificate(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name)
    done = run("verify", path)
    assert done.exit_code == 0, done.exception
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        f"{path}: intact, as it was signed",
        "signed by fantasyid-engine development certificate, fantasyid-engine: "
        "a development certificate, which proves nothing about who made it",
        "AI-generated: yes",
    ]
    assert lines[3].startswith("made by fantasyid-engine 0.1.0, model mini, at 20")
    assert lines[3].endswith("Z by the signer's clock")
    assert lines[4:] == [f"frames sha256 {'ab' * 32}, seed 7", "consent: contract 5"]


def test_trust(tmp_path: Path) -> None:
    certificate, key, root = write_signer(tmp_path)
    path = save(tmp_path / "x.mp4", None, signer=find_signer(certificate, key))
    unknown, trusted = run("verify", path), run("verify", path, "--trust", root)
    assert (unknown.exit_code, trusted.exit_code) == (0, 0)
    line = "signed by Anna Film, Anna Film: {}"
    assert unknown.stdout.splitlines()[1] == line.format("not trusted: issuer unknown (Anna Film Root, Anna Film)")
    assert trusted.stdout.splitlines()[1] == line.format("trusted, by issuer Anna Film Root, Anna Film")
    assert unknown.stdout.splitlines()[5] == "consent: none named"
    assert f"{key} cannot be trusted: it is no PEM" in refusal(run("verify", path, "--trust", key))


def test_as_json(tmp_path: Path) -> None:
    path = save(tmp_path / "x.mp4", "漢é")
    done = run("verify", path, "--json")
    assert done.exit_code == 0 and done.stdout.isascii()
    told = json.loads(done.stdout)
    assert told.pop("created").endswith("Z")
    assert told == {
        "file": str(path),
        "intact": True,
        "signer": "fantasyid-engine development certificate, fantasyid-engine",
        "issuer": "fantasyid-engine development certificate issuer, fantasyid-engine",
        "trust": "development",
        "expired": False,
        "ai_generated": True,
        "generator": "fantasyid-engine 0.1.0",
        "model": "mini",
        "seed": 7,
        "frames_sha256": "ab" * 32,
        "num_frames": 2,
        "frame": None,
        "consent_ref": "漢é",
    }


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def strip(path: Path) -> None:
    save(path, signer=None)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (change, "signature_broken"),
        (strip, "signature_missing"),
        (cut, "file_unreadable"),
        (Path.unlink, "file_unreadable"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_refused(harm: Callable[[Path], Any], code: str, options: list[str], tmp_path: Path) -> None:
    path = save(tmp_path / "x.mp4")
    harm(path)
    done = run("verify", path, *options)
    assert str(path) in refusal(done) and isinstance(done.exception, InputError)
    assert (done.exception.code, done.exception.exit_code) == (code, 65)


def test_words_of_the_file_forge_no_lines(tmp_path: Path) -> None:
    """A consent that no request of ours could have."""
    done = run("verify", save(tmp_path / "x.mp4", "x\nintact: yes\x1b[31m"))
    assert done.stdout.splitlines()[-1] == r"consent: x\nintact: yes\x1b[31m" and done.stdout.count("\n") == 6


def test_a_process(tmp_path: Path) -> None:
    path = save(tmp_path / "x.mp4")
    done = subprocess.run([COMMAND, "verify", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "AI-generated: yes" in done.stdout
    change(path)
    done = subprocess.run([COMMAND, "verify", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (65, "", 1)
    assert done.stderr.startswith(f"fantasyid-engine: {path} was changed after it was signed")


# What `generate` says and refuses.


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """One frame of one step, as x.mp4 in an empty folder."""
    (tmp_path / "given").mkdir()
    photo = tmp_path / "given" / "face.png"
    Image.fromarray(avatar(80)).save(photo)
    (tmp_path / "made").mkdir()
    monkeypatch.chdir(tmp_path / "made")
    words = ["--image", photo, "--prompt", "smiles", "--seed", "3", "--steps", "1", "--frames", "1", "--device", "cpu"]
    return lambda *options: run("generate", *words, "--out", "x.mp4", *options)


def test_generate_signs_and_says_with_what(generate: Callable[..., Result]) -> None:
    done = generate("--consent-ref", "contract 5")
    assert done.exit_code == 0, done.exception
    assert done.stderr.splitlines()[-1] == f"fantasyid-engine: {NOTE}"
    told = json.loads(run("verify", "x.mp4", "--json").stdout)
    assert (told["model"], told["seed"], told["consent_ref"]) == ("avatar-mini", 3, "contract 5")
    assert told["frames_sha256"] in done.stdout
    assert json.loads(Path("x.json").read_text())["request"]["consent_ref"] == "contract 5"


def test_another_face_of_the_photo_has_not_consented(generate: Callable[..., Result]) -> None:
    assert generate("--consent-ref", "contract 5").exit_code == 0
    for number, (options, consent) in enumerate(
        (([], "contract 5"), (["--face", "center"], None), (["--face", "center", "--consent-ref", "hers"], "hers"))
    ):
        made = f"{number}.mp4"
        assert run("generate", "--from", "x.json", "--out", made, *options).exit_code == 0
        assert json.loads(run("verify", made, "--json").stdout)["consent_ref"] == consent


def test_generate_with_a_certificate(
    generate: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key, _ = write_signer(tmp_path)
    monkeypatch.setenv("FANTASYID_SIGNING_CERT", str(certificate))
    monkeypatch.setenv("FANTASYID_SIGNING_KEY", str(key))
    done = generate()
    assert done.exit_code == 0 and "development" not in done.stderr
    assert "signed by Anna Film, Anna Film: not trusted" in run("verify", "x.mp4").stdout


def no_engine(*arguments: Any, **options: Any) -> Any:
    raise AssertionError("nothing may be loaded")


def test_a_bad_certificate_is_told_before_anything_is_loaded(
    generate: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, *_ = write_signer(tmp_path)
    monkeypatch.setenv("FANTASYID_SIGNING_CERT", str(certificate))
    monkeypatch.setenv("FANTASYID_SIGNING_KEY", "nothing.pem")
    monkeypatch.setattr("fantasyid_engine.engine.Engine.open", no_engine)
    assert "the key nothing.pem cannot be read: No such file or directory" in refusal(generate(), ConfigError)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("value", ["1", "true", "no"])
def test_consent_that_is_required(value: str, generate: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set, but for nothing and 0: better one render too few."""
    monkeypatch.setenv("FANTASYID_REQUIRE_CONSENT", value)
    monkeypatch.setattr("fantasyid_engine.engine.Engine.open", no_engine)
    done = generate()
    assert "names no consent" in refusal(done) and isinstance(done.exception, InputError)
    assert (done.exception.code, done.exception.exit_code) == ("consent_required", 65)
    assert isinstance(generate("--consent-ref", "contract 5").exception, AssertionError), "it goes on"


@pytest.mark.parametrize("value", ["", "0"])
def test_consent_that_is_not_required(
    value: str, generate: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANTASYID_REQUIRE_CONSENT", value)
    monkeypatch.setattr("fantasyid_engine.engine.Engine.open", no_engine)
    assert isinstance(generate().exception, AssertionError), "it goes on"
