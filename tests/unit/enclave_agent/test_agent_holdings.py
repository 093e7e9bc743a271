"""What terms do to leases, keys, models and statements together, on clocks in a test's hand."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

from fakes.agent_models import MemoryHost
from fakes.agent_terms import lease, model
from fakes.fake_control_plane import Plane, raw
from structlog.testing import capture_logs

from sealward.enclave_agent.attesters.port import Credential
from sealward.enclave_agent.evidence import BoundEvidence
from sealward.enclave_agent.gate import BookGate
from sealward.enclave_agent.grants import WrapCode
from sealward.enclave_agent.holdings import Holdings, TakenAnswer
from sealward.enclave_agent.identity import InstanceKeys
from sealward.enclave_agent.inference.catalog import Catalog
from sealward.enclave_agent.leases import LeaseBook, LeaseCode, Outcome
from sealward.enclave_agent.messages import AttestAnswer, Challenge
from sealward.enclave_agent.models import ModelKeeper
from sealward.enclave_agent.statements import StatementDesk
from sealward.protos import terms, wipe
from sealward.protos.terms import LeaseTerms, LeaseTermsState, Terms, TermsKind
from sealward.protos.tpm_node import LockKey
from sealward.protos.wipe import WipeCause, WipeStatement
from sealward.sealing import hpke

A, B = model("a"), model("b")
RENEWED, ENDED = LeaseTermsState.RENEWED, LeaseTermsState.ENDED
MS = 1_000_000


class Closed:
    """A lock that holdings never open: a TPM is asked before."""

    def open(self, _: Credential) -> NoReturn:
        raise AssertionError("asked within the steps that must not wait")


class House:
    """Holdings with everything real but the model host and the clock."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.plane = Plane()
        self.keys = InstanceKeys.generate()
        self.host = MemoryHost({m.content_key_id: os.urandom(32) for m in (A, B)})
        self.hpke = hpke.PrivateKey.generate(hpke.Suite.X25519, os.urandom)
        self.book = LeaseBook()
        self.desk = StatementDesk(self.keys, self.clock)
        trust = self.plane.trust
        keeper = ModelKeeper(self.host, Catalog(), clock=self.clock, random_bytes=bytes)
        gate = BookGate(
            self.book,
            trust_domain=trust.trust_domain,
            tenant=trust.tenant,
            clock=self.clock,
            wall_clock=lambda: 0,
        )
        self.holdings = Holdings(
            trust=trust,
            keys=self.keys,
            book=self.book,
            gate=gate,
            keeper=keeper,
            desk=self.desk,
            clock=self.clock,
        )
        self.sequence = 0

    def clock(self) -> int:
        return self.now_ms * MS

    def answer(
        self,
        *leases: LeaseTerms,
        keys: bool = True,
        sequence: int | None = None,
        secret: bytes = b"",
        opened: bytes | None = None,
    ) -> Outcome:
        """Answer an attestation that left now; `secret` locks the keys, `opened` is tried on it."""
        taken = self.take(*leases, keys=keys, sequence=sequence, secret=secret)
        self.holdings.take_keys(taken, lock_secret=opened)
        return taken.outcome

    def take(
        self,
        *leases: LeaseTerms,
        keys: bool = True,
        sequence: int | None = None,
        secret: bytes = b"",
    ) -> TakenAnswer:
        """Answer as `answer` does, up to where the keys are to be opened."""
        nonce = os.urandom(32)
        signed, digest = self.sign(leases, nonce, sequence)
        info = terms.content_key_info(digest)
        plain = [
            terms.encode_content_key(
                said.lease_id, m.content_key_id, self.host.keys[m.content_key_id]
            )
            for said in leases
            if keys and said.state is LeaseTermsState.GRANTED
            for m in said.models
        ]
        if secret:
            layer = LockKey.derive(secret, digest)
            plain = [layer.seal(index, key) for index, key in enumerate(plain)]
        answer = AttestAnswer(
            posture="compliant",
            signed_terms=signed,
            content_keys=tuple(hpke.seal(self.hpke.public, key, info) for key in plain),
            lock=Credential(b"id", b"secret") if secret else None,
            ratchet=None,
            chain=(),
            denial=None,
            refused=(),
            again_s=0,
        )
        bound = BoundEvidence(
            challenge=Challenge(nonce=nonce, ticket=b"t", expires_ns=0),
            hpke_key=self.hpke,
            binding=b"",
            evidence=b"",
            lock=Closed() if secret else None,
        )
        return self.holdings.take_answer(answer, bound, sent_ns=self.clock())

    def revoke(self, *numbers: int) -> Outcome:
        signed, _ = self.sign(tuple(lease(number, ENDED) for number in numbers), None, None)
        return self.holdings.take_revocation(signed)

    def sign(
        self, leases: tuple[LeaseTerms, ...], nonce: bytes | None, sequence: int | None
    ) -> tuple[bytes, bytes]:
        self.sequence = self.sequence + 1 if sequence is None else sequence
        trust = self.plane.trust
        payload = Terms(
            kind=TermsKind.REVOCATION if nonce is None else TermsKind.GRANT,
            trust_domain=trust.trust_domain,
            tenant=trust.tenant,
            node=self.keys.node,
            sequence=self.sequence,
            issued_ms=0,
            challenge=None if nonce is None else hashlib.sha256(nonce).digest(),
            leases=leases,
            policies={},
            log_leaf=bytes(32),
            client_token_keys=(bytes(32),),
        ).encode()
        signing = self.plane.signing
        signed = terms.sign(payload, public=raw(signing), signer=signing.sign)
        return signed, hashlib.sha256(payload).digest()

    async def running(self, count: int) -> None:
        for _ in range(100):
            await self.holdings.reopen()
            await asyncio.sleep(0)
        assert len(self.host.alive()) == count

    async def statements(self) -> Mapping[WipeCause, WipeStatement]:
        await self.holdings.settled()
        said = [
            wipe.verify(statement, public=self.keys.signing_public, node=self.keys.node)
            for statement in self.desk.waiting()
        ]
        assert len({one.cause for one in said}) == len(said)
        return {one.cause: one for one in said}


