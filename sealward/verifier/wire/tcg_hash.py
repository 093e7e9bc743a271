"""The hashes of the TCG Algorithm Registry that PCR banks, event logs and TPM names use."""

from __future__ import annotations

import hashlib
from enum import IntEnum, unique
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from collections.abc import Callable


@unique
class HashAlg(IntEnum):
    """A hash: a bank of PCRs, the name algorithm of an object, or part of a signing scheme."""

    SHA1 = 0x0004
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    SM3_256 = 0x0012

    @property
    def label(self) -> str:
        """The name used in claims, as "sha256"."""
        return self.name.lower()

    @property
    def size(self) -> int:
        """Bytes of a digest."""
        return _SIZES[self]

    def digest(self, data: bytes) -> bytes:
        """Return the hash of `data`."""
        return _FUNCTIONS[self](data)


_SIZES: Final = {
    HashAlg.SHA1: 20,
    HashAlg.SHA256: 32,
    HashAlg.SHA384: 48,
    HashAlg.SHA512: 64,
    HashAlg.SM3_256: 32,
}


def _sm3(data: bytes) -> bytes:
    context = hashes.Hash(hashes.SM3())
    context.update(data)
    return context.finalize()


_FUNCTIONS: Final[dict[HashAlg, Callable[[bytes], bytes]]] = {
    # SHA-1 is a bank that old firmware still fills; no signature and no name of ours rests on it.
    HashAlg.SHA1: lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    HashAlg.SHA256: lambda data: hashlib.sha256(data).digest(),
    HashAlg.SHA384: lambda data: hashlib.sha384(data).digest(),
    HashAlg.SHA512: lambda data: hashlib.sha512(data).digest(),
    HashAlg.SM3_256: _sm3,
}
