"""The rights table: an absent entry is a refusal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.services.authorization import RIGHTS, Right, holds, require

GIVING = {
    Right.policy_upload,
    Right.policy_activate,
    Right.reference_import,
    Right.reference_activate,
    Right.platform_allow,
    Right.workload_create,
    Right.model_register,
    Right.node_admit,
    Right.node_release,
    Right.principal_manage,
}


def principal(*roles: Role) -> Principal:
    return Principal(
        principal_id="1" * 32, name="p", roles=roles, created=datetime(2026, 1, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("right", Right)
def test_every_cell_is_a_right_or_a_refusal_that_names_who_has_it(role: Role, right: Right) -> None:
    if right in RIGHTS[role]:
        require(principal(role), right)
        return
    with pytest.raises(Refused) as caught:
        require(principal(role), right)
    assert caught.value.code is Code.forbidden
    assert "admin" in caught.value.hint


def test_nobody_without_a_role_may_do_anything() -> None:
    assert not any(holds(principal(), right) for right in Right)


def test_roles_add_up() -> None:
    both = principal(Role.auditor, Role.approver)
    assert holds(both, Right.audit_read)
    assert holds(both, Right.policy_activate)


@pytest.mark.parametrize("role", [Role.viewer, Role.auditor])
def test_readers_give_and_take_nothing(role: Role) -> None:
    assert all(right.endswith((".read", ".explain")) for right in RIGHTS[role])


def test_who_writes_a_policy_does_not_put_it_in_force() -> None:
    """Except the administrator, until quorum approvals exist."""
    for role in set(Role) - {Role.admin}:
        assert not {Right.policy_upload, Right.policy_activate} <= RIGHTS[role]
        assert not {Right.reference_import, Right.reference_activate} <= RIGHTS[role]


def test_an_operator_takes_access_away_alone() -> None:
    taking = {Right.reference_withdraw, Right.platform_deny, Right.model_withdraw}
    assert taking | {Right.node_restrict} <= RIGHTS[Role.operator]


def test_a_viewer_gives_nothing() -> None:
    assert not GIVING & RIGHTS[Role.viewer]
