"""The keystore in files: one directory, one 0600 file for each purpose (docs/key-inventory.md).

For development and small installations. Whoever can read the directory has every key: it belongs
on an encrypted disk and never into the same backup as the database.
"""

from __future__ import annotations

import hmac
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealward.controlplane.adapters.keystore import key_files
from sealward.controlplane.adapters.keystore.key_files import DatedPrivateKey, Secret
from sealward.controlplane.adapters.keystore.private_files import (
    DIRECTORY_MODE,
    read_private,
    require_private_directory,
    sync_directory,
    write_private,
)
from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.keys import DatedKey, KeyContext, KeyPurpose
from sealward.controlplane.domain.records import RandomBytes, from_unix_ms
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json
from sealward.verifier.wire.reader import Reader

CERTIFICATE_PURPOSES: Final = (KeyPurpose.server_ca, KeyPurpose.node_ca)
SIGNING_PURPOSES: Final = (KeyPurpose.terms, KeyPurpose.log, KeyPurpose.client_token)
MAC_PURPOSES: Final = (
    KeyPurpose.challenge_mac,
    KeyPurpose.token_mac,
    KeyPurpose.tpm_activation,
)
SECRET_PURPOSES: Final = (*MAC_PURPOSES, KeyPurpose.ratchet, KeyPurpose.kek)

# What keystores of an earlier release lack. Nothing at rest was made with such a key, so that a new
# one is as good as one that got lost.
LATER_PURPOSES: Final = (KeyPurpose.tpm_activation, KeyPurpose.result)
UNDATED: Final = from_unix_ms(0)  # a result key made by somebody without a clock; it is due

_WRAP_FORMAT: Final = 1
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_MAX_PLAINTEXT: Final = 4096  # private keys; an X-Wing seed has 32 bytes
_MAX_DERIVED: Final = 64
_COORDINATE: Final = 32  # r and s of P-256


@dataclass(frozen=True, slots=True)
class _Keys:
    """Everything that was loaded; the first of `secrets` is the current one."""

    certificates: Mapping[KeyPurpose, EllipticCurvePrivateKey]
    signing: Mapping[KeyPurpose, Ed25519PrivateKey]
    secrets: Mapping[KeyPurpose, tuple[Secret, ...]]
    results: tuple[DatedPrivateKey, ...]


def create(directory: Path, random_bytes: RandomBytes, now: datetime = UNDATED) -> None:
    """Make a keystore with fresh keys for every purpose; all of it or nothing.

    `now` dates the keys that are replaced by age.

    Raises:
        Conflict(already_exists): there is something at `directory`.
        Refused(keystore_refused): the folder above cannot be written.
    """
    draft = directory.with_name(f".{directory.name}.new")
    try:
        if directory.exists():
            raise Conflict(Code.already_exists, f"{directory} exists", "use the keys in it")
        shutil.rmtree(draft, ignore_errors=True)  # of a creation that was interrupted
        draft.mkdir(mode=DIRECTORY_MODE)
        for purpose in KeyPurpose:
            write_private(_path(draft, purpose), _fresh(purpose, random_bytes, now))
        sync_directory(draft)
        draft.rename(directory)  # fails on a directory that appeared meanwhile, unless it is empty
        sync_directory(directory.parent)
    except OSError as error:
        raise Refused(
            Code.keystore_refused,
            f"cannot create {directory}: {error.strerror}",
            "check that the folder above exists and can be written by this user",
        ) from None


def complete(directory: Path, random_bytes: RandomBytes, now: datetime = UNDATED) -> None:
    """Add the keys of purposes that came later to a keystore of an earlier release.

    Raises:
        Refused(keystore_refused): the directory is open to other users, or cannot be written.
    """
    require_private_directory(directory)
    try:
        for purpose in LATER_PURPOSES:
            path = _path(directory, purpose)
            if not path.exists():
                _replace(path, _fresh(purpose, random_bytes, now))
    except OSError as error:
        raise Refused(
            Code.keystore_refused,
            f"cannot add a key to {directory}: {error.strerror}",
            "check that this user can write to it",
        ) from None


