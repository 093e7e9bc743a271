"""The gate over the lease book: who may ask which model, and until which instant."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.agent_terms import NONCE, grant, lease, model, revocation
from fakes.fake_control_plane import raw

from sealward.enclave_agent.gate import BookGate
from sealward.enclave_agent.inference.gate import Refusal, Refused
from sealward.enclave_agent.leases import LeaseBook
from sealward.protos.terms import LeaseTerms, LeaseTermsState, VerifiedTerms
from sealward.protos.wipe import WipeCause

MS = 1_000_000
NOW_S = time.time_ns() // 1_000_000_000


class Door:
    """A gate, its book, and both of its clocks in a test's hand."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.wall_ms = NOW_S * 1000
        self.key = Ed25519PrivateKey.generate()
        self.sequence = 0
        self.book = LeaseBook()
        self.gate = BookGate(
            self.book,
            trust_domain="plane.test",
            tenant="acme",
            clock=lambda: self.now_ms * MS,
            wall_clock=lambda: self.wall_ms,
        )

    def grant(self, *leases: LeaseTerms) -> None:
        self.sequence += 1
        verified = grant(self.sequence, *leases)
        terms = verified.terms
        object.__setattr__(terms, "client_token_keys", (raw(self.key),))
        self.book.accept_grant(
            VerifiedTerms(terms, verified.digest), nonce=NONCE, sent_ns=0, now_ns=self.now_ms * MS
        )

    def token(self, workload: str = "w", **changes: object) -> str:
        claims = {
            "iss": "plane.test",
            "aud": f"workload:{workload}",
            "sub": "c",
            "tenant": "acme",
            "jti": "1",
            "iat": NOW_S,
            "exp": NOW_S + 60,
        }
        headers = {
            "kid": hashlib.sha256(raw(self.key)).hexdigest(),
            "typ": "sealward-client+jwt",
        }
        return jwt.encode(claims | changes, self.key, "EdDSA", headers=headers)

    def refusal(self, name: str = "m", token: str | None = None) -> Refusal:
        with pytest.raises(Refused) as raised:
            self.gate.enter(name, token or self.token())
        return raised.value.code


def test_a_live_lease_lets_its_workload_in_until_the_horizon() -> None:
    """The same permit that was given before the horizon releases nothing at it."""
    door = Door()
    door.grant(lease(ttl_ms=1_000))
    permit = door.gate.enter("m", door.token())
    door.now_ms = 999
    permit.release()
    door.now_ms = 1_000
    with pytest.raises(Refused) as raised:
        permit.release()
    assert raised.value.code is Refusal.LEASE_EXPIRED
    assert door.refusal() is Refusal.LEASE_EXPIRED


def test_a_revocation_between_input_and_output_withholds_the_output() -> None:
    door = Door()
    door.grant(lease())
    permit = door.gate.enter("m", door.token())
    ended = door.book.accept_revocation(
        revocation(2, lease(1, LeaseTermsState.ENDED)), now_ns=0
    ).ended
    door.gate.note_ended(ended, WipeCause.REVOKED)
    with pytest.raises(Refused) as raised:
        permit.release()
    assert raised.value.code is Refusal.LEASE_REVOKED
    assert door.refusal() is Refusal.LEASE_REVOKED


def test_an_unknown_model_and_another_workload_are_told_apart() -> None:
    door = Door()
    door.grant(lease())
    assert door.refusal("other") is Refusal.UNKNOWN_MODEL
    assert door.refusal("m", door.token("v")) is Refusal.FORBIDDEN


def test_tokens_are_checked_with_the_keys_of_the_last_grant() -> None:
    """Before a grant nobody is known; a key that a later grant drops is not accepted any more."""
    door = Door()
    early = door.token()
    with pytest.raises(Refused) as raised:
        door.gate.identify(early)
    assert raised.value.code is Refusal.UNAUTHENTICATED
    door.grant(lease())
    door.gate.identify(early)
    door.key = Ed25519PrivateKey.generate()
    door.grant(lease())
    assert door.refusal("m", early) is Refusal.UNAUTHENTICATED
    door.gate.enter("m", door.token())


@pytest.mark.parametrize(
    "changes", [{"iss": "other.test"}, {"tenant": "other"}, {"aud": "w"}, {"exp": NOW_S - 60}]
)
def test_a_token_for_elsewhere_is_refused(changes: dict[str, object]) -> None:
    door = Door()
    door.grant(lease())
    assert door.refusal("m", door.token(**changes)) is Refusal.UNAUTHENTICATED


