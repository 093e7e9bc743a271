"""The layer within content keys: it opens with the lock of the evidence answered, and only so."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from fakes.agent_models import QuotingAttester
from fakes.agent_terms import NONCE, grant, lease, model
from fakes.agent_world import JumpingLoop, World, acting
from fakes.fake_control_plane import Plane
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sealward.enclave_agent import grants
from sealward.enclave_agent.attesters.port import AttesterUnavailable, Credential, Evidence
from sealward.enclave_agent.clock import NS_PER_S
from sealward.enclave_agent.evidence import BoundEvidence
from sealward.enclave_agent.grants import WrapCode, WrapRefused
from sealward.enclave_agent.leases import LeaseBook
from sealward.enclave_agent.lifecycle import AgentEvent
from sealward.enclave_agent.messages import (
    AttestAnswer,
    Challenge,
    ProtocolViolation,
    read_attestation,
    read_credential,
)
from sealward.enclave_agent.session import Session
from sealward.protos import agent_pb2, terms
from sealward.protos.tpm_node import LockKey
from sealward.sealing import hpke

KEY = hpke.PrivateKey.generate(hpke.Suite.X25519, os.urandom)
DIGEST = b"\x09" * 32
CREDENTIAL = Credential(b"id", b"secret")
SECRET = bytes(range(32))


@dataclass(frozen=True)
class Drawer:
    """A lock that opens the credentials it knows, as a TPM in one state would."""

    contents: Mapping[Credential, bytes] = field(default_factory=dict)
    handed_out: list[bytes] = field(default_factory=list)

    def open(self, credential: Credential) -> bytes:
        if credential not in self.contents:
            raise AttesterUnavailable("it does not open.")
        self.handed_out.append(bytes(bytearray(self.contents[credential])))
        return self.handed_out[-1]  # fresh: the caller overwrites it


def answer(lock: Credential | None, *keys: bytes) -> AttestAnswer:
    return AttestAnswer(
        posture="warning",
        signed_terms=b"",
        content_keys=keys,
        ratchet=None,
        chain=(),
        denial=None,
        refused=(),
        again_s=0,
        lock=lock,
    )


def sent(lock: Drawer | None) -> BoundEvidence:
    challenge = Challenge(nonce=NONCE, ticket=b"t", expires_ns=0)
    return BoundEvidence(challenge=challenge, hpke_key=KEY, binding=b"", evidence=b"", lock=lock)


@pytest.mark.parametrize(
    ("came", "lock", "secret", "code"),
    [
        (None, Drawer(), None, WrapCode.WRAP_REFUSED),
        (CREDENTIAL, None, None, WrapCode.WRAP_REFUSED),
        (None, Drawer(), SECRET, WrapCode.WRAP_REFUSED),
        (CREDENTIAL, Drawer(), None, WrapCode.LOCK_NOT_OPENED),
        (CREDENTIAL, Drawer(), b"", WrapCode.LOCK_NOT_OPENED),
        (CREDENTIAL, Drawer(), SECRET[1:], WrapCode.LOCK_NOT_OPENED),
    ],
)
def test_keys_without_the_right_lock_are_refused(
    came: Credential | None, lock: Drawer | None, secret: bytes | None, code: WrapCode
) -> None:
    with pytest.raises(WrapRefused) as caught:
        grants.layer_within(answer(came), sent(lock), secret=secret, terms_digest=DIGEST)
    assert caught.value.code is code


def test_an_agent_without_a_lock_needs_none() -> None:
    assert grants.layer_within(answer(None), sent(None), secret=None, terms_digest=DIGEST) is None


def test_a_locked_key_opens_at_its_place_with_its_secret_and_terms_only() -> None:
    book = LeaseBook()
    outcome = book.accept_grant(grant(1, lease()), nonce=NONCE, sent_ns=0, now_ns=0)
    (held,) = outcome.held
    plain = terms.encode_content_key(held.lease_id, model().content_key_id, b"\x33" * 32)
    info = terms.content_key_info(DIGEST)
    layer = grants.layer_within(
        answer(CREDENTIAL), sent(Drawer()), secret=SECRET, terms_digest=DIGEST
    )
    wrapped = hpke.seal(KEY.public, LockKey.derive(SECRET, DIGEST).seal(3, plain), info)

    def opened(layer: LockKey | None, index: int, ciphertext: bytes = wrapped) -> bytes:
        key = grants.open_content_key(
            ciphertext,
            hpke_key=KEY,
            terms_digest=DIGEST,
            leases=outcome.held,
            layer=layer,
            index=index,
        )
        return bytes(key.key)

    assert opened(layer, 3) == b"\x33" * 32
    other_terms = LockKey.derive(SECRET, hashlib.sha256(DIGEST).digest())
    for foreign, index in ((layer, 2), (LockKey.derive(DIGEST, DIGEST), 3), (other_terms, 3)):
        with pytest.raises(WrapRefused) as caught:
            opened(foreign, index)
        assert caught.value.code is WrapCode.WRAP_REFUSED
    with pytest.raises(WrapRefused) as caught:
        opened(None, 3)
    assert caught.value.code is WrapCode.MALFORMED
    unlocked = hpke.seal(KEY.public, plain, info)
    with pytest.raises(WrapRefused) as caught:
        opened(layer, 0, unlocked)
    assert caught.value.code is WrapCode.WRAP_REFUSED


@given(st.binary(max_size=1100), st.binary(max_size=1100))
def test_a_credential_has_two_parts_within_their_budget(first: bytes, second: bytes) -> None:
    message = agent_pb2.TpmCredential(id_object=first, encrypted_secret=second)
    if 0 < len(first) <= 1024 and 0 < len(second) <= 1024:
        assert read_credential(message) == Credential(first, second)
    else:
        with pytest.raises(ProtocolViolation):
            read_credential(message)


def test_a_lock_comes_with_keys_and_only_with_them() -> None:
    lock = agent_pb2.TpmCredential(id_object=b"id", encrypted_secret=b"secret")
    key = agent_pb2.WrappedSecret(ciphertext=b"c")
    both = read_attestation(agent_pb2.AttestResponse(content_keys=[key], tpm_lock=lock))
    assert both.lock == CREDENTIAL
    assert read_attestation(agent_pb2.AttestResponse(content_keys=[key])).lock is None
    for broken in (
        agent_pb2.AttestResponse(tpm_lock=lock),
        agent_pb2.AttestResponse(content_keys=[key], tpm_lock=agent_pb2.TpmCredential()),
    ):
        with pytest.raises(ProtocolViolation):
            read_attestation(broken)


def test_no_secret_is_in_a_repr() -> None:
    shown = repr((CREDENTIAL, answer(CREDENTIAL), sent(Drawer({CREDENTIAL: SECRET}))))
    assert "secret'" not in shown
    assert "b'id'" not in shown


# --- in an agent, on the virtual time of agent_world ----------------------------------------------


@dataclass
class LockingAttester(QuotingAttester):
    """Evidence that carries this lock, if any."""

    lock: Drawer | Slow | None = None

    def collect(self, report_data: bytes) -> Evidence:
        return Evidence(super().collect(report_data).cmw, self.lock)


def test_leases_whose_lock_does_not_open_stand_without_keys_and_are_attested_for_again() -> None:
    """With pauses; and once there is nothing to open, the keys come."""
    attester = LockingAttester(lock=Drawer())
    came: list[Credential | None] = [CREDENTIAL]
    world = World(
        plane=Plane(ttl_ms=3_600_000),
        attester=attester,
        decide=lambda _, answer: replace(answer, lock=came[0]),
    )
    world.plane.lease_model("files", "m")

    async def body() -> None:
        stop = asyncio.Event()
        agent = acting(world)
        running = asyncio.create_task(agent.runtime.run(stop))
        with capture_logs() as logged:
            await asyncio.sleep(30)
        assert agent.parts.book.live(world.boot_ns()) != ()
        assert agent.parts.holdings.held_leases() == ()
        assert agent.host.opened == []
        times = world.times("attest")
        assert len(times) > 4
        assert min(after - before for before, after in pairwise(times)) > 0.1
        told = [line for line in logged if line["log_level"] == "error"]
        assert told[0]["why"] == "it does not open."
        assert told[1]["code"] == WrapCode.LOCK_NOT_OPENED
        attester.lock = came[0] = None
        await asyncio.sleep(10)
        assert agent.host.alive()
        stop.set()
        await running

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body())


@dataclass(frozen=True)
class Slow:
    """A lock that takes a TPM its time, until the test lets it go on; the loop's stands still."""

    asked: Callable[[], None]
    go_on: threading.Event = field(default_factory=threading.Event)

    def open(self, _: Credential) -> bytes:
        self.asked()
        assert self.go_on.wait(30)
        return bytes(bytearray(SECRET))


