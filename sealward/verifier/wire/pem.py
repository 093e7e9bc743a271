"""PEM armour of certificates (RFC 7468), for files and tables that carry text instead of DER.

Armour is transport: two armours may hold one certificate, so digests are taken over the DER inside.
Explanatory text between blocks, other labels and white space inside the base64 are refused.
"""

from __future__ import annotations

from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64
from sealward.verifier.wire.reader import check_budget

MAX_BLOCKS: Final = 16  # the longest chain we know has 5 certificates

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_LINE: Final = 64  # RFC 7468 section 2: exactly 64 characters, but for the last line


def looks_like(data: bytes) -> bool:
    """Whether `data` starts as PEM certificates do; says nothing about the rest."""
    return data.lstrip(b"\r\n").startswith(_BEGIN.encode("ascii"))


def decode(data: bytes, *, what: str, max_bytes: int) -> tuple[bytes, ...]:
    """Return the DER of each certificate, in order; at least one.

    Lines end in LF or CRLF; empty lines between blocks are allowed.

    Raises:
        MalformedEvidence: anything but one to MAX_BLOCKS strict blocks within the budget.
    """
    check_budget(data, max_bytes, what)
    if not data.isascii():
        raise MalformedEvidence(0, f"{what}: PEM is not ASCII")
    blocks: list[bytes] = []
    body: list[str] | None = None
    for line in data.decode("ascii").replace("\r\n", "\n").split("\n"):
        if body is None:
            if line == _BEGIN and len(blocks) < MAX_BLOCKS:
                body = []
            elif line:
                raise MalformedEvidence(0, f"{what}: not a PEM certificate, or too many of them")
        elif line == _END:
            blocks.append(_block(body, what, max_bytes))
            body = None
        else:
            body.append(line)
    if body is not None or not blocks:
        raise MalformedEvidence(len(data), f"{what}: PEM ends before its END line")
    return tuple(blocks)


def _block(lines: list[str], what: str, max_bytes: int) -> bytes:
    if any(len(line) != _LINE for line in lines[:-1]) or not 1 <= len("".join(lines[-1:])) <= _LINE:
        raise MalformedEvidence(0, f"{what}: PEM lines are not of 64 characters")
    return base64.decode("".join(lines), what=what, max_bytes=max_bytes)