def at_home(scene: Callable[[House], Awaitable[None]]) -> None:
    async def body() -> None:
        await scene(House())

    asyncio.run(body())


def numbers(ids: tuple[bytes, ...]) -> list[int]:
    return [int.from_bytes(one, "big") for one in ids]


def test_a_grant_wipes_and_states_every_lease_that_it_does_not_name() -> None:
    """The end of lease 1 was overtaken: its key and model go with the grant that omits it."""

    async def scene(house: House) -> None:
        house.answer(lease(1, models=(A,)), lease(2, models=(B,)))
        await house.running(2)
        house.answer(lease(2, RENEWED, models=(B,)), sequence=3)
        statement = (await house.statements())[WipeCause.REVOKED]
        assert (numbers(statement.leases), statement.sequence) == ([1], 3)
        assert [item.model for item in statement.items] == ["a"]
        assert [m.identity.name for m in house.host.alive()] == ["b"]

    at_home(scene)


def test_a_new_lease_for_the_same_model_lets_it_run_on() -> None:
    """A late renewal is replaced by a new lease: nothing is opened twice, nothing is wiped."""

    async def scene(house: House) -> None:
        house.answer(lease(1, models=(A,)))
        await house.running(1)
        house.answer(lease(2, models=(A,)), lease(1, ENDED))
        statement = (await house.statements())[WipeCause.REVOKED]
        assert (numbers(statement.leases), statement.items) == ([1], ())
        await house.running(1)
        assert len(house.host.opened) == 1

    at_home(scene)


def test_a_horizon_and_a_revocation_at_one_moment_state_each_its_own() -> None:
    """The watchdog has not looked yet: the revocation neither takes nor hides what was over."""

    async def scene(house: House) -> None:
        house.answer(lease(1, models=(A,), ttl_ms=100), lease(2, models=(B,), ttl_ms=900))
        await house.running(2)
        house.now_ms = 100
        house.revoke(2)
        said = await house.statements()
        assert numbers(said[WipeCause.HORIZON].leases) == [1]
        assert [item.model for item in said[WipeCause.HORIZON].items] == ["a"]
        assert numbers(said[WipeCause.REVOKED].leases) == [2]
        assert [item.model for item in said[WipeCause.REVOKED].items] == ["b"]
        assert house.host.alive() == []

    at_home(scene)


def test_terms_that_end_nothing_do_not_swallow_a_horizon() -> None:
    """A revocation of a lease that is not held arrives at the very horizon of the only one."""

    async def scene(house: House) -> None:
        house.answer(lease(1, models=(A,), ttl_ms=100))
        await house.running(1)
        house.now_ms = 100
        house.revoke(7)
        house.holdings.expire()
        said = await house.statements()
        (item,) = said[WipeCause.HORIZON].items
        assert item.weight_bytes > 0
        assert list(said) == [WipeCause.HORIZON]

    at_home(scene)


