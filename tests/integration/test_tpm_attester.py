"""The attester `tpm` on a real swtpm: judged by the verifier, and in an agent from end to end."""

from __future__ import annotations

import os
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fakes import swtpm
from fakes.agent_stage import Stage, play
from fakes.fake_control_plane import Plane
from fakes.tpm_plane import TpmPlane
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealward.enclave_agent.attesters.port import AttesterUnavailable, Credential
from sealward.enclave_agent.attesters.tpm import attester as attesters
from sealward.enclave_agent.attesters.tpm import lock as locks
from sealward.enclave_agent.attesters.tpm.attester import TpmAttester
from sealward.enclave_agent.attesters.tpm.settings import read as read_settings
from sealward.enclave_agent.attesters.tpm.transport import Socket
from sealward.enclave_agent.lifecycle import AgentState
from sealward.protos import agent_pb2
from sealward.verifier.composite.tpm_node import VerifiedNode
from sealward.verifier.formats.tpm import credential, name, public
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.registry import Context, authenticate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fakes.swtpm import Swtpm

    from sealward.enclave_agent.attesters.port import Evidence

pytestmark = pytest.mark.integration

BOUND = bytes(range(64))
PCRS = "sha256:0,1,2,3,4,5,6,7,8,9,11,12,13,14"
# A log without events, as firmware begins it: what nobody extended is as after the reset.
_SPEC = b"Spec ID Event03\0" + bytes(4) + bytes((0, 2, 0, 2)) + struct.pack("<IHHB", 1, 0xB, 32, 0)
LOG = struct.pack("<II", 0, 3) + bytes(20) + struct.pack("<I", len(_SPEC)) + _SPEC


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with swtpm.fresh(tmp_path_factory.mktemp("swtpm")) as running:
        yield running


def attester(machine: Swtpm, **table: object) -> TpmAttester:
    where = {"socket": f"127.0.0.1:{machine.port}", "event_log": "/nonexistent/log"}
    return attesters.from_settings(where | table)


def plane_of(machine: Swtpm) -> TpmPlane:
    """A plane that trusts the local CA of this TPM."""
    names = ("swtpm-localca-rootca-cert.pem", "issuercert.pem")
    pems = [(machine.folder / "ca" / name).read_bytes() for name in names]
    root, issuer = (x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in pems)
    return TpmPlane((root,), (issuer,))


def verified(machine: Swtpm, evidence: Evidence) -> VerifiedNode:
    now = x509.load_pem_x509_certificate(
        (machine.folder / "ca" / "issuercert.pem").read_bytes()
    ).not_valid_before_utc
    now = now.replace(year=now.year + 1)
    trust = plane_of(machine).trust
    context = Context(anchors=TrustAnchors(), now=now, cache=ChainCache(), tpm=trust)
    node = authenticate(evidence.cmw, context).native
    assert isinstance(node, VerifiedNode)
    return node


def locked(node: VerifiedNode, secret: bytes) -> Credential:
    assert node.lock is not None
    made = credential.make(node.lock.ek, node.lock.object_name, secret, random_bytes=os.urandom)
    return Credential(made.id_object, made.encrypted_secret)


def shut_down(machine: Swtpm) -> None:
    """End the TPM as its machine's power would, by the control port."""
    subprocess.run(
        ["swtpm_ioctl", "--tcp", f"127.0.0.1:{machine.port + 1}", "-s"], check=True, timeout=20
    )


def extend(machine: Swtpm, pcr: int = 14) -> None:
    machine.extend(pcr, os.urandom(32))


@pytest.mark.parametrize("key", ["ecc-p256", "rsa-2048"])
@pytest.mark.parametrize("endorsement_key", ["ecc-p384", "rsa-2048"])
def test_evidence_verifies_and_its_lock_opens_until_a_pcr_is_extended(
    machine: Swtpm, key: str, endorsement_key: str
) -> None:
    tpm = attester(machine, key=key, endorsement_key=endorsement_key)
    evidence = tpm.collect(BOUND)
    node = verified(machine, evidence)
    assert node.quote.nonce == BOUND[:32]
    assert node.claims.tpm.ek is not None
    secret = os.urandom(32)
    assert evidence.lock.open(locked(node, secret)) == secret
    assert not tpm.changed()
    extend(machine)
    assert tpm.changed()
    with pytest.raises(AttesterUnavailable, match="policy check failed"):
        evidence.lock.open(locked(node, secret))
    again = tpm.collect(BOUND)
    assert not tpm.changed()
    fresh = verified(machine, again)
    assert fresh.quote.ak_name == node.quote.ak_name, "one key for one process"
    assert again.lock.open(locked(fresh, secret)) == secret
    with pytest.raises(AttesterUnavailable):
        evidence.lock.open(locked(fresh, secret))


