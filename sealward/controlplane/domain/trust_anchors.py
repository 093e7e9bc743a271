"""Trust anchors that a tenant adds for its own fleet (docs/specs/tpm-node.md 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique


@unique
class AnchorKind(StrEnum):
    """What an anchor vouches for."""

    tpm_ek = "tpm-ek"  # endorsement keys of TPMs


@unique
class AnchorRole(StrEnum):
    """What an anchor does in a chain."""

    root = "root"  # a chain may end in it
    intermediate = "intermediate"  # only completes chains to a root


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """A CA certificate that an administrator added, in force until it is removed.

    Attributes:
        kind: what it vouches for.
        fingerprint: SHA-256 of the certificate, lower hex.
        role: root or intermediate.
        certificate: DER.
        name: the administrator's own, or the subject.
        subject: as the certificate has it.
        not_after: its end.
        development: what it endorses proves nothing about hardware (F29).
        added_by: name of a principal.
        added: when it came into force, the last time if it was removed in between.
        removed: when it ceased to be in force; None while it is.
        entry_id: the audit entry of the last change.
    """

    kind: AnchorKind
    fingerprint: str
    role: AnchorRole
    certificate: bytes = field(repr=False)
    name: str
    subject: str
    not_after: datetime
    development: bool
    added_by: str
    added: datetime
    removed: datetime | None = None
    entry_id: str
