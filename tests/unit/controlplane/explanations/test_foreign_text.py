"""What others wrote into evidence, labels and policies acts nowhere that an explanation is shown.

Terminal and HTML escapes stand in every free field; then every output is looked at (F26).
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner
from fakes.admin_plane import NODE_ID, START, AdminPlane, bearer
from fakes.admin_server import Server, tls_server

from sealward import telemetry
from sealward.controlplane.cli.main import main
from sealward.controlplane.domain.attempts import Attempt, AttemptCall
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.nodes import NodeEvidence
from sealward.controlplane.domain.records import JsonText
from sealward.controlplane.domain.reference_values import (
    ReferenceSet,
    ReferenceSetState,
    ReferenceValue,
)
from sealward.controlplane.rpc import errors as rpc_errors
from sealward.controlplane.services.refusals import finding_of, refused
from sealward.verifier.rats.errors import Code as VerifierCode
from sealward.verifier.rats.errors import RefusedEvidence
from sealward.verifier.rats.result import Posture

TERMINAL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066\x7f\r\n"
PAGE = "</pre><script>alert('&')</script>"
FOREIGN = f"{TERMINAL}{PAGE}"
DIGEST = "ab" * 32
QUOTE, QUOTE_OF_ATTEMPT = "c0ffee00c0ffee00", "c0ffee00c0ffee01"
REASON = {
    "code": FOREIGN,
    "claim": "claims.measurements[pcr8]",
    "expected": FOREIGN,
    "actual": DIGEST,
    "hint": FOREIGN,
    "layer": "organisation",
    "rule": FOREIGN,
}
OTHER = {
    **REASON,
    "claim": f"later than claims {FOREIGN}",
    "actual": FOREIGN,
    "layer": FOREIGN,
    "workload": FOREIGN,
}


def text(value: object) -> JsonText:
    return JsonText(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


@pytest.fixture
def planted(plane: AdminPlane) -> AdminPlane:
    """A node, its evidence, a decision, an attempt and a reference value, each full of escapes."""
    plane.add_node(
        agent_version=FOREIGN,
        instance_value=FOREIGN,
        provider=FOREIGN,
        posture_code=FOREIGN,
        labels_attested=((FOREIGN, FOREIGN),),
        labels_assigned=((FOREIGN, FOREIGN),),
    )
    fact = {"name": FOREIGN, "value": FOREIGN, "register": 8, "standing": FOREIGN}
    measured = {"name": "pcr8", "algorithm": "sha256", "digest": DIGEST}
    claims = {
        "tee": "tpm",
        "product": FOREIGN,
        "measurements": [measured],
        "tpm": {"event_log": {"facts": [fact]}},
    }
    evidence = NodeEvidence(
        node_id=NODE_ID,
        cmw=b"",
        evidence_digest="0e" * 32,
        claims=text(claims),
        claims_digest="0c" * 32,
        verifier_build=FOREIGN,
        anchors_digest="0a" * 32,
        as_of=START,
        posture=Posture.NONCOMPLIANT,
        trust_vector=text({FOREIGN: FOREIGN}),
        reasons=text([OTHER]),
    )
    plane.add_decision(
        code=FOREIGN,
        reasons=text([REASON, OTHER]),
        input_digests=text({"evidence": evidence.evidence_digest}),
        correlation_id=QUOTE,
    )
    stored = ReferenceSet(
        name=FOREIGN,
        digest="00" * 32,
        state=ReferenceSetState.active,
        not_after=None,
        imported_by="alice",
        imported=START,
        entry_id="e" * 32,
    )
    value = ReferenceValue(
        set_name=FOREIGN,
        kind="pcr",
        key=f"sha256/8/{'cd' * 32}",
        value=text({"name": FOREIGN}),
        withdraw_reason=FOREIGN,
    )
    # A certificate's names come through the verifier's own words.
    cause = RefusedEvidence(VerifierCode.CHAIN_BROKEN, FOREIGN, actual=FOREIGN, hint=FOREIGN)
    error = refused(cause)
    error.__cause__ = cause
    attempt = Attempt(
        attempt_id="a" * 32,
        correlation_id=QUOTE_OF_ATTEMPT,
        node_id=NODE_ID,
        enrolled=True,
        call=AttemptCall.attest,
        code="evidence_refused",
        reason=text(finding_of(error).to_json()),
        at=START,
    )

    def write(tx: Any) -> None:  # noqa: ANN401 - any transaction
        tx.evidence.put(evidence)
        tx.references.add_set(stored, (value,))
        tx.attempts.add(attempt)

    plane.database.write(write)
    return plane


PATHS = (
    f"/v1/nodes/{NODE_ID}/explain",
    f"/v1/explanations/{QUOTE}",
    f"/v1/explanations/{QUOTE_OF_ATTEMPT}",
    "/v1/decisions",
    f"/v1/nodes/{NODE_ID}",
    "/v1/nodes",
)
COMMANDS = (
    ("node", "explain", NODE_ID),
    ("node", "explain", "--correlation", QUOTE),
    ("node", "explain", "--correlation", QUOTE_OF_ATTEMPT),
    ("node", "show", NODE_ID),
    ("node", "list"),
)


def unescaped(answer: object) -> list[str]:
    """Every text in a decoded answer, names of members included."""
    if isinstance(answer, dict):
        return [t for pair in answer.items() for item in pair for t in unescaped(item)]
    if isinstance(answer, list):
        return [t for item in answer for t in unescaped(item)]
    return [answer] if isinstance(answer, str) else []


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_is_json_in_which_nothing_acts_and_nothing_is_lost(
    planted: AdminPlane, path: str
) -> None:
    token = planted.administrator().text
    answer = planted.client.get(path, headers=bearer(token))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.content.isascii()
    assert all(character.isprintable() for character in answer.text)
    assert not set("<>&") & set(answer.text)
    assert FOREIGN in unescaped(json.loads(answer.content))  # noqa: TID251 - as a script would read


@contextmanager
def commands(plane: AdminPlane, folder: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    token = plane.administrator().text
    with tls_server(plane, folder) as server:
        credentials = folder / "alice.json"
        account = {"v": 1, "server": server.url, "ca": server.ca.read_text(), "token": token}
        credentials.touch(0o600)
        credentials.write_text(json.dumps(account))
        yield server, {"SEALWARD_CREDENTIALS": str(credentials)}


def test_no_command_lets_anything_act(planted: AdminPlane, tmp_path: Path) -> None:
    folder = tmp_path / "cli"
    folder.mkdir()
    with commands(planted, folder) as (_, environment):
        for command in COMMANDS:
            shown = CliRunner().invoke(main, command, env=environment)
            assert shown.exit_code == 0, shown.output
            lines = shown.stdout.splitlines()
            assert all(character.isprintable() for line in lines for character in line)
            assert "\\u{1b}" in shown.stdout
            as_json = CliRunner().invoke(main, (*command, "--json"), env=environment)
            assert as_json.stdout.isascii()
            assert all(c.isprintable() or c == "\n" for c in as_json.stdout)
            assert not set("<>&") & set(as_json.stdout)
            assert FOREIGN in unescaped(json.loads(as_json.stdout))  # noqa: TID251 - as a script


def test_every_field_of_an_explanation_is_shown_escaped(
    planted: AdminPlane, tmp_path: Path
) -> None:
    """What is not shown could not act either: each part is there."""
    folder = tmp_path / "cli"
    folder.mkdir()
    with commands(planted, folder) as (_, environment):
        shown = CliRunner().invoke(main, COMMANDS[1], env=environment).stdout
    titles = [line.split("  ")[0] for line in shown.splitlines() if "\\u{1b}" in line]
    assert {"cause", "rule", "expected", "accepted", "nearest", "event log", "mend"} <= set(titles)


@contextmanager
def logged() -> Iterator[io.StringIO]:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    try:
        yield stream
    finally:
        root.handlers, root.level = handlers, level
        structlog.configure(**before)


class _Caller:
    """The side of a call that is refused."""

    def __init__(self) -> None:
        self.told: tuple[str, dict[str, str]] = ("", {})

    async def abort(self, _status: object, details: str, trailing_metadata: Any) -> None:  # noqa: ANN401 - grpc's
        self.told = (details, dict(trailing_metadata))
        raise ConnectionAbortedError


@pytest.mark.parametrize("as_json", [True, False])
def test_the_log_of_a_refusal_lets_nothing_act_and_the_node_sees_none_of_it(
    *, as_json: bool
) -> None:
    caller = _Caller()
    error = refused(RefusedEvidence(VerifierCode.CHAIN_BROKEN, FOREIGN))
    with logged() as stream:
        telemetry.configure(as_json=as_json, stream=stream)
        with pytest.raises(ConnectionAbortedError):
            asyncio.run(
                rpc_errors.abort(
                    caller,
                    error,
                    call="Attest",
                    correlation_id=QUOTE,
                    count=lambda _call, _code: None,
                )
            )
        line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.isascii()
    assert all(character.isprintable() for character in line.rstrip("\n"))
    assert not as_json or not set("<>&") & set(line)
    assert caller.told == (
        "evidence_refused",
        {"sealward-code": "evidence_refused", "sealward-correlation-id": QUOTE},
    )


def test_a_platform_that_is_denied_is_no_word_for_a_node() -> None:
    caller = _Caller()
    with pytest.raises(ConnectionAbortedError):
        asyncio.run(
            rpc_errors.abort(
                caller,
                Refused(Code.platform_denied, "it is on our list"),
                call="Enroll",
                correlation_id=QUOTE,
                count=lambda _call, _code: None,
            )
        )
    assert caller.told[0] == "evidence_refused"


def test_an_attempt_with_a_hostile_reason_is_read_back(planted: AdminPlane) -> None:
    alice = planted.administrator().principal
    cause = planted.services.explanations.of_correlation(alice, QUOTE_OF_ATTEMPT).cause
    assert (cause.finding.code, cause.finding.actual, cause.mend) == (
        "chain_broken",
        FOREIGN,
        FOREIGN,
    )
