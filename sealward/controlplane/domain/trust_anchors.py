"""Trust anchors that a tenant adds for its own fleet.

CAs of TPM endorsement keys (docs/specs/tpm-node.md 2), and keys of Arm instances, which no
certificate endorses (docs/specs/evidence-envelope.md 11 and 12).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique
from typing import Final


@unique
class AnchorKind(StrEnum):
    """What an anchor vouches for."""

    tpm_ek = "tpm-ek"  # endorsement keys of TPMs
    cca_key = "cca-key"  # one Arm CCA platform
    psa_key = "psa-key"  # one Arm PSA device


@unique
class AnchorRole(StrEnum):
    """What an anchor does in a chain."""

    root = "root"  # a chain may end in it
    intermediate = "intermediate"  # only completes chains to a root


_INSTANCE: Final = re.compile(r"(cca|psa):instance:([0-9a-f]{66})(?: of ([0-9a-f]{64}))?")


@dataclass(frozen=True, slots=True)
class VouchedInstance:
    """One Arm platform or device, as the anchor of its key names it. An instance has one anchor.

    Attributes:
        kind: cca_key or psa_key.
        instance_id: lower hex of 33 bytes.
        implementation_id: lower hex of 32 bytes, where the administrator says that too.
    """

    kind: AnchorKind
    instance_id: str
    implementation_id: str | None = None

    @classmethod
    def named(cls, text: str) -> VouchedInstance | None:
        """Return the instance that a platform id or a subject names; None for any other."""
        found = _INSTANCE.fullmatch(text)
        return None if found is None else cls(AnchorKind(f"{found[1]}-key"), found[2], found[3])

    @property
    def scheme(self) -> str:
        """What signs with its key: "cca" or "psa"."""
        return self.kind.value.removesuffix("-key")

    @property
    def platform_id(self) -> str:
        """As the claims of its evidence name it."""
        return f"{self.scheme}:instance:{self.instance_id}"

    @property
    def subject(self) -> str:
        """As its anchor names it."""
        told = self.implementation_id
        return self.platform_id if told is None else f"{self.platform_id} of {told}"

    @property
    def fingerprint(self) -> str:
        """What finds its anchor: lower hex SHA-256 of the platform id."""
        return hashlib.sha256(self.platform_id.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """A CA certificate or a key that an administrator added, in force until it is removed.

    Attributes:
        kind: what it vouches for.
        fingerprint: SHA-256 of the certificate, or of the platform id of a key's instance; lower
            hex.
        role: root or intermediate; a key is a root.
        certificate: DER; of a key its SubjectPublicKeyInfo. Never a secret.
        name: the administrator's own, or the subject.
        subject: as the certificate has it; of a key `VouchedInstance.subject`.
        not_after: its end; a key has none, which is written as the end of 9999.
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

    @property
    def instance(self) -> VouchedInstance | None:
        """Whose key it is; None for a certificate."""
        return None if self.kind is AnchorKind.tpm_ek else VouchedInstance.named(self.subject)

    @property
    def sha256(self) -> str:
        """Lower hex SHA-256 of the certificate or key."""
        return hashlib.sha256(self.certificate).hexdigest()
