"""Files of development roots and platforms: directories 0700, files 0600, nothing overwritten."""

from __future__ import annotations

import os
import ssl
import stat
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_GROUP_AND_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class DevelopmentFilesError(Exception):
    """A root or platform directory cannot be made or read; the message is one sentence."""


def new_directory(directory: Path) -> None:
    """Make a directory of mode 0700, or take an empty one.

    Raises:
        DevelopmentFilesError: it is not empty.
        OSError: it cannot be made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise DevelopmentFilesError(f"{directory} is not empty; give a new directory")
    directory.chmod(stat.S_IRWXU)


def write_private(path: Path, content: bytes) -> None:
    """Create a file of mode 0600; it must not exist, so nothing is ever overwritten."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR), "wb") as file:
        file.write(content)


def write_key(path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """Write a private key in PEM (PKCS #8)."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(path, pem)


def write_certificate(path: Path, *certificates: bytes) -> None:
    """Write DER certificates in PEM."""
    pem = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in certificates)
    write_private(path, pem.encode())


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DevelopmentFilesError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DevelopmentFilesError(f"cannot read {path}: {error.strerror}") from error


def read_certificate(path: Path) -> bytes:
    """The DER of the one certificate in a PEM file.

    Raises:
        DevelopmentFilesError: it cannot be read, or is none.
    """
    # Not x509.load_pem_x509_certificate: it warns of serial number 0, which every VEK has.
    try:
        return ssl.PEM_cert_to_DER_cert(read(path).decode("ascii"))
    except ValueError as error:
        raise DevelopmentFilesError(f"{path} is not a PEM certificate") from error


def read_rsa_key(path: Path) -> rsa.RSAPrivateKey:
    """An RSA key from a PEM file that nobody else can read.

    Raises:
        DevelopmentFilesError: it is none, or others can read it.
    """
    key = _read_key(path)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise DevelopmentFilesError(f"{path} does not hold an RSA key")
    return key


def read_p256_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A P-256 key from a PEM file; raises as `read_rsa_key` does."""
    return _read_curve_key(path, ec.SECP256R1())


def read_p384_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A P-384 key from a PEM file; raises as `read_rsa_key` does."""
    return _read_curve_key(path, ec.SECP384R1())


def _read_curve_key(path: Path, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    key = _read_key(path)
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == curve.name):
        name = curve.name.replace("secp", "P-").removesuffix("r1")
        raise DevelopmentFilesError(f"{path} does not hold a {name} key")
    return key


def _read_key(path: Path) -> PrivateKeyTypes:
    content = read(path)
    if path.stat().st_mode & _GROUP_AND_OTHERS:
        raise DevelopmentFilesError(f"{path} can be read by others; run chmod 600 on it")
    try:
        return serialization.load_pem_private_key(content, password=None)
    except (TypeError, ValueError) as error:
        raise DevelopmentFilesError(f"{path} is not a PEM private key") from error