class FileKeystore:
    """services.ports.Keystore over a directory that `create` made."""

    def __init__(self, directory: Path, random_bytes: RandomBytes) -> None:
        """Load every key.

        Raises:
            Refused(keystore_refused): a file is missing, damaged, or open to other users.
        """
        self._directory = directory
        self._random_bytes = random_bytes
        self._keys = _load(directory)

    def public(self, purpose: KeyPurpose) -> bytes:
        """Return the public key: 32 raw bytes (Ed25519) or DER SubjectPublicKeyInfo (the CAs)."""
        if purpose in SIGNING_PURPOSES:
            return self._keys.signing[purpose].public_key().public_bytes_raw()
        return _spki(self.private_for_certificates(purpose))

    def sign(self, purpose: KeyPurpose, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `data`."""
        _require(purpose, SIGNING_PURPOSES, "sign with")
        return self._keys.signing[purpose].sign(data)

    def private_for_certificates(self, purpose: KeyPurpose) -> EllipticCurvePrivateKey:
        """Return the P-256 key of a CA."""
        _require(purpose, CERTIFICATE_PURPOSES, "issue certificates with")
        return self._keys.certificates[purpose]

    def mac(self, purpose: KeyPurpose, data: bytes) -> tuple[str, bytes]:
        """Return the id of the current key and the 32-byte HMAC-SHA-256 tag."""
        _require(purpose, MAC_PURPOSES, "authenticate with")
        current = self._keys.secrets[purpose][0]
        return current.key_id, hmac.digest(current.value, data, "sha256")

    def verify_mac(self, purpose: KeyPurpose, key_id: str, data: bytes, tag: bytes) -> bool:
        """Tell in constant time whether the tag is right under the kept key of that id."""
        _require(purpose, MAC_PURPOSES, "authenticate with")
        for secret in self._keys.secrets[purpose]:
            if secret.key_id == key_id:  # an id is no secret
                return hmac.compare_digest(hmac.digest(secret.value, data, "sha256"), tag)
        return False

    def derive(self, purpose: KeyPurpose, info: bytes, length: int) -> bytes:
        """Return `length` (1..64) bytes of HKDF-SHA-256 output for `info`."""
        _require(purpose, (KeyPurpose.ratchet,), "derive from")
        if not 1 <= length <= _MAX_DERIVED:
            raise ValueError(f"a derived secret has 1 to {_MAX_DERIVED} bytes")
        secret = self._keys.secrets[purpose][0].value
        return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(secret)

    def wrap(self, plaintext: bytes, context: KeyContext) -> bytes:
        """Return format version (1) || KEK id (8) || nonce (12) || AES-256-GCM ciphertext."""
        if not 1 <= len(plaintext) <= _MAX_PLAINTEXT:
            raise ValueError(f"a wrapped secret has 1 to {_MAX_PLAINTEXT} bytes")
        kek = self._keys.secrets[KeyPurpose.kek][0]
        nonce = self._random_bytes(_NONCE_BYTES)
        sealed = AESGCM(kek.value).encrypt(nonce, plaintext, _associated(context, kek.key_id))
        return bytes([_WRAP_FORMAT]) + bytes.fromhex(kek.key_id) + nonce + sealed

    def unwrap(self, wrapped: bytes, context: KeyContext) -> bytes:
        """Return the secret; Refused(key_unusable) for another context, KEK, format, or damage."""
        kek = self._keys.secrets[KeyPurpose.kek][0]
        reader = Reader(wrapped)
        try:
            version = reader.u8("format version")
            key_id = reader.take(key_files.KEY_ID_BYTES, "KEK id").hex()
            nonce = reader.take(_NONCE_BYTES, "nonce")
            sealed = reader.take(reader.remaining, "ciphertext")
        except MalformedEvidence:
            raise _unusable("it is cut short") from None
        if version != _WRAP_FORMAT:
            raise _unusable(f"it has format version {version}")
        if key_id != kek.key_id:
            raise _unusable("it is wrapped under another KEK")
        if not _TAG_BYTES < len(sealed) <= _MAX_PLAINTEXT + _TAG_BYTES:
            raise _unusable("it has a length that we never write")
        try:
            return AESGCM(kek.value).decrypt(nonce, sealed, _associated(context, key_id))
        except InvalidTag:
            raise _unusable("it is damaged, or belongs somewhere else") from None

    def rotate_challenge_mac(self) -> None:
        """Start a new challenge key and keep the previous one for challenges still in flight."""
        purpose = KeyPurpose.challenge_mac
        fresh = key_files.new_secret(purpose, self._random_bytes)
        rotated = (fresh, self._keys.secrets[purpose][0])
        _replace(_path(self._directory, purpose), key_files.secret_lines(rotated))
        self._keys = replace(self._keys, secrets={**self._keys.secrets, purpose: rotated})

    def result_keys(self) -> tuple[DatedKey, ...]:
        """Return the kept keys of attestation results, the one that signs first."""
        return tuple(DatedKey(one.made, _spki(one.key)) for one in self._keys.results)

    def sign_result(self, spki: bytes, data: bytes) -> bytes:
        """Return r and s, 32 bytes each; Refused(keystore_refused) for a key that is not kept."""
        for one in self._keys.results:
            if _spki(one.key) == spki:
                r, s = decode_dss_signature(one.key.sign(data, ECDSA(hashes.SHA256())))
                return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
        raise Refused(Code.keystore_refused, "this result key was replaced", "use the current one")

    def rotate_result_key(self, now: datetime, *, keep_previous: bool) -> None:
        """Begin to sign results with a fresh key."""
        fresh = DatedPrivateKey(now, generate_private_key(SECP256R1()))
        results = (fresh, *(self._keys.results[:1] if keep_previous else ()))
        _replace(_path(self._directory, KeyPurpose.result), key_files.dated_pems(results))
        self._keys = replace(self._keys, results=results)


def _path(directory: Path, purpose: KeyPurpose) -> Path:
    return directory / f"{purpose}.key"


def _replace(path: Path, content: bytes) -> None:
    """Put a key file in place, whole or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    write_private(draft, content)
    draft.replace(path)
    sync_directory(path.parent)


def _spki(key: EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _fresh(purpose: KeyPurpose, random_bytes: RandomBytes, now: datetime) -> bytes:
    if purpose is KeyPurpose.result:
        return key_files.dated_pems((DatedPrivateKey(now, generate_private_key(SECP256R1())),))
    if purpose in CERTIFICATE_PURPOSES:
        return key_files.private_pem(generate_private_key(SECP256R1()))
    if purpose in SIGNING_PURPOSES:
        return key_files.private_pem(Ed25519PrivateKey.generate())
    return key_files.secret_lines((key_files.new_secret(purpose, random_bytes),))


def _load(directory: Path) -> _Keys:
    require_private_directory(directory)
    paths = {purpose: _path(directory, purpose) for purpose in KeyPurpose}
    files = {purpose: read_private(path) for purpose, path in paths.items()}
    return _Keys(
        certificates={p: key_files.read_p256(paths[p], files[p]) for p in CERTIFICATE_PURPOSES},
        signing={p: key_files.read_ed25519(paths[p], files[p]) for p in SIGNING_PURPOSES},
        secrets={p: key_files.read_secrets(paths[p], files[p], p) for p in SECRET_PURPOSES},
        results=key_files.read_dated_p256(paths[KeyPurpose.result], files[KeyPurpose.result]),
    )


def _require(purpose: KeyPurpose, allowed: tuple[KeyPurpose, ...], verb: str) -> None:
    if purpose not in allowed:
        raise Refused(Code.keystore_refused, f"{purpose} is not a key to {verb}")


def _associated(context: KeyContext, kek_id: str) -> bytes:
    """Return the additional authenticated data of a wrapped secret (F36)."""
    return json.canonical(
        {
            "format": _WRAP_FORMAT,
            "kek": kek_id,
            "purpose": context.purpose,
            "tenant": context.tenant,
            "version": context.version,
            "workload": context.workload,
        }
    )


def _unusable(reason: str) -> Refused:
    return Refused(
        Code.key_unusable,
        f"the wrapped key cannot be opened: {reason}",
        "check that the keystore and the database belong together",
    )
