"""Wipe statement, version 1 (docs/specs/wipe-statement.md): what an agent says it wiped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import cbor, cose
from sealward.verifier.wire.statement import Statement, uint

MAX_BYTES: Final = 65_536
_AAD: Final = b"sealward/wipe-statement/v1"
_WHAT: Final = "wipe statement"


@unique
class WipeCause(StrEnum):
    """Why an agent wiped."""

    REVOKED = "revoked"
    HORIZON = "horizon"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class WipedItem:
    """One model that was wiped.

    Attributes:
        content_key_id: 32 bytes.
        model: name.
        version: version.
        worker_pid: the process that held the weights.
        exit_status: how it ended; negative is a signal.
        weight_bytes: bytes overwritten in memory.
    """

    content_key_id: bytes
    model: str
    version: int
    worker_pid: int
    exit_status: int
    weight_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeStatement:
    """A statement by an agent, not a proof (security-requirements F3).

    Attributes:
        node: 32-byte thumbprint of the instance.
        sequence: of the terms that ended the leases, or None.
        cause: see `WipeCause`.
        leases: 16-byte ids.
        items: what was wiped.
        elapsed_ms: from the cause reaching the agent to the end of the last wipe, boot-time clock.
        unknown: what cannot be known, in words.
    """

    node: bytes
    sequence: int | None
    cause: WipeCause
    leases: tuple[bytes, ...]
    items: tuple[WipedItem, ...]
    elapsed_ms: int
    unknown: tuple[str, ...]

    def sign(self, public: bytes, sign: Callable[[bytes], bytes]) -> bytes:
        """Return the COSE_Sign1 by the instance's Ed25519 key."""
        payload = cbor.encode(
            {
                1: 1,
                2: self.node,
                3: self.sequence,
                4: self.cause.value,
                5: self.leases,
                6: [_encode_item(item) for item in self.items],
                7: self.elapsed_ms,
                8: self.unknown,
            }
        )
        kid = hashlib.sha256(public).digest()
        return cose.sign1(payload, alg=cose.EDDSA, kid=kid, sign=sign, external_aad=_AAD)


def verify(data: bytes, *, public: bytes, node: bytes) -> WipeStatement:
    """Check a statement against the signing key that the node's evidence bound.

    Raises:
        MalformedEvidence: not a version 1 statement.
        RefusedEvidence: not signed by this key, or about another node.
    """
    message = cose.parse_sign1(data, what=_WHAT, max_bytes=MAX_BYTES)
    if message.alg != cose.EDDSA or message.kid != hashlib.sha256(public).digest():
        raise RefusedEvidence(Code.SIGNATURE_INVALID, f"the {_WHAT} names another key")
    try:
        key = Ed25519PublicKey.from_public_bytes(public)
        key.verify(message.signature, message.to_be_signed(_AAD))
    except (InvalidSignature, ValueError) as error:
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID, f"the {_WHAT} is not signed by the node"
        ) from error
    statement = _decode(message.payload)
    if statement.node != node:
        raise RefusedEvidence(Code.REQUESTER_MISMATCH, f"the {_WHAT} is about another node")
    return statement


def _decode(payload: bytes) -> WipeStatement:
    fields = Statement.decode(payload, what=_WHAT, max_bytes=MAX_BYTES)
    if fields.uint(1, "version") != 1:
        raise MalformedEvidence(0, f"{_WHAT}: only version 1 is known")
    node = fields.octets(2, "node", size=32)
    sequence = fields.nullable(3, "sequence")
    if sequence is not None:
        sequence = uint(sequence, f"{_WHAT}: sequence")
    try:
        cause = WipeCause(fields.text(4, "cause"))
    except ValueError:
        raise MalformedEvidence(0, f"{_WHAT}: unknown cause") from None
    statement = WipeStatement(
        node=node,
        sequence=sequence,
        cause=cause,
        leases=fields.digests(5, "leases", size=16),
        items=tuple(_decode_item(item) for item in fields.items(6, "items")),
        elapsed_ms=fields.uint(7, "elapsed"),
        unknown=tuple(_text(item) for item in fields.items(8, "unknown")),
    )
    fields.finish()
    return statement


def _encode_item(item: WipedItem) -> dict[int, cbor.Encodable]:
    return {
        1: item.content_key_id,
        2: item.model,
        3: item.version,
        4: item.worker_pid,
        5: item.exit_status,
        6: item.weight_bytes,
    }


def _decode_item(value: cbor.Value) -> WipedItem:
    fields = Statement(value, f"{_WHAT}: item")
    item = WipedItem(
        content_key_id=fields.octets(1, "content key id", size=32),
        model=fields.text(2, "model"),
        version=fields.uint(3, "version"),
        worker_pid=fields.uint(4, "worker"),
        exit_status=fields.integer(5, "exit status"),
        weight_bytes=fields.uint(6, "bytes"),
    )
    fields.finish()
    return item


def _text(value: cbor.Value) -> str:
    if not isinstance(value, str) or len(value) > 512:  # noqa: PLR2004 - a sentence, not an essay
        raise MalformedEvidence(0, f"{_WHAT}: unknown is not a list of short texts")
    return value
