"""What policies are shown of a list is bounded, and says how much is not shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import policy_schemas

from sealward.verifier.rats import runtime_log
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.runtime_log import BootAggregate, Kind, Measured, RuntimeLog
from sealward.verifier.wire import json

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
AGENT = Measured("/usr/bin/agent", "sha256", "aa" * 32, Kind.FILE, "5e" * 32)
SHELL = Measured("/bin/sh", "sha384", "bb" * 48, Kind.FILE, None)
COPY = Measured("/srv/agent", "sha256", "aa" * 32, Kind.FILE, None)
WEAK = Measured("/usr/bin/weak", "sha1", "cc" * 20, Kind.FILE, None)


def log(*measured: Measured) -> RuntimeLog:
    return RuntimeLog(
        as_of=NOW,
        banks=("sha256",),
        entries=len(measured) + 1,
        violations=0,
        not_proven=2,
        boot_aggregate=BootAggregate.CONFIRMED,
        measured=measured,
    )


def shown(value: RuntimeLog, known: frozenset[str] = frozenset()) -> dict[str, Any]:
    claim = value.to_json(known)
    schema = policy_schemas.read("claims")["properties"]["ima"]
    assert policy_schemas.violations(claim, schema, "claims") == []
    return claim


def test_the_claim_is_of_the_moment_and_shows_what_did_not_match() -> None:
    claim = shown(log(AGENT, SHELL, COPY), frozenset({"aa" * 32, "dd" * 32}))
    assert claim == {
        "scope": "runtime",
        "as_of": "2026-11-23T12:00:00Z",
        "banks": ["sha256"],
        "entries": 4,
        "violations": 0,
        "not_proven": 2,
        "boot_aggregate": "confirmed",
        "known": {"count": 2, "unsigned": 1, "signers": ["5e" * 32]},
        "unknown": {
            "count": 1,
            "shown": [
                {
                    "path": "/bin/sh",
                    "algorithm": "sha384",
                    "digest": "bb" * 48,
                    "kind": "file",
                    "signer": None,
                }
            ],
        },
    }


def test_nothing_is_known_unless_the_host_says_so() -> None:
    claim = shown(log(AGENT))
    assert claim["known"] == {"count": 0, "unsigned": 0, "signers": []}
    assert claim["unknown"]["count"] == 1


def test_a_weak_digest_is_neither_looked_up_nor_known() -> None:
    value = log(WEAK, AGENT, COPY)
    assert value.digests() == (AGENT.digest,)
    claim = shown(value, frozenset({WEAK.digest, AGENT.digest}))
    assert [item["path"] for item in claim["unknown"]["shown"]] == ["/usr/bin/weak"]


def test_a_policy_is_shown_a_bounded_number_and_told_how_many_there_are() -> None:
    many = log(*(Measured(f"/{n}", "sha256", f"{n:064x}", Kind.FILE, None) for n in range(1000)))
    unknown = shown(many)["unknown"]
    assert unknown["count"] == 1000
    assert len(unknown["shown"]) == runtime_log.MAX_SHOWN
    assert unknown["shown"][-1]["path"] == "/255"


def test_long_paths_have_their_own_limit_and_nothing_is_skipped_for_a_shorter_one() -> None:
    long = [
        Measured("/" + "x" * 4000 + str(n), "sha256", f"{n:064x}", Kind.FILE, None)
        for n in range(20)
    ]
    unknown = shown(log(*long, SHELL))["unknown"]
    assert unknown["count"] == 21
    assert len(unknown["shown"]) == 16
    assert SHELL.path not in {item["path"] for item in unknown["shown"]}


@pytest.mark.parametrize("signers", [1, 64, 65])
def test_signers_beyond_the_limit_count_as_unsigned(signers: int) -> None:
    signed = log(
        *(Measured(f"/{n}", "sha256", f"{n:064x}", Kind.FILE, f"{n:064x}") for n in range(signers))
    )
    known = shown(signed, frozenset(signed.digests()))["known"]
    assert len(known["signers"]) == min(signers, runtime_log.MAX_SIGNERS)
    assert known["unsigned"] == max(0, signers - runtime_log.MAX_SIGNERS)


def test_a_recorded_claim_is_told_anew_from_what_is_kept() -> None:
    whole = log(AGENT, SHELL, COPY)
    for known in (frozenset[str](), frozenset({"aa" * 32})):
        told = json.decode(json.canonical(whole.to_json(known)), what="claim", max_bytes=1 << 16)
        again = runtime_log.recorded(told, whole.measured)
        assert again == whole
        assert again.to_json(known) == whole.to_json(known)


@pytest.mark.parametrize(
    "changes",
    [
        {"as_of": "yesterday"},
        {"as_of": None},
        {"banks": "sha256"},
        {"entries": "4"},
        {"violations": None},
        {"not_proven": []},
        {"boot_aggregate": "perhaps"},
    ],
)
def test_what_is_no_recorded_claim_is_malformed(changes: dict[str, Any]) -> None:
    told = log(AGENT).to_json()
    with pytest.raises(MalformedEvidence):
        runtime_log.recorded(told | changes, ())
    for name in changes:
        with pytest.raises(MalformedEvidence):
            runtime_log.recorded({k: v for k, v in told.items() if k != name}, ())