def test_only_live_leases_whose_keys_are_here_are_held() -> None:
    """To the control plane every other one has ended, and it grants a new one."""

    async def scene(house: House) -> None:
        outcome = house.answer(lease(1, models=(A,), ttl_ms=100))
        assert numbers(house.holdings.held_leases()) == [1]
        assert not house.holdings.lacks(outcome)
        house.now_ms = 100
        assert house.holdings.held_leases() == ()  # before the watchdog has looked
        outcome = house.answer(lease(2, models=(B,)), keys=False)
        assert house.holdings.held_leases() == ()
        assert house.holdings.lacks(outcome)

    at_home(scene)


def test_a_model_below_the_floor_does_not_make_its_lease_look_unheld() -> None:
    """Its key is wiped, and asking for it again would never end."""

    async def scene(house: House) -> None:
        newer = model("a", 3, min_version=2)
        house.host.keys[newer.content_key_id] = bytes(32)
        house.answer(lease(1, models=(newer, B)))
        outcome = house.answer(lease(1, models=(A, B)))
        assert numbers(house.holdings.held_leases()) == [1]
        assert not house.holdings.lacks(outcome)
        await house.running(1)

    at_home(scene)


def test_a_lease_that_was_refused_alone_is_lacking() -> None:
    async def scene(house: House) -> None:
        house.answer(lease(1, models=(A,), ttl_ms=100))
        house.now_ms = 100
        house.holdings.expire()
        outcome = house.answer(lease(1, RENEWED, models=(A,)), lease(2, models=(B,)))
        assert [refusal.code for refusal in outcome.refused] == [LeaseCode.LEASE_ENDED]
        assert house.holdings.lacks(outcome)
        assert numbers(house.holdings.held_leases()) == [2]

    at_home(scene)


def test_locked_keys_open_with_what_their_lock_gave_out() -> None:
    async def scene(house: House) -> None:
        secret = os.urandom(32)
        outcome = house.answer(lease(1, models=(A, B)), secret=secret, opened=secret)
        assert not house.holdings.lacks(outcome)
        await house.running(2)

    at_home(scene)


def test_what_an_answer_ends_has_ended_before_its_lock_opens() -> None:
    async def scene(house: House) -> None:
        secret = os.urandom(32)
        house.answer(lease(1, models=(A,)))
        await house.running(1)
        taken = house.take(lease(2, models=(B,)), secret=secret)
        await house.running(0)
        assert list(await house.statements()) == [WipeCause.REVOKED]
        assert numbers(held.lease_id for held in house.book.held()) == [2]
        assert house.holdings.held_leases() == ()
        house.holdings.take_keys(taken, lock_secret=secret)
        assert numbers(house.holdings.held_leases()) == [2]
        await house.running(1)

    at_home(scene)


def test_keys_whose_lease_ended_while_their_lock_opened_are_not_kept() -> None:
    """The other lease of the same answer gets its key, and what ended is not asked for again."""

    async def scene(house: House) -> None:
        secret = os.urandom(32)
        taken = house.take(lease(1, models=(A,)), lease(2, models=(B,)), secret=secret)
        house.revoke(1)
        with capture_logs() as logged:
            house.holdings.take_keys(taken, lock_secret=secret)
        assert [line["code"] for line in logged if "code" in line] == [WrapCode.NOT_LEASED]
        assert numbers(house.holdings.held_leases()) == [2]
        assert not house.holdings.lacks(taken.outcome)
        await house.running(1)

    at_home(scene)


def test_keys_whose_lease_reached_its_horizon_while_their_lock_opened_are_not_kept() -> None:
    async def scene(house: House) -> None:
        secret = os.urandom(32)
        taken = house.take(lease(1, models=(A,), ttl_ms=100), secret=secret)
        house.now_ms = 100
        house.holdings.take_keys(taken, lock_secret=secret)
        assert house.book.held() == ()
        assert not house.holdings.lacks(taken.outcome)
        await house.running(0)

    at_home(scene)


def test_keys_that_come_out_of_their_lock_while_the_agent_stops_are_not_kept() -> None:
    async def scene(house: House) -> None:
        secret = os.urandom(32)
        taken = house.take(lease(1, models=(A,)), secret=secret)
        await house.holdings.stop()
        house.holdings.take_keys(taken, lock_secret=secret)
        await house.running(0)

    at_home(scene)


def test_a_lock_that_did_not_open_leaves_leases_without_keys() -> None:
    """Only another attestation mends that, so the control plane is asked for one soon."""

    async def scene(house: House) -> None:
        secret = os.urandom(32)
        for opened in (None, os.urandom(32), b""):
            outcome = house.answer(lease(1, models=(A, B)), secret=secret, opened=opened)
            assert numbers(held.lease_id for held in outcome.held) == [1]
            assert house.holdings.lacks(outcome)
            await house.running(0)

    at_home(scene)
