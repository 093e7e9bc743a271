"""The key derivation functions of TPM 2.0 part 1, section 11.4.10: SP 800-108 and SP 800-56A."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.verifier.wire.tcg_hash import HashAlg


def kdf_a(
    algorithm: HashAlg, key: bytes, label: bytes, context_u: bytes, context_v: bytes, *, bits: int
) -> bytes:
    """Return `bits` (a multiple of 8) from `key`: HMAC, counter mode; `label` without its NUL."""
    fixed = label + b"\0" + context_u + context_v + bits.to_bytes(4, "big")
    return _blocks(
        lambda counter: hmac.digest(key, counter + fixed, algorithm.label), algorithm, bits
    )


def kdf_e(
    algorithm: HashAlg, z: bytes, label: bytes, party_u: bytes, party_v: bytes, *, bits: int
) -> bytes:
    """Return `bits` (a multiple of 8) from the ECDH secret `z`; `label` without its NUL."""
    fixed = z + label + b"\0" + party_u + party_v
    return _blocks(lambda counter: algorithm.digest(counter + fixed), algorithm, bits)


def _blocks(block: Callable[[bytes], bytes], algorithm: HashAlg, bits: int) -> bytes:
    size = bits // 8
    count = -(-size // algorithm.size)
    return b"".join(block(number.to_bytes(4, "big")) for number in range(1, count + 1))[:size]
