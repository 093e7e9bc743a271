"""What a runtime measurement list says of a node (docs/specs/ima-claims.md), for policies bounded.

A list has thousands of entries, and allow-lists have more. So measurements are matched with
reference values by digest in the host (`digests`, `to_json(known)`), and a policy is shown what did
not match, up to a limit, beside totals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, TypeAlias

from sealward.verifier.rats.errors import MalformedEvidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

REFERENCE_KIND: Final = "file"  # of the reference values that measurements are matched with
MAX_SHOWN: Final = 256  # measurements: who has more unknown ones has a gap in the allow-list
MAX_SHOWN_PATHS: Final = 64 * 1024  # characters, of all of them: a path may have 4096
MAX_SIGNERS: Final = 64  # different ones told
_STRONG: Final = 64  # hex digits of a digest of 256 bits


@unique
class BootAggregate(StrEnum):
    """How the list's first entry, a digest of PCRs at boot, compares with the quoted PCRs."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    NOT_QUOTED = "not_quoted"
    ABSENT = "absent"


@unique
class Kind(StrEnum):
    """What was measured: a file, or a buffer of the kernel (a command line, a key, a policy)."""

    FILE = "file"
    BUFFER = "buffer"


@dataclass(frozen=True, slots=True)
class Measured:
    r"""One thing that the kernel measured.

    Attributes:
        path: for people and exclusions: UTF-8, other bytes as `\xNN`.
        algorithm: the kernel's name of the hash; "verity:sha256" for a digest of fs-verity.
        digest: lower-case hex.
        kind: see `Kind`.
        signer: SHA-256 of the trusted key that signed the digest, lower-case hex, or None.
    """

    path: str
    algorithm: str
    digest: str
    kind: Kind
    signer: str | None

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "path": self.path,
            "algorithm": self.algorithm,
            "digest": self.digest,
            "kind": self.kind.value,
            "signer": self.signer,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeLog:
    """A runtime measurement list, as far as a quote proved it.

    Attributes:
        as_of: the instant the evidence was appraised for, aware UTC.
        banks: labels of the banks in which the list was proven, ascending by identifier; none when
            it was proven before, and the latest evidence came without it.
        entries: proven since boot.
        violations: among them.
        not_proven: entries that were sent and that this quote does not reach.
        boot_aggregate: see `BootAggregate`.
        measured: distinct measurements of proven entries, in order of appearance.
    """

    as_of: datetime
    banks: tuple[str, ...]
    entries: int
    violations: int
    not_proven: int
    boot_aggregate: BootAggregate
    measured: tuple[Measured, ...] = field(repr=False)

    def digests(self) -> tuple[str, ...]:
        """Return the different digests to look up among reference values, in order of appearance.

        Weak ones are not among them: two files can share a digest below 256 bits.
        """
        return tuple({item.digest: None for item in self.measured if len(item.digest) >= _STRONG})

    def to_json(self, known: frozenset[str] = frozenset()) -> dict[str, Json]:
        """Return the view of policies.

        Args:
            known: those of `digests` that are reference values in force; others are ignored.
        """
        matched = {digest for digest in known if len(digest) >= _STRONG}
        unknown = [item for item in self.measured if item.digest not in matched]
        return {
            "scope": "runtime",
            "as_of": self.as_of.isoformat().replace("+00:00", "Z"),
            "banks": [*self.banks],
            "entries": self.entries,
            "violations": self.violations,
            "not_proven": self.not_proven,
            "boot_aggregate": self.boot_aggregate.value,
            "known": _known([item for item in self.measured if item.digest in matched]),
            "unknown": {"count": len(unknown), "shown": _shown(unknown)},
        }


def recorded(told: Mapping[str, object], measured: tuple[Measured, ...]) -> RuntimeLog:
    """Return the log that `RuntimeLog.to_json` told, with what is kept of its measurements.

    Raises:
        MalformedEvidence: not what it tells.
    """
    match told:
        case {
            "as_of": str(as_of),
            "banks": list(banks) | tuple(banks),
            "entries": int(entries),
            "violations": int(violations),
            "not_proven": int(not_proven),
            "boot_aggregate": str(aggregate),
        } if aggregate in tuple(BootAggregate):
            return RuntimeLog(
                as_of=_instant(as_of),
                banks=tuple(map(str, banks)),
                entries=entries,
                violations=violations,
                not_proven=not_proven,
                boot_aggregate=BootAggregate(aggregate),
                measured=measured,
            )
        case _:
            raise MalformedEvidence(0, "recorded runtime log: not the claim of one")


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise MalformedEvidence(0, "recorded runtime log: as_of is no instant") from None


def _known(items: list[Measured]) -> dict[str, Json]:
    """Return totals; measurements whose signer is beyond the first 64 count as unsigned."""
    signers = sorted({item.signer for item in items if item.signer is not None})
    told: list[Json] = [*signers[:MAX_SIGNERS]]
    unsigned = sum(item.signer not in told for item in items)
    return {"count": len(items), "unsigned": unsigned, "signers": told}


def _shown(items: Iterable[Measured]) -> list[Json]:
    """Return the first of them, up to the limits; nothing behind one that does not fit."""
    shown: list[Json] = []
    room = MAX_SHOWN_PATHS
    for item in items:
        room -= len(item.path)
        if room < 0 or len(shown) == MAX_SHOWN:
            break
        shown.append(item.to_json())
    return shown