@pytest.mark.parametrize("ending", ["denied", "revoked"])
def test_nothing_waits_for_the_tpm_that_an_answer_or_a_revocation_ends(ending: str) -> None:
    """A lease ends by the answer itself, or by terms pushed while the lock of keys is opened."""
    attester = LockingAttester()
    world = World(
        plane=Plane(ttl_ms=200_000),
        attester=attester,
        decide=lambda _, answer: (
            replace(answer, lock=CREDENTIAL, content_keys=(b"of another workload",), denial=None)
            if attester.lock
            else answer
        ),
    )
    world.plane.lease_model("files", "m")

    async def body() -> None:
        loop, stop, asked = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        agent = acting(world)
        running = asyncio.create_task(agent.runtime.run(stop))
        await asyncio.sleep(5)
        (held,) = agent.parts.book.held()
        assert agent.host.alive()
        lock = attester.lock = Slow(lambda: loop.call_soon_threadsafe(asked.set))
        if ending == "denied":
            world.plane.denial = "policy_denied"
        agent.parts.pacing.unsettled(world.boot_ns())
        try:
            await asked.wait()
            if ending == "revoked":
                assert agent.host.alive()
                agent.parts.holdings.take_revocation(world.plane.revocation(held.workload))
            assert agent.parts.book.held() == ()
            await agent.parts.holdings.settled()
            assert not agent.host.alive()
        finally:
            lock.go_on.set()
        stop.set()
        await running

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body())


