"""Deterministic CBOR (RFC 8949 section 4.2.1) with a closed set of types.

One value has one encoding, and only that encoding is read: shortest heads, definite lengths, map
keys sorted bytewise by their encoding, no duplicates, no tags, no floats, no `undefined`, nothing
after the value. Map keys are integers, byte strings or text. Whatever decodes re-encodes to itself.

Own code rather than cbor2: the strict subset is smaller than the checks that would have to undo a
lenient decoder's choices, and an integer 1 and `true` stay different keys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, TypeAlias

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import check_budget

Key: TypeAlias = int | bytes | str
Value: TypeAlias = "bool | int | bytes | str | list[Value] | dict[Key, Value] | None"
Encodable: TypeAlias = (
    "bool | int | bytes | str | Sequence[Encodable] | Mapping[int, Encodable]"
    " | Mapping[str, Encodable] | Mapping[bytes, Encodable] | Mapping[Key, Encodable] | None"
)

MAX_DEPTH: Final = 16  # our deepest format nests 6 levels; far below Python's recursion limit

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_FALSE, _TRUE, _NULL = 20, 21, 22
_ONE_BYTE_ARGUMENT: Final = 24  # additional information below this is the argument itself
_ENCODED_KEY: Final = itemgetter(0)
_KEYS_REMEMBERED: Final = 1024  # the fields of all our formats are a few hundred
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
    value, end = _read(data, 0, what, max_depth)
    if end != len(data):
        raise MalformedEvidence(end, f"{len(data) - end} trailing bytes")
    return value


def _write_head(major: int, argument: int, out: bytearray) -> None:
    if argument < _ONE_BYTE_ARGUMENT:
        out.append(major << 5 | argument)
        return
    for power in range(4):
        size = 1 << power
        if argument < 1 << 8 * size:
            out.append(major << 5 | _ONE_BYTE_ARGUMENT + power)
            out += argument.to_bytes(size, "big")
            return
    raise ValueError("an integer beyond 64 bits has no plain CBOR encoding")


def _write(value: Encodable, out: bytearray) -> None:
    if isinstance(value, bytes):
        _write_head(_BYTES, len(value), out)
        out += value
    elif isinstance(value, str):
        text = value.encode("utf-8")
        _write_head(_TEXT, len(text), out)
        out += text
    elif value is None:
        _write_head(_SIMPLE, _NULL, out)
    elif isinstance(value, bool):
        _write_head(_SIMPLE, _TRUE if value else _FALSE, out)
    elif isinstance(value, int):
        if value >= 0:
            _write_head(_UNSIGNED, value, out)
        else:
            _write_head(_NEGATIVE, -1 - value, out)
    elif isinstance(value, list | tuple):
        _write_head(_ARRAY, len(value), out)
        for item in value:
            _write(item, out)
    elif isinstance(value, Mapping):
        _write_map(value.items(), out)
    else:
        raise TypeError(f"{type(value).__name__} is outside the deterministic CBOR subset")


def _write_map(items: Collection[tuple[object, Encodable]], out: bytearray) -> None:
    _write_head(_MAP, len(items), out)
    entries = [(_encoded(key), item) for key, item in items]
    entries.sort(key=_ENCODED_KEY)
    for encoded_key, item in entries:
        out += encoded_key
        _write(item, out)


@lru_cache(maxsize=_KEYS_REMEMBERED, typed=True)  # typed: 1 and `true` are equal, and no one key
def _encoded(key: object) -> bytes:
    if isinstance(key, bool) or not isinstance(key, int | bytes | str):
        raise TypeError(f"{type(key).__name__} is not allowed as a map key")
    return encode(key)


# Reading is the hot path of every attestation, so it walks the bytes itself instead of a Reader: at
# each step it knows how many bytes it needs, and compares that with the end before it slices.


def _read(data: bytes, at: int, what: str, depth: int) -> tuple[Value, int]:
    """Return the value at `at` and where it ends."""
    if at >= len(data):
        raise _short(data, at, 1, what)
    major, argument = data[at] >> 5, data[at] & 0x1F
    if major == _SIMPLE:
        return _simple(argument, at, what), at + 1
    start = at + 1
    if argument >= _ONE_BYTE_ARGUMENT:
        short = data[start] if argument == _ONE_BYTE_ARGUMENT and start < len(data) else 0
        if short >= _ONE_BYTE_ARGUMENT:  # the commonest: one byte, and needed
            argument, start = short, start + 1
        else:
            argument, start = _long_argument(data, start, argument, what)
    if major in (_BYTES, _TEXT):
        end = start + argument
        if end > len(data):
            raise _short(data, start, argument, what)
        return data[start:end] if major == _BYTES else _text(data[start:end], start, what), end
    if major == _UNSIGNED:
        return argument, start
    if major == _NEGATIVE:
        return -1 - argument, start
    return _read_nested(data, start, major, argument, what, depth=depth)


def _long_argument(data: bytes, at: int, info: int, what: str) -> tuple[int, int]:
    """Return the argument that follows a head and its end, refusing all but the shortest."""
    if info > _LONGEST_ARGUMENT:
        raise MalformedEvidence(at - 1, f"{what}: indefinite length or reserved CBOR head")
    size = 1 << info - _ONE_BYTE_ARGUMENT
    end = at + size
    if end > len(data):
        raise _short(data, at, size, what)
    argument = int.from_bytes(data[at:end], "big")
    shortest = _ONE_BYTE_ARGUMENT if size == 1 else 1 << 4 * size
    if argument < shortest:
        raise MalformedEvidence(at - 1, f"{what}: CBOR head is not the shortest")
    return argument, end


def _read_nested(
    data: bytes, at: int, major: int, count: int, what: str, *, depth: int
) -> tuple[Value, int]:
    if major == _TAG:
        raise MalformedEvidence(at, f"{what}: CBOR tags are not part of this format")
    if depth == 0:
        raise MalformedEvidence(at, f"{what}: nested too deeply, or a container as key")
    if major == _MAP:
        return _read_map(data, at, count, what, depth - 1)
    # Each item takes at least one byte, so a hostile count cannot outlive the data.
    array: list[Value] = []
    for _ in range(count):
        item, at = _read(data, at, what, depth - 1)
        array.append(item)
    return array, at


def _simple(info: int, at: int, what: str) -> Value:
    if info == _NULL:
        return None
    if info in (_FALSE, _TRUE):
        return info == _TRUE
    raise MalformedEvidence(at, f"{what}: CBOR floats and other simple values are not allowed")


def _text(encoded: bytes, at: int, what: str) -> str:
    try:
        return encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedEvidence(at, f"{what}: text is not UTF-8") from None


def _read_map(data: bytes, at: int, count: int, what: str, depth: int) -> tuple[Value, int]:
    result: dict[Key, Value] = {}
    previous = b""  # sorts before every encoded key
    for _ in range(count):
        key, end = _read(data, at, what, 0)
        if isinstance(key, bool) or not isinstance(key, int | bytes | str):
            raise MalformedEvidence(at, f"{what}: map key is not an integer, bytes or text")
        encoded_key = data[at:end]
        if encoded_key <= previous:
            raise MalformedEvidence(at, f"{what}: map keys are repeated or not sorted")
        previous = encoded_key
        result[key], at = _read(data, end, what, depth)
    return result, at


def _short(data: bytes, at: int, needed: int, what: str) -> MalformedEvidence:
    left = len(data) - at
    return MalformedEvidence(at, f"{what}: need {needed} bytes, {left} are left")
