"""Agents without a model: they mint genuine evidence, attest, and check every answer.

A process of its own, so that what the control plane costs can be told from what its load costs:

    python -m benchmarks.load.simulated_agents attest ...   loops of challenge and attestation
    python -m benchmarks.load.simulated_agents watch ...    open streams, pushed challenges answered

It says `ready` when every agent is enrolled and holds a lease, waits for a line on its input, does
its work, and prints one JSON record. Keys, bindings, transport and the checks of an answer are the
agent's own code; only models and the lease book are missing. Agents that watch may start apart, so
that their renewals are spread over time as those of a fleet are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop
from sealward_devkit.attester import from_settings
from sealward_devkit.snp.report import development_measurement

import sealward
from sealward.enclave_agent.attesters.port import Attester, Evidence
from sealward.enclave_agent.certificate import read_certificate
from sealward.enclave_agent.clock import boottime_ns, clock_source
from sealward.enclave_agent.enrollment import Enroller, describe
from sealward.enclave_agent.evidence import EvidenceMaker, Ratchet
from sealward.enclave_agent.grants import open_ratchet
from sealward.enclave_agent.identity import HpkeKeyring, InstanceKeys
from sealward.enclave_agent.messages import (
    PROTOCOL_VERSION,
    AttestAnswer,
    Challenge,
    read_challenge,
)
from sealward.enclave_agent.transport import Addresses, AgentClient, ControlPlane, Unreachable
from sealward.protos import agent_pb2, agent_pb2_grpc, terms
from sealward.protos.terms import LeaseTermsState
from sealward.protos.trust import TrustConfiguration
from sealward.verifier.rats.binding import AgentStatement, Purpose

STAGES: Final = ("challenge", "evidence", "attest", "check")
_WARM_UP_ROUNDS: Final = 20  # of each agent, before `ready`


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the agents live and what they are.

    Attributes:
        addresses: of the control plane.
        trust: its trust configuration.
        platform: folder of the development platform.
        image: what every agent was launched from.
        workload: what every agent asks for.
    """

    addresses: Addresses
    trust: TrustConfiguration
    platform: Path
    image: str
    workload: str

    def attester(self) -> Attester:
        """Return the attester of a new guest on the platform."""
        return from_settings(
            {
                "platform": str(self.platform),
                "measurement": development_measurement(self.image).hex(),
                "host_data": self.trust.digest().hex(),
            }
        )


class _SameThread:
    """Stands for the agent's own thread: an attester that cannot hang is asked without one."""

    async def run(self, work: Callable[[], Evidence]) -> Evidence:
        """Return what `work` returns or raises."""
        return work()