def test_keys_whose_lock_was_opening_when_the_connection_ended_are_asked_for_again() -> None:
    """Soon, and not only when the lease that came without them has to be renewed."""
    attester = LockingAttester()
    world = World(
        plane=Plane(ttl_ms=3_600_000),
        attester=attester,
        decide=lambda _, answer: replace(answer, lock=CREDENTIAL) if attester.lock else answer,
    )
    world.plane.lease_model("files", "m")

    async def body() -> None:
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        lock = attester.lock = Slow(lambda: loop.call_soon_threadsafe(asked.set))
        agent = acting(world)
        world.admitted()
        for event in (AgentEvent.ENROLL, AgentEvent.ADMIT):
            agent.parts.standing.feed(event)
        session = asyncio.create_task(Session(world, agent.parts).run())
        opening = asyncio.create_task(asked.wait())
        try:
            await asyncio.wait((session, opening), return_when=asyncio.FIRST_COMPLETED)
            assert not session.done(), session
            assert agent.parts.book.held() != ()
            assert agent.parts.holdings.held_leases() == ()
            assert agent.parts.pacing.ask_at_ns() <= world.boot_ns() + 5 * NS_PER_S
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
        finally:
            lock.go_on.set()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body())


def test_what_a_lock_gave_out_is_overwritten_when_the_answer_was_used() -> None:
    drawer = Drawer({CREDENTIAL: SECRET})
    world = World(
        plane=Plane(ttl_ms=3_600_000),
        attester=LockingAttester(lock=drawer),
        decide=lambda _, answer: replace(answer, lock=CREDENTIAL),
    )
    world.plane.lease_model("files", "m")

    async def body() -> None:
        stop = asyncio.Event()
        agent = acting(world)
        running = asyncio.create_task(agent.runtime.run(stop))
        await asyncio.sleep(5)
        assert agent.parts.book.held() != ()
        assert agent.host.opened == []  # the keys came without the layer that the lock opens
        stop.set()
        await running

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body())
    assert drawer.handed_out != []
    assert not any(map(any, drawer.handed_out))
