"""One control plane and one running agent, and how a test talks to both."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fakes.agent_models import MemoryHost, QuotingAttester, agent_settings
from fakes.fake_control_plane import JOIN_TOKEN, Plane

from sealward.enclave_agent import bootstrap
from sealward.enclave_agent.attesters.port import Attester
from sealward.enclave_agent.backoff import Backoff
from sealward.enclave_agent.bootstrap import Agent
from sealward.enclave_agent.clock import boottime_ns
from sealward.enclave_agent.lifecycle import MAY_HOLD_LEASES, AgentState
from sealward.enclave_agent.runtime import Delays

WORKLOAD = "files"
DELAYS = Delays(connect=(0.02, 0.1), admit=(0.02, 0.1), pend=(0.05, 0.1), reject=(0.05, 0.1))
PATIENCE_S = 20.0  # far above what anything here takes; a noisy machine must not fail a test


@dataclass
class Stage:
    """One plane, one agent, and how to talk to both."""

    plane: Plane
    agents: list[Agent]
    host: MemoryHost
    attester: QuotingAttester
    url: str
    client: httpx.AsyncClient
    stop: asyncio.Event

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition, and check at every look that state and leases agree."""
        for _ in range(int(PATIENCE_S / 0.005)):
            if condition():
                return
            self.require_agreement()
            await asyncio.sleep(0.005)
        pytest.fail(f"did not happen: {what}; state {self.state}, {self.plane.problems}")

    def require_agreement(self) -> None:
        live = self.agent.parts.book.live(boottime_ns())
        assert not live or self.state in MAY_HOLD_LEASES | {AgentState.ADMITTED}

    @property
    def agent(self) -> Agent:
        """The present instance."""
        return self.agents[-1]

    @property
    def state(self) -> AgentState:
        return self.agent.parts.standing.state

    async def until_serving(self) -> None:
        await self.until(lambda: self.state is AgentState.COMPLIANT and self.host.alive(), "serves")

    async def infer(self, model: str = "magika", token: str | None = None) -> httpx.Response:
        tensor = {"name": "x", "datatype": "INT32", "shape": [1], "data": [7]}
        return await self.client.post(
            f"{self.url}/v2/models/{model}/infer",
            json={"inputs": [tensor]},
            headers={"authorization": f"Bearer {token or self.plane.client_token(WORKLOAD)}"},
        )

    async def status(self) -> dict[str, object]:
        return (await self.client.get(f"{self.url}/v1/status")).json()


def as_it_is(_: Plane) -> None:
    """Change nothing."""


def play(
    scene: Callable[[Stage], Awaitable[None]],
    folder: Path,
    prepare: Callable[[Plane], None],
    attester: Attester | None = None,
) -> Stage:
    """Run one scene with a started plane and a running agent; return what is left."""

    async def body() -> Stage:
        async with staged(folder, prepare, attester) as stage:
            await scene(stage)
        return stage

    return asyncio.run(body())


@asynccontextmanager
async def staged(
    folder: Path, prepare: Callable[[Plane], None], other: Attester | None = None
) -> AsyncIterator[Stage]:
    """Start a plane and an agent with a quoting attester, or with another one."""
    plane = Plane()
    plane.lease_model(WORKLOAD, "magika")
    prepare(plane)
    await plane.start()
    host, attester, port = MemoryHost(plane.content_keys), QuotingAttester(), free_port()
    settings = agent_settings(
        enrollment=plane.enrollment_port,
        agent=plane.agent_port,
        port=port,
        workloads=(WORKLOAD,),
        folder=folder,
    )
    agents: list[Agent] = []

    def begin(join_token: str) -> Agent:
        agent = bootstrap.build(
            settings,
            trust=plane.trust,
            attester=other or attester,
            join_token=join_token,
            hardening=(),
            host=host,
            delays=DELAYS,
        )
        agents.append(agent)
        return agent

    stop = asyncio.Event()
    running = asyncio.create_task(
        bootstrap.run(
            begin,
            stop,
            join_token=JOIN_TOKEN,
            pauses=Backoff(first=0.02, most=0.1, random_bytes=os.urandom),
        )
    )
    await asyncio.sleep(0)  # the first instance begins
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{port}"
        try:
            yield Stage(plane, agents, host, attester, url, client, stop)
        finally:
            stop.set()
            await running
            await plane.stop()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