def test_the_lock_stays_the_same_while_the_state_does(machine: Swtpm) -> None:
    tpm = attester(machine)
    first, second = (verified(machine, tpm.collect(bytes([n]) * 64)) for n in range(2))
    extend(machine)
    third = verified(machine, tpm.collect(BOUND))
    assert first.lock == second.lock != third.lock


def test_a_lock_opens_only_in_the_tpm_of_its_endorsement_key_and_beside_its_object(
    machine: Swtpm,
) -> None:
    secret = os.urandom(32)
    tpm = attester(machine, endorsement_key="ecc-p384")
    other = attester(machine, endorsement_key="rsa-2048")
    evidence, foreign = tpm.collect(BOUND), other.collect(BOUND)
    node, theirs = verified(machine, evidence), verified(machine, foreign)
    for object_name, ek in (
        (theirs.lock.object_name, node.lock.ek),  # another object of the same policy
        (node.quote.ak_name, node.lock.ek),  # the attestation key
        (node.lock.object_name, theirs.lock.ek),  # another endorsement key
    ):
        made = credential.make(ek, object_name, secret, random_bytes=os.urandom)
        with pytest.raises(AttesterUnavailable):
            evidence.lock.open(Credential(made.id_object, made.encrypted_secret))
    with pytest.raises(AttesterUnavailable):
        tpm.activate(locked(node, secret))
    assert evidence.lock.open(locked(node, secret)) == secret


def test_the_key_to_prove_is_the_one_that_quotes_and_opens_its_credential(machine: Swtpm) -> None:
    tpm = attester(machine)
    asked = tpm.credential_request()
    node = verified(machine, tpm.collect(BOUND))
    assert public.encode(node.quote.ak) == asked.ak_public
    assert public.encode(node.lock.ek) == asked.ek_public
    secret = os.urandom(32)
    for size in (32, 31, 1):
        made = credential.make(
            node.lock.ek, node.quote.ak_name, secret[:size], random_bytes=os.urandom
        )
        opened = Credential(made.id_object, made.encrypted_secret)
        if size == 32:
            assert tpm.activate(opened) == secret
        else:
            with pytest.raises(AttesterUnavailable, match="where 32 are"):
                tpm.activate(opened)


def test_two_processes_have_two_keys(machine: Swtpm) -> None:
    names = {
        name.name(public.parse(attester(machine).credential_request().ak_public)) for _ in range(2)
    }
    assert len(names) == 2


def test_the_event_log_goes_along_and_is_explained_by_the_quote(
    machine: Swtpm, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    file.write_bytes(LOG)
    tpm = attester(machine, event_log=str(file))
    assert "with the firmware's event log." in tpm.probe().why
    assert verified(machine, tpm.collect(BOUND)).claims.boot is not None
    file.write_bytes(b"")
    assert "no event log" in tpm.probe().why
    assert verified(machine, tpm.collect(BOUND)).claims.boot is None


def test_several_banks_are_quoted_in_the_order_of_the_specification(machine: Swtpm) -> None:
    tpm = attester(machine, pcrs="sha384:7,14+sha256:0,14")
    node = verified(machine, tpm.collect(BOUND))
    assert [bank.bank.label for bank in node.quote.pcrs] == ["sha256", "sha384"]
    assert not tpm.changed()
    machine.tool("tpm2_pcrextend", f"14:sha384={os.urandom(48).hex()}")
    assert tpm.changed()


def test_a_pcr_that_is_not_selected_changes_nothing(machine: Swtpm) -> None:
    tpm = attester(machine, pcrs="sha256:0,7")
    assert not tpm.changed(), "nothing was attested yet"
    evidence = tpm.collect(BOUND)
    extend(machine, 14)
    assert not tpm.changed()
    secret = os.urandom(32)
    assert evidence.lock.open(locked(verified(machine, evidence), secret)) == secret


class Meddling:
    """Extends PCR 10 after each of the first `times` looks of a policy session, as IMA could."""

    def __init__(self, inner: Socket, times: int) -> None:
        self._inner, self._left = inner, times

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def execute(self, command: bytes) -> bytes:
        answer = self._inner.execute(command)
        if command[6:10] == bytes.fromhex("0000017f") and self._left:
            self._left -= 1
            extend_10 = "8002 00000041 00000182 0000000a 00000009 40000009 0000 00 0000"
            digest = bytes.fromhex("00000001 000b") + os.urandom(32)
            assert self._inner.execute(bytes.fromhex(extend_10) + digest)[6:10] == bytes(4)
        return answer


@pytest.mark.parametrize("times", [1, locks.ATTEMPTS - 1, locks.ATTEMPTS])
def test_a_lock_opens_though_pcrs_that_nobody_asked_for_are_extended_meanwhile(
    machine: Swtpm, times: int
) -> None:
    left = [0]

    def connect() -> Meddling:
        meddling = Meddling(Socket("127.0.0.1", machine.port), left[0])
        left[0] = 0
        return meddling

    chosen = read_settings({"socket": f"127.0.0.1:{machine.port}"})
    tpm = TpmAttester(chosen, connect, random_bytes=os.urandom, sleep=time.sleep)
    evidence = tpm.collect(BOUND)
    secret, made = os.urandom(32), None
    made = locked(verified(machine, evidence), secret)
    left[0] = times
    if times < locks.ATTEMPTS:
        assert evidence.lock.open(made) == secret
    else:
        with pytest.raises(AttesterUnavailable, match="during each of"):
            evidence.lock.open(made)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=1, max_size=1024), st.binary(min_size=1, max_size=1024))
