"""Archives of collateral: one file that leaves one installation and enters another.

    {"format": "sealward-collateral/1", "items": [
       {"kind": "amd-crl", "name": "Milan/vcek", "content": base64, "issuers": base64}, ...]}

Canonical JSON, items by kind and name, each key once. It proves nothing: whoever reads one verifies
every item (docs/specs/collateral.md 5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sealward.controlplane.domain.collateral import StoredCollateral
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64, json

FORMAT: Final = "sealward-collateral/1"
MAX_ARCHIVE_BYTES: Final = 16 << 20  # about 6,000 endorsement keys; more goes in several
MAX_ITEMS: Final = 8192
MAX_CONTENT: Final = 512 << 10  # the longest revocation list and manifest stay below half of it
_MAX_DEPTH: Final = 3
_START: Final = b'{"format":"sealward-collateral/'
_KINDS: Final = frozenset(
    kind.value for kind in Kind
)  # Python 3.11 asks a StrEnum for members only
_MEMBERS: Final = frozenset({"kind", "name", "content", "issuers"})


@dataclass(frozen=True, slots=True)
class ArchiveItem:
    """One item: what it says that it is, and bytes that nobody has verified."""

    key: Key
    content: bytes = field(repr=False)
    issuers: bytes = field(repr=False)


def looks_like(data: bytes) -> bool:
    """Whether `data` starts as an archive does."""
    return data.startswith(_START)


def write(pieces: Iterable[StoredCollateral]) -> bytes:
    """Return the archive of these pieces."""
    items: list[json.Canonical] = [
        {
            "kind": piece.kind.value,
            "name": piece.name,
            "content": base64.encode(piece.content),
            "issuers": base64.encode(piece.issuers),
        }
        for piece in sorted(pieces, key=lambda one: one.key)
    ]
    return json.canonical({"format": FORMAT, "items": items})


def read(data: bytes) -> tuple[ArchiveItem, ...]:
    """Read an archive.

    Raises:
        MalformedEvidence: anything else, or beyond its budgets.
    """
    document = json.decode(
        data, what="collateral archive", max_bytes=MAX_ARCHIVE_BYTES, max_depth=_MAX_DEPTH
    )
    if not isinstance(document, dict) or document.keys() != {"format", "items"}:
        raise MalformedEvidence(0, "collateral archive: not an object of format and items")
    if document["format"] != FORMAT:
        raise MalformedEvidence(0, f"collateral archive: only {FORMAT} is read")
    items = document["items"]
    if not isinstance(items, list) or len(items) > MAX_ITEMS:
        raise MalformedEvidence(
            0, f"collateral archive: items is not a list of at most {MAX_ITEMS}"
        )
    found = tuple(_item(item, at) for at, item in enumerate(items))
    if len({item.key for item in found}) != len(found):
        raise MalformedEvidence(0, "collateral archive: a key occurs twice")
    return found


def _item(value: json.Value, at: int) -> ArchiveItem:
    if not isinstance(value, dict) or value.keys() != _MEMBERS:
        raise MalformedEvidence(0, f"items[{at}]: does not have exactly the members of an item")
    kind, name = value["kind"], value["name"]
    if not isinstance(kind, str) or kind not in _KINDS or not isinstance(name, str):
        raise MalformedEvidence(0, f"items[{at}]: kind or name is none that this version knows")
    return ArchiveItem(
        Key(Kind(kind), name),
        _bytes(value["content"], f"items[{at}]: content"),
        _bytes(value["issuers"], f"items[{at}]: issuers"),
    )


def _bytes(value: json.Value, what: str) -> bytes:
    if not isinstance(value, str):
        raise MalformedEvidence(0, f"{what}: not text")
    return base64.decode(value, what=what, max_bytes=MAX_CONTENT)
