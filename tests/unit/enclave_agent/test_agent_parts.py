"""The small parts of an agent: keys, clocks, delays, pacing, wrapped secrets, statements."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from fakes.agent_terms import NONCE, grant, lease, model
from fakes.fake_authority import Authority
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent import clock, grants
from sealward.enclave_agent.attesters import registry
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.backoff import Backoff
from sealward.enclave_agent.certificate import read_certificate
from sealward.enclave_agent.clock import NS_PER_S
from sealward.enclave_agent.grants import WrapCode, WrapRefused
from sealward.enclave_agent.identity import HPKE_LIFE_NS, HpkeKeyring, InstanceKeys
from sealward.enclave_agent.leases import LeaseBook
from sealward.enclave_agent.models import Wiped
from sealward.enclave_agent.own_thread import OwnThread
from sealward.enclave_agent.pacing import ANSWER_NS, Pacing
from sealward.enclave_agent.statements import MAX_REFUSED, MAX_WAITING, StatementDesk
from sealward.protos import terms, wipe
from sealward.protos.wipe import WipeCause, WipedItem
from sealward.sealing import hpke

KEY = hpke.PrivateKey.generate(hpke.Suite.X25519, os.urandom)
DIGEST = b"\x09" * 32


def test_instance_keys_are_new_each_time_and_in_no_repr() -> None:
    first, second = InstanceKeys.generate(), InstanceKeys.generate()
    assert first.node != second.node
    assert first.signing_public != second.signing_public
    assert "private" not in repr(first).lower()


def test_the_proof_covers_nonce_and_binding() -> None:
    keys = InstanceKeys.generate()
    public = load_der_public_key(keys.tls_spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    proof = keys.prove(bytes(32), b"binding")
    message = b"sealward/enroll-proof/v1" + bytes(32) + hashlib.sha256(b"binding").digest()
    public.verify(proof, message, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(proof, message + b"x", ec.ECDSA(hashes.SHA256()))


def test_the_hpke_key_is_replaced_daily() -> None:
    ring = HpkeKeyring(random_bytes=os.urandom, now_ns=0)
    first = ring.current(HPKE_LIFE_NS - 1)
    assert ring.current(0) is first
    second = ring.current(HPKE_LIFE_NS)
    assert second.public != first.public
    assert ring.current(2 * HPKE_LIFE_NS - 1) is second


def test_the_clock_source_is_told_as_the_kernel_names_it(tmp_path: Path) -> None:
    path = tmp_path / "current_clocksource"
    assert clock.clock_source(path) == "unknown"
    for text, told in (
        ("tsc\n", "tsc"),
        ("", "unknown"),
        ("x" * 65, "unknown"),
        ("a\x1b", "unknown"),
    ):
        path.write_text(text)
        assert clock.clock_source(path) == told


@given(st.integers(1, 12), st.binary(min_size=4, max_size=4))
def test_delays_double_with_jitter_up_to_the_longest(tries: int, drawn: bytes) -> None:
    backoff = Backoff(first=1.0, most=16.0, random_bytes=lambda _: drawn)
    for turn in range(tries):
        full = min(2.0**turn, 16.0)
        assert full / 2 <= backoff.delay() <= full
    backoff.reset()
    assert backoff.delay() <= 1.0


@given(st.floats(0.1, 1e6))
def test_a_delay_that_was_asked_for_is_kept_but_never_beyond_the_longest(asked: float) -> None:
    delay = Backoff(first=1.0, most=16.0, random_bytes=os.urandom).delay(at_least=asked)
    assert min(asked, 16.0) <= delay <= 20.0


def test_pacing_asks_at_once_without_a_lease_and_late_with_one() -> None:
    book = LeaseBook()
    pacing = Pacing(book, Backoff(first=2.0, most=60.0, random_bytes=lambda size: b"\xff" * size))
    assert pacing.ask_at_ns() == 0
    pacing.asked(0)
    assert pacing.ask_at_ns() == ANSWER_NS
    book.accept_grant(grant(1, lease(ttl_ms=10_000)), nonce=NONCE, sent_ns=NS_PER_S, now_ns=0)
    pacing.granted(0)
    assert pacing.ask_at_ns() == 10 * NS_PER_S
    pacing.failed(20 * NS_PER_S)
    assert 21 * NS_PER_S <= pacing.ask_at_ns() <= 22 * NS_PER_S


def test_pacing_asks_soon_after_an_answer_that_settled_too_little() -> None:
    """However long the leases are that are held; ever later, and as usual once all is well."""
    book = LeaseBook()
    pacing = Pacing(book, Backoff(first=2.0, most=60.0, random_bytes=lambda size: b"\xff" * size))
    book.accept_grant(grant(1, lease(ttl_ms=3_600_000)), nonce=NONCE, sent_ns=0, now_ns=0)
    now_ns = 0
    for most_s in (2, 4, 8, 16, 32, 60, 60):
        pacing.unsettled(now_ns)
        assert most_s / 2 <= (pacing.ask_at_ns() - now_ns) / NS_PER_S <= most_s
        now_ns = pacing.ask_at_ns()
    pacing.granted(0)
    assert pacing.ask_at_ns() == 3_240 * NS_PER_S


@pytest.mark.parametrize("clock_off", [timedelta(), timedelta(days=-400), timedelta(days=400)])
def test_a_certificates_life_is_counted_from_before_it_was_asked_for(clock_off: timedelta) -> None:
    """Whatever the dates in it say of today: the guest's wall clock is the host's to set."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    authority = Authority.make("node root")
    life = timedelta(minutes=10)
    leaf = authority.issue(public, life, server=False, clock_off=clock_off)
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    read = read_certificate((leaf.public_bytes(Encoding.DER),), tls_spki=spki, sent_ns=7 * NS_PER_S)
    assert read.ends_ns == (7 + 600) * NS_PER_S


