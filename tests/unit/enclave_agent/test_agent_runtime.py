"""The agent against a control plane that speaks the contract over real TLS."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.agent_models import MemoryHost, QuotingAttester, agent_settings
from fakes.agent_stage import DELAYS, WORKLOAD, Stage, as_it_is, free_port, play
from fakes.fake_control_plane import JOIN_TOKEN, Plane

from sealward.enclave_agent import bootstrap
from sealward.enclave_agent.clock import NS_PER_MS, boottime_ns
from sealward.enclave_agent.lifecycle import AgentState
from sealward.protos import agent_pb2
from sealward.protos.wipe import WipeCause


def test_enrols_attests_and_serves(tmp_path: Path) -> None:
    """From nothing to an answered inference; the join token and the proof arrived."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        answer = await stage.infer()
        assert answer.status_code == 200
        assert answer.json()["outputs"][0]["data"] == [7]
        (enrolled,) = stage.plane.enrolled
        assert enrolled.join_token == JOIN_TOKEN
        status = await stage.status()
        assert status["state"] == "compliant"
        assert status["connected"] is True
        (lease,) = status["leases"]
        assert 0 < lease["remaining_ms"] <= 60_000
        assert status["models"][0]["state"] == "READY"

    play(scene, tmp_path, as_it_is)


def test_pends_until_an_operator_admits(tmp_path: Path) -> None:
    """A pending node keeps asking, and holds nothing."""

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.plane.enrolled) >= 2, "asks again")
        await stage.until(lambda: stage.state is AgentState.PENDING, "pends")
        assert stage.host.opened == []
        denial = (await stage.status())["last_denial"]
        assert denial == {"code": "platform_unknown", "correlation_id": "c-2"}
        stage.plane.admission = agent_pb2.ANSWER_ADMIT
        await stage.until_serving()

    play(scene, tmp_path, lambda plane: setattr(plane, "admission", agent_pb2.ANSWER_PEND))


def test_keeps_asking_after_a_rejection(tmp_path: Path) -> None:
    """A rejection may be undone; until then nothing is attested."""

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.state is AgentState.REJECTED, "is rejected")
        await stage.until(lambda: len(stage.plane.enrolled) >= 2, "asks again")
        assert stage.plane.attested == []
        stage.plane.admission = agent_pb2.ANSWER_ADMIT
        await stage.until_serving()

    play(scene, tmp_path, lambda plane: setattr(plane, "admission", agent_pb2.ANSWER_REJECT))


def test_renews_on_a_pushed_challenge_without_a_new_key(tmp_path: Path) -> None:
    """A renewal extends the lease, proves the ratchet, and opens nothing anew."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        (before,) = stage.agent.parts.book.live(boottime_ns())
        stage.plane.push_challenge()
        await stage.until(lambda: len(stage.plane.attested) == 2, "attests again")
        await stage.until(lambda: stage.agent.parts.book.highest_sequence == 2, "takes the answer")
        (after,) = stage.agent.parts.book.live(boottime_ns())
        assert after.lease_id == before.lease_id
        assert after.horizon_ns > before.horizon_ns
        assert len(stage.host.opened) == 1
        first, second = stage.plane.attested
        assert first.ratchet is None
        assert second.ratchet is not None
        assert second.statement.held_leases == (before.lease_id,)
        assert second.statement.open_models == (before.models[0].header_digest,)

    play(scene, tmp_path, as_it_is)


def test_asks_for_a_challenge_when_none_is_pushed(tmp_path: Path) -> None:
    """The plane pushes nothing here: every renewal was asked for, and serving never stopped."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        for _ in range(200):
            assert (await stage.infer()).status_code == 200
            if len(stage.plane.attested) >= 2:
                return
            await asyncio.sleep(0.02)
        pytest.fail("never renewed")

    stage = play(scene, tmp_path, lambda plane: setattr(plane, "ttl_ms", 1_000))
    assert stage.plane.wanted >= 2


