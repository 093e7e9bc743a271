"""Strict base64 (RFC 4648): one text per value.

`decode`/`encode` are section 4, padded; `decode_url`/`encode_url` are section 5 without padding,
as JOSE and CMW use it. Foreign alphabet, white space, wrong padding and non-zero spare bits are
refused.
"""

from __future__ import annotations

import binascii
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_PADDING: Final = b"="
_NOT_IN_URL: Final = b"+/="


def encode(data: bytes) -> str:
    """Return `data` in padded standard base64."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def encode_url(data: bytes) -> str:
    """Return `data` in unpadded URL-safe base64."""
    standard = binascii.b2a_base64(data, newline=False)
    return standard.translate(_TO_URL, _PADDING).decode("ascii")


def decode(text: str, *, what: str, max_bytes: int) -> bytes:
    """Read padded standard base64 of at most `max_bytes` decoded bytes.

    Raises:
        MalformedEvidence: anything but the one encoding of its value, or beyond the budget.
    """
    _check_length(text, what, max_bytes)
    data = _decode(text, what)
    if encode(data) != text:
        raise MalformedEvidence(0, f"{what}: not canonical base64")
    return data


def decode_url(text: str, *, what: str, max_bytes: int) -> bytes:
    """Read unpadded URL-safe base64 of at most `max_bytes` decoded bytes.

    Raises:
        MalformedEvidence: anything but the one encoding of its value, or beyond the budget.
    """
    _check_length(text, what, max_bytes)
    # What is not ASCII becomes "?", which is in no alphabet.
    standard = text.encode("ascii", "replace").translate(_FROM_URL, _NOT_IN_URL)
    data = _decode(standard + _PADDING * (-len(standard) % 4), what)
    if encode_url(data) != text:
        raise MalformedEvidence(0, f"{what}: not canonical unpadded base64url")
    return data


def _check_length(text: str, what: str, max_bytes: int) -> None:
    if len(text) > (max_bytes + 2) // 3 * 4:
        raise MalformedEvidence(max_bytes, f"{what}: more than {max_bytes} bytes in base64")


def _decode(text: str | bytes, what: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, and plain ValueError for text that is not ASCII
        raise MalformedEvidence(0, f"{what}: not base64") from None