def test_any_bytes_are_no_credential_and_leave_nothing_behind(
    machine: Swtpm, id_object: bytes, encrypted_secret: bytes
) -> None:
    tpm = attester(machine)
    evidence = tpm.collect(BOUND)
    for opening in (tpm.activate, evidence.lock.open):
        with pytest.raises(AttesterUnavailable, match="refused TPM2_ACTIVATE_CREDENTIAL"):
            opening(Credential(id_object, encrypted_secret))
    assert not tpm.changed()


def test_a_poll_never_races_a_quote(machine: Swtpm) -> None:
    """Whoever asks at the same time, one connection is open: a second would wait for the first."""
    open_now, most, failures = 0, 0, list[BaseException]()

    @contextmanager
    def connect() -> Iterator[Socket]:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        with Socket("127.0.0.1", machine.port) as transport:
            yield transport
        open_now -= 1

    chosen = read_settings({"socket": f"127.0.0.1:{machine.port}"})
    tpm = TpmAttester(chosen, connect, random_bytes=os.urandom, sleep=time.sleep)
    tpm.collect(BOUND)

    def work(task: Callable[[], object]) -> None:
        try:
            for _ in range(20):
                task()
        except AttesterUnavailable as error:
            failures.append(error)

    tasks = (tpm.changed, lambda: tpm.collect(BOUND), tpm.probe)
    threads = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, failures) == (1, [])
    for kind in ("transient", "loaded-session", "saved-session"):
        assert machine.tool("tpm2_getcap", f"handles-{kind}").strip() == ""


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"pcrs": "sha1:0"}, "keeps no PCR 0 of bank SHA1"),
        ({"endorsement_key": "ecc-p256"}, "holds no certificate of an ecc-p256 endorsement key"),
    ],
)
def test_what_this_tpm_lacks_is_told_by_probe_and_by_every_use(
    machine: Swtpm, table: dict[str, object], told: str
) -> None:
    tpm = attester(machine, **table)
    found = tpm.probe()
    assert not found.available
    assert told in found.why
    with pytest.raises(AttesterUnavailable, match=told):
        tpm.collect(BOUND)


@pytest.mark.parametrize("hierarchy", ["endorsement", "owner"])
def test_a_hierarchy_with_a_password_leaves_the_other_one(machine: Swtpm, hierarchy: str) -> None:
    """Keys of the high range still activate; the storage parent comes from the other seed."""
    machine.tool("tpm2_changeauth", "-c", hierarchy, "secret")
    try:
        tpm = attester(machine, endorsement_key="ecc-p384")
        evidence = tpm.collect(BOUND)
        secret = os.urandom(32)
        assert evidence.lock.open(locked(verified(machine, evidence), secret)) == secret
    finally:
        machine.tool("tpm2_changeauth", "-c", hierarchy, "-p", "secret")


# --- in an agent -------------------------------------------------------------------------------


def act(
    machine: Swtpm,
    folder: Path,
    scene: Callable[[Stage], object],
    prepare: Callable[[Plane], None] = lambda _: None,
) -> Stage:
    def prepared(plane: Plane) -> None:
        plane.tpm = plane_of(machine)
        prepare(plane)

    return play(scene, folder, prepared, attester(machine))


