"""Certificates to sign with, of every kind, good and bad."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

KEYS: dict[str, Any] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
MAIL, WEB, CLAIMS = (
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.SERVER_AUTH,
    ObjectIdentifier("1.3.6.1.4.1.62558.2.1"),
)


def write_signer(
    folder: Path,
    key: Any = None,
    *,
    issuer_key: Any = None,
    name: str = "Anna Film",
    begins: timedelta = timedelta(hours=-1),
    ends: timedelta = timedelta(hours=1),
    purpose: ObjectIdentifier = MAIL,
    encoding: PrivateFormat = PrivateFormat.PKCS8,
) -> tuple[Path, Path, Path]:
    """Writes a certificate with its issuer's, its key, and the issuer's alone; returns where."""
    key, issuer_key, now = key or KEYS["es256"](), issuer_key or KEYS["es256"](), datetime.now(UTC)
    issuer, subject = (
        x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name), x509.NameAttribute(NameOID.COMMON_NAME, common)]
        )
        for common in (f"{name} Root", name)
    )

    def certificate(of: x509.Name, public: Any, *, is_issuer: bool) -> x509.CertificateBuilder:
        usage = x509.KeyUsage(not is_issuer, False, False, False, False, is_issuer, is_issuer, False, False)
        return (
            x509.CertificateBuilder(issuer, of, public, x509.random_serial_number(), now + begins, now + ends)
            .add_extension(x509.BasicConstraints(is_issuer, 0 if is_issuer else None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        )

    root = certificate(issuer, issuer_key.public_key(), is_issuer=True).sign(issuer_key, hashes.SHA256())
    own = certificate(subject, key.public_key(), is_issuer=False)
    own = own.add_extension(x509.ExtendedKeyUsage([purpose]), False)
    own = own.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    signed = own.sign(issuer_key, hashes.SHA256())
    paths = folder / "cert.pem", folder / "key.pem", folder / "root.pem"
    paths[0].write_bytes(signed.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, encoding, NoEncryption()))
    paths[2].write_bytes(root.public_bytes(Encoding.PEM))
    return paths
