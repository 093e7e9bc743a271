"""Writes audit-log.json: leaves, roots, a signed checkpoint, and exports with what comes of them.

    python docs/specs/vectors/make_audit_log.py

Everything is fixed, Ed25519 is deterministic: another run writes the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealward.controlplane.domain import checkpoint as notes
from sealward.controlplane.domain.audit import (
    AuditEntry,
    AuditKind,
    commitment,
    entry,
    leaf_bytes,
)
from sealward.controlplane.domain.audit_export import checkpoint_line, entry_line, header_line
from sealward.controlplane.domain.audit_verify import Finding
from sealward.controlplane.domain.merkle import root_of
from sealward.controlplane.domain.records import unix_ms

OUTPUT: Final = Path(__file__).with_name("audit-log.json")
SEED: Final = bytes(range(32))
START: Final = datetime(2026, 9, 1, 12, 0, 0, 250_000, tzinfo=UTC)
BODIES: Final[tuple[tuple[AuditKind, dict[str, Any]], ...]] = (
    (AuditKind.system_started, {"generation": 1, "kind": "production"}),
    (AuditKind.platform_changed, {"platform": "ab" * 8, "state": "allowed"}),
    (AuditKind.node_enrolled, {"node": "cd" * 32, "outcome": "passed", "reasons": []}),
    (AuditKind.lease_granted, {"lease": "01", "note": "\u00fc \u2014 \U0001f512", "none": None}),
    (AuditKind.lease_ended, {}),
)


def build() -> dict[str, Any]:
    """Return the whole document."""
    private = Ed25519PrivateKey.from_private_bytes(SEED)
    key = notes.LogKey("vectors.sealward.invalid/log", private.public_key().public_bytes_raw())
    entries = [_entry(index) for index in range(len(BODIES))]
    leaves = [made.leaf_hash for made in entries]
    roots = [root_of(leaves[:size]) for size in range(len(leaves) + 1)]
    signed = [
        notes.sign(notes.Checkpoint(key.name, size, roots[size]), key, private.sign)
        for size in range(len(roots))
    ]
    lines = [
        header_line(key.name),
        *(entry_line(made) for made in entries[:3]),
        checkpoint_line(signed[3]),
        *(entry_line(made) for made in entries[3:]),
        checkpoint_line(signed[5]),
    ]
    return {
        "checkpoint": signed[5],
        "entries": [_described(made) for made in entries],
        "exports": _exports(lines, entries, signed),
        "log_key": key.text(),
        "log_key_seed": SEED.hex(),
        "roots": [root.hex() for root in roots],
    }


def _entry(index: int) -> AuditEntry:
    kind, body = BODIES[index]
    made = entry(
        kind,
        body,
        now=START + timedelta(seconds=index),
        random_bytes=lambda count: bytes([index + 1]) * count,
    )
    return replace(made, log_index=index)


def _described(made: AuditEntry) -> dict[str, Any]:
    committed = commitment(made.salt, made.body.encode())
    return {
        "body": made.body,
        "commitment": committed.hex(),
        "kind": made.kind,
        "leaf": leaf_bytes(made.kind, unix_ms(made.created), made.tenant, committed).decode(),
        "leaf_hash": made.leaf_hash.hex(),
        "salt": made.salt.hex(),
        "tenant": made.tenant,
        "time": unix_ms(made.created),
    }


def _exports(
    lines: list[bytes], entries: list[AuditEntry], signed: list[str]
) -> list[dict[str, Any]]:
    closed = entry_line(entries[1], opened=False)
    forged = lines[2].replace(b"allowed", b"revoked")
    unordered = (
        b'{"type":"checkpoint"' + lines[-1].split(b',"type"')[0].replace(b"{", b",") + b"}\n"
    )
    cases: list[tuple[str, list[bytes], Finding | None]] = [
        ("all of it", lines, None),
        ("up to an older checkpoint", lines[:5], None),
        ("one entry closed", [*lines[:2], closed, *lines[3:]], None),
        ("nothing", [], Finding.entries_uncovered),
        ("no header", lines[1:], Finding.malformed),
        ("members out of order", [*lines[:-1], unordered], Finding.malformed),
        ("one body changed", [*lines[:2], forged, *lines[3:]], Finding.root_mismatch),
        ("two entries exchanged", [*lines[:2], lines[3], lines[2], *lines[4:]], Finding.index_gap),
        ("one entry missing", [*lines[:2], *lines[3:]], Finding.index_gap),
        ("last checkpoint missing", lines[:-1], Finding.entries_uncovered),
        (
            "checkpoint over another size",
            [*lines[:4], checkpoint_line(signed[2])],
            Finding.index_gap,
        ),
        (
            "signature of another checkpoint",
            [
                *lines[:4],
                checkpoint_line(signed[3].split("\n\n")[0] + "\n\n" + signed[5].split("\n\n")[1]),
            ],
            Finding.checkpoint_refused,
        ),
    ]
    return [
        {
            "expect": "verified" if finding is None else finding,
            "lines": [line.decode() for line in part],
            "name": name,
        }
        for name, part, finding in cases
    ]


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(build(), indent=1, sort_keys=True, ensure_ascii=True) + "\n")
