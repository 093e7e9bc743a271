"""Reads the table [attester] strictly: what is missing, unknown or of another type is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.enclave_agent.attesters.port import AttesterUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping


def require_known(settings: Mapping[str, object], known: frozenset[str]) -> None:
    """Refuse a setting that this attester does not have: a misspelt one is not a default."""
    if unknown := sorted(set(settings) - known):
        raise AttesterUnavailable(f"[attester] has unknown settings: {', '.join(unknown)}.")


def text(settings: Mapping[str, object], name: str) -> str:
    """A text that is not empty."""
    value = settings.get(name)
    if not isinstance(value, str) or not value:
        raise AttesterUnavailable(f"[attester] {name} must be given, as text.")
    return value


def digest(settings: Mapping[str, object], name: str, size: int) -> bytes:
    """Exactly `size` bytes in lower-case hexadecimal digits."""
    return digest_of(text(settings, name), name, size)


def digest_of(written: object, name: str, size: int) -> bytes:
    """The bytes of one such text."""
    try:
        value = bytes.fromhex(written) if isinstance(written, str) else b""
    except ValueError:
        value = b""
    if len(value) != size or value.hex() != written:
        raise AttesterUnavailable(f"[attester] {name} must be {2 * size} lowercase hex digits.")
    return value


def integer(settings: Mapping[str, object], name: str, default: int, allowed: range) -> int:
    """An integer of a range."""
    value = settings.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
        raise AttesterUnavailable(f"[attester] {name} is not an integer this attester knows.")
    return value
