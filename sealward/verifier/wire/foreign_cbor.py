"""CBOR as others write it (RFC 8949), for what they signed: attestation documents and tokens.

Our own formats are deterministic and read by `wire.cbor`. What an AWS hypervisor or an Arm device
signed is not, so this reader takes what real ones hold and nothing else:

  - heads in their shortest form (preferred serialisation, RFC 8949 section 4.1), definite lengths,
    and indefinite lengths of arrays and maps;
  - map keys that are integers or text, in any order, each once;
  - integers, byte strings, text, arrays, maps, true, false, null.

Refused: chunked strings, floats, `undefined` and other simple values, what stands behind the value,
and tags. Where a schema has a tag it stands before the whole value: `split_tag`. No value is ever
encoded again: what a signature covers is kept as the bytes that came.
"""

from __future__ import annotations

from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.cbor import Key, Value
from sealward.verifier.wire.reader import check_budget

MAX_DEPTH: Final = 6  # a PSA token nests 3 levels: claims, components, one component

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_CONSTANTS: Final[dict[int, Value]] = {20: False, 21: True, 22: None}
_ONE_BYTE_ARGUMENT: Final = 24  # additional information below this is the argument itself
_LONGEST_ARGUMENT: Final = 27  # 24, 25, 26, 27 announce 1, 2, 4, 8 bytes
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF


def split_tag(data: bytes, *, what: str, max_bytes: int) -> tuple[int | None, bytes]:
    """Return the tag that stands before a value, if any, and the bytes of the value.

    Raises:
        MalformedEvidence: longer than `max_bytes`, empty, or a tag whose head is broken.
    """
    check_budget(data, max_bytes, what)
    if not data or data[0] >> 5 != _TAG:
        return None, data
    number, at = _argument(data, 1, data[0] & 0x1F, what)
    return number, data[at:]


def decode(data: bytes, *, what: str, max_bytes: int, max_depth: int = MAX_DEPTH) -> Value:
    """Read the one value that `data` holds.

    Args:
        data: untrusted bytes.
        what: name of the thing being read, for the error.
        max_bytes: budget; longer input is refused unread. It bounds the items too, since each one
            takes a byte at least.
        max_depth: how deep arrays and maps may nest.

    Raises:
        MalformedEvidence: anything else than one value of the kinds above within the budgets.
    """
    check_budget(data, max_bytes, what)
    value, end = _read(data, 0, what, max_depth)
    if end != len(data):
        raise MalformedEvidence(end, f"{len(data) - end} trailing bytes")
    return value


# As in `wire.cbor` the reading walks the bytes itself, for it is the hot path of these formats: at
# each step it knows how many bytes it needs, and compares that with the end before it slices.


def _read(data: bytes, at: int, what: str, depth: int) -> tuple[Value, int]:
    """Return the value at `at` and where it ends."""
    if at >= len(data):
        raise MalformedEvidence(at, f"{what}: need 1 byte, 0 are left")
    major, info = data[at] >> 5, data[at] & 0x1F
    start = at + 1
    if major in (_ARRAY, _MAP):
        return _container(data, start, major, info, what, depth=depth)
    if major == _SIMPLE:
        if info not in _CONSTANTS:
            raise MalformedEvidence(
                start, f"{what}: CBOR floats and other simple values are not allowed"
            )
        return _CONSTANTS[info], start
    argument = info
    if info >= _ONE_BYTE_ARGUMENT:
        argument, start = _argument(data, start, info, what)
    if major in (_BYTES, _TEXT):
        end = start + argument
        if end > len(data):
            raise _short(data, start, argument, what)
        return data[start:end] if major == _BYTES else _text(data[start:end], end, what), end
    if major == _TAG:
        raise MalformedEvidence(start, f"{what}: a CBOR tag where the format has none")
    return argument if major == _UNSIGNED else -1 - argument, start


def _argument(data: bytes, at: int, info: int, what: str) -> tuple[int, int]:
    """Return the argument of a head and where it ends, refusing all but its shortest form."""
    if info < _ONE_BYTE_ARGUMENT:
        return info, at
    if info > _LONGEST_ARGUMENT:
        raise MalformedEvidence(at, f"{what}: chunked string, or reserved CBOR head")
    size = 1 << info - _ONE_BYTE_ARGUMENT
    end = at + size
    if end > len(data):
        raise _short(data, at, size, what)
    argument = int.from_bytes(data[at:end], "big")
    if argument < (_ONE_BYTE_ARGUMENT if size == 1 else 1 << 4 * size):
        raise MalformedEvidence(end, f"{what}: CBOR head is not the shortest")
    return argument, end


def _container(
    data: bytes, at: int, major: int, info: int, what: str, *, depth: int
) -> tuple[Value, int]:
    if depth == 0:
        raise MalformedEvidence(at, f"{what}: nested too deeply")
    # Each item takes a byte at least, so a hostile count cannot outlive the data.
    left = None
    if info != _INDEFINITE:
        left, at = _argument(data, at, info, what)
    if major == _MAP:
        return _map(data, at, left, what, depth - 1)
    array: list[Value] = []
    while _another(data, at, left, len(array)):
        item, at = _read(data, at, what, depth - 1)
        array.append(item)
    return array, at if left is not None else at + 1


def _map(data: bytes, at: int, count: int | None, what: str, depth: int) -> tuple[Value, int]:
    result: dict[Key, Value] = {}
    while _another(data, at, count, len(result)):
        key, at = _read(data, at, what, 0)
        if isinstance(key, bool) or not isinstance(key, int | str):
            raise MalformedEvidence(at, f"{what}: map key is not an integer or text")
        if key in result:
            raise MalformedEvidence(at, f"{what}: map key {key!r} is repeated")
        result[key], at = _read(data, at, what, depth)
    return result, at if count is not None else at + 1


def _another(data: bytes, at: int, count: int | None, done: int) -> bool:
    """Whether one more item follows; what ends an indefinite length is a byte of its own."""
    if count is not None:
        return done < count
    return at >= len(data) or data[at] != _BREAK


def _text(string: bytes, at: int, what: str) -> str:
    try:
        return string.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedEvidence(at, f"{what}: text is not UTF-8") from None


def _short(data: bytes, at: int, needed: int, what: str) -> MalformedEvidence:
    return MalformedEvidence(at, f"{what}: need {needed} bytes, {len(data) - at} are left")
