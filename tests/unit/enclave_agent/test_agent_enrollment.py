"""Enrolment, call by call: with a key to prove a credential is opened in between, else not."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from fakes.agent_models import QuotingAttester
from fakes.fake_control_plane import Plane

from sealward.enclave_agent.attesters.port import AttesterUnavailable, Credential, KeyToProve
from sealward.enclave_agent.clock import boottime_ns
from sealward.enclave_agent.enrollment import Enroller
from sealward.enclave_agent.evidence import EvidenceMaker
from sealward.enclave_agent.identity import HpkeKeyring, InstanceKeys
from sealward.enclave_agent.messages import Admission, Challenge, EnrollAnswer
from sealward.enclave_agent.transport import Refused
from sealward.protos import agent_pb2

KEY = KeyToProve(b"ak", b"ek", b"certificate")
MADE = Credential(b"id object", b"encrypted secret")
NONCE = os.urandom(32)


@dataclass
class ProvingAttester(QuotingAttester):
    """Has a key to prove; opens one credential, to a secret of 32 bytes."""

    secret: bytes = field(default_factory=lambda: os.urandom(32))
    handed_out: list[bytes] = field(default_factory=list)
    without: str = ""

    def credential_request(self) -> KeyToProve:
        if self.without:
            raise AttesterUnavailable(self.without)
        return KEY

    def activate(self, credential: Credential) -> bytes:
        if credential != MADE:
            raise AttesterUnavailable("it does not open.")
        self.handed_out.append(bytes(bytearray(self.secret)))
        return self.handed_out[-1]


@dataclass
class Listener:
    """The enrollment listener as far as an enroller speaks to it, and every call in order."""

    credential_made: Credential = MADE
    refuses: str = ""
    calls: list[object] = field(default_factory=list)

    @asynccontextmanager
    async def enrollment(self, _: object) -> AsyncIterator[Listener]:
        yield self

    async def challenge(self) -> Challenge:
        self.calls.append("challenge")
        return Challenge(nonce=NONCE, ticket=b"ticket", expires_ns=boottime_ns() + 10**10)

    async def credential(self, request: agent_pb2.CredentialRequest) -> Credential:
        self.calls.append(request)
        if self.refuses:
            raise Refused(self.refuses, "c-1")
        return self.credential_made

    async def enroll(self, request: agent_pb2.EnrollRequest) -> EnrollAnswer:
        self.calls.append(request)
        return EnrollAnswer(
            admission=Admission.PEND, chain=(), denial=None, retry_after_s=0, sent_ns=0
        )


def enrol(listener: Listener, attester: QuotingAttester) -> InstanceKeys:
    keys = InstanceKeys.generate()

    async def body() -> None:
        enroller = Enroller(
            plane=listener,
            maker=EvidenceMaker(trust=Plane().trust, keys=keys, attester=attester),
            keyring=HpkeKeyring(random_bytes=os.urandom, now_ns=boottime_ns()),
            clock=boottime_ns,
            join_token="",
        )
        await enroller.enroll()

    asyncio.run(body())
    return keys


def test_an_attester_without_a_key_to_prove_makes_no_second_call() -> None:
    listener = Listener()
    enrol(listener, QuotingAttester())
    challenge, enrolled = listener.calls
    assert challenge == "challenge"
    assert enrolled.credential_proof == b""


def test_the_credential_is_asked_for_by_ticket_and_key_and_proven_over_nonce_and_binding() -> None:
    listener, attester = Listener(), ProvingAttester()
    keys = enrol(listener, attester)
    challenge, asked, enrolled = listener.calls
    assert challenge == "challenge"
    assert asked == agent_pb2.CredentialRequest(
        protocol_version=1,
        ticket=b"ticket",
        tls_spki=keys.tls_spki,
        ak_public=b"ak",
        ek_public=b"ek",
        ek_certificate=b"certificate",
    )
    label = b"sealward/credential-proof/v1"
    message = len(label).to_bytes(2, "big") + label + NONCE
    message += hashlib.sha256(enrolled.binding).digest()
    assert enrolled.credential_proof == hmac.digest(attester.secret, message, "sha256")
    assert enrolled.ticket == b"ticket"


def test_the_secret_of_the_credential_is_overwritten() -> None:
    attester = ProvingAttester()
    enrol(Listener(), attester)
    assert attester.handed_out == [bytes(32)]


@pytest.mark.parametrize(
    ("listener", "attester", "told"),
    [
        (Listener(Credential(b"x", b"y")), ProvingAttester(), "it does not open"),
        (Listener(), ProvingAttester(without="no certificate."), "no certificate"),
        (Listener(refuses="credential_invalid"), ProvingAttester(), "credential_invalid"),
        (Listener(), ProvingAttester(broken=True), "it is broken"),
    ],
)
def test_what_goes_wrong_in_between_ends_the_enrolment(
    listener: Listener, attester: ProvingAttester, told: str
) -> None:
    with pytest.raises((AttesterUnavailable, Refused), match=told):
        enrol(listener, attester)
    assert not any(isinstance(call, agent_pb2.EnrollRequest) for call in listener.calls)
    assert all(not any(secret) for secret in attester.handed_out)


def test_an_attester_without_a_key_activates_nothing() -> None:
    async def body() -> None:
        maker = EvidenceMaker(
            trust=Plane().trust, keys=InstanceKeys.generate(), attester=QuotingAttester()
        )
        assert await maker.key_to_prove() is None
        assert not maker.watches
        assert not await maker.changed()
        with pytest.raises(AttesterUnavailable, match="has no key to prove"):
            await maker.activate(MADE)

    asyncio.run(body())
