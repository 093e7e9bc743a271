"""Reading JSON whose names, types and ranges are all known.

What is signed or sealed must be in canonical form byte for byte (docs/specs/sealed-model.md section
2), so that a value has one encoding and a signature over a re-encoding is a signature over what was
read. Key files, which people open in editors, need only be strict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

from sealward.sealing.errors import Code, MalformedSealedModel, as_malformed
from sealward.verifier.wire import base64, json

Value: TypeAlias = json.Value
_Choice = TypeVar("_Choice", bound=StrEnum)

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
TEXT: Final = re.compile(r"[\x20-\x7e]{1,128}")
MAX_INTEGER: Final = json.MAX_EXACT_INTEGER

_MAX_DEPTH: Final = 16  # ours nest 4 deep; below it a reader need not scan every byte for depth
_INSTANT: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def decode_strict(data: bytes, *, what: str, max_bytes: int, code: Code) -> Value:
    """Read JSON without duplicates, specials or trailing bytes.

    Raises:
        MalformedSealedModel: `code` for anything else, or beyond `max_bytes`.
    """
    with as_malformed(code):
        return json.decode(data, what=what, max_bytes=max_bytes, max_depth=_MAX_DEPTH)


def decode_canonical(data: bytes, *, what: str, max_bytes: int, code: Code) -> Value:
    """Read canonical JSON.

    Raises:
        MalformedSealedModel: `code` for what is not strict JSON within `max_bytes`; NOT_CANONICAL
            for JSON that is not the canonical bytes of its value.
    """
    value = decode_strict(data, what=what, max_bytes=max_bytes, code=code)
    try:
        again: bytes | None = json.canonical(value)  # type: ignore[arg-type] # a float is refused in the call
    except (TypeError, ValueError):  # a float, or an integer beyond 2**53-1
        again = None
    if again != data:
        raise MalformedSealedModel(Code.NOT_CANONICAL, f"{what} is not canonical JSON")
    return value


def format_instant(instant: datetime) -> str:
    """Return the one text of an instant: UTC, whole seconds, `Z`."""
    return instant.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"


class Fields:
    """One JSON object with exactly the expected names; every getter refuses with `code`."""

    __slots__ = ("_code", "_value", "_what")

    def __init__(self, value: Value, names: Iterable[str], *, what: str, code: Code) -> None:
        self._what = what
        self._code = code
        if not isinstance(value, dict) or value.keys() != frozenset(names):
            raise self._refused(f"must be an object with exactly: {', '.join(sorted(names))}")
        self._value = value

    def raw(self, name: str) -> Value:
        """Return a member as it stands."""
        return self._value[name]

    def array(self, name: str, *, most: int) -> list[Value]:
        """Return an array of at most `most` items."""
        value = self._value[name]
        if not isinstance(value, list) or len(value) > most:
            raise self._refused(f"{name} must be an array of at most {most} items")
        return value

    def integer(self, name: str, *, least: int = 0, most: int = MAX_INTEGER) -> int:
        """Return an integer in a closed range."""
        value = self._value[name]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._refused(f"{name} must be an integer from {least} to {most}")
        return value

    def text(self, name: str, pattern: re.Pattern[str] = NAME) -> str:
        """Return text that matches `pattern` as a whole."""
        value = self._value[name]
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise self._refused(f"{name} must match {pattern.pattern}")
        return value

    def choice(self, name: str, kind: type[_Choice]) -> _Choice:
        """Return the member of a closed set of texts."""
        value = self._value[name]
        for member in kind:
            if value == member.value:
                return member
        raise self._refused(f"{name} must be one of: {', '.join(kind)}")

    def fixed(self, name: str, expected: str | int) -> None:
        """Refuse anything but the one value this format version knows."""
        value = self._value[name]
        if value != expected or type(value) is not type(expected):
            raise self._refused(f"{name} must be {expected}")

    def optional_text(self, name: str, pattern: re.Pattern[str]) -> str | None:
        """Return text as `text` does, or None for null."""
        return None if self._value[name] is None else self.text(name, pattern)

    def hex(self, name: str, size: int) -> bytes:
        """Return `size` bytes written in lower-case hexadecimal."""
        return bytes.fromhex(self.text(name, re.compile(f"[0-9a-f]{{{2 * size}}}")))

    def optional_hex(self, name: str, size: int) -> bytes | None:
        """Return bytes as `hex` does, or None for null."""
        return None if self._value[name] is None else self.hex(name, size)

    def base64(self, name: str, *, most: int) -> bytes:
        """Return at most `most` bytes written in padded standard base64."""
        value = self._value[name]
        if not isinstance(value, str):
            raise self._refused(f"{name} must be base64 text")
        with as_malformed(self._code):
            return base64.decode(value, what=f"{self._what}: {name}", max_bytes=most)

    def instant(self, name: str) -> datetime:
        """Return an instant written as `format_instant` writes it."""
        text = self.text(name, _INSTANT)
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:  # the thirteenth month
            raise self._refused(f"{name} is not an instant") from None
        if format_instant(instant) != text:  # hour 24, where this Python takes it
            raise self._refused(f"{name} is not an instant")
        return instant

    def _refused(self, detail: str) -> MalformedSealedModel:
        return MalformedSealedModel(self._code, f"{self._what}: {detail}")
