"""Who may do what: one table in plain code, because a policy must never rule on itself (F24).

An absent entry is a refusal. Taking access away needs one person with the operator's role; giving
it needs the role that owns the thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import Principal, Role


@unique
class Right(StrEnum):
    """One thing that a principal may do."""

    # Reading state.
    status_read = "status.read"
    trust_read = "trust.read"
    policy_read = "policy.read"
    reference_read = "reference.read"
    platform_read = "platform.read"
    trust_anchor_read = "trust_anchor.read"
    collateral_read = "collateral.read"
    workload_read = "workload.read"
    model_read = "model.read"
    node_read = "node.read"
    lease_read = "lease.read"

    # Reading what explains and proves; it names digests and floors (F26).
    node_explain = "node.explain"
    audit_read = "audit.read"
    principal_read = "principal.read"

    # Giving access.
    policy_upload = "policy.upload"
    policy_activate = "policy.activate"
    reference_import = "reference.import"
    reference_activate = "reference.activate"
    platform_allow = "platform.allow"
    collateral_import = "collateral.import"  # vendors sign it: who imports vouches for nothing
    trust_anchor_add = "trust_anchor.add"  # whoever adds one vouches for every TPM below it
    join_token_create = "join_token.create"  # noqa: S105 - the name of a right, not a token
    label_assign = "label.assign"  # a selector reads labels: whoever sets one sets policy (F21)
    workload_create = "workload.create"
    creator_manage = "creator.manage"  # whose models a workload runs; removing one withdraws them
    model_register = "model.register"
    client_token_create = "client_token.create"  # noqa: S105 - the name of a right, not a token
    node_result = "node.result"  # a signed statement about a node, for somebody else to act on
    result_key_rotate = "result_key.rotate"
    node_admit = "node.admit"
    node_release = "node.release"
    principal_manage = "principal.manage"

    # Taking access away.
    reference_withdraw = "reference.withdraw"
    platform_deny = "platform.deny"
    trust_anchor_remove = "trust_anchor.remove"
    model_withdraw = "model.withdraw"
    node_restrict = "node.restrict"  # reject, retire, quarantine
    token_revoke = "token.revoke"  # noqa: S105 - the name of a right, not a token


_VIEW: Final = frozenset(
    {
        Right.status_read,
        Right.trust_read,
        Right.policy_read,
        Right.reference_read,
        Right.platform_read,
        Right.trust_anchor_read,
        Right.collateral_read,
        Right.workload_read,
        Right.model_read,
        Right.node_read,
        Right.lease_read,
    }
)
_EXPLAIN: Final = _VIEW | {Right.node_explain}
_TAKE: Final = frozenset(
    {
        Right.reference_withdraw,
        Right.platform_deny,
        Right.trust_anchor_remove,
        Right.model_withdraw,
        Right.node_restrict,
    }
)

RIGHTS: Final[Mapping[Role, frozenset[Right]]] = MappingProxyType(
    {
        Role.admin: frozenset(Right),
        Role.operator: _EXPLAIN
        | _TAKE
        | {
            Right.platform_allow,
            Right.collateral_import,
            Right.join_token_create,
            Right.model_register,
            Right.client_token_create,
            Right.node_result,
            Right.node_admit,
            Right.node_release,
        },
        Role.policy_author: _EXPLAIN | {Right.policy_upload, Right.reference_import},
        Role.approver: _EXPLAIN | {Right.policy_activate, Right.reference_activate},
        Role.auditor: _EXPLAIN | {Right.audit_read, Right.principal_read},
        Role.viewer: _VIEW,
    }
)


def holds(principal: Principal, right: Right) -> bool:
    """Tell whether any role of the principal has the right; a disabled principal has none."""
    if principal.disabled is not None:
        return False
    return any(right in RIGHTS.get(role, frozenset()) for role in principal.roles)


def require(principal: Principal, right: Right) -> None:
    """Return when the principal has the right.

    Raises:
        Refused: forbidden; says which right is missing and which roles have it.
    """
    if holds(principal, right):
        return
    owners = ", ".join(role for role, rights in RIGHTS.items() if right in rights)
    raise Refused(
        Code.forbidden,
        f"{principal.name} does not have the right {right}",
        f"ask a principal with one of these roles: {owners}",
    )
