"""Contexts: what a key, wrap or signature is for, so that none can be moved to another use.

Every context is `u16 length || label || value`: the length prefix keeps one label from being the
beginning of another. Labels carry the format version. docs/specs/sealed-model.md section 5.
"""

from __future__ import annotations

from typing import Final

DIGEST_BYTES: Final = 32  # SHA-256

_WRAP: Final = b"sealward/sealed-model/v0/content-key-wrap"
_COMMIT: Final = b"sealward/sealed-model/v0/content-key-commitment"
_SIGNATURE: Final = b"sealward/sealed-model/v0/signature"


def wrap_info(core_digest: bytes) -> bytes:
    """HPKE info under which a content key is wrapped to a workload key."""
    return _labelled(_WRAP, _digest(core_digest))


def commitment_info(core_digest: bytes) -> bytes:
    """HKDF info from which a content key's commitment to one sealed model is derived."""
    return _labelled(_COMMIT, _digest(core_digest))


def signature_message(signed: bytes) -> bytes:
    """What both creator signatures cover, from the canonical bytes of the signed header part."""
    return _labelled(_SIGNATURE, signed)


def _labelled(label: bytes, value: bytes) -> bytes:
    return len(label).to_bytes(2, "big") + label + value


def _digest(value: bytes) -> bytes:
    if len(value) != DIGEST_BYTES:
        raise ValueError(f"a SHA-256 digest is {DIGEST_BYTES} bytes, not {len(value)}")
    return value
