"""Who gets in: every guarded route, every role, and every way of not being anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.admin_plane import AdminPlane, admin_plane, bearer
from fakes.admin_requests import CALLS, Call

from sealward.controlplane.domain.principals import Role
from sealward.controlplane.services.authorization import RIGHTS, Right

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/v1/bootstrap"),
    ("GET", "/v1/result-keys"),
}


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, template: Path
) -> Iterator[tuple[AdminPlane, dict[str, str]]]:
    """One administration with a principal of every role: refusals change nothing in it."""
    with admin_plane(tmp_path_factory.mktemp("access"), template) as plane:
        alice = plane.administrator()
        tokens = {str(role): plane.token_for(alice.principal, role) for role in Role}
        yield plane, tokens


def test_the_table_of_calls_covers_every_route(plane: AdminPlane) -> None:
    paths = plane.client.app.openapi()["paths"]
    declared = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert declared - OPEN == {(call.method, call.route) for call in CALLS}


def test_every_right_guards_some_route() -> None:
    assert {call.right for call in CALLS} == set(Right)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_stranger_gets_401_and_no_detail(
    shared: tuple[AdminPlane, dict[str, str]], call: Call
) -> None:
    plane, _ = shared
    before = plane.row_counts()
    answer = plane.client.request(
        call.method, call.path, content=call.content, headers=call.headers
    )
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert plane.row_counts() == before


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_each_role_without_the_right_gets_403_and_changes_nothing(
    shared: tuple[AdminPlane, dict[str, str]], call: Call
) -> None:
    """And each role with it may read; what a role may change is tested where it does."""
    plane, tokens = shared
    before = dict(plane.row_counts())
    for role in Role:
        allowed = call.right in RIGHTS[role]
        if allowed and call.right is Right.node_explain:
            before["audit_entries"] += 1  # whoever reads why is on record
        if allowed and call.method != "GET":
            continue
        headers = {**call.headers, **bearer(tokens[role])}
        answer = plane.client.request(call.method, call.path, content=call.content, headers=headers)
        if allowed:
            assert answer.status_code in {200, 404}, role
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), role
            assert call.right in answer.json()["detail"]
    assert plane.row_counts() == before


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YWxpY2U6c2VjcmV0",
        "Bearer " + "0" * 32,
        "Bearer " + "0" * 32 + "." + "A" * 43,
        "Bearer " + "A" * 100_000,
        "Bearer \u00e9",
    ],
)
def test_what_is_no_token_is_401(plane: AdminPlane, header: str) -> None:
    answer = plane.client.get("/v1/status", headers={"Authorization": header.encode("utf-8")})
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"


def test_two_authorization_headers_are_401(plane: AdminPlane) -> None:
    token = plane.administrator().text
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert plane.client.get("/v1/status", headers=headers).status_code == 401


def test_a_right_token_with_one_changed_character_is_401(plane: AdminPlane) -> None:
    token = plane.administrator().text
    for at in range(0, len(token), 7):
        changed = token[:at] + ("0" if token[at] != "0" else "1") + token[at + 1 :]
        answer = plane.client.get("/v1/status", headers=bearer(changed))
        assert answer.json()["code"] == "unauthenticated"


def test_an_expired_token_says_so_to_its_holder_only(plane: AdminPlane) -> None:
    alice = plane.administrator()
    viewer = plane.token_for(alice.principal, Role.viewer)
    plane.clock.advance(timedelta(days=1))
    assert plane.client.get("/v1/status", headers=bearer(viewer)).json()["code"] == "token_expired"
    wrong = f"{viewer.partition('.')[0]}.{'A' * 43}"
    assert plane.client.get("/v1/status", headers=bearer(wrong)).json()["code"] == "unauthenticated"


def test_a_revoked_token_and_a_disabled_principal_are_out_at_once(plane: AdminPlane) -> None:
    alice = plane.administrator()
    first, second = (plane.token_for(alice.principal, role) for role in (Role.viewer, Role.auditor))
    admin = bearer(alice.text)
    revoked = plane.client.post(f"/v1/tokens/{first.partition('.')[0]}/revoke", headers=admin)
    assert revoked.status_code == 200
    assert plane.client.get("/v1/status", headers=bearer(first)).json()["code"] == "token_revoked"
    people = plane.client.get("/v1/principals", headers=admin).json()["items"]
    auditor = next(p["principal_id"] for p in people if p["roles"] == ["auditor"])
    assert plane.client.post(f"/v1/principals/{auditor}/disable", headers=admin).status_code == 200
    answer = plane.client.get("/v1/status", headers=bearer(second))
    assert answer.json()["code"] == "unauthenticated"


def test_anybody_may_revoke_his_own_token(plane: AdminPlane) -> None:
    viewer = plane.token_for(plane.administrator().principal, Role.viewer)
    path = f"/v1/tokens/{viewer.partition('.')[0]}/revoke"
    assert plane.client.post(path, headers=bearer(viewer)).status_code == 200
    assert plane.client.get("/v1/status", headers=bearer(viewer)).status_code == 401


def test_a_body_of_a_stranger_is_never_read(plane: AdminPlane) -> None:
    """The refusal comes before the first byte: a stranger cannot make us parse or buffer."""
    read: list[bytes] = []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            read.append(b"x" * 1024)
            yield read[-1]

    answer = plane.client.post("/v1/policies", content=chunks())
    assert answer.status_code == 401
    assert read == []
