"""The gate: who enters, and whether an output may still leave."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.inference_models import ISSUER, NOW, TENANT, TokenMint

from sealward.enclave_agent.inference.client_tokens import ClientTokenVerifier
from sealward.enclave_agent.inference.gate import HorizonGate, Refusal, Refused

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TOKEN = TokenMint(KEY).token()
SECOND = 10**9


def tokens(key: Ed25519PrivateKey = KEY) -> ClientTokenVerifier:
    return ClientTokenVerifier(issuer=ISSUER, tenant=TENANT, keys=(key.public_key(),))


@dataclass
class Node:
    """A gate and the clock it reads."""

    at: int = 100 * SECOND
    gate: HorizonGate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = HorizonGate(tokens=tokens(), boottime_ns=lambda: self.at, now=lambda: NOW)

    def refusal(self, model: str = "m", token: str = TOKEN) -> tuple[Refusal, str]:
        with pytest.raises(Refused) as refused:
            self.gate.enter(model, token)
        return refused.value.code, refused.value.reason


def test_a_lease_that_runs_lets_in_and_out():
    node = Node()
    node.gate.extend("m", "files", 101 * SECOND)
    node.gate.enter("m", TOKEN).release()


def test_the_horizon_is_exclusive_for_entry_and_for_release():
    node = Node()
    node.gate.extend("m", "files", 101 * SECOND)
    permit = node.gate.enter("m", TOKEN)
    node.at = 101 * SECOND - 1
    permit.release()
    node.at += 1
    with pytest.raises(Refused) as refused:
        permit.release()
    assert refused.value.code is Refusal.LEASE_EXPIRED
    assert node.refusal()[0] is Refusal.LEASE_EXPIRED


def test_a_renewal_in_time_keeps_what_is_being_computed():
    node = Node()
    node.gate.extend("m", "files", 101 * SECOND)
    permit = node.gate.enter("m", TOKEN)
    node.gate.extend("m", "files", 200 * SECOND)
    node.at = 150 * SECOND
    permit.release()


def test_a_shorter_horizon_counts_at_once():
    node = Node()
    node.gate.extend("m", "files", 200 * SECOND)
    permit = node.gate.enter("m", TOKEN)
    node.gate.extend("m", "files", 90 * SECOND)
    with pytest.raises(Refused):
        permit.release()


def test_what_was_computed_under_an_ended_lease_stays_in_even_when_a_new_one_is_granted():
    node = Node()
    node.gate.extend("m", "files", 200 * SECOND)
    permit = node.gate.enter("m", TOKEN)
    node.gate.end("m", Refusal.LEASE_REVOKED, "revoked: measurement withdrawn")
    assert node.refusal() == (Refusal.LEASE_REVOKED, "revoked: measurement withdrawn")
    node.gate.extend("m", "files", 300 * SECOND)
    node.gate.enter("m", TOKEN).release()
    with pytest.raises(Refused) as refused:
        permit.release()
    assert refused.value.code is Refusal.LEASE_REVOKED


def test_a_lease_that_reached_its_horizon_is_not_revived_by_a_later_grant():
    node = Node()
    node.gate.extend("m", "files", 101 * SECOND)
    permit = node.gate.enter("m", TOKEN)
    node.at = 101 * SECOND
    node.gate.extend("m", "files", 300 * SECOND)
    node.gate.enter("m", TOKEN).release()
    with pytest.raises(Refused) as refused:
        permit.release()
    assert refused.value.code is Refusal.LEASE_EXPIRED


def test_a_model_that_goes_to_another_workload_keeps_what_the_first_computed():
    node = Node()
    node.gate.extend("m", "files", 200 * SECOND)
    permit = node.gate.enter("m", TOKEN)
    node.gate.extend("m", "speech", 200 * SECOND)
    with pytest.raises(Refused):
        permit.release()
    assert node.refusal()[0] is Refusal.FORBIDDEN


def test_expecting_a_model_that_is_leased_changes_nothing():
    node = Node()
    node.gate.extend("m", "files", 200 * SECOND)
    permit = node.gate.enter("m", TOKEN)
    node.gate.expect("m", "files")
    permit.release()


def test_the_first_end_stays():
    node = Node()
    node.gate.extend("m", "files", 200 * SECOND)
    node.gate.end("m", Refusal.LEASE_REVOKED, "first")
    node.gate.end("m", Refusal.LEASE_EXPIRED, "second")
    assert node.refusal() == (Refusal.LEASE_REVOKED, "first")


def test_an_expected_model_starts():
    node = Node()
    node.gate.expect("m", "files")
    assert node.refusal()[0] is Refusal.STARTING


def test_callers_are_checked_before_names():
    node = Node()
    assert node.refusal(token="nonsense")[0] is Refusal.UNAUTHENTICATED  # noqa: S106 - not one
    assert node.refusal()[0] is Refusal.UNKNOWN_MODEL


def test_a_token_of_another_workload_is_forbidden_and_may_still_look_around():
    node = Node()
    node.gate.extend("m", "speech", 200 * SECOND)
    assert node.refusal()[0] is Refusal.FORBIDDEN
    node.gate.identify(TOKEN)
    with pytest.raises(Refused):
        node.gate.identify("")


def test_new_keys_end_old_tokens():
    node = Node()
    node.gate.extend("m", "files", 200 * SECOND)
    node.gate.enter("m", TOKEN)
    node.gate.replace_tokens(tokens(Ed25519PrivateKey.from_private_bytes(bytes(32))))
    assert node.refusal()[0] is Refusal.UNAUTHENTICATED