def test_a_wall_clock_that_stands_still_does_not_keep_a_token_alive() -> None:
    """The latest signed time is a lower bound of the time that tokens are judged by."""
    door = Door()
    door.grant(lease())
    door.gate.enter("m", door.token())
    door.book.observe_signed_time((NOW_S + 600) * 1000)
    assert door.refusal() is Refusal.UNAUTHENTICATED


def test_a_client_token_moves_the_time_ratchet() -> None:
    """F4: the control plane's clock speaks through every token it signs."""
    door = Door()
    door.grant(lease(1, ttl_ms=1 << 40, not_after_ms=(NOW_S - 1) * 1000))
    assert door.refusal() is Refusal.LEASE_EXPIRED


def test_two_versions_of_one_name_in_two_workloads_serve_nobody() -> None:
    """Callers name a model: a token for one workload must not reach the other's version."""
    door = Door()
    door.grant(
        lease(1, workload="w", models=(model("m", 1),)),
        lease(2, workload="v", models=(model("m", 2),)),
    )
    assert door.refusal("m", door.token("w")) is Refusal.FORBIDDEN
    assert door.refusal("m", door.token("v")) is Refusal.FORBIDDEN


def test_one_version_in_two_workloads_serves_both() -> None:
    door = Door()
    door.grant(lease(1, workload="w"), lease(2, workload="v"))
    door.gate.enter("m", door.token("w"))
    door.gate.enter("m", door.token("v"))


def test_a_renewal_that_drops_a_version_withholds_its_output() -> None:
    """The lease goes on with another version: which of them computed is not asked."""
    door = Door()
    door.grant(lease(models=(model("m", 1), model("m", 2))))
    permit = door.gate.enter("m", door.token())
    door.grant(lease(models=(model("m", 1), model("m", 2), model("n", 1))))
    permit.release()
    door.grant(lease(models=(model("m", 2), model("n", 1))))
    with pytest.raises(Refused) as raised:
        permit.release()
    assert raised.value.code is Refusal.LEASE_REVOKED
    door.gate.enter("m", door.token()).release()


def test_a_version_below_the_floor_is_neither_entered_nor_released() -> None:
    """Later terms of the same workload raise the lowest version that may be served."""
    door = Door()
    door.grant(lease(1, models=(model("m", 1), model("n", 1))))
    permit = door.gate.enter("m", door.token())
    low = model("m", 1, min_version=2)
    door.grant(lease(1, models=(low, model("n", 1))))
    with pytest.raises(Refused):
        permit.release()
    assert door.refusal("m") is Refusal.UNKNOWN_MODEL
    door.gate.enter("n", door.token())


def test_another_workloads_floor_closes_nothing() -> None:
    door = Door()
    door.grant(
        lease(1, workload="w", models=(model("m", 1),)),
        lease(2, workload="v", models=(model("m", 9, min_version=9),)),
    )
    door.grant(lease(1, workload="w", models=(model("m", 1),)))
    door.gate.enter("m", door.token("w")).release()


def test_one_version_number_of_two_models_serves_nobody() -> None:
    """Names and versions are each workload's own: equal ones may still be different models."""
    door = Door()
    other = replace(model("m", 1), core_digest=bytes(32))
    door.grant(lease(1, workload="w"), lease(2, workload="v", models=(other,)))
    assert door.refusal("m", door.token("w")) is Refusal.FORBIDDEN
    assert door.refusal("m", door.token("v")) is Refusal.FORBIDDEN


def test_why_a_lease_ended_is_told_to_its_own_workload() -> None:
    """Another workload that has the same model goes on, and says nothing of mine."""
    door = Door()
    door.grant(lease(1, workload="w"), lease(2, workload="v"))
    ended = door.book.accept_revocation(
        revocation(2, lease(1, LeaseTermsState.ENDED)), now_ns=0
    ).ended
    door.gate.note_ended(ended, WipeCause.REVOKED)
    assert door.refusal("m", door.token("w")) is Refusal.LEASE_REVOKED
    door.gate.enter("m", door.token("v"))
    assert door.refusal("m", door.token("x")) is Refusal.FORBIDDEN
