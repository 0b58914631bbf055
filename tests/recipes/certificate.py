"""A certificate that is signed by itself, for the names that the recipes have and for the loopback."""

from __future__ import annotations

import datetime
import ipaddress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("push.example.org", "www.example.org", "localhost")


class Certificate(NamedTuple):
    """PEM: the certificate, and its key."""

    cert: bytes
    key: bytes


class Files(NamedTuple):
    """Where the certificate is, where its key, and where both are one file."""

    cert: Path
    key: Path
    both: Path


@cache
def certificate() -> Certificate:
    """The one of this run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAMES[0])])
    now = datetime.datetime.now(datetime.UTC)
    names = [*map(x509.DNSName, NAMES), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    unencrypted = serialization.NoEncryption()
    return Certificate(
        signed.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted),
    )


def written(directory: Path) -> Files:
    """Write the certificate into ``directory``."""
    files = Files(*(directory / name for name in ("cert.pem", "key.pem", "both.pem")))
    cert, key = certificate()
    for path, data in zip(files, (cert, key, cert + key), strict=True):
        path.write_bytes(data)
    return files
