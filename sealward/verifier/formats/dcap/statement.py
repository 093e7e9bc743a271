"""Intel's signed JSON statements: how they are framed, and their members with a type.

A response body of the provisioning certification service (PCS v4) is one object of two members,
the statement and a signature; the signature covers the statement's text byte for byte, so it is cut
out of the body as it stands and never written anew. The body MAY be followed by the PEM chain of
its signer, which the service sends in a header:

    {"tcbInfo":{...},"signature":"<128 hex>"}
    -----BEGIN CERTIFICATE-----            TCB Signing, then the root

Members that are not known are left alone: Intel adds to a statement without a new version, and
its signature is over the rest as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json
from sealward.verifier.wire.reader import check_budget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_STATEMENT_BYTES: Final = 128 * 1024  # TCB info of a product with many levels has 20 KB
MAX_ADVISORIES: Final = 256

_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_BODY: Final = re.compile(
    rb'\{"(tcbInfo|enclaveIdentity)":(\{.*\}),"signature":"([0-9a-fA-F]{128})"\}', re.DOTALL
)
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*")
_ADVISORY: Final = re.compile(r"[A-Z0-9-]{1,32}")
_MAX_SVN: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Statement:
    """A framed statement, not verified and not read.

    Attributes:
        member: "tcbInfo" or "enclaveIdentity".
        text: the signed bytes.
        signature: r and s, 32 bytes each, big-endian.
        chain: PEM text of the signer's chain, empty where none came.
    """

    member: str
    text: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    chain: bytes = field(repr=False)


def looks_like(data: bytes) -> bool:
    """Whether `data` starts as a response body does; says nothing about the rest."""
    return data.startswith((b'{"tcbInfo":', b'{"enclaveIdentity":'))


def split(data: bytes) -> Statement:
    """Take a response body and its chain apart.

    Raises:
        MalformedEvidence: not so framed, or beyond MAX_STATEMENT_BYTES.
    """
    check_budget(data, MAX_STATEMENT_BYTES, "Intel statement")
    body, begin, rest = data.partition(_PEM)
    found = _BODY.fullmatch(body.rstrip(b"\r\n"))
    if found is None:
        raise MalformedEvidence(0, "Intel statement: not a body of one statement and its signature")
    member, text, signature = found.groups()
    return Statement(
        member.decode("ascii"), text, bytes.fromhex(signature.decode("ascii")), begin + rest
    )


def join(member: str, text: str, signature: str, chain: str) -> bytes:
    """Return what `split` reads, from the parts as QuoteCollateralV3 has them."""
    return f'{{"{member}":{text},"signature":"{signature}"}}\n{chain}'.encode()


class Members:
    """The members of one JSON object by name; every method raises only MalformedEvidence."""

    __slots__ = ("_members", "_what")

    def __init__(self, value: json.Value, what: str) -> None:
        if not isinstance(value, dict):
            raise MalformedEvidence(0, f"{what}: not a JSON object")
        self._members = value
        self._what = what

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._members.get(name)
        if not isinstance(value, str):
            raise self._wrong(name)
        return value

    def number(self, name: str, *, most: int = _MAX_SVN) -> int:
        """Return an integer of 0 to `most`."""
        value = self._members.get(name)
        if type(value) is not int or not 0 <= value <= most:
            raise self._wrong(name)
        return value

    def octets(self, name: str, size: int) -> bytes:
        """Return `size` bytes from hex, in either case."""
        value = self.text(name)
        if len(value) != 2 * size or not _HEX.fullmatch(value):
            raise self._wrong(name)
        return bytes.fromhex(value)

    def instant(self, name: str) -> datetime:
        """Return an aware UTC instant."""
        value = self.text(name)
        if not _INSTANT.fullmatch(value):
            raise self._wrong(name)
        try:
            return datetime.fromisoformat(value.removesuffix("Z")).replace(tzinfo=UTC)
        except ValueError:
            raise self._wrong(name) from None

    def member(self, name: str) -> Members:
        """Return an object."""
        return Members(self._members.get(name), f"{self._what} {name}")

    def items(self, name: str, *, most: int, least: int = 1) -> tuple[Members, ...]:
        """Return a list of `least` to `most` objects."""
        value = self._members.get(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise self._wrong(name)
        return tuple(Members(item, f"{self._what} {name}") for item in value)

    def advisories(self, name: str) -> tuple[str, ...]:
        """Return a list of advisory ids, none where the member is absent."""
        value = self._members.get(name, [])
        if not isinstance(value, list) or len(value) > MAX_ADVISORIES:
            raise self._wrong(name)
        for item in value:
            if not isinstance(item, str) or not _ADVISORY.fullmatch(item):
                raise self._wrong(name)
        return tuple(str(item) for item in value)

    def only(self, name: str, read: Callable[[str], object], allowed: Sequence[object]) -> None:
        """Refuse a member that is not one of `allowed`."""
        if read(name) not in allowed:
            raise self._wrong(name)

    def _wrong(self, name: str) -> MalformedEvidence:
        return MalformedEvidence(0, f"{self._what}: {name} is missing or not what it must be")


def members(text: bytes, what: str) -> Members:
    """Read the text of a statement.

    Raises:
        MalformedEvidence: not one strict JSON object.
    """
    return Members(json.decode(text, what=what, max_bytes=MAX_STATEMENT_BYTES), what)
