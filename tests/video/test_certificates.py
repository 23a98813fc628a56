"""Which certificates can sign, and what is said of those that cannot, before anything is rendered."""

import base64
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509 import load_pem_x509_certificates

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.video import development
from fantasyid_engine.video.development import NAME, data_home, development_signer
from fantasyid_engine.video.provenance import find_signer
from tests.video.signers import CLAIMS, KEYS, WEB, write_signer

HOUR = timedelta(hours=1)


def refused(*named: Path | None) -> str:
    with pytest.raises(ConfigError) as error:
        find_signer(*named)
    message = str(error.value)
    assert message.isprintable() and len(message) < 500
    return message


@pytest.mark.parametrize("algorithm", KEYS)
def test_kinds_of_keys(algorithm: str, tmp_path: Path) -> None:
    certificate, key, _ = write_signer(tmp_path, KEYS[algorithm]())
    signer = find_signer(certificate, key)
    assert (signer.algorithm, signer.development, signer.subject) == (algorithm, False, "CN=Anna Film,O=Anna Film")


def test_the_key_may_be_in_the_same_file_and_in_the_old_form(tmp_path: Path) -> None:
    certificate, key, _ = write_signer(tmp_path, encoding=PrivateFormat.TraditionalOpenSSL)
    assert b"BEGIN EC PRIVATE KEY" in key.read_bytes()
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    signer = find_signer(both, both)
    assert b"PRIVATE" not in signer.chain and signer.chain.count(b"BEGIN CERTIFICATE") == 2


def test_a_certificate_for_c2pa_claims(tmp_path: Path) -> None:
    assert find_signer(*write_signer(tmp_path, purpose=CLAIMS)[:2]).algorithm == "es256"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    assert "BEGIN" not in repr(find_signer(*write_signer(tmp_path)[:2]))


def test_it_is_found_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key, _ = write_signer(tmp_path)
    monkeypatch.setenv("FANTASYID_SIGNING_CERT", str(certificate))
    assert "a certificate to sign with is named, but no key" in refused()
    monkeypatch.setenv("FANTASYID_SIGNING_KEY", str(key))
    assert find_signer().subject == "CN=Anna Film,O=Anna Film"
    monkeypatch.setenv("FANTASYID_SIGNING_CERT", "")
    assert "a key to sign with is named, but no certificate" in refused()
    monkeypatch.setenv("FANTASYID_SIGNING_KEY", "")
    assert find_signer().development
    assert "a key to sign with is named, but no certificate" in refused(None, key)


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    certificate, key, _ = write_signer(tmp_path)
    (tmp_path / "other").mkdir()
    _, other, _ = write_signer(tmp_path / "other")
    assert f"the key {other} is not that of the certificate {certificate}" in refused(certificate, other)
    pieces = certificate.read_text().split("-----BEGIN")[1:]
    certificate.write_text("-----BEGIN" + "-----BEGIN".join(reversed(pieces)))
    assert "whose first must be the signer's" in refused(certificate, key)


def test_times(tmp_path: Path) -> None:
    certificate, key, _ = write_signer(tmp_path, begins=-2 * HOUR, ends=-HOUR)
    assert f"the certificate {certificate} expired on 20" in refused(certificate, key)
    certificate, key, _ = write_signer(tmp_path, begins=HOUR, ends=2 * HOUR)
    assert "is valid from 20" in refused(certificate, key)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        pytest.param({"purpose": WEB}, "cannot sign: ", id="for-servers"),
        pytest.param({"key": rsa.generate_private_key(65537, 1024)}, "cannot sign: ", id="short-rsa"),
        pytest.param({"key": ec.generate_private_key(ec.SECP256K1())}, "it must be a key on P-256, P-384", id="curve"),
    ],
)
def test_unsuitable(made: dict[str, Any], says: str, tmp_path: Path) -> None:
    assert says in refused(*write_signer(tmp_path, **made)[:2])


