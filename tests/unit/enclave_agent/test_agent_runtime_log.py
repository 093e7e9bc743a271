"""An agent sends each entry of its runtime log once, and all of them when it is told to.

On the virtual time of agent_world: renewals take none.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.agent_models import QuotingAttester
from fakes.agent_world import JumpingLoop, World, acting
from fakes.fake_control_plane import Plane
from fakes.ima_kernel import ImaKernel

from sealward.enclave_agent.attesters.port import Evidence
from sealward.enclave_agent.attesters.tpm.measurement_list import MeasurementList
from sealward.enclave_agent.evidence import EvidenceMaker
from sealward.enclave_agent.identity import InstanceKeys
from sealward.enclave_agent.messages import AttestAnswer, Challenge, read_attestation
from sealward.enclave_agent.session import RUNTIME_LOG_GAP
from sealward.enclave_agent.transport import Refused, Unreachable
from sealward.protos import agent_pb2
from sealward.sealing import hpke
from sealward.verifier.formats.ima import measurements
from sealward.verifier.rats.binding import AgentStatement, Purpose

TTL_MS = 60_000
ENTRIES = 3  # of the first evidence


@dataclass
class MeasuringAttester(QuotingAttester):
    """Its kernel measures one more file before every piece of evidence."""

    kernel: ImaKernel = field(default_factory=ImaKernel)

    def __post_init__(self) -> None:
        for number in range(1, ENTRIES):
            self.kernel.measure(f"/lib/{number}", b"library")

    def collect(self, report_data: bytes) -> Evidence:
        self.kernel.measure(f"/usr/bin/{self.collected}", b"program")
        log = MeasurementList(Path("/list"), self.kernel.runtime_measurements())
        return Evidence(super().collect(report_data).cmw, runtime_log=log)


@dataclass
class ProvingWorld(World):
    """A control plane that keeps how many entries it knows; answers of calls in `losing` are lost.

    It refuses the calls in `refusing` for another reason.
    """

    begins: list[int] = field(default_factory=list)
    proven: int = 0
    losing: tuple[int, ...] = ()
    refusing: tuple[int, ...] = ()

    async def attest(self, request: agent_pb2.AttestRequest) -> AttestAnswer:
        call, part = len(self.begins), request.runtime_log
        self.begins.append(part.first)
        if call in self.refusing:
            raise Refused("policy_missing", "c-1")
        if part.first not in (0, self.proven):
            raise Refused(RUNTIME_LOG_GAP, "c-1")
        self.proven = part.first + len(measurements.parse(part.data))
        answer = await super().attest(request)
        if call in self.losing:
            raise Unreachable("lost")
        told = read_attestation(agent_pb2.AttestResponse(runtime_log_next=self.proven))
        return replace(answer, runtime_log_next=told.runtime_log_next)


def begins(*, seconds: float = 200, **how: tuple[int, ...]) -> tuple[list[int], ProvingWorld]:
    """Where the lists of an agent began that ran for a while."""
    attester = MeasuringAttester()
    world = ProvingWorld(plane=Plane(ttl_ms=TTL_MS), attester=attester, **how)
    world.plane.lease_model("files", "m")

    async def body() -> None:
        stop = asyncio.Event()
        agent = acting(world)
        running = asyncio.create_task(agent.runtime.run(stop))
        await asyncio.sleep(seconds)
        assert agent.parts.book.held(), "it serves whatever became of its lists"
        stop.set()
        await running

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(body())
    assert attester.collected == len(world.begins)
    return world.begins, world


def test_every_list_begins_where_the_one_before_ended() -> None:
    found, _ = begins()
    assert found[:4] == [0, ENTRIES, ENTRIES + 1, ENTRIES + 2]
    assert all(later - before == 1 for before, later in pairwise(found[1:]))


def test_after_a_lost_answer_a_gap_is_told_and_the_whole_list_follows_soon() -> None:
    found, world = begins(losing=(1,))
    assert found[:4] == [0, ENTRIES, ENTRIES, 0]
    assert found[4] > ENTRIES
    gap, whole = world.times("want")[2:4]
    assert whole - gap < TTL_MS / 1000 / 4


def test_a_refusal_for_another_reason_costs_no_whole_list() -> None:
    found, _ = begins(refusing=(1,))
    assert found[:4] == [0, ENTRIES, ENTRIES, ENTRIES + 2]


@pytest.mark.parametrize(("purpose", "first"), [(Purpose.ENROLL, 0), (Purpose.ATTEST, ENTRIES - 1)])
def test_an_enrolment_sends_the_whole_list(purpose: Purpose, first: int) -> None:
    maker = EvidenceMaker(
        trust=Plane().trust, keys=InstanceKeys.generate(), attester=MeasuringAttester()
    )
    maker.runtime_log.proven = ENTRIES - 1
    bound = asyncio.run(
        maker.make(
            purpose,
            Challenge(nonce=bytes(32), ticket=b"t", expires_ns=0),
            hpke_key=hpke.PrivateKey.generate(hpke.Suite.X25519, os.urandom),
            statement=AgentStatement(agent_version="1", clock_source="tsc"),
            ratchet=None,
        )
    )
    assert bound.runtime_log is not None
    assert bound.runtime_log.first == first
    assert len(measurements.parse(bound.runtime_log.data)) == ENTRIES - first