@dataclass(slots=True)
class SimulatedAgent:
    """One instance: enrolled once, then as many attestations as are wanted.

    Attributes:
        held: leases whose keys it says it holds.
        spent: seconds of each round by stage, in the order of `STAGES`.
        sizes: bytes of the last request and of what its answer carried.
    """

    site: Site
    keys: InstanceKeys = field(default_factory=InstanceKeys.generate)
    held: tuple[bytes, ...] = ()
    sequence: int = 0
    spent: list[tuple[float, ...]] = field(default_factory=list)
    sizes: tuple[int, int] = (0, 0)
    _ratchet: Ratchet | None = None
    _maker: EvidenceMaker = field(init=False)
    _ring: HpkeKeyring = field(init=False)
    _client: AgentClient = field(init=False)
    _stub: agent_pb2_grpc.AgentAsyncStub = field(init=False)

    def __post_init__(self) -> None:
        self._maker = EvidenceMaker(
            trust=self.site.trust, keys=self.keys, attester=self.site.attester()
        )
        object.__setattr__(self._maker, "_thread", _SameThread())  # frozen, as everything there
        self._ring = HpkeKeyring(random_bytes=os.urandom, now_ns=boottime_ns())

    async def enroll(self, stack: AsyncExitStack) -> None:
        """Enrol and open the connection of this agent."""
        plane = ControlPlane(
            self.site.addresses, server_roots=self.site.trust.server_roots, keys=self.keys
        )
        enroller = Enroller(
            plane=plane, maker=self._maker, keyring=self._ring, clock=boottime_ns, join_token=""
        )
        answer = await enroller.enroll()
        if not answer.chain:
            raise SystemExit(f"an agent was not admitted: {answer.denial}")
        certificate = read_certificate(
            answer.chain, tls_spki=self.keys.tls_spki, sent_ns=answer.sent_ns
        )
        self._client = await stack.enter_async_context(plane.agent(certificate))
        self._stub = self._client._stub  # noqa: SLF001 - the agent asks over its stream; a loop asks by call

    async def round(self, *, hold: bool = True) -> None:
        """Ask for a challenge and answer it; `hold=False` has the content keys sent anew."""
        began = time.perf_counter()
        request = agent_pb2.ChallengeRequest(
            protocol_version=PROTOCOL_VERSION,
            purpose=agent_pb2.PURPOSE_ATTEST,
            tls_spki=self.keys.tls_spki,
        )
        message = await self._stub.GetChallenge(request, timeout=20)
        challenge = read_challenge(message, now_ns=boottime_ns())
        challenged = time.perf_counter()
        minted, answered, checked = await self.answer(challenge, hold=hold)
        self.spent.append(
            (challenged - began, minted - challenged, answered - minted, checked - answered)
        )

    async def answer(self, challenge: Challenge, *, hold: bool = True) -> tuple[float, ...]:
        """Attest; return the instants at which evidence, answer and its check were there."""
        bound = await self._maker.make(
            Purpose.ATTEST,
            challenge,
            hpke_key=self._ring.current(boottime_ns()),
            statement=AgentStatement(
                agent_version=sealward.__version__,
                clock_source=clock_source(),
                held_leases=self.held if hold else (),
            ),
            ratchet=self._ratchet,
        )
        minted = time.perf_counter()
        request = agent_pb2.AttestRequest(
            protocol_version=PROTOCOL_VERSION,
            ticket=challenge.ticket,
            binding=bound.binding,
            evidence=bound.evidence,
            workloads=(self.site.workload,),
            agent=describe(self._maker),
        )
        answer = await self._client.attest(request)
        answered = time.perf_counter()
        carried = (answer.signed_terms, answer.ratchet or b"", *answer.content_keys)
        self.sizes = (request.ByteSize(), sum(map(len, carried)))
        self._take(answer, self._ring.current(boottime_ns()), renewed=hold and bool(self.held))
        return minted, answered, time.perf_counter()

    async def watch(self) -> AsyncIterator[Challenge | bytes]:
        """Open the stream; yield pushed challenges, and signed terms as bytes."""
        stream = self._client.watch()
        hello = agent_pb2.Hello(protocol_version=PROTOCOL_VERSION, highest_sequence=self.sequence)
        await stream.write(agent_pb2.AgentMessage(hello=hello))
        async for message in stream:
            if message.WhichOneof("message") == "challenge":
                yield read_challenge(message.challenge, now_ns=boottime_ns())
            else:
                yield message.terms

    def _take(self, answer: AttestAnswer, hpke_key: object, *, renewed: bool) -> None:
        """Check the answer as an agent does: signature, identity, lease, ratchet."""
        site = self.site
        verified = terms.verify(
            answer.signed_terms,
            keys=site.trust.terms_keys,
            trust_domain=site.trust.trust_domain,
            tenant=site.trust.tenant,
            node=self.keys.node,
        )
        said = LeaseTermsState.RENEWED if renewed else LeaseTermsState.GRANTED
        live = [one for one in verified.terms.leases if one.state is not LeaseTermsState.ENDED]
        states = [lease.state for lease in live]
        keys = 0 if renewed else 1
        if answer.posture != "compliant" or states != [said] or len(answer.content_keys) != keys:
            raise SystemExit(f"unexpected answer: {answer.posture}, {states}, {answer.refused}")
        if answer.ratchet is None:
            raise SystemExit("an answer without a ratchet")
        self._ratchet = open_ratchet(
            answer.ratchet,
            hpke_key=hpke_key,  # type: ignore[arg-type]  # named in one place only
            terms_digest=verified.digest,
        )
        self.held = tuple(lease.lease_id for lease in live)
        self.sequence = verified.terms.sequence