def test_an_issuer_does_not_sign_videos(tmp_path: Path) -> None:
    """Its own certificate has no purpose, and is signed by itself."""
    issuer_key = KEYS["es256"]()
    _, path, root = write_signer(tmp_path, issuer_key=issuer_key)
    path.write_bytes(issuer_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert "cannot sign: " in refused(root, path)


@pytest.mark.parametrize("broken", ["certificate", "key"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file or directory"),
        (b"", "is no PEM with"),
        (b"hello", "is no PEM with"),
        (b"\xff\x00\xfe", "is no PEM with"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is no PEM with"),
    ],
    ids=["missing", "empty", "text", "bytes", "cut"],
)
def test_files_that_are_none(broken: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    certificate, key, _ = write_signer(tmp_path)
    path = certificate if broken == "certificate" else key
    path.unlink() if content is None else path.write_bytes(content)
    message = refused(certificate, key)
    assert message.startswith(f"the {broken} {path}") and says in message and "FANTASYID_SIGNING_CERT" in message
    assert "Is a directory" in refused(*(tmp_path if one == path else one for one in (certificate, key)))


def test_an_encrypted_key(tmp_path: Path) -> None:
    private = KEYS["es256"]()
    certificate, key, _ = write_signer(tmp_path, private)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    assert f"the key {key} is encrypted" in refused(certificate, key)


def test_a_key_that_signs_nothing(tmp_path: Path) -> None:
    certificate, key, _ = write_signer(tmp_path)
    private = x25519.X25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert "is not that of the certificate" in refused(certificate, key)


@pytest.mark.parametrize("algorithm", ["es256", "ps256"])
def test_a_certificate_of_a_key_of_no_known_kind(algorithm: str, tmp_path: Path) -> None:
    """The last byte of what names the kind is another."""
    certificate, key, _ = write_signer(tmp_path, KEYS[algorithm]())
    kind = bytes.fromhex("06072a8648ce3d0201" if algorithm == "es256" else "06092a864886f70d010101")
    der = load_pem_x509_certificates(certificate.read_bytes())[0].public_bytes(Encoding.DER)
    assert der.count(kind) == 1
    text = base64.encodebytes(der.replace(kind, kind[:-1] + b"\x77")).decode()
    certificate.write_text(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
    message = refused(certificate, key)
    assert message.startswith(f"the certificate {certificate} is of a key that nothing here can read; name others")


# The development certificate.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FANTASYID_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_it_is_made_once_and_for_its_owner_alone(home: Path) -> None:
    first = find_signer()
    assert first.development and NAME in first.subject
    (folder,) = home.iterdir()
    (path,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    before = path.read_bytes()
    assert find_signer() == first and path.read_bytes() == before
    assert before.count(b"PRIVATE KEY-----") == 2, "the issuer's key is not kept"


def test_where_it_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_home() == home
    monkeypatch.delenv("FANTASYID_DATA")
    monkeypatch.setenv("HOME", "/somebody")
    assert data_home() == Path("/somebody/.local/share/fantasyid-engine")


def test_nobody_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FANTASYID_DATA", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert "name one in FANTASYID_DATA" in refused()


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/nothing"])
def test_it_cannot_be_kept(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("FANTASYID_DATA", str(tmp_path / where))
    message = refused()
    assert "cannot keep a development certificate at " in message and "FANTASYID_DATA" in message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_no_room_for_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in refused()
    assert list(home.iterdir()) == []


def test_one_that_is_broken_says_what_to_do(home: Path) -> None:
    path = home / "development-certificate" / "signer.pem"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    assert f"remove {path}, and a new one will be made" in refused()


def test_one_that_was_removed_is_made_anew(home: Path) -> None:
    first = find_signer()
    (home / "development-certificate" / "signer.pem").unlink()
    assert find_signer() != first


def test_a_file_system_without_hard_links(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert find_signer().development
    assert [path.name for path in home.iterdir()] == ["development-certificate"]


def test_its_place_is_taken(home: Path) -> None:
    (home / "development-certificate" / "something").mkdir(parents=True)
    assert "cannot keep a development certificate at " in refused()
    assert [path.name for path in home.rglob("*")] == ["development-certificate", "something"]


def test_one_that_has_expired_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(development, "YEARS", 0)
    message = refused()
    assert "expired on " in message and "and a new one will be made" in message


def test_the_first_of_two_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has it made by then, and throws its own away."""
    make = development._make

    def slowly() -> bytes:
        monkeypatch.setattr(development, "_make", make)
        winner.append(development_signer())
        return make()

    winner: list[Any] = []
    monkeypatch.setattr(development, "_make", slowly)
    assert development_signer() == winner[0]
    assert [path.name for path in home.iterdir()] == ["development-certificate"]


AT_ONCE = """
import hashlib, json, sys
from fantasyid_engine.video.development import development_signer
import cryptography.x509
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(hashlib.sha256(development_signer().chain).hexdigest()))
"""


def test_processes_at_once_get_the_same(home: Path) -> None:
    streams: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", AT_ONCE], **streams) for _ in range(4)]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    found = {json.loads(process.communicate()[0]) for process in processes}
    assert len(found) == 1 and [process.returncode for process in processes] == [0] * 4
    assert [path.name for path in home.iterdir()] == ["development-certificate"]
