"""Deterministic CBOR (RFC 8949 section 4.2.1) with a closed set of types.

One value has one encoding, and only that encoding is read: shortest heads, definite lengths, map
keys sorted bytewise by their encoding, no duplicates, no tags, no floats, no `undefined`, nothing
after the value. Map keys are integers, byte strings or text. Whatever decodes re-encodes to itself.

Own code rather than cbor2: the strict subset is smaller than the checks that would have to undo a
lenient decoder's choices, and an integer 1 and `true` stay different keys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget

Key: TypeAlias = int | bytes | str
Value: TypeAlias = "bool | int | bytes | str | list[Value] | dict[Key, Value] | None"
Encodable: TypeAlias = (
    "bool | int | bytes | str | Sequence[Encodable] | Mapping[int, Encodable]"
    " | Mapping[str, Encodable] | Mapping[bytes, Encodable] | Mapping[Key, Encodable] | None"
)

MAX_DEPTH: Final = 16  # our deepest format nests 6 levels; far below Python's recursion limit

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_FALSE, _TRUE, _NULL = 20, 21, 22
_INT_RANGE: Final = 1 << 64
_ONE_BYTE_ARGUMENT: Final = 24  # additional information below this is the argument itself
_LONGEST_ARGUMENT: Final = 27  # 24, 25, 26, 27 announce 1, 2, 4, 8 bytes; 28 to 31 are refused


def encode(value: Encodable) -> bytes:
    """Return the one deterministic encoding of `value`.

    Raises:
        TypeError: a type outside the closed set (our own mistake, never a peer's).
        ValueError: an integer outside -2**64 .. 2**64-1, or text that is not Unicode scalar values.
    """
    out = bytearray()
    _write(value, out)
    return bytes(out)


def decode(data: bytes, *, what: str, max_bytes: int, max_depth: int = MAX_DEPTH) -> Value:
    """Read the one value that `data` deterministically encodes.

    Args:
        data: untrusted bytes.
        what: name of the thing being read, for the error.
        max_bytes: budget; longer input is refused unread.
        max_depth: how deep arrays and maps may nest.

    Raises:
        MalformedEvidence: anything else than one deterministic encoding within the budgets.
    """
    check_budget(data, max_bytes, what)
    reader = Reader(data)
    value = _read(reader, what, max_depth)
    reader.finish()
    return value


def _head(major: int, argument: int) -> bytes:
    if argument < _ONE_BYTE_ARGUMENT:
        return bytes((major << 5 | argument,))
    for power in range(4):
        size = 1 << power
        if argument < 1 << 8 * size:
            return bytes((major << 5 | _ONE_BYTE_ARGUMENT + power,)) + argument.to_bytes(
                size, "big"
            )
    raise ValueError("an integer beyond 64 bits has no plain CBOR encoding")


def _write(value: Encodable, out: bytearray) -> None:
    if value is None:
        out += _head(_SIMPLE, _NULL)
    elif isinstance(value, bool):
        out += _head(_SIMPLE, _TRUE if value else _FALSE)
    elif isinstance(value, int):
        out += _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
    elif isinstance(value, bytes):
        out += _head(_BYTES, len(value)) + value
    elif isinstance(value, str):
        text = value.encode("utf-8")
        out += _head(_TEXT, len(text)) + text
    elif isinstance(value, list | tuple):
        out += _head(_ARRAY, len(value))
        for item in value:
            _write(item, out)
    elif isinstance(value, Mapping):
        _write_map(value.items(), out)
    else:
        raise TypeError(f"{type(value).__name__} is outside the deterministic CBOR subset")


def _write_map(items: Collection[tuple[object, Encodable]], out: bytearray) -> None:
    out += _head(_MAP, len(items))
    entries: list[tuple[bytes, Encodable]] = []
    for key, item in items:
        if isinstance(key, bool) or not isinstance(key, int | bytes | str):
            raise TypeError(f"{type(key).__name__} is not allowed as a map key")
        entries.append((encode(key), item))
    for encoded_key, item in sorted(entries, key=lambda entry: entry[0]):
        out += encoded_key
        _write(item, out)


def _read_argument(reader: Reader, initial: int, what: str) -> int:
    """Return the argument of a head, refusing every encoding but the shortest."""
    info = initial & 0x1F
    if info < _ONE_BYTE_ARGUMENT:
        return info
    at = reader.offset - 1
    if info > _LONGEST_ARGUMENT:
        raise MalformedEvidence(at, f"{what}: indefinite length or reserved CBOR head")
    size = 1 << info - _ONE_BYTE_ARGUMENT
    argument = reader.be(size, what)
    shortest = _ONE_BYTE_ARGUMENT if size == 1 else 1 << 4 * size
    if argument < shortest:
        raise MalformedEvidence(at, f"{what}: CBOR head is not the shortest")
    return argument


def _read(reader: Reader, what: str, depth: int) -> Value:
    at = reader.offset
    initial = reader.u8(what)
    major = initial >> 5
    if major == _SIMPLE:
        return _read_simple(initial, at, what)
    argument = _read_argument(reader, initial, what)
    if major == _UNSIGNED:
        return argument
    if major == _NEGATIVE:
        return -1 - argument
    if major == _BYTES:
        return reader.take(argument, what)
    if major == _TEXT:
        return _read_text(reader, argument, what)
    return _read_nested(reader, major, argument, what, depth)


def _read_nested(reader: Reader, major: int, count: int, what: str, depth: int) -> Value:
    if major == _TAG:
        raise MalformedEvidence(reader.offset, f"{what}: CBOR tags are not part of this format")
    if depth == 0:
        raise MalformedEvidence(reader.offset, f"{what}: nested too deeply, or a container as key")
    # Each item takes at least one byte, so a hostile count cannot outlive the data.
    if major == _ARRAY:
        return [_read(reader, what, depth - 1) for _ in range(count)]
    return _read_map(reader, count, what, depth - 1)


def _read_simple(initial: int, at: int, what: str) -> Value:
    info = initial & 0x1F
    if info == _NULL:
        return None
    if info in (_FALSE, _TRUE):
        return info == _TRUE
    raise MalformedEvidence(at, f"{what}: CBOR floats and other simple values are not allowed")


def _read_text(reader: Reader, size: int, what: str) -> str:
    at = reader.offset
    try:
        return reader.take(size, what).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedEvidence(at, f"{what}: text is not UTF-8") from None


def _read_map(reader: Reader, count: int, what: str, depth: int) -> Value:
    result: dict[Key, Value] = {}
    previous = b""  # sorts before every encoded key
    for _ in range(count):
        at = reader.offset
        key = _read(reader, what, 0)
        if isinstance(key, bool) or not isinstance(key, int | bytes | str):
            raise MalformedEvidence(at, f"{what}: map key is not an integer, bytes or text")
        encoded_key = reader.since(at)
        if encoded_key <= previous:
            raise MalformedEvidence(at, f"{what}: map keys are repeated or not sorted")
        previous = encoded_key
        result[key] = _read(reader, what, depth)
    return result
