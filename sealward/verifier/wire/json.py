"""Strict JSON (RFC 8259, I-JSON of RFC 7493) and one canonical form of it.

Reading refuses what JSON readers disagree about: duplicate names, NaN and infinities, integers
beyond 64 bits, numbers beyond a double, lone surrogates, a byte-order mark, anything trailing.

The canonical form is RFC 8785 (JCS) restricted to values without floats and with integers that
every JSON reader keeps exactly.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import check_budget

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Canonical: TypeAlias = "bool | int | str | Sequence[Canonical] | Mapping[str, Canonical] | None"

MAX_DEPTH: Final = 64  # policy inputs nest about 10 levels; far below Python's recursion limit
MAX_EXACT_INTEGER: Final = (1 << 53) - 1  # RFC 7493 2.2: beyond it readers differ

_MIN_INTEGER: Final = -(1 << 63)
_MAX_INTEGER: Final = (1 << 64) - 1
_MAX_INTEGER_DIGITS: Final = 20  # checked before int(), whose cost is quadratic

# What it encodes is our own fresh copy, which cannot be circular.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)
# For values that `_is_plain` has walked, to their end: they are not circular either. The standard
# library then sorts, in C, as `_in_order` does for names of ASCII.
_PLAIN_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False, sort_keys=True
)

# Possessive, so that an unterminated string is scanned once and not once per quote in it.
_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?+|[\[\]{}]', re.DOTALL)


def decode(data: bytes | str, *, what: str, max_bytes: int, max_depth: int = MAX_DEPTH) -> Value:
    """Read one JSON value.

    Args:
        data: untrusted UTF-8 bytes, or text.
        what: name of the thing being read, for the error.
        max_bytes: budget in UTF-8 bytes; longer input is refused unread.
        max_depth: how deep arrays and objects may nest; checked before anything recurses.

    Raises:
        MalformedEvidence: anything but one strict JSON value within the budgets.
    """
    text = _text(data, what, max_bytes)
    _check_depth(text, what, max_depth)
    try:
        value: Value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedEvidence(error.pos, f"{what}: not JSON, {error.msg}") from None
    except _Refused as error:
        raise MalformedEvidence(0, f"{what}: {error}") from None
    if "\\u" in text:  # the only way to write a lone surrogate in valid UTF-8
        _refuse_surrogates(value, what)
    return value


def canonical(value: Canonical) -> bytes:
    """Return the canonical bytes of our own value: RFC 8785 without floats.

    Raises:
        TypeError: a float, a name that is not text, or a type that JSON does not have.
        ValueError: an integer beyond 2**53-1, or text that is not Unicode scalar values.
    """
    if _is_plain(value):
        text = _PLAIN_ENCODER.encode(value)
        if text.isascii():
            return text.encode("ascii")
    return _ENCODER.encode(_sorted(value)).encode("utf-8")


def _text(data: bytes | str, what: str, max_bytes: int) -> str:
    try:
        raw = data.encode("utf-8") if isinstance(data, str) else data
        check_budget(raw, max_bytes, what)
        text = raw.decode("utf-8")
    except UnicodeError:
        raise MalformedEvidence(0, f"{what}: not UTF-8") from None
    if text.startswith("\ufeff"):
        raise MalformedEvidence(0, f"{what}: byte-order mark")
    return text


def _check_depth(text: str, what: str, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match.group()
        if token in ("[", "{"):
            depth += 1
            if depth > max_depth:
                raise MalformedEvidence(match.start(), f"{what}: nested too deeply")
        elif token in ("]", "}"):
            depth -= 1


class _Refused(Exception):
    """Valid JSON that we do not read; raised through the decoder."""


def _pairs(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Refused("duplicate name in a JSON object")
    return result


def _integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER_DIGITS or not _MIN_INTEGER <= int(digits) <= _MAX_INTEGER:
        raise _Refused("JSON integer beyond 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _Refused("JSON number beyond a double")
    return value


def _constant(name: str) -> float:
    raise _Refused(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_number, parse_constant=_constant
)


def _refuse_surrogates(value: Value, what: str) -> None:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise MalformedEvidence(0, f"{what}: lone surrogate in a JSON string") from None
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item, what)
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_surrogates(name, what)
            _refuse_surrogates(item, what)


def _is_plain(value: Canonical) -> bool:
    """Tell whether `value` is made of the plain types alone: nearly always.

    What is not takes the longer way, which also says what is wrong with it.
    """
    kind = type(value)
    if kind is dict:
        for name, item in value.items():  # type: ignore[union-attr]  # `type` narrows nothing
            if type(name) is not str:
                return False
            kind = type(item)
            if kind is not str and kind is not bool and item is not None and not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))  # type: ignore[arg-type]  # `type` narrows nothing
    if kind is int:
        return -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER  # type: ignore[operator]  # as above
    return kind is str or kind is bool or value is None


def _sorted(value: Canonical) -> Canonical:
    """Return `value` in dicts and lists, names in order; its commonest types come first."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return _in_order(value)  # type: ignore[arg-type]  # `type` narrows nothing
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_EXACT_INTEGER:
            raise ValueError("an integer beyond 2**53-1 goes into JSON as text")
        return value
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    if isinstance(value, Mapping):
        return _in_order(value)
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def _in_order(value: Mapping[str, Canonical]) -> dict[str, Canonical]:
    if not all(isinstance(name, str) for name in value):
        raise TypeError("a JSON name is text")
    # RFC 8785 3.2.3 sorts by UTF-16 code units, which differs from Python's order of str; for
    # ASCII, and so for nearly all names, both are the order of bytes.
    ascii_only = all(map(str.isascii, value))
    names = sorted(value) if ascii_only else sorted(value, key=_utf_16)
    return {name: _sorted(value[name]) for name in names}


def _utf_16(name: str) -> bytes:
    return name.encode("utf-16-be")
