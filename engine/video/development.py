"""The development certificate: made on first use, so that every render is signed before anybody owns a certificate.

$FANTASYID_DATA, or ~/.local/share/fantasyid-engine
    development-certificate/signer.pem     private key, certificate and its issuer's, readable by its owner only

It says that a file is as it was written, and nothing about who wrote it: anybody can make one that reads the same. The
issuer's key is thrown away when it has signed this one certificate.
"""

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fantasyid_engine.atomic import fsync
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.video.certificates import ADVICE, Signer, read_signer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, Name

NAME = "fantasyid-engine development certificate"
"""Common name, and by it `verify` knows such a certificate."""
NOTE = "signed with a development certificate: it proves nothing about who made it"
YEARS = 10


def data_home() -> Path:
    """`$FANTASYID_DATA`, or `~/.local/share/fantasyid-engine`; raises ConfigError where there is no home."""
    named = os.environ.get("FANTASYID_DATA")
    try:
        return Path(named) if named else Path.home() / ".local" / "share" / "fantasyid-engine"
    except RuntimeError:
        raise ConfigError("there is no home folder for a development certificate; name one in FANTASYID_DATA") from None


def development_signer() -> Signer:
    """The development certificate of this user, made where there is none yet.

    Processes that make it at once get the same: the first to finish wins.

    Raises:
        ConfigError: it cannot be kept or read, or is not valid any more.
    """
    path = data_home() / "development-certificate" / "signer.pem"
    try:
        if not path.exists():
            _keep(path, _make())
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"cannot keep a development certificate at {path}: {reason}; name a folder in FANTASYID_DATA, or {ADVICE}"
        ) from None
    return read_signer(path, path, development=True, advice=f"remove {path}, and a new one will be made")


def _keep(path: Path, data: bytes) -> None:
    """Writes a file that only its owner may read, in a folder of its own: both whole or not at all; one there stays.

    A folder, for it takes the name of no other that has something in it. A file would replace what another process has
    begun to sign with; to link it instead, not every file system can.
    """
    folder, home = path.parent, path.parent.parent
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".partial", dir=home) as temporary:
        file = Path(temporary, path.name)
        file.touch(mode=0o600)
        file.write_bytes(data)
        fsync(file)
        try:
            Path(temporary).rename(folder)
        except OSError:
            if not path.exists():
                raise


def _make() -> bytes:
    """Key, certificate and its issuer's, as PEM, by C2PA's certificate profile."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = _name(f"{NAME} issuer"), _name(NAME)
    authority = _certificate(issuer, issuer, issuer_key, is_issuer=True).sign(issuer_key, SHA256())
    certificate = (
        _certificate(subject, issuer, key, is_issuer=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, SHA256())
    )
    chain: list[Certificate] = [certificate, authority]
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + b"".join(one.public_bytes(Encoding.PEM) for one in chain)


def _name(common: str) -> "Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fantasyid-engine")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: "Name", issuer: "Name", key: "EllipticCurvePrivateKey", *, is_issuer: bool
) -> "CertificateBuilder":
    from cryptography import x509

    now, uses = datetime.now(UTC), dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment"), False)
    uses |= dict.fromkeys(("key_agreement", "encipher_only", "decipher_only"), False)
    uses |= {"digital_signature": not is_issuer, "key_cert_sign": is_issuer, "crl_sign": is_issuer}
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=is_issuer, path_length=0 if is_issuer else None), critical=True)
        .add_extension(x509.KeyUsage(**uses), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
