"""FLOE: random-access authenticated encryption of one long message (C2SP FLOE; ePrint 2025/2275).

Instance: AES-256-GCM with HKDF-Expand-SHA-384 and a 32-byte message IV. A message is a 74-byte
header and numbered segments, each `u32 marker | 12-byte IV | ciphertext | 16-byte tag`: the marker
is 0xFFFFFFFF in every segment but the last, and the segment's own length in the last. The header's
tag commits to key, parameters, IV and associated data; each segment is bound to its number and to
being the last one, so segments cannot be swapped, dropped or appended.

Segments are independent: any number of threads may work on one message.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from sealward.sealing.errors import Code, RefusedSealedModel
from sealward.sealing.memory import wipe

KEY_BYTES: Final = 32
HEADER_BYTES: Final = 74  # 10 parameters, 32 IV, 32 tag
SEGMENT_OVERHEAD: Final = 32  # 4 marker, 12 IV, 16 tag
SEGMENT_IV_BYTES: Final = 12
STANDARD_ROTATION_BITS: Final = 20  # AES-256-GCM: one segment key serves 2**20 segments

_MESSAGE_IV_BYTES: Final = 32
_HEADER_TAG_BYTES: Final = 32
_MESSAGE_KEY_BYTES: Final = 48
_NOT_LAST: Final = 0xFFFFFFFF
_PREFIX_BYTES: Final = 4 + SEGMENT_IV_BYTES


@dataclass(frozen=True, slots=True)
class Parameters:
    """One FLOE instance.

    Attributes:
        segment_bytes: length of every encrypted segment but the last, overhead included.
        rotation_bits: a new segment key every 2**rotation_bits segments. Only the published test
            vectors use another value than the standard's 20; it is not written to the message.
    """

    segment_bytes: int
    rotation_bits: int = STANDARD_ROTATION_BITS

    @property
    def plaintext_bytes(self) -> int:
        """Plaintext length of every segment but the last."""
        return self.segment_bytes - SEGMENT_OVERHEAD

    def encode(self) -> bytes:
        """Return the 10 parameter bytes: AEAD 0, KDF 0, segment length, IV length."""
        return (
            b"\x00\x00"
            + self.segment_bytes.to_bytes(4, "big")
            + _MESSAGE_IV_BYTES.to_bytes(4, "big")
        )

    def segments(self, plaintext_bytes: int) -> int:
        """Return how many segments a message has; an empty one has one empty segment."""
        return max(1, -(-plaintext_bytes // self.plaintext_bytes))

    def encrypted_bytes(self, plaintext_bytes: int) -> int:
        """Return the length of the whole message, header included."""
        return HEADER_BYTES + plaintext_bytes + self.segments(plaintext_bytes) * SEGMENT_OVERHEAD


class Message:
    """One message under its key: made by `begin` to write it or by `resume` to read it.

    Holds key material until `wipe`; the `AESGCM` objects inside are cleansed by OpenSSL when the
    message is dropped.
    """

    __slots__ = ("_aad", "_ciphers", "_iv", "_key", "_parameters", "header")

    def __init__(
        self, key: bytes | bytearray, aad: bytes, iv: bytes, parameters: Parameters
    ) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a FLOE key is {KEY_BYTES} bytes, not {len(key)}")
        self._aad = aad
        self._iv = iv
        self._parameters = parameters
        self._ciphers: dict[int, AESGCM] = {}
        tag = self._derive(key, b"HEADER_TAG:", _HEADER_TAG_BYTES)
        self._key = self._derive(key, b"MESSAGE_KEY:", _MESSAGE_KEY_BYTES)
        self.header: Final = parameters.encode() + iv + bytes(tag)

    @classmethod
    def begin(
        cls,
        key: bytes | bytearray,
        aad: bytes,
        parameters: Parameters,
        random_bytes: Callable[[int], bytes],
    ) -> Self:
        """Start a new message under a fresh IV."""
        return cls(key, aad, random_bytes(_MESSAGE_IV_BYTES), parameters)

    @classmethod
    def resume(
        cls, key: bytes | bytearray, aad: bytes, parameters: Parameters, header: bytes
    ) -> Self:
        """Take up an existing message from its header.

        Raises:
            RefusedSealedModel: BODY_REFUSED, the header belongs to another key, associated data or
                parameter set, or was changed; which of these cannot be told.
        """
        start = len(parameters.encode())
        message = cls(key, aad, header[start : start + _MESSAGE_IV_BYTES], parameters)
        if not hmac.compare_digest(message.header, header):
            message.wipe()
            raise RefusedSealedModel(
                Code.BODY_REFUSED, "the body does not belong to this content key and header"
            )
        return message

    def encrypt_segment(
        self, index: int, plaintext: memoryview, into: memoryview, iv: bytes, *, last: bool
    ) -> None:
        """Encrypt segment `index` into `into`, which is SEGMENT_OVERHEAD longer than `plaintext`.

        Args:
            index: the segment's number, from 0.
            plaintext: a whole segment's worth, or at most that for the last.
            into: receives the encrypted segment; must not overlap `plaintext`.
            iv: SEGMENT_IV_BYTES fresh random bytes.
            last: whether the message ends with this segment.
        """
        marker = len(plaintext) + SEGMENT_OVERHEAD if last else _NOT_LAST
        into[:4] = marker.to_bytes(4, "big")
        into[4:_PREFIX_BYTES] = iv
        self._cipher(index).encrypt_into(
            iv, plaintext, _segment_aad(index, last=last), into[_PREFIX_BYTES:]
        )

    def decrypt_segment(
        self, index: int, segment: memoryview, into: memoryview, *, last: bool
    ) -> None:
        """Decrypt segment `index` into `into`, which is SEGMENT_OVERHEAD shorter than `segment`.

        `into` holds nothing that may be used when this raises.

        Raises:
            RefusedSealedModel: BODY_REFUSED, the segment is not this one of this message.
        """
        marker = len(segment) if last else _NOT_LAST
        if int.from_bytes(segment[:4], "big") != marker:
            raise RefusedSealedModel(Code.BODY_REFUSED, f"segment {index} has another length")
        try:
            self._cipher(index).decrypt_into(
                segment[4:_PREFIX_BYTES],
                segment[_PREFIX_BYTES:],
                _segment_aad(index, last=last),
                into,
            )
        except InvalidTag:
            raise RefusedSealedModel(
                Code.BODY_REFUSED, f"segment {index} was changed or moved"
            ) from None

    def wipe(self) -> None:
        """Overwrite the message key and drop the segment ciphers."""
        wipe(self._key)
        self._ciphers.clear()

    def _cipher(self, index: int) -> AESGCM:
        first = index >> self._parameters.rotation_bits << self._parameters.rotation_bits
        cipher = self._ciphers.get(first)
        if cipher is None:
            key = self._derive(self._key, b"DEK:" + first.to_bytes(8, "big"), KEY_BYTES)
            # Two threads may both get here: they derive the same key, and one object is kept.
            cipher = self._ciphers.setdefault(first, AESGCM(key))
            wipe(key)
        return cipher

    def _derive(self, key: bytes | bytearray, purpose: bytes, size: int) -> bytearray:
        derived = bytearray(size)
        info = self._parameters.encode() + self._iv + purpose + self._aad
        HKDFExpand(SHA384(), size, info).derive_into(key, derived)
        return derived


def _segment_aad(index: int, *, last: bool) -> bytes:
    return index.to_bytes(8, "big") + (b"\x01" if last else b"\x00")
