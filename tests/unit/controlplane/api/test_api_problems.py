"""How refusals look from outside, and what never gets there."""

from __future__ import annotations

import pytest
from fakes.admin_plane import AdminPlane, bearer
from fakes.admin_requests import POLICY, REFERENCE_SET
from starlette.requests import Request

from sealward.controlplane.api import problems
from sealward.controlplane.domain.errors import (
    Code,
    Conflict,
    DomainError,
    NotFound,
    Refused,
    Unavailable,
)

REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": []})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound(Code.node_unknown, "d"), 404),
        (Conflict(Code.state_changed, "d"), 409),
        (Conflict(Code.already_exists, "d"), 409),
        (Refused(Code.policy_invalid, "d"), 422),
        (Refused(Code.unauthenticated, "d"), 401),
        (Refused(Code.forbidden, "d"), 403),
        (Refused(Code.payload_too_large, "d"), 413),
        (Refused(Code.rate_limited, "d"), 429),
        (Refused(Code.keystore_refused, "d"), 500),
        (Unavailable(Code.database_unavailable, "d"), 503),
    ],
)
def test_each_kind_of_refusal_has_its_status(error: DomainError, status: int) -> None:
    assert problems.from_domain(REQUEST, error).status_code == status


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("kind", [NotFound, Conflict, Refused, Unavailable])
def test_every_code_becomes_a_problem_and_5xx_keep_their_detail(
    code: Code, kind: type[DomainError]
) -> None:
    answer = problems.from_domain(REQUEST, kind(code, "planted-detail", "planted-hint"))
    assert 400 <= answer.status_code <= 503
    body = bytes(answer.body).decode()
    assert f'"code":"{code}"' in body
    assert ("planted" in body) == (answer.status_code < 500)


def test_an_unforeseen_exception_is_a_500_that_says_nothing(
    plane: AdminPlane, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("planted-secret")

    plane.client.app.add_api_route("/v1/broken", lambda: broken(None))
    answer = plane.client.get("/v1/broken", headers={"X-Correlation-Id": "known-0001"})
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert answer.json()["correlation_id"] == "known-0001"
    # Wherever the process has been told to log: another test may have configured it.
    logged = capsys.readouterr().out + caplog.text
    assert "known-0001" in logged
    assert "RuntimeError" in logged
    assert "planted-secret" not in answer.text + logged


@pytest.mark.parametrize(
    "given", ["short", "a" * 65, "with space", "new\u2028line", "x'\"<>\x1b[31m"]
)
def test_a_correlation_id_that_could_act_is_replaced(plane: AdminPlane, given: str) -> None:
    answer = plane.client.get("/healthz", headers={"X-Correlation-Id": given.encode("utf-8")})
    assert answer.headers["x-correlation-id"] != given
    assert len(answer.headers["x-correlation-id"]) == 32


def test_a_closed_database_is_503_and_not_ready(plane: AdminPlane) -> None:
    token = plane.administrator().text
    plane.database.close()
    written = plane.client.post("/v1/join-tokens", json={}, headers=bearer(token))
    assert written.status_code == 503
    assert written.headers["retry-after"] == "1"
    assert plane.client.get("/healthz").status_code == 200


def test_names_that_are_taken_or_unknown(plane: AdminPlane) -> None:
    admin = bearer(plane.administrator().text)
    first = plane.client.post("/v1/reference-sets?activate=true", json=REFERENCE_SET, headers=admin)
    assert first.status_code == 201
    again = plane.client.post("/v1/reference-sets", json=REFERENCE_SET, headers=admin)
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    missing = plane.client.get("/v1/reference-sets/other", headers=admin)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    unknown = plane.client.get(f"/v1/nodes/{'0' * 64}", headers=admin)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "node_unknown")


def test_two_activations_at_once_cannot_undo_each_other(plane: AdminPlane) -> None:
    admin = bearer(plane.administrator().text)
    digest = plane.client.post("/v1/policies", json=POLICY, headers=admin).json()["digest"]
    body = {"digest": digest, "replaces": None}
    assert plane.client.post("/v1/activations", json=body, headers=admin).status_code == 201
    second = plane.client.post("/v1/activations", json=body, headers=admin)
    assert (second.status_code, second.json()["code"]) == (409, "activation_replaced")


def test_the_description_of_the_api_is_served(plane: AdminPlane) -> None:
    paths = plane.client.get("/v1/openapi.json").json()["paths"]
    assert "/v1/nodes/{node_id}/explain" in paths
