"""Signed checkpoints of the audit log: C2SP tlog-checkpoint in a C2SP signed note, Ed25519.

    sealward.example/log            origin, which is the name of the key
    1234                            tree size
    (root in base64)
                                    an empty line, then one line for each signature:
    - sealward.example/log (base64 of 4 bytes of key hash and 64 bytes of signature)

The dash stands for U+2014. The signature is over the first three lines with their newlines. Other
signatures (witnesses) may stand beside ours and are not looked at here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealward.controlplane.domain.merkle import HASH_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64

MAX_NOTE_BYTES: Final = 16 * 1024  # our part has about 250; the rest is room for witnesses
MAX_LOG_KEY_BYTES: Final = 512
MAX_SIGNATURES: Final = 32  # far above any quorum of witnesses

_ED25519: Final = b"\x01"  # C2SP signed-note: the algorithm byte
_KEY_HASH_BYTES: Final = 4
_PUBLIC_BYTES: Final = 32
_MAX_SIZE: Final = (1 << 63) - 1
_MAX_NAME_CHARS: Final = 260  # a DNS name and "/log"
_PREFIX: Final = "\u2014 "
_BODY_LINES: Final = 3


class CheckpointRefused(Exception):
    """A note or a log key that is not what its format allows, or that our key did not sign."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of one log: how many leaves, and the 32-byte root over them."""

    origin: str
    size: int
    root: bytes

    def body(self) -> bytes:
        """Return what is signed."""
        return f"{self.origin}\n{self.size}\n{base64.encode(self.root)}\n".encode()


@dataclass(frozen=True, slots=True)
class LogKey:
    """The name and the raw Ed25519 public key of a log.

    Raises:
        CheckpointRefused: a name that a note cannot carry, or a key of another length.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _is_name(self.name) or len(self.public) != _PUBLIC_BYTES:
            raise CheckpointRefused("not the name or the key of a log")

    def key_hash(self) -> bytes:
        """Return the 4 bytes that name the key beside a signature (C2SP signed-note)."""
        named = self.name.encode("ascii") + b"\n" + _ED25519 + self.public
        return hashlib.sha256(named).digest()[:_KEY_HASH_BYTES]

    def text(self) -> str:
        """Return the verifier key as text: name+hash+base64 (C2SP signed-note)."""
        return f"{self.name}+{self.key_hash().hex()}+{base64.encode(_ED25519 + self.public)}"


def log_name(trust_domain: str) -> str:
    """Return the origin of the audit log of a trust domain."""
    return f"{trust_domain}/log"


def read_log_key(text: str) -> LogKey:
    """Read what `LogKey.text` wrote, with or without one final newline; CheckpointRefused."""
    parts = text.removesuffix("\n").split("+", 2)  # base64 may hold further plus signs
    if len(text) > MAX_LOG_KEY_BYTES or len(parts) != 3:  # noqa: PLR2004 - the three parts
        raise CheckpointRefused("not a log key")
    try:
        encoded = base64.decode(parts[2], what="log key", max_bytes=1 + _PUBLIC_BYTES)
    except MalformedEvidence as error:
        raise CheckpointRefused(f"not a log key: {error}") from None
    key = LogKey(parts[0], encoded.removeprefix(_ED25519))
    if key.text() != text.removesuffix("\n"):
        raise CheckpointRefused("a log key whose parts do not belong together")
    return key


def sign(checkpoint: Checkpoint, key: LogKey, signer: Callable[[bytes], bytes]) -> str:
    """Return the signed note; `signer` gives the Ed25519 signature of `key` over its argument."""
    if checkpoint.origin != key.name:
        raise ValueError("the origin of a checkpoint is the name of its key")
    body = checkpoint.body()
    signature = base64.encode(key.key_hash() + signer(body))
    return f"{body.decode('ascii')}\n{_PREFIX}{key.name} {signature}\n"


def verify(note: str, key: LogKey) -> Checkpoint:
    """Return the checkpoint that `key` signed.

    Raises:
        CheckpointRefused: malformed, of another log, unsigned by `key`, or wrongly signed; nothing
            else for any text.
    """
    body, signatures = _split(note)
    checkpoint = _read_body(body)
    if checkpoint.origin != key.name:
        raise CheckpointRefused("a checkpoint of another log")
    ours = [s for name, s in signatures if name == key.name and s.startswith(key.key_hash())]
    if len(ours) != 1:
        raise CheckpointRefused("not signed once by the key of the log")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(
            ours[0].removeprefix(key.key_hash()), body.encode("ascii")
        )
    except (InvalidSignature, ValueError):
        raise CheckpointRefused("the signature is wrong") from None
    return checkpoint


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the signed text, and each signature line as name and decoded bytes."""
    if len(note) > MAX_NOTE_BYTES:
        raise CheckpointRefused(f"a note of more than {MAX_NOTE_BYTES} characters")
    text, blank, rest = note.partition("\n\n")
    if not blank or not rest.endswith("\n") or not text.isascii():
        raise CheckpointRefused("not a signed note")
    lines = rest.removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise CheckpointRefused(f"more than {MAX_SIGNATURES} signatures")
    return text + "\n", [_read_signature(line) for line in lines]


def _read_signature(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(_PREFIX).partition(" ")
    if not line.startswith(_PREFIX) or not space or not _is_name(name):
        raise CheckpointRefused("not a signature line")
    try:
        signature = base64.decode(encoded, what="signature", max_bytes=MAX_NOTE_BYTES)
    except MalformedEvidence as error:
        raise CheckpointRefused(f"not a signature: {error}") from None
    if len(signature) <= _KEY_HASH_BYTES:
        raise CheckpointRefused("a signature without a key hash or without itself")
    return name, signature


def _read_body(body: str) -> Checkpoint:
    lines = body.removesuffix("\n").split("\n")
    if len(lines) != _BODY_LINES or not _is_name(lines[0]):
        raise CheckpointRefused("not a checkpoint")
    if not lines[1].isdigit() or len(lines[1]) > len(str(_MAX_SIZE)):
        raise CheckpointRefused("not a tree size")
    try:
        root = base64.decode(lines[2], what="root", max_bytes=HASH_BYTES)
    except MalformedEvidence as error:
        raise CheckpointRefused(f"not a root hash: {error}") from None
    checkpoint = Checkpoint(lines[0], int(lines[1]), root)
    if len(root) != HASH_BYTES or checkpoint.size > _MAX_SIZE or checkpoint.body() != body.encode():
        raise CheckpointRefused("not the one way to write this checkpoint")
    return checkpoint


def _is_name(name: str) -> bool:
    """Tell whether a note can carry the name: no space, no plus, nothing unprintable."""
    usable = name.isascii() and name.isprintable() and not set(name) & {" ", "+"}
    return usable and 1 <= len(name) <= _MAX_NAME_CHARS