def test_revocation_stops_wipes_and_states(tmp_path: Path) -> None:
    """Pushed terms end the lease at once; the statement names lease, model, worker and sequence."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        (held,) = stage.agent.parts.book.live(boottime_ns())
        stage.plane.refuse_attest = "posture_noncompliant"
        stage.plane.revoke(WORKLOAD)
        await stage.until(lambda: stage.plane.wiped, "states the wipe")
        refused = await stage.infer()
        assert refused.status_code == 503
        assert refused.json()["code"] == "lease_revoked"
        (statement,) = stage.plane.wiped
        assert statement.cause is WipeCause.REVOKED
        assert statement.leases == (held.lease_id,)
        assert statement.sequence == 2
        (item,) = statement.items
        assert item.content_key_id == held.models[0].content_key_id
        assert (item.worker_pid, item.exit_status, item.weight_bytes) == (4242, -9, 4096)
        assert not any(stage.host.opened[0].weights)
        await stage.until(lambda: not stage.agent.parts.desk.waiting(), "is recorded")
        assert stage.state is not AgentState.COMPLIANT

    play(scene, tmp_path, as_it_is)


def test_a_revocation_overtakes_a_grant(tmp_path: Path) -> None:
    """The grant that a revocation overtook is dropped: it grants nothing afterwards."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        late: list[bytes] = []

        def overtake() -> None:  # signed after the grant in flight, delivered before it
            stage.plane.before_answer = lambda: None
            late.append(stage.plane.revoke(WORKLOAD))
            stage.plane.denial = "reference_withdrawn"

        original = stage.plane.edit_terms
        stage.plane.before_answer = overtake
        stage.plane.push_challenge()
        await stage.until(lambda: late, "overtakes")
        await stage.until(lambda: not stage.host.alive(), "wipes")
        await stage.until(lambda: stage.agent.parts.book.highest_sequence >= 3, "accepts the end")
        assert stage.agent.parts.book.live(boottime_ns()) == ()
        assert (await stage.infer()).status_code == 503
        stage.plane.edit_terms = original

    play(scene, tmp_path, as_it_is)


def test_a_grant_that_overtook_a_revocation_does_not_hide_it(tmp_path: Path) -> None:
    """The end of the lease, terms 2, arrives after the answer, terms 3, which does not name it."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        (held,) = stage.agent.parts.book.live(boottime_ns())
        late = stage.plane.revocation(WORKLOAD)
        stage.plane.denial = "reference_withdrawn"
        stage.plane.edit_terms = lambda terms: replace(terms, leases=())
        stage.plane.push_challenge()
        await stage.until(lambda: stage.plane.wiped, "states the wipe")
        stage.plane.push(agent_pb2.ServerMessage(terms=late))
        assert (await stage.infer()).json()["code"] == "lease_revoked"
        (statement,) = stage.plane.wiped
        assert statement.cause is WipeCause.REVOKED
        assert (statement.leases, statement.sequence) == ((held.lease_id,), 3)
        assert not stage.host.alive()

    play(scene, tmp_path, as_it_is)


def test_a_revocation_during_an_outage_is_obeyed_on_reconnection(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        await stage.plane.stop()
        stage.plane.revocation(WORKLOAD)
        stage.plane.refuse_attest = "posture_noncompliant"
        await stage.plane.start()
        await stage.until(lambda: stage.plane.wiped, "states the wipe")
        assert stage.plane.wiped[0].sequence == 2
        assert (await stage.infer()).json()["code"] == "lease_revoked"

    play(scene, tmp_path, as_it_is)


def test_a_renewal_that_comes_after_the_horizon_is_replaced_soon(tmp_path: Path) -> None:
    """The plane renewed what this agent had given up: a new lease takes its place at once."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        (first,) = stage.agent.parts.book.live(boottime_ns())
        stage.plane.ttl_ms = 3_600_000
        stage.plane.answer_after_s = 1.2
        stage.plane.push_challenge()
        await stage.until(lambda: not stage.host.alive(), "reaches its horizon")
        await stage.until_serving()
        (second,) = stage.agent.parts.book.live(boottime_ns())
        assert second.lease_id != first.lease_id
        assert [said.statement.held_leases for said in stage.plane.attested] == [
            (),
            (first.lease_id,),
            (),
        ]
        assert (await stage.infer()).status_code == 200
        assert stage.plane.problems == []

    play(scene, tmp_path, lambda plane: setattr(plane, "ttl_ms", 1_000))


def test_a_statement_that_is_refused_does_not_keep_the_agent_away(tmp_path: Path) -> None:
    """Each time it is told the stream ends: it is given up, and the agent serves again."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        stage.plane.refuse_statements = True
        stage.plane.revoke(WORKLOAD)
        await stage.until(stage.agent.parts.desk.waiting, "states the wipe")
        await stage.until(lambda: not stage.agent.parts.desk.waiting(), "gives up")
        await stage.until(lambda: stage.agent.parts.standing.connected, "comes back")
        await stage.until_serving()

    play(scene, tmp_path, as_it_is)


def test_replayed_terms_change_nothing(tmp_path: Path) -> None:
    """A grant or a revocation seen before, and a grant that nobody asked for, are dropped."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        stage.plane.push_challenge()
        await stage.until(lambda: stage.agent.parts.book.highest_sequence == 2, "renews")
        (before,) = stage.agent.parts.book.live(boottime_ns())
        for signed in stage.plane.signed[:2]:
            stage.plane.push(agent_pb2.ServerMessage(terms=signed))
        stage.plane.push_challenge()
        await stage.until(lambda: stage.agent.parts.book.highest_sequence == 3, "goes on")
        (after,) = stage.agent.parts.book.live(boottime_ns())
        assert after.lease_id == before.lease_id
        assert len(stage.host.alive()) == 1

    play(scene, tmp_path, as_it_is)


