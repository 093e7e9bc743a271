"""The bootstrap credential works once, and tokens stand for whom they were made for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from fakes.admin_plane import AdminPlane

from sealward.controlplane.domain.errors import Code, Conflict, DomainError, Refused
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.services import bearer
from sealward.controlplane.services.bearer import BearerUse
from sealward.controlplane.services.principals import BOOTSTRAP_LIFETIME, MAX_TOKEN_LIFETIME


def code_of(call: object) -> Code:
    with pytest.raises(DomainError) as caught:
        call()
    return caught.value.code


def credential(plane: AdminPlane) -> str:
    issued = plane.services.principals.issue_bootstrap_credential()
    assert issued is not None
    return issued


def test_the_first_administrator_is_named_once(plane: AdminPlane) -> None:
    once = credential(plane)
    alice = plane.services.principals.bootstrap(once, "alice")
    assert alice.principal.roles == (Role.admin,)
    assert plane.services.principals.authenticate(alice.text) == alice.principal
    assert code_of(lambda: plane.services.principals.bootstrap(once, "mallory")) is Code.token_spent
    assert plane.services.principals.issue_bootstrap_credential() is None


def test_of_many_uses_at_once_exactly_one_counts(plane: AdminPlane) -> None:
    once = credential(plane)

    def attempt(number: int) -> str:
        try:
            return plane.services.principals.bootstrap(once, f"admin-{number}").text
        except Refused as error:
            return str(error.code)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, range(16)))
    assert answers.count("token_spent") == 15
    admins = plane.database.read(lambda tx: tx.principals.page(limit=100)).items
    assert len([p for p in admins if p.roles]) == 1


def test_the_bootstrap_credential_is_good_for_nothing_else(plane: AdminPlane) -> None:
    once = credential(plane)
    assert code_of(lambda: plane.services.principals.authenticate(once)) is Code.unauthenticated


def test_a_service_token_cannot_bootstrap(plane: AdminPlane) -> None:
    token = plane.administrator().text
    assert (
        code_of(lambda: plane.services.principals.bootstrap(token, "mallory"))
        is Code.unauthenticated
    )


def test_it_expires_and_a_restart_writes_a_new_one_that_revokes_the_old(plane: AdminPlane) -> None:
    first = credential(plane)
    plane.clock.advance(BOOTSTRAP_LIFETIME)
    assert (
        code_of(lambda: plane.services.principals.bootstrap(first, "alice")) is Code.token_expired
    )
    second, third = credential(plane), credential(plane)
    assert (
        code_of(lambda: plane.services.principals.bootstrap(second, "alice")) is Code.token_revoked
    )
    assert plane.services.principals.bootstrap(third, "alice").principal.name == "alice"


def test_a_refused_bootstrap_leaves_the_credential_usable(plane: AdminPlane) -> None:
    once = credential(plane)
    assert (
        code_of(lambda: plane.services.principals.bootstrap(once, "No Name"))
        is Code.invalid_request
    )
    taken = code_of(lambda: plane.services.principals.bootstrap(once, "bootstrap"))
    assert taken is Code.already_exists
    assert plane.services.principals.bootstrap(once, "alice").principal.name == "alice"


def test_nobody_locks_himself_out(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    refused = code_of(lambda: plane.services.principals.disable(alice, alice.principal_id))
    assert refused is Code.invalid_request


def test_two_administrators_who_disable_each_other_at_once_leave_one(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    bob = plane.services.principals.create(
        alice, name="bob", roles=(Role.admin,), lifetime=timedelta(days=1)
    ).principal

    def attempt(pair: tuple[Principal, Principal]) -> str:
        try:
            return plane.services.principals.disable(pair[0], pair[1].principal_id).name
        except Refused as error:
            return str(error.code)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(attempt, [(alice, bob), (bob, alice)]))
    assert answers.count("forbidden") == 1
    people = plane.database.read(lambda tx: tx.principals.page(limit=100)).items
    assert len([p for p in people if p.roles and p.disabled is None]) == 1


def test_a_further_token_outlives_the_first(plane: AdminPlane) -> None:
    alice = plane.administrator()
    principals = plane.services.principals
    plane.clock.advance(MAX_TOKEN_LIFETIME - timedelta(hours=1))
    again = principals.issue_token(
        alice.principal, alice.principal.principal_id, lifetime=MAX_TOKEN_LIFETIME
    )
    plane.clock.advance(timedelta(hours=2))
    assert code_of(lambda: principals.authenticate(alice.text)) is Code.token_expired
    assert principals.authenticate(again.text) == alice.principal
    bob = principals.create(
        alice.principal, name="bob", roles=(Role.viewer,), lifetime=timedelta(days=1)
    ).principal
    principals.disable(alice.principal, bob.principal_id)
    day = timedelta(days=1)
    refused = code_of(
        lambda: principals.issue_token(alice.principal, bob.principal_id, lifetime=day)
    )
    assert refused is Code.state_changed


def test_a_name_is_taken_once(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    with pytest.raises(Conflict):
        plane.services.principals.create(
            alice, name="alice", roles=(Role.viewer,), lifetime=timedelta(days=1)
        )


@pytest.mark.parametrize(
    ("name", "roles", "lifetime"),
    [
        ("", (Role.viewer,), timedelta(days=1)),
        ("Bob", (Role.viewer,), timedelta(days=1)),
        ("b" * 64, (Role.viewer,), timedelta(days=1)),
        ("bob\n", (Role.viewer,), timedelta(days=1)),
        ("bob", (), timedelta(days=1)),
        ("bob", (Role.viewer, Role.viewer), timedelta(days=1)),
        ("bob", (Role.viewer,), timedelta(0)),
        ("bob", (Role.viewer,), MAX_TOKEN_LIFETIME + timedelta(seconds=1)),
    ],
)
def test_what_is_not_a_principal_is_refused(
    plane: AdminPlane, name: str, roles: tuple[Role, ...], lifetime: timedelta
) -> None:
    alice = plane.administrator().principal
    before = plane.row_counts()
    refused = code_of(
        lambda: plane.services.principals.create(alice, name=name, roles=roles, lifetime=lifetime)
    )
    assert refused is Code.invalid_request
    assert plane.row_counts() == before


def test_a_join_token_is_no_service_token(plane: AdminPlane) -> None:
    """The MAC covers the use: a row copied into the other table lets nobody in."""
    alice = plane.administrator().principal
    issued = plane.services.join_tokens.create(alice)
    presented = bearer.parse(issued.text)
    assert presented is not None
    stored = {"mac_key_id": issued.token.mac_key_id, "secret_mac": issued.token.secret_mac}
    assert bearer.is_genuine(BearerUse.join, plane.keystore, presented, **stored)
    assert not bearer.is_genuine(BearerUse.service, plane.keystore, presented, **stored)


def test_a_mac_cannot_be_moved_to_another_token(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    one, other = (plane.services.join_tokens.create(alice) for _ in range(2))
    secret = one.text.partition(".")[2]
    moved = bearer.parse(f"{other.token.token_id}.{secret}")
    assert moved is not None
    assert not bearer.is_genuine(
        BearerUse.join,
        plane.keystore,
        moved,
        mac_key_id=one.token.mac_key_id,
        secret_mac=one.token.secret_mac,
    )


def test_no_token_is_stored_or_shown_by_a_repr(plane: AdminPlane) -> None:
    alice = plane.administrator()
    joined = plane.services.join_tokens.create(alice.principal)
    for text in (alice.text, joined.text):
        secret = text.partition(".")[2]
        assert secret not in plane.everything_stored()
        assert secret not in repr(alice) + repr(joined)


def test_a_disabled_principal_has_no_right(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    gone = Principal(
        principal_id=alice.principal_id,
        name="alice",
        roles=alice.roles,
        created=alice.created,
        disabled=alice.created,
    )
    assert code_of(lambda: plane.services.status.report(gone)) is Code.forbidden