def test_an_agent_proves_its_key_enrols_and_opens_what_is_locked_to_its_state(
    machine: Swtpm, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        assert (await stage.infer()).status_code == 200

    plane = act(machine, tmp_path, scene).plane
    (enrolled,), (asked,) = plane.enrolled, plane.tpm.requests
    assert len(enrolled.credential_proof) == 32
    assert enrolled.agent.attester == "tpm"
    assert asked.tls_spki == plane.node.spki
    assert plane.tpm.locked == 1
    (node,) = plane.tpm.shown.values()
    assert public.encode(node.quote.ak) == asked.ak_public


def test_a_renewal_moves_no_lock(machine: Swtpm, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        stage.plane.push_challenge()
        await stage.until(lambda: stage.agent.parts.book.highest_sequence == 2, "renews")

    assert act(machine, tmp_path, scene).plane.tpm.locked == 1


def test_an_extended_pcr_is_attested_at_once_though_the_lease_is_long(
    machine: Swtpm, tmp_path: Path
) -> None:
    took: list[float] = []

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        (before,) = stage.plane.tpm.shown.values()
        extend(machine)
        began = time.monotonic()
        await stage.until(lambda: len(stage.plane.attested) == 2, "attests")
        took.append(time.monotonic() - began)
        (after,) = stage.plane.tpm.shown.values()
        assert after.quote.pcrs != before.quote.pcrs
        await stage.until(lambda: stage.agent.parts.book.highest_sequence == 2, "is answered")
        assert stage.plane.wanted == 2, "one request for each attestation"

    act(machine, tmp_path, scene, lambda plane: setattr(plane, "ttl_ms", 3_600_000))
    assert took[0] < 15


def test_keys_do_not_open_when_the_state_changed_before_they_came(
    machine: Swtpm, tmp_path: Path
) -> None:
    """The leases stand without keys, and the next attestation, of the new state, brings them."""

    def once(plane: Plane) -> None:
        def change() -> None:
            plane.before_answer = lambda: None
            extend(machine)

        plane.before_answer = change

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.agent.parts.book.highest_sequence == 1, "is granted")
        assert stage.host.opened == []
        await stage.until_serving()
        assert len(stage.plane.attested) == 2

    stage = act(machine, tmp_path, scene, once)
    assert stage.plane.tpm.locked == 2


@pytest.mark.parametrize("parts", [(1, 1), (0, 40), (200, 300), (1024, 1024), (1025, 1), (1, 5000)])
def test_garbage_for_credentials_keeps_the_agent_out_and_alive(
    machine: Swtpm, tmp_path: Path, parts: tuple[int, int]
) -> None:
    """Whatever the control plane sends for a credential or a lock; and then it sends good ones."""

    def garbage(_: agent_pb2.TpmCredential) -> agent_pb2.TpmCredential:
        first, second = (os.urandom(size) for size in parts)
        return agent_pb2.TpmCredential(id_object=first, encrypted_secret=second)

    def prepare(plane: Plane) -> None:
        plane.tpm.edit_credential = garbage
        plane.tpm.edit_lock = garbage

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.plane.tpm.requests) > 2, "asks again")
        assert stage.plane.enrolled == []
        stage.plane.tpm.edit_credential = lambda made: made
        await stage.until(lambda: stage.plane.tpm.locked, "is granted something")
        assert stage.host.opened == []
        stage.plane.tpm.edit_lock = lambda made: made
        await stage.until_serving()

    act(machine, tmp_path, scene, prepare)


def test_keys_without_a_lock_are_refused(machine: Swtpm, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.agent.parts.book.highest_sequence == 1, "is granted")
        assert stage.agent.parts.holdings.held_leases() == ()
        assert stage.host.opened == []

    def prepare(plane: Plane) -> None:
        plane.tpm.edit_lock = lambda _: None

    act(machine, tmp_path, scene, prepare)


def test_a_tpm_that_stops_answering_ends_the_lease_at_its_horizon(tmp_path: Path) -> None:
    with swtpm.fresh(tmp_path / "own") as machine:

        async def scene(stage: Stage) -> None:
            await stage.until_serving()
            shut_down(machine)
            asked = stage.plane.wanted
            await stage.until(lambda: stage.plane.wanted > asked, "asks in doubt")
            assert (await stage.infer()).status_code == 200
            await stage.until(lambda: not stage.host.alive(), "reaches its horizon")
            assert (await stage.infer()).json()["code"] == "lease_expired"
            assert len(stage.plane.attested) == 1
            assert stage.state is AgentState.ADMITTED

        act(machine, tmp_path, scene, lambda plane: setattr(plane, "ttl_ms", 6_000))


def test_enrolment_with_activation_is_quick(machine: Swtpm, tmp_path: Path) -> None:
    """A new key each time. The least of several: what a busy machine adds is not the agent's."""
    took: list[float] = []

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        enroller = stage.agent.runtime._enroller  # noqa: SLF001 - the whole of it is timed
        for _ in range(7):
            maker = replace(enroller.maker, attester=attester(machine))
            fresh = replace(enroller, maker=maker)
            began = time.perf_counter()
            await fresh.enroll()
            took.append(1_000 * (time.perf_counter() - began))

    act(machine, tmp_path, scene)
    assert min(took) < 300, took