def test_work_on_a_thread_of_its_own_waits_for_what_hangs() -> None:
    """A device that hangs takes one thread, whatever the number of tries."""

    async def body() -> None:
        thread = OwnThread()
        release = threading.Event()
        before = threading.active_count()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(thread.run(lambda: int(release.wait(20))), 0.01)
        assert threading.active_count() == before + 1
        release.set()
        assert await asyncio.wait_for(thread.run(lambda: 7), 10) == 7
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 // 0)

    asyncio.run(body())


def wrapped(lease_id: bytes, key_id: bytes, *, info: bytes | None = None) -> bytes:
    plaintext = terms.encode_content_key(lease_id, key_id, b"k" * 32)
    return hpke.seal(KEY.public, plaintext, info or terms.content_key_info(DIGEST))


def held_lease() -> tuple[LeaseBook, bytes, bytes]:
    book = LeaseBook()
    book.accept_grant(grant(1, lease()), nonce=NONCE, sent_ns=0, now_ns=0)
    return book, lease().lease_id, model().content_key_id


def test_a_content_key_opens_for_its_terms_lease_and_model_only() -> None:
    """Rule 5, and the HPKE context."""
    book, lease_id, key_id = held_lease()

    def opened(ciphertext: bytes, private: hpke.PrivateKey = KEY) -> grants.GrantedKey:
        return grants.open_content_key(
            ciphertext, hpke_key=private, terms_digest=DIGEST, leases=book.live(0)
        )

    assert opened(wrapped(lease_id, key_id)).key == b"k" * 32
    for ciphertext, code in (
        (wrapped(bytes(16), key_id), WrapCode.NOT_LEASED),
        (wrapped(lease_id, bytes(32)), WrapCode.NOT_LEASED),
        (wrapped(lease_id, key_id, info=terms.content_key_info(bytes(32))), WrapCode.WRAP_REFUSED),
        (wrapped(lease_id, key_id, info=terms.ratchet_info(DIGEST)), WrapCode.WRAP_REFUSED),
        (hpke.seal(KEY.public, b"\xa0", terms.content_key_info(DIGEST)), WrapCode.MALFORMED),
        (b"short", WrapCode.WRAP_REFUSED),
    ):
        with pytest.raises(WrapRefused) as raised:
            opened(ciphertext)
        assert raised.value.code is code
    other = hpke.PrivateKey.generate(hpke.Suite.X25519, os.urandom)
    with pytest.raises(WrapRefused):
        opened(wrapped(lease_id, key_id), other)


def test_a_granted_key_is_in_no_repr() -> None:
    book, lease_id, key_id = held_lease()
    granted = grants.open_content_key(
        wrapped(lease_id, key_id), hpke_key=KEY, terms_digest=DIGEST, leases=book.live(0)
    )
    assert "kkk" not in repr(granted)


