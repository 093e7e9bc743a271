"""The attester port: where the agent gets evidence from, whatever the hardware.

An attester is found by its name in the entry point group `sealward.attesters`. The entry point
loads an `AttesterFactory`; the agent calls it with its configuration table `[attester]` without the
key `name`. The kind `software` is provided by the separate distribution `sealward-devkit`, never by
this one (security-requirements F29).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY_POINT_GROUP: Final = "sealward.attesters"
REPORT_DATA_SIZE: Final = 64


class AttesterUnavailable(Exception):
    """This attester cannot produce evidence here; the message is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether evidence can be had; `why` is one sentence either way."""

    available: bool
    why: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What goes to the verifier: one CMW-encoded record (docs/specs/evidence-envelope.md)."""

    cmw: bytes


class Attester(Protocol):
    """Collects evidence of the machine this process runs in."""

    @property
    def kind(self) -> str:
        """The evidence format, for example `snp`."""
        ...

    def probe(self) -> Availability:
        """Say whether `collect` can work here, without producing evidence."""
        ...

    def collect(self, report_data: bytes) -> Evidence:
        """Fresh evidence that carries `report_data` (64 bytes).

        Raises:
            AttesterUnavailable: no evidence can be had here.
            ValueError: `report_data` is not 64 bytes: the caller's mistake.
        """
        ...


class AttesterFactory(Protocol):
    """What an entry point of the group `sealward.attesters` loads."""

    def __call__(self, settings: Mapping[str, object]) -> Attester:
        """Build the attester from its settings.

        Raises:
            AttesterUnavailable: a setting is missing, unknown or of the wrong type.
        """
        ...


def require_report_data(report_data: bytes) -> None:
    """Refuse anything but 64 bytes with ValueError."""
    if len(report_data) != REPORT_DATA_SIZE:
        raise ValueError(f"report_data takes {REPORT_DATA_SIZE} bytes, not {len(report_data)}")


def require_no_settings(settings: Mapping[str, object]) -> None:
    """Refuse settings for an attester that has none: a misspelt setting is not a default.

    Raises:
        AttesterUnavailable: one is given.
    """
    if settings:
        names = ", ".join(ascii(name) for name in sorted(settings))
        raise AttesterUnavailable(f"[attester] has unknown settings: {names}.")
