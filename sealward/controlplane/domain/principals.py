"""Principals, their roles, and the tokens that stand for them.

Of a secret only a keyed MAC is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique

from sealward.controlplane.domain.records import Labels


@unique
class Role(StrEnum):
    """What a principal may do, the same in every service."""

    admin = "admin"
    operator = "operator"
    policy_author = "policy_author"
    approver = "approver"
    auditor = "auditor"
    viewer = "viewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person or a machine; `roles` are sorted and each occurs once."""

    principal_id: str
    name: str
    roles: tuple[Role, ...] = ()
    created: datetime
    disabled: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceToken:
    """A bearer token `{token_id}.{secret}` of a principal.

    The secret itself is shown once and never stored.

    `secret_mac` is the keystore's token_mac tag over the secret, under the key that `mac_key_id`
    names.
    """

    token_id: str
    principal_id: str
    mac_key_id: str
    secret_mac: bytes = field(repr=False)
    created: datetime
    expires: datetime
    revoked: datetime | None = None
    single_use: bool = False
    used: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """A token that admits exactly one node and gives it `labels`."""

    token_id: str
    mac_key_id: str
    secret_mac: bytes = field(repr=False)
    labels: Labels
    created_by: str
    created: datetime
    expires: datetime
    used: datetime | None = None
    used_by: str | None = None  # node_id
