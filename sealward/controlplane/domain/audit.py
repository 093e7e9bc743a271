"""Audit entries.

The salted commitment that enters the Merkle log, and the body that stays in the database (F27).

docs/specs/audit-log.md fixes the leaf format and publishes vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique
from typing import Final

from sealward.controlplane.domain.merkle import leaf_hash
from sealward.controlplane.domain.records import (
    DEFAULT_TENANT,
    JsonText,
    RandomBytes,
    from_unix_ms,
    new_id,
    unix_ms,
)
from sealward.verifier.wire import json

SALT_BYTES: Final = 32  # as long as the hash: the commitment hides even a body of few choices

_LEAF_VERSION: Final = 1


@unique
class AuditKind(StrEnum):
    """What an entry records. Values may be added, never renamed: they are inside leaves."""

    system_started = "system.started"
    principal_created = "principal.created"
    principal_disabled = "principal.disabled"
    token_created = "token.created"  # noqa: S105 - the kind of an entry, not a token
    token_used = "token.used"  # noqa: S105 - the kind of an entry, not a token
    token_revoked = "token.revoked"  # noqa: S105 - the kind of an entry, not a token
    join_token_created = "join_token.created"  # noqa: S105 - the kind of an entry, not a token
    platform_changed = "platform.changed"
    trust_anchor_added = "trust_anchor.added"
    trust_anchor_removed = "trust_anchor.removed"
    policy_uploaded = "policy.uploaded"
    policy_activated = "policy.activated"
    reference_set_imported = "reference_set.imported"
    reference_set_changed = "reference_set.changed"
    reference_value_withdrawn = "reference_value.withdrawn"
    reference_value_reinstated = "reference_value.reinstated"
    collateral_accepted = "collateral.accepted"
    workload_created = "workload.created"
    workload_key_created = "workload_key.created"
    workload_creator_added = "workload_creator.added"
    workload_creator_removed = "workload_creator.removed"
    model_registered = "model.registered"
    model_withdrawn = "model.withdrawn"
    node_enrolled = "node.enrolled"  # whatever the answer: admitted, pending, rejected
    node_admitted = "node.admitted"  # by a person, after pending
    node_rejected = "node.rejected"
    node_retired = "node.retired"
    node_quarantined = "node.quarantined"
    node_released = "node.released"
    node_attested = "node.attested"
    node_reappraised = "node.reappraised"
    node_result_issued = "node.result_issued"  # to an administrator, for a relying party
    result_key_replaced = "result_key.replaced"
    lease_granted = "lease.granted"
    lease_ended = "lease.ended"
    wipe_received = "wipe.received"
    scope_fenced = "scope.fenced"
    sweep_done = "sweep.done"
    explanation_read = "explanation.read"  # by whom, of which node or correlation id (F26)
    requests_refused = "requests.refused"  # counted aggregate of anonymous refusals (F25)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry.

    `leaf_hash` is the RFC 6962 leaf hash; `log_index` is None until the sequencer has placed it.
    """

    entry_id: str
    tenant: str
    kind: AuditKind
    created: datetime
    body: JsonText = field(repr=False)
    salt: bytes = field(repr=False)
    leaf_hash: bytes
    log_index: int | None = None


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint: the signed note itself and what it states."""

    size: int
    root: bytes
    note: str
    created: datetime


def entry(
    kind: AuditKind,
    body: Mapping[str, json.Canonical],
    *,
    now: datetime,
    random_bytes: RandomBytes,
    tenant: str = DEFAULT_TENANT,
) -> AuditEntry:
    """Return an unsequenced entry with a fresh id and salt.

    Raises:
        TypeError, ValueError: `body` has no canonical JSON form.
    """
    text = json.canonical(body)
    salt = random_bytes(SALT_BYTES)
    leaf = leaf_bytes(kind, unix_ms(now), tenant, commitment(salt, text))
    return AuditEntry(
        entry_id=new_id(now, random_bytes),
        tenant=tenant,
        kind=kind,
        created=from_unix_ms(unix_ms(now)),  # what the leaf states, no finer
        body=JsonText(text.decode("utf-8")),
        salt=salt,
        leaf_hash=leaf_hash(leaf),
    )


def commitment(salt: bytes, body: bytes) -> bytes:
    """Return SHA-256(salt || body): without the salt it tells nothing about the body (F27)."""
    return hashlib.sha256(salt + body).digest()


def leaf_bytes(kind: str, time_ms: int, tenant: str, committed: bytes) -> bytes:
    """Return the leaf of an entry: docs/specs/audit-log.md section 2."""
    return json.canonical(
        {
            "commitment": committed.hex(),
            "kind": kind,
            "tenant": tenant,
            "time": time_ms,
            "v": _LEAF_VERSION,
        }
    )
