"""How each kind of key lies in its file.

PKCS#8 PEM; lines of hex for symmetric keys; and for keys that are replaced by age, PEM below a line
with the Unix milliseconds of their making, the newest first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.records import from_unix_ms, unix_ms

SECRET_BYTES: Final = 32
KEY_ID_BYTES: Final = 8

_DATED: Final = re.compile(
    rb"made ([0-9]{1,14})\n(-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\n)"
)
_MAX_DATED: Final = 2  # the one that signs, and the one before it

_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Secret:
    """A symmetric key and the id that names it in stored tags and wrapped keys."""

    key_id: str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DatedPrivateKey:
    """A P-256 key and when it was made."""

    made: datetime
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def new_secret(purpose: KeyPurpose, random_bytes: Callable[[int], bytes]) -> Secret:
    """Return a fresh symmetric key."""
    return _secret(purpose, random_bytes(SECRET_BYTES))


def private_pem(key: _PrivateKey) -> bytes:
    """Return the file content of an asymmetric key."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def secret_lines(secrets: tuple[Secret, ...]) -> bytes:
    """Return the file content of symmetric keys, the current one first."""
    return b"".join(secret.value.hex().encode("ascii") + b"\n" for secret in secrets)


def read_ed25519(path: Path, content: bytes) -> ed25519.Ed25519PrivateKey:
    """Return the key; Refused(keystore_refused) for anything else."""
    key = _read_pem(path, content)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise _damaged(path)
    return key


def read_p256(path: Path, content: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key; Refused(keystore_refused) for anything else."""
    key = _read_pem(path, content)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _damaged(path)
    return key


def read_secrets(path: Path, content: bytes, purpose: KeyPurpose) -> tuple[Secret, ...]:
    """Return one or two symmetric keys; Refused(keystore_refused) for anything else."""
    try:
        values = tuple(bytes.fromhex(line) for line in content.decode("ascii").splitlines())
    except ValueError:
        raise _damaged(path) from None
    secrets = tuple(_secret(purpose, value) for value in values)
    if len(values) not in (1, 2) or secret_lines(secrets) != content:
        raise _damaged(path)
    if any(len(value) != SECRET_BYTES for value in values):
        raise _damaged(path)
    return secrets


def dated_pems(keys: tuple[DatedPrivateKey, ...]) -> bytes:
    """Return the file content of dated keys, the newest first."""
    return b"".join(b"made %d\n%b" % (unix_ms(one.made), private_pem(one.key)) for one in keys)


def read_dated_p256(path: Path, content: bytes) -> tuple[DatedPrivateKey, ...]:
    """Return one or two dated keys; Refused(keystore_refused) for anything else."""
    keys = tuple(
        DatedPrivateKey(from_unix_ms(int(made)), read_p256(path, pem))
        for made, pem in _DATED.findall(content)
    )
    if not 0 < len(keys) <= _MAX_DATED or dated_pems(keys) != content:
        raise _damaged(path)
    return keys


def _secret(purpose: KeyPurpose, value: bytes) -> Secret:
    # A hash of 256 random bits gives nothing of them away, and ties the id to the key itself.
    digest = hashlib.sha256(b"sealward key id v1\0" + purpose.encode() + b"\0" + value).digest()
    return Secret(digest.hex()[: 2 * KEY_ID_BYTES], value)


def _read_pem(path: Path, content: bytes) -> _PrivateKey:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _damaged(path) from None  # the library's text could quote the file
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise _damaged(path)
    if private_pem(key) != content:  # the library ignores text around the PEM
        raise _damaged(path)
    return key


def _damaged(path: Path) -> Refused:
    return Refused(
        Code.keystore_refused, f"{path} is damaged", "restore the keystore from its backup"
    )