@pytest.mark.parametrize("what", ["key", "node", "tenant", "domain", "challenge"])
def test_terms_that_are_not_for_this_agent_are_dropped(tmp_path: Path, what: str) -> None:
    """An unpinned key, another node, tenant, trust domain or nonce: nothing is held."""

    def prepare(plane: Plane) -> None:
        if what == "key":
            plane.signing = Ed25519PrivateKey.generate()
        edits = {
            "node": {"node": bytes(32)},
            "tenant": {"tenant": "other"},
            "domain": {"trust_domain": "other.test"},
            "challenge": {"challenge": bytes(32)},
        }
        plane.edit_terms = lambda terms: replace(terms, **edits.get(what, {}))

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.plane.attested, "attests")
        await asyncio.sleep(0.1)
        assert stage.agent.parts.book.highest_sequence == 0
        assert stage.host.opened == []
        assert stage.state is AgentState.ADMITTED

    play(scene, tmp_path, prepare)


def test_serves_until_its_horizon_and_recovers(tmp_path: Path) -> None:
    """Without a control plane: answers before the horizon, none after it, and back by itself."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        (lease,) = stage.agent.parts.book.live(boottime_ns())
        await stage.plane.stop()
        await stage.until(lambda: stage.state is AgentState.DEGRADED, "degrades")
        refused_ns = 0
        answered_ns = 0
        while not refused_ns:
            asked_ns = boottime_ns()
            answer = await stage.infer()
            if answer.status_code == 200:
                answered_ns = asked_ns
                assert asked_ns < lease.horizon_ns
            else:
                refused_ns = boottime_ns()
                assert answer.json()["code"] == "lease_expired"
            await asyncio.sleep(0.002)
        assert answered_ns > 0
        assert refused_ns >= lease.horizon_ns
        await stage.until(lambda: not stage.host.alive(), "wipes")
        late_ms = (boottime_ns() - lease.horizon_ns) / NS_PER_MS
        assert late_ms < 5_000  # tells of a wipe that never came; the figure is the benchmark's
        stage.plane.ttl_ms = 60_000
        await stage.plane.start()
        await stage.until_serving()
        assert (await stage.infer()).status_code == 200
        await stage.until(lambda: stage.plane.wiped, "states what the horizon ended")
        (statement,) = stage.plane.wiped
        assert statement.cause is WipeCause.HORIZON
        assert statement.sequence is None

    play(scene, tmp_path, lambda plane: setattr(plane, "ttl_ms", 1_200))


def test_a_denied_attestation_ends_leases(tmp_path: Path) -> None:
    """Terms that end the lease come with the denial; the model is wiped, the code is kept."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        stage.plane.denial = "reference_withdrawn"
        stage.plane.push_challenge()
        await stage.until(lambda: stage.state is AgentState.REFUSED, "is refused")
        await stage.until(lambda: stage.plane.wiped, "states the wipe")
        assert not stage.host.alive()
        denial = (await stage.status())["last_denial"]
        assert denial == {"code": "reference_withdrawn", "correlation_id": "c-1"}
        stage.plane.denial = ""
        stage.plane.push_challenge()
        await stage.until_serving()

    play(scene, tmp_path, as_it_is)


def test_a_lost_answer_costs_nothing(tmp_path: Path) -> None:
    """The ratchet survives an answer lost on the way, the very first one included."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        assert len(stage.plane.enrolled) == 1
        assert len(stage.plane.attested) == 2
        stage.plane.drop_answers = 1
        stage.plane.push_challenge()
        await stage.until(lambda: stage.plane.drop_answers == 0, "is lost")
        attested = len(stage.plane.attested)
        await stage.until(stage.plane.streaming, "comes back")
        await stage.until(lambda: stage.agent.parts.standing.connected, "is connected")
        stage.plane.push_challenge()
        await stage.until(lambda: len(stage.plane.attested) > attested, "attests again")
        await stage.until_serving()

    stage = play(scene, tmp_path, lambda plane: setattr(plane, "drop_answers", 1))
    assert stage.plane.problems == []


def test_a_forgotten_instance_serves_out_its_lease_and_begins_anew(tmp_path: Path) -> None:
    """A control plane that lost its state gets a new instance, not the old one's sequence."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        await stage.plane.stop()
        stage.plane.forget()
        await stage.plane.start()
        await stage.until(lambda: not stage.agent.parts.standing.connected, "is refused")
        assert (await stage.infer()).status_code == 200
        await stage.until(lambda: len(stage.agents) == 2, "begins anew")
        await stage.until_serving()
        first, second = (agent.parts.maker.keys.node for agent in stage.agents)
        assert first != second
        assert [request.join_token for request in stage.plane.enrolled] == [JOIN_TOKEN, ""]
        assert list(stage.plane.nodes) == [second.hex()]
        assert stage.plane.problems == []

    play(scene, tmp_path, lambda plane: setattr(plane, "ttl_ms", 2_000))


