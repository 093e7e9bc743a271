"""The closed list of keys that the control plane holds, one key a purpose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, unique
from typing import Final

from sealward.controlplane.domain.horizon import CEILING

RESULT_KEY_LIFE: Final = timedelta(days=90)
# How long a result key is published after it has stopped signing: longer than any token lives.
RESULT_KEY_OVERLAP: Final = CEILING


@unique
class KeyPurpose(StrEnum):
    """What a key is for; who can use it and what its theft gives: docs/key-inventory.md."""

    server_ca = "server_ca"  # P-256
    node_ca = "node_ca"  # P-256
    terms = "terms"  # Ed25519
    log = "log"  # Ed25519
    client_token = "client_token"  # noqa: S105 - Ed25519; the name of a purpose, not a secret
    challenge_mac = "challenge_mac"  # HMAC-SHA-256, two keys in rotation
    tpm_activation = "tpm_activation"  # HMAC-SHA-256; secrets of credentials for TPMs
    token_mac = "token_mac"  # noqa: S105 - HMAC-SHA-256; the name of a purpose, not a secret
    ratchet = "ratchet"  # HKDF-SHA-256
    kek = "kek"  # AES-256-GCM
    result = "result"  # P-256, ES256; two keys while one replaces the other


@unique
class WrapPurpose(StrEnum):
    """What a wrapped secret is; part of the additional authenticated data."""

    workload_private = "workload_private"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyContext:
    """Where a wrapped secret belongs. Unwrapping under any other context fails (F36)."""

    purpose: WrapPurpose
    tenant: str
    workload: str
    version: int


@dataclass(frozen=True, slots=True)
class DatedKey:
    """The public half of a key that signs attestation results.

    Attributes:
        made: when it began to sign, aware UTC.
        spki: DER SubjectPublicKeyInfo, P-256.
    """

    made: datetime
    spki: bytes


def published(keys: tuple[DatedKey, ...], now: datetime) -> tuple[DatedKey, ...]:
    """Return the keys that readers of results need at `now`; the current one comes first."""
    current, *older = keys
    return (current, *(older if now < current.made + RESULT_KEY_OVERLAP else ()))