def test_a_ratchet_opens_under_its_own_context_only() -> None:
    plaintext = terms.encode_ratchet(3, b"r" * 32)
    good = hpke.seal(KEY.public, plaintext, terms.ratchet_info(DIGEST))
    ratchet = grants.open_ratchet(good, hpke_key=KEY, terms_digest=DIGEST)
    assert (ratchet.index, ratchet.secret) == (3, b"r" * 32)
    assert "rrr" not in repr(ratchet)
    bad = hpke.seal(KEY.public, plaintext, terms.content_key_info(DIGEST))
    with pytest.raises(WrapRefused):
        grants.open_ratchet(bad, hpke_key=KEY, terms_digest=DIGEST)


def item(number: int) -> WipedItem:
    return WipedItem(
        content_key_id=number.to_bytes(32, "big"),
        model="m",
        version=1,
        worker_pid=7,
        exit_status=-9,
        weight_bytes=3,
    )


def desk_of() -> tuple[StatementDesk, InstanceKeys]:
    keys = InstanceKeys.generate()
    return StatementDesk(keys, lambda: 5_000_000), keys


def test_a_statement_is_signed_by_the_instance_and_waits_until_recorded() -> None:
    async def body() -> None:
        desk, keys = desk_of()
        wiped = Wiped(items=(item(1),), unknown=("copies",))
        (signed,) = desk.state(
            WipeCause.REVOKED, (bytes(16),), wiped, sequence=4, since_ns=2_000_000
        )
        read = wipe.verify(signed, public=keys.signing_public, node=keys.node)
        assert (read.sequence, read.elapsed_ms, read.items) == (4, 3, (item(1),))
        assert desk.waiting() == (signed,)
        await asyncio.wait_for(desk.changed(), 1)
        assert not desk.recorded(bytes(32))
        assert desk.recorded(hashlib.sha256(signed).digest())
        assert desk.waiting() == ()

    asyncio.run(body())


def test_many_items_make_several_statements_that_can_be_read() -> None:
    desk, keys = desk_of()
    wiped = Wiped(items=tuple(item(number) for number in range(130)))
    statements = desk.state(WipeCause.SHUTDOWN, (bytes(16),), wiped, sequence=None, since_ns=0)
    read = [wipe.verify(s, public=keys.signing_public, node=keys.node) for s in statements]
    assert [len(statement.items) for statement in read] == [64, 64, 2]
    assert all(statement.leases for statement in read)


def test_waiting_statements_are_bounded() -> None:
    desk, _ = desk_of()
    for number in range(MAX_WAITING + 5):
        desk.state(
            WipeCause.HORIZON, (number.to_bytes(16, "big"),), Wiped(), sequence=None, since_ns=0
        )
    assert len(desk.waiting()) == MAX_WAITING


def test_a_statement_that_is_refused_again_and_again_is_given_up() -> None:
    """It would keep the agent from its control plane for ever; a refusal or two may be chance."""
    desk, _ = desk_of()
    for number in (1, 2):
        desk.state(
            WipeCause.HORIZON, (number.to_bytes(16, "big"),), Wiped(), sequence=None, since_ns=0
        )
    first, second = desk.waiting()
    for _ in range(MAX_REFUSED - 1):
        desk.refused(first)
    assert desk.waiting() == (first, second)
    desk.refused(first)
    assert desk.waiting() == (second,)


def test_an_attester_that_is_not_installed_is_named_with_what_is() -> None:
    with pytest.raises(AttesterUnavailable, match="'nonesuch' is not installed; installed:"):
        registry.load("nonesuch", {})


def test_hardening_tells_the_truth() -> None:
    """In a process of its own: the measures hold where they are said to hold."""
    program = """
import resource
from sealward.enclave_agent import hardening
applied = {a.measure.value: a.why_not for a in hardening.harden()}
assert applied["no_core_dump"] == "" and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
import ctypes
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
assert (dumpable == 0) == (applied["not_dumpable"] == "")
locked = [l for l in open("/proc/self/status") if l.startswith("VmLck")][0].split()[1]
assert (int(locked) > 0) == (applied["memory_locked"] == "")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )
    assert done.returncode == 0, done.stderr
