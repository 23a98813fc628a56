"""Who signs: a certificate with its private key, read from files and checked before anything is rendered.

certificate file    PEM: the signer's certificate first, then those that lead to its issuer
key file            PEM: its private key, not encrypted; may be the same file

The key decides the algorithm: ES256, ES384, ES512 (P-256, P-384, P-521), PS256 (RSA), Ed25519.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fantasyid_engine.errors import ConfigError, one_line

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes
    from cryptography.x509 import Certificate

ADVICE = "name others with FANTASYID_SIGNING_CERT and FANTASYID_SIGNING_KEY"
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate that signs.

    Attributes:
        chain: PEM, the signer's own certificate first.
        key: PEM (PKCS 8), its private key.
        algorithm: as C2PA names it.
        subject: whom the certificate names.
        development: made on this machine for trying out; it proves nothing about who made a video.
    """

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    algorithm: str
    subject: str
    development: bool = False


def read_signer(certificate: Path, key: Path, *, development: bool = False, advice: str = ADVICE) -> Signer:
    """Reads a certificate and its key.

    Raises:
        ConfigError: a file that cannot be read or holds something else, an encrypted key, a key of another
            certificate or of a kind that C2PA does not sign with, a certificate that is not valid now.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    chain, private = _read_chain(certificate, advice), _read_key(key, advice)
    if _public_key(chain[0], certificate, advice) != private.public_key():
        raise ConfigError(
            f"the key {key} is not that of the certificate {certificate}, whose first must be the signer's; {advice}"
        )
    now = datetime.now(UTC)
    for one in chain:
        if one.not_valid_after_utc < now:
            raise ConfigError(f"the certificate {certificate} expired on {one.not_valid_after_utc:%Y-%m-%d}; {advice}")
        if one.not_valid_before_utc > now:
            begins = f"{one.not_valid_before_utc:%Y-%m-%d}"
            raise ConfigError(f"the certificate {certificate} is valid from {begins} only; {advice}")
    return Signer(
        chain=b"".join(one.public_bytes(Encoding.PEM) for one in chain),
        key=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        algorithm=_algorithm(private, key, advice),
        subject=one_line(chain[0].subject.rfc4514_string()),
        development=development,
    )


def _read_chain(path: Path, advice: str) -> "list[Certificate]":
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(_read(path, "certificate", advice))
    except ValueError:
        raise ConfigError(f"the certificate {path} is no PEM with certificates; {advice}") from None


def _public_key(certificate: "Certificate", path: Path, advice: str) -> "CertificatePublicKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"the certificate {path} is of a key that nothing here can read; {advice}") from None


def _read_key(path: Path, advice: str) -> "PrivateKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(_read(path, "key", advice), None)
    except TypeError:
        raise ConfigError(f"the key {path} is encrypted; decrypt it first, or {advice}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"the key {path} is no PEM with a private key; {advice}") from None


def _read(path: Path, what: str, advice: str) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the {what} {path} cannot be read: {reason}; {advice}") from None


def _algorithm(key: "PrivateKeyTypes", path: Path, advice: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    match key:
        case EllipticCurvePrivateKey() if key.curve.name in CURVES:
            return CURVES[key.curve.name]
        case RSAPrivateKey():
            return "ps256"
        case Ed25519PrivateKey():
            return "ed25519"
    kinds = "a key on P-256, P-384 or P-521, RSA, or Ed25519"
    raise ConfigError(f"C2PA does not sign with a key as in {path}: it must be {kinds}; {advice}")
