"""Typed reading of a decoded CBOR map whose keys a format names.

The statements of docs/specs (binding, terms, wipe statement) are such maps, and so is what Nitro
hypervisors and Arm devices sign. A `Statement` hands out one field at a time and `finish` refuses
what nobody asked for: no field is forgotten.
"""

from __future__ import annotations

from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

MAX_ITEMS: Final = (
    64  # in any list of any statement: four times the most leases a node is expected to hold
)
MAX_TEXT: Final = 512  # characters in any text of a statement


class Statement:
    """A cursor-like view of one map; each field can be taken once."""

    def __init__(self, value: cbor.Value, what: str) -> None:
        if not isinstance(value, dict):
            raise MalformedEvidence(0, f"{what}: not a map")
        self._fields = dict(value)
        self._what = what

    @classmethod
    def decode(cls, data: bytes, *, what: str, max_bytes: int) -> Statement:
        """Read the statement that `data` deterministically encodes.

        Raises:
            MalformedEvidence: not one deterministic CBOR map within the budget.
        """
        return cls(cbor.decode(data, what=what, max_bytes=max_bytes), what)

    def _take(self, key: cbor.Key, name: str) -> cbor.Value:
        if key not in self._fields:
            raise MalformedEvidence(0, f"{self._what}: {name} (key {key!r}) is missing")
        return self._fields.pop(key)

    def has(self, key: cbor.Key) -> bool:
        """Whether a field that may be absent is there, and nobody took it yet."""
        return key in self._fields

    def finish(self) -> None:
        """Refuse keys that nobody took: a newer statement is never half-understood."""
        if self._fields:
            key = next(iter(self._fields))
            raise MalformedEvidence(0, f"{self._what}: unknown key {key!r}")

    def uint(self, key: cbor.Key, name: str, *, most: int = (1 << 63) - 1) -> int:
        """Take an integer of 0..most."""
        return uint(self._take(key, name), f"{self._what}: {name}", most=most)

    def integer(self, key: cbor.Key, name: str) -> int:
        """Take a signed integer of 64 bits."""
        value = self._take(key, name)
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not -(1 << 63) <= value < 1 << 63
        ):
            raise MalformedEvidence(0, f"{self._what}: {name} is not an integer of 64 bits")
        return value

    def octets(
        self, key: cbor.Key, name: str, *, size: int | None = None, most: int = 4096
    ) -> bytes:
        """Take a byte string of exactly `size`, or of 1..most bytes."""
        return octets(self._take(key, name), f"{self._what}: {name}", size=size, most=most)

    def text(self, key: cbor.Key, name: str, *, most: int = MAX_TEXT) -> str:
        """Take a text of 1..most characters."""
        return text(self._take(key, name), f"{self._what}: {name}", most=most)

    def items(self, key: cbor.Key, name: str, *, most: int = MAX_ITEMS) -> list[cbor.Value]:
        """Take a list of at most `most` items."""
        return items(self._take(key, name), f"{self._what}: {name}", most=most)

    def nullable(self, key: cbor.Key, name: str) -> cbor.Value:
        """Take a field whose caller handles null and checks the rest."""
        return self._take(key, name)

    def mapping(self, key: cbor.Key, name: str, *, most: int = MAX_ITEMS) -> dict[str, cbor.Value]:
        """Take a map of text keys with at most `most` entries."""
        value = self._take(key, name)
        if not isinstance(value, dict) or len(value) > most:
            raise MalformedEvidence(
                0, f"{self._what}: {name} is not a map of at most {most} entries"
            )
        return {text(k, f"{self._what}: {name} key"): v for k, v in value.items()}

    def digests(self, key: cbor.Key, name: str, *, size: int = 32) -> tuple[bytes, ...]:
        """Take a list of byte strings of `size`."""
        what = f"{self._what}: {name}"
        return tuple(octets(item, what, size=size) for item in self.items(key, name))


def uint(value: cbor.Value, what: str, *, most: int = (1 << 63) - 1) -> int:
    """Return `value` if it is an integer of 0..most."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise MalformedEvidence(0, f"{what} is not an integer of 0..{most}")
    return value


def octets(value: cbor.Value, what: str, *, size: int | None = None, most: int = 4096) -> bytes:
    """Return `value` if it is a byte string of exactly `size`, or of 1..most bytes."""
    if not isinstance(value, bytes):
        raise MalformedEvidence(0, f"{what} is not a byte string")
    if len(value) != size if size is not None else not 1 <= len(value) <= most:
        raise MalformedEvidence(0, f"{what} has {len(value)} bytes, not {size or f'1..{most}'}")
    return value


def text(value: cbor.Value, what: str, *, most: int = MAX_TEXT) -> str:
    """Return `value` if it is a text of 1..most characters without control characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise MalformedEvidence(0, f"{what} is not a text of 1..{most} characters")
    if not value.isprintable():
        raise MalformedEvidence(0, f"{what} holds control characters")
    return value


def items(value: cbor.Value, what: str, *, most: int = MAX_ITEMS) -> list[cbor.Value]:
    """Return `value` if it is a list of at most `most` items."""
    if not isinstance(value, list) or len(value) > most:
        raise MalformedEvidence(0, f"{what} is not a list of at most {most} items")
    return value


def pair(value: cbor.Value, what: str) -> tuple[cbor.Value, cbor.Value]:
    """Return `value` if it is a list of exactly two items."""
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a pair is two
        raise MalformedEvidence(0, f"{what} is not a pair")
    return value[0], value[1]
