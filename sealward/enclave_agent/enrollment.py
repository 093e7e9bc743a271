"""Asking for admission: a challenge, evidence, and proof of the TLS key."""

from __future__ import annotations

from dataclasses import dataclass, field

import sealward
from sealward.enclave_agent.clock import BootClock, clock_source
from sealward.enclave_agent.evidence import EvidenceMaker
from sealward.enclave_agent.identity import HpkeKeyring
from sealward.enclave_agent.messages import PROTOCOL_VERSION, EnrollAnswer
from sealward.enclave_agent.transport import ControlPlane
from sealward.protos import agent_pb2
from sealward.verifier.rats.binding import AgentStatement, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Enroller:
    """Enrols one instance, as often as it is needed."""

    plane: ControlPlane
    maker: EvidenceMaker
    keyring: HpkeKeyring
    clock: BootClock
    join_token: str = field(repr=False)

    async def enroll(self) -> EnrollAnswer:
        """Ask once.

        Raises:
            CallFailed: no answer, or an outright refusal.
            AttesterUnavailable: no evidence can be had here.
        """
        async with self.plane.enrollment(self.clock) as client:
            challenge = await client.challenge()
            bound = await self.maker.make(
                Purpose.ENROLL,
                challenge,
                hpke_key=self.keyring.current(self.clock()),
                statement=AgentStatement(
                    agent_version=sealward.__version__, clock_source=clock_source()
                ),
                ratchet=None,
            )
            return await client.enroll(
                agent_pb2.EnrollRequest(
                    protocol_version=PROTOCOL_VERSION,
                    ticket=challenge.ticket,
                    binding=bound.binding,
                    evidence=bound.evidence,
                    proof=self.maker.keys.prove(challenge.nonce, bound.binding),
                    join_token=self.join_token,
                    agent=describe(self.maker),
                )
            )


def describe(maker: EvidenceMaker) -> agent_pb2.AgentDescription:
    """Return what the agent says of itself, for operators; nothing is decided by it."""
    return agent_pb2.AgentDescription(
        agent_version=sealward.__version__, attester=maker.attester.kind
    )