@dataclass(slots=True)
class Watched:
    """What agents did whose streams were open.

    Attributes:
        renewals: when each began and when its answer was checked; seconds of CLOCK_MONOTONIC,
            which all processes of a machine share.
        unavailable: attestations that the control plane could not decide in time.
    """

    renewals: list[tuple[float, float]] = field(default_factory=list)
    unavailable: int = 0

    async def serve(self, agent: SimulatedAgent) -> None:
        """Answer every challenge that is pushed to an agent."""
        async for pushed in agent.watch():
            if isinstance(pushed, bytes):
                raise SystemExit("a node that nobody revoked was sent a revocation")
            began = time.perf_counter()
            renewing: Awaitable[object] = agent.answer(pushed)
            while not await self._decided(renewing):
                renewing = agent.round()
            self.renewals.append((began, time.perf_counter()))

    async def _decided(self, renewing: Awaitable[object]) -> bool:
        try:
            await renewing
        except Unreachable:  # as an agent: asked again; counted, as it must not go unseen
            self.unavailable += 1
            return False
        return True


async def _attest(site: Site, agents: int, seconds: float, *, hold: bool) -> dict[str, object]:
    async with AsyncExitStack() as stack:
        # one after another: a fleet's start is not what is measured
        fleet = [await _enrolled(site, stack) for _ in range(agents)]
        for agent in fleet:
            for _ in range(_WARM_UP_ROUNDS):
                await agent.round(hold=hold)
            agent.spent.clear()
        await _ready()
        unavailable = 0
        cpu, began = time.process_time(), time.perf_counter()
        end = began + seconds

        async def loop(agent: SimulatedAgent) -> None:
            nonlocal unavailable
            while time.perf_counter() < end:
                try:
                    await agent.round(hold=hold)
                except Unreachable:  # as an agent: asked again; counted, as it must not go unseen
                    unavailable += 1

        await asyncio.gather(*(loop(agent) for agent in fleet))
        return {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
            "rounds": [spent for agent in fleet for spent in agent.spent],
            "sizes": fleet[0].sizes,
            "unavailable": unavailable,
        }


async def _watch(site: Site, agents: int, apart: float) -> dict[str, object]:
    """Hold streams open until the input closes; a node that loses its lease is an error."""
    watched = Watched()
    async with AsyncExitStack() as stack:
        streams: list[asyncio.Task[None]] = []
        began = time.perf_counter()
        for number in range(agents):
            await asyncio.sleep(began + number * apart - time.perf_counter())
            agent = await _enrolled(site, stack)
            streams.append(asyncio.create_task(watched.serve(agent)))
        ended = asyncio.create_task(_ready())
        done, _ = await asyncio.wait([ended, *streams], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if ended not in done:
            raise SystemExit("a stream ended")
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    return {"renewals": watched.renewals, "unavailable": watched.unavailable}


async def _enrolled(site: Site, stack: AsyncExitStack) -> SimulatedAgent:
    agent = SimulatedAgent(site)
    await agent.enroll(stack)
    await agent.round()
    return agent


async def _ready() -> None:
    """Say that everything is ready, and return when the parent says a line or closes the pipe."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def main() -> None:
    """Run one process of agents."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", choices=("attest", "watch"))
    parser.add_argument("--enrollment", required=True)
    parser.add_argument("--agent", required=True)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--platform", type=Path, required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--agents", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="of attesting")
    parser.add_argument("--apart", type=float, default=0.0, help="seconds between starts, to watch")
    parser.add_argument("--new-keys", action="store_true", help="say that no lease is held")
    options = parser.parse_args()
    site = Site(
        addresses=Addresses(enrollment=options.enrollment, agent=options.agent),
        trust=TrustConfiguration.decode(options.trust.read_bytes()),
        platform=options.platform,
        image=options.image,
        workload=options.workload,
    )
    work = (
        _watch(site, options.agents, options.apart)
        if options.work == "watch"
        else _attest(site, options.agents, options.seconds, hold=not options.new_keys)
    )
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(uvloop.run(work)), flush=True)


if __name__ == "__main__":
    main()
