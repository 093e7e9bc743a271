"""The forms of names and texts that administrators choose, checked once for every edge."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from sealward.controlplane.domain.errors import Code, Refused

NAME_FORM: Final = "1 to 63 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit"
MAX_TEXT: Final = 500  # characters of a note or a reason: a sentence or two, never a document

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")  # also the form inside sealed headers
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


def name(value: str, what: str) -> str:
    """Return `value` when it is a name.

    Raises:
        Refused: invalid_request.
    """
    if _NAME.fullmatch(value) is None:
        raise invalid(f"{what} is not a name", f"use {NAME_FORM}")
    return value


def text(value: str, what: str, *, least: int = 0) -> str:
    """Return `value` when it is at most MAX_TEXT characters of one line, at least `least`.

    Raises:
        Refused: invalid_request.
    """
    if not least <= len(value) <= MAX_TEXT or not value.isprintable():
        raise invalid(
            f"{what} is not one line of {least} to {MAX_TEXT} printable characters",
            "shorten it, or leave out line breaks and control characters",
        )
    return value


def lower_hex(value: str, what: str, *, least_bytes: int, most_bytes: int) -> str:
    """Return `value` when it is lower hex of that many bytes.

    Raises:
        Refused: invalid_request.
    """
    if not 2 * least_bytes <= len(value) <= 2 * most_bytes or _HEX.fullmatch(value) is None:
        size = str(least_bytes) if least_bytes == most_bytes else f"{least_bytes} to {most_bytes}"
        raise invalid(f"{what} is not lower-case hex of {size} bytes", "copy it as it was shown")
    return value


def lifetime(value: timedelta, what: str, *, most: timedelta) -> timedelta:
    """Return `value` when it is at least a second and at most `most`.

    Raises:
        Refused: invalid_request.
    """
    if not timedelta(seconds=1) <= value <= most:
        raise invalid(f"{what} is not 1 second to {most}", "ask for a shorter one and renew it")
    return value


def instant(value: str, what: str) -> datetime:
    """Read an RFC 3339 instant with `Z`, whole seconds.

    Raises:
        Refused: invalid_request.
    """
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise invalid(f"{what} is not an instant", "write it like 2026-11-30T12:00:00Z") from None


def invalid(detail: str, hint: str) -> Refused:
    """Return the refusal of a request that is not of its form."""
    return Refused(Code.invalid_request, detail, hint)