def test_changes_to_a_fresh_certificate(tmp_path: Path) -> None:
    """A certificate that came with an answer is used on a new connection; the lease goes on."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        first = stage.agent.parts.standing.certificate
        stage.plane.renew_certificate = True
        stage.plane.push_challenge()
        await stage.until(lambda: len(stage.plane.hellos) == 2, "connects anew")
        assert stage.agent.parts.standing.certificate != first
        (lease,) = stage.agent.parts.book.live(boottime_ns())
        assert [held.lease_id for held in stage.plane.hellos[1].held] == [lease.lease_id]
        assert stage.plane.hellos[1].highest_sequence == 2
        assert len(stage.plane.enrolled) == 1

    play(scene, tmp_path, as_it_is)


def test_enrols_again_when_its_certificate_has_expired(tmp_path: Path) -> None:
    """An outage longer than the certificate's life is survived."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        await stage.plane.stop()
        await asyncio.sleep(1.2)
        await stage.plane.start()
        await stage.until(lambda: len(stage.plane.enrolled) == 2, "enrols again")
        await stage.until_serving()
        assert stage.plane.problems == []  # its join token is good again for the same node

    play(scene, tmp_path, lambda plane: setattr(plane, "certificate_life", timedelta(seconds=1)))


def test_shutdown_wipes_and_states(tmp_path: Path) -> None:
    """A stop ends every lease, wipes, and tells the control plane before it closes."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        stage.stop.set()
        await stage.until(lambda: stage.state is AgentState.STOPPED, "stops")

    stage = play(scene, tmp_path, as_it_is)
    assert not stage.host.alive()
    (statement,) = stage.plane.wiped
    assert statement.cause is WipeCause.SHUTDOWN


def test_a_model_still_opening_when_revoked_never_serves(tmp_path: Path) -> None:
    """Opening is given up, and the statement names the key although no worker ran."""

    async def scene(stage: Stage) -> None:
        stage.host.delay = 3600.0
        await stage.until(lambda: stage.state is AgentState.COMPLIANT, "is granted")
        assert (await stage.infer()).json()["code"] == "starting"
        stage.plane.refuse_attest = "posture_noncompliant"
        stage.plane.revoke(WORKLOAD)
        await stage.until(lambda: stage.plane.wiped, "states the wipe")
        assert stage.host.opened == []
        (item,) = stage.plane.wiped[0].items
        assert (item.worker_pid, item.weight_bytes) == (0, 0)

    play(scene, tmp_path, as_it_is)


def test_a_worker_that_died_is_opened_again(tmp_path: Path) -> None:
    """The content key is kept for the life of the lease, so a crash needs no new grant."""

    async def scene(stage: Stage) -> None:
        await stage.until_serving()
        stage.host.opened[0].ended = "worker ended with status -11"
        await stage.until(stage.host.alive, "opens again")
        await stage.until(lambda: stage.plane.attested, "has attested")
        assert (await stage.infer()).status_code == 200
        assert len(stage.plane.attested) == 1

    play(scene, tmp_path, as_it_is)


def test_a_broken_attester_is_told_and_recovers(tmp_path: Path) -> None:
    """No evidence means no enrolment, not a crash."""

    async def scene(stage: Stage) -> None:
        stage.attester.broken = False
        await stage.until_serving()
        stage.attester.broken = True
        stage.plane.push_challenge()
        await asyncio.sleep(0.1)
        assert len(stage.plane.attested) == 1
        stage.attester.broken = False
        stage.plane.push_challenge()
        await stage.until(lambda: len(stage.plane.attested) == 2, "attests again")

    play(scene, tmp_path, as_it_is)


def test_another_control_plane_is_not_talked_to(tmp_path: Path) -> None:
    """A server under a root that is not pinned gets nothing, not even a challenge request."""

    async def body() -> None:
        rogue, genuine = Plane(), Plane()
        await rogue.start()
        settings = agent_settings(
            enrollment=rogue.enrollment_port,
            agent=rogue.agent_port,
            port=free_port(),
            workloads=(WORKLOAD,),
            folder=tmp_path,
        )
        attester = QuotingAttester()
        agent = bootstrap.build(
            settings,
            trust=genuine.trust,
            attester=attester,
            join_token="",
            hardening=(),
            host=MemoryHost({}),
            delays=DELAYS,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(agent.run(stop))
        await asyncio.sleep(0.3)
        stop.set()
        await running
        await rogue.stop()
        assert rogue.enrolled == []
        assert attester.collected == 0

    asyncio.run(body())
