"""PEM armour (RFC 7468) of certificates and public keys, where text is carried instead of DER.

Armour is transport: two armours may hold one certificate, so digests are taken over the DER inside.
Explanatory text between blocks, other labels and white space inside the base64 are refused.
"""

from __future__ import annotations

from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64
from sealward.verifier.wire.reader import check_budget

MAX_BLOCKS: Final = 16  # the longest chain we know has 5 certificates

CERTIFICATE: Final = "CERTIFICATE"
PUBLIC_KEY: Final = "PUBLIC KEY"  # a SubjectPublicKeyInfo (RFC 7468 section 13)

_LINE: Final = 64  # RFC 7468 section 2: exactly 64 characters, but for the last line


def looks_like(data: bytes, *, label: str = CERTIFICATE) -> bool:
    """Whether `data` starts as PEM certificates do; says nothing about the rest."""
    return data.lstrip(b"\r\n").startswith(_begin(label).encode("ascii"))


def decode(
    data: bytes, *, what: str, max_bytes: int, label: str = CERTIFICATE
) -> tuple[bytes, ...]:
    """Return the DER of each certificate, or of each block of another `label`, in order.

    Lines end in LF or CRLF; empty lines between blocks are allowed.

    Raises:
        MalformedEvidence: anything but one to MAX_BLOCKS strict blocks within the budget.
    """
    check_budget(data, max_bytes, what)
    if not data.isascii():
        raise MalformedEvidence(0, f"{what}: PEM is not ASCII")
    blocks: list[bytes] = []
    body: list[str] | None = None
    begin, end = _begin(label), f"-----END {label}-----"
    for line in data.decode("ascii").replace("\r\n", "\n").split("\n"):
        if body is None:
            if line == begin and len(blocks) < MAX_BLOCKS:
                body = []
            elif line:
                raise MalformedEvidence(
                    0, f"{what}: not a PEM {label.lower()}, or too many of them"
                )
        elif line == end:
            blocks.append(_block(body, what, max_bytes))
            body = None
        else:
            body.append(line)
    if body is not None or not blocks:
        raise MalformedEvidence(len(data), f"{what}: PEM ends before its END line")
    return tuple(blocks)


def _begin(label: str) -> str:
    return f"-----BEGIN {label}-----"


def _block(lines: list[str], what: str, max_bytes: int) -> bytes:
    if any(len(line) != _LINE for line in lines[:-1]) or not 1 <= len("".join(lines[-1:])) <= _LINE:
        raise MalformedEvidence(0, f"{what}: PEM lines are not of 64 characters")
    return base64.decode("".join(lines), what=what, max_bytes=max_bytes)
