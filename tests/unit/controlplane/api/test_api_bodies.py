"""Bad input: every malformed body gets one clear problem and changes nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fakes.admin_plane import AdminPlane, admin_plane, bearer
from fakes.admin_requests import CALLS, Call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealward.controlplane.api.envelope import MAX_BODY_BYTES, body_budget
from sealward.controlplane.services.authorization import Right

WITH_BODY = [call for call in CALLS if call.content is not None]
JSON = {"Content-Type": "application/json"}

WRONG = (None, True, 1, -1, 1.5, [], {}, "", "\x00", "a" * 5000)

# What is of its form after all: no note, no reason where none is needed, one second, any id.
ACCEPTED = (
    ("not_after", None),
    ("replaces", None),
    ("replaces", ""),
    ("replaces", "\x00"),
    ("replaces", "a" * 5000),
    ("labels", {}),
    ("note", ""),
    ("lifetime_seconds", 1),
    ("revoke", True),
)
# Moves of a node that are their own reason; quarantine shares a right with them and has a test.
NO_REASON_NEEDED = {Right.node_admit, Right.node_restrict}
# Texts that only name something: whatever they say, there is nothing of that name.
WITHDRAWALS = "/v1/reference-sets/{name}/withdrawals"
REINSTATEMENTS = "/v1/reference-sets/{name}/reinstatements"
NAMING = {
    (WITHDRAWALS, "kind"),
    (WITHDRAWALS, "key"),
    (REINSTATEMENTS, "kind"),
    (REINSTATEMENTS, "key"),
    ("/v1/client-tokens", "workload"),
}


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, template: Path
) -> Iterator[tuple[AdminPlane, str]]:
    with admin_plane(tmp_path_factory.mktemp("bodies"), template) as plane:
        yield plane, plane.administrator().text


def refused(shared: tuple[AdminPlane, str], call: Call, content: bytes, status: int = 422) -> str:
    """Send the content, expect a problem and an untouched database, return the code."""
    plane, token = shared
    before = plane.row_counts()
    answer = plane.client.request(
        call.method, call.path, content=content, headers={**JSON, **bearer(token)}
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:sealward:problem:{problem['code']}"
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["correlation_id"] == answer.headers["x-correlation-id"]
    assert plane.row_counts() == before
    return str(problem["code"])


@pytest.mark.parametrize("call", WITH_BODY, ids=str)
def test_every_truncation_is_refused(shared: tuple[AdminPlane, str], call: Call) -> None:
    whole = call.content
    assert whole is not None
    for size in {0, 1, len(whole) // 2, len(whole) - 1} - {len(whole)}:
        refused(shared, call, whole[:size])


NOT_THE_OBJECT = [
    b"null",
    b"[]",
    b'"text"',
    b"7",
    b"NaN",
    b'{"name":NaN}',
    b'{"name":Infinity}',
    b'{"name":1e999}',
    b'{"name":"\xff"}',
    b'{"name":"\\ud800"}',
    b'\xef\xbb\xbf{"name":"a"}',
    b'{"name":"a"}{}',
    b'{"name":"a"',
    b"{'name':'a'}",
    b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"name":123456789012345678901234567890}',
]


@pytest.mark.parametrize("call", WITH_BODY, ids=str)
def test_what_is_not_the_object_asked_for_is_refused(
    shared: tuple[AdminPlane, str], call: Call
) -> None:
    for content in NOT_THE_OBJECT:
        refused(shared, call, content)


@pytest.mark.parametrize("call", [c for c in WITH_BODY if c.body], ids=str)
def test_unknown_missing_and_duplicate_members_are_refused(
    shared: tuple[AdminPlane, str], call: Call
) -> None:
    refused(shared, call, json.dumps({**call.body, "extra": 1}).encode())
    name, value = next(iter(call.body.items()))
    whole = json.dumps(call.body)
    twice = f"{whole[:-1]}, {json.dumps(name)}: {json.dumps(value)}}}"
    refused(shared, call, twice.encode())


@pytest.mark.parametrize("call", [c for c in WITH_BODY if c.body], ids=str)
def test_no_member_of_another_type_or_size_is_accepted(
    shared: tuple[AdminPlane, str], call: Call
) -> None:
    for name, wrong in itertools.product(call.body, WRONG):
        if any(name == other and wrong == value for other, value in ACCEPTED):
            continue
        if call.right in NO_REASON_NEEDED and name == "reason" and wrong == "":
            continue
        names_something = isinstance(wrong, str) and (call.route, name) in NAMING
        content = json.dumps({**call.body, name: wrong}).encode()
        refused(shared, call, content, 404 if names_something else 422)


@pytest.mark.parametrize("call", WITH_BODY, ids=str)
def test_a_body_beyond_its_budget_is_413_declared_or_not(
    shared: tuple[AdminPlane, str], call: Call
) -> None:
    plane, token = shared
    budget = body_budget(call.path)
    assert refused(shared, call, b" " * (budget + 1), 413) == "payload_too_large"
    if budget > MAX_BODY_BYTES:
        return

    async def undeclared() -> AsyncIterator[bytes]:
        for _ in range(budget // 1024 + 1):
            yield b" " * 1024

    answer = plane.client.request(
        call.method, call.path, content=undeclared(), headers={**JSON, **bearer(token)}
    )
    assert answer.status_code == 413


def test_a_body_that_is_not_called_json_is_refused(shared: tuple[AdminPlane, str]) -> None:
    plane, token = shared
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        answer = plane.client.post(
            "/v1/workloads",
            content=b'{"name":"a"}',
            headers={"Content-Type": media_type, **bearer(token)},
        )
        assert answer.status_code == 422
    assert not plane.client.get("/v1/workloads", headers=bearer(token)).json()["items"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "nope=1",
        "after=" + "a" * 1025,
    ],
)
def test_a_query_that_is_not_of_its_form_is_refused(
    shared: tuple[AdminPlane, str], query: str
) -> None:
    plane, token = shared
    for call in CALLS:
        if call.method == "GET" and call.route.endswith(("s", "entries", "values", "exposure")):
            if call.route == "/v1/status":
                continue
            answer = plane.client.get(f"{call.path}?{query}", headers=bearer(token))
            assert answer.status_code == 422, call
            assert answer.json()["code"] == "invalid_request"


@pytest.mark.parametrize(
    "cursor", ["\x00", "%", "null", "..", "ffff/1", "'; --", "\u202e", "1,2,3"]
)
def test_a_cursor_that_nobody_gave_is_an_empty_page_or_a_problem(
    shared: tuple[AdminPlane, str], cursor: str
) -> None:
    plane, token = shared
    for call in CALLS:
        if call.method == "GET" and call.route.endswith(("s", "entries")):
            answer = plane.client.request(
                "GET", call.path, params={"after": cursor}, headers=bearer(token)
            )
            assert answer.status_code in {200, 404, 422}, (call, answer.text)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200))
def test_no_bytes_make_a_route_fail(shared: tuple[AdminPlane, str], body: bytes) -> None:
    plane, token = shared
    for path in ("/v1/workloads", "/v1/reference-sets", "/v1/workloads/scoring/models"):
        answer = plane.client.post(path, content=body, headers={**JSON, **bearer(token)})
        assert answer.status_code == 422


def test_a_problem_never_repeats_what_the_body_held(shared: tuple[AdminPlane, str]) -> None:
    plane, token = shared
    planted = "do-not-repeat-0123456789"
    answer = plane.client.post(
        "/v1/workloads",
        content=json.dumps({"name": {"a": planted}, "ttl_seconds": planted}),
        headers={**JSON, **bearer(token)},
    )
    assert answer.status_code == 422
    assert planted not in answer.text
