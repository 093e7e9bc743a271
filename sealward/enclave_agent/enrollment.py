"""Asking for admission: a challenge, evidence, and proof of the TLS key.

Where evidence is signed by a key whose place must be proven first, that of a TPM, the proof is in
between: a credential that only the right TPM opens (docs/specs/tpm-node.md, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sealward
from sealward.enclave_agent.attesters.port import KeyToProve
from sealward.enclave_agent.clock import BootClock, clock_source
from sealward.enclave_agent.evidence import BoundEvidence, EvidenceMaker
from sealward.enclave_agent.identity import HpkeKeyring
from sealward.enclave_agent.messages import PROTOCOL_VERSION, Challenge, EnrollAnswer
from sealward.enclave_agent.transport import ControlPlane, EnrollmentClient
from sealward.protos import agent_pb2, tpm_node
from sealward.sealing.memory import take_secret
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
            AttesterUnavailable: no evidence can be had here, or its key cannot be proven.
        """
        key = await self.maker.key_to_prove()  # first: to make it may take longer than a challenge
        async with self.plane.enrollment(self.clock) as client:
            challenge = await client.challenge()
            secret = b"" if key is None else await self._activated(client, challenge, key)
            try:
                bound = await self._evidence(challenge)
                proof = b""
                if key is not None:
                    proof = tpm_node.credential_proof(
                        secret, nonce=challenge.nonce, binding=bound.binding
                    )
            finally:
                take_secret(secret)  # for its overwriting of a secret nobody else refers to
            answer = await client.enroll(self._request(bound, proof))
            self.maker.runtime_log.proven = answer.runtime_log_next
            return answer

    async def _activated(
        self, client: EnrollmentClient, challenge: Challenge, key: KeyToProve
    ) -> bytes:
        credential = await client.credential(
            agent_pb2.CredentialRequest(
                protocol_version=PROTOCOL_VERSION,
                ticket=challenge.ticket,
                tls_spki=self.maker.keys.tls_spki,
                ak_public=key.ak_public,
                ek_public=key.ek_public,
                ek_certificate=key.ek_certificate,
            )
        )
        return await self.maker.activate(credential)

    async def _evidence(self, challenge: Challenge) -> BoundEvidence:
        return await self.maker.make(
            Purpose.ENROLL,
            challenge,
            hpke_key=self.keyring.current(self.clock()),
            statement=AgentStatement(
                agent_version=sealward.__version__, clock_source=clock_source()
            ),
            ratchet=None,
        )

    def _request(self, bound: BoundEvidence, credential_proof: bytes) -> agent_pb2.EnrollRequest:
        return agent_pb2.EnrollRequest(
            protocol_version=PROTOCOL_VERSION,
            ticket=bound.challenge.ticket,
            binding=bound.binding,
            evidence=bound.evidence,
            proof=self.maker.keys.prove(bound.challenge.nonce, bound.binding),
            join_token=self.join_token,
            agent=describe(self.maker),
            credential_proof=credential_proof,
            runtime_log=runtime_log(bound),
        )


def runtime_log(bound: BoundEvidence) -> agent_pb2.RuntimeLog | None:
    """Return the part of the runtime log that goes along, as it travels."""
    part = bound.runtime_log
    return None if part is None else agent_pb2.RuntimeLog(first=part.first, data=part.data)


def describe(maker: EvidenceMaker) -> agent_pb2.AgentDescription:
    """Return what the agent says of itself, for operators; nothing is decided by it."""
    return agent_pb2.AgentDescription(
        agent_version=sealward.__version__, attester=maker.attester.kind
    )
