"""An instance that attests: real keys, a guest on a development platform, every field open.

It keeps what an agent keeps (keys, ratchet, leases held) and opens what an agent opens.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import cbor2
from fakes.control_plane import GOOD, WORKLOAD, World, chip
from sealward_devkit.guest import Guest, report_of_guest
from sealward_devkit.platform import Platform

from sealward.controlplane.services.attestation_call import AttestAnswer, AttestCall
from sealward.controlplane.services.enrollment import EnrollAnswer, EnrollCall
from sealward.controlplane.services.evidence import Presented
from sealward.enclave_agent.identity import InstanceKeys
from sealward.protos import agent_pb2, terms
from sealward.protos.terms import LeaseTermsState, VerifiedTerms
from sealward.protos.trust import TrustConfiguration
from sealward.sealing import hpke
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.binding import AgentStatement, Binding, Purpose

_HOUR = timedelta(hours=1)


@dataclass
class Instance:
    """A guest and the keys that were born in it."""

    trust: TrustConfiguration
    platform: Platform = field(default_factory=chip)
    measurement: bytes = GOOD
    host_data: bytes | None = None
    report_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    keys: InstanceKeys = field(default_factory=InstanceKeys.generate)
    hpke_key: hpke.PrivateKey = field(
        default_factory=lambda: hpke.PrivateKey.generate(hpke.Suite.X25519, secrets.token_bytes)
    )
    ratchet: tuple[int, bytes] | None = None
    held: frozenset[bytes] = frozenset()
    chain: tuple[bytes, ...] = ()
    content_keys: dict[bytes, bytes] = field(default_factory=dict)
    sequence: int = 0

    @property
    def node_id(self) -> str:
        return self.keys.node.hex()

    def copy(self) -> Instance:
        """The whole state once more, as a snapshot of the guest has it."""
        return replace(self, content_keys=dict(self.content_keys))

    # Making evidence.

    def binding(self, purpose: Purpose, nonce: bytes, **changes: Any) -> Binding:  # noqa: ANN401 - any field
        suite = self.hpke_key.public.suite.id
        fields: dict[str, Any] = {
            "purpose": purpose,
            "nonce": nonce,
            "audience": self.trust.audience(),
            "tenant": self.trust.tenant,
            "tls_spki": self.keys.tls_spki,
            "hpke_suite": suite,
            "hpke_public": self.hpke_key.public.encoded[2:],
            "signing_public": self.keys.signing_public,
            "statement": AgentStatement(
                agent_version="1.0", clock_source="tsc", held_leases=tuple(sorted(self.held))
            ),
            "ratchet": None,
        }
        if purpose is Purpose.ATTEST and self.ratchet is not None:
            index, secret = self.ratchet
            mac = bindings.ratchet_mac(secret, nonce, self.keys.tls_spki)
            fields["ratchet"] = (index, mac)
        return Binding(**(fields | changes))

    def evidence(self, encoded: bytes, **guest: Any) -> bytes:  # noqa: ANN401 - fields of Guest
        """Evidence that carries the binding with these bytes."""
        host_data = self.trust.digest() if self.host_data is None else self.host_data
        launched = Guest(measurement=self.measurement, host_data=host_data, **guest)
        report = report_of_guest(self.platform, launched, self.report_id, bindings.digest(encoded))
        chain = [self.platform.vek, self.platform.intermediate, self.platform.root]
        payload = cbor2.dumps({1: report, 2: chain}, canonical=True)
        return envelopes.encode(envelopes.Record(envelopes.SNP_EVIDENCE, payload))

    # Calling services.

    def presented(self, world: World, purpose: Purpose, **changes: Any) -> Presented:  # noqa: ANN401 - fields of Binding
        """Fresh evidence for a fresh challenge."""
        issued = world.plane.challenges.issue(purpose, self.keys.tls_spki)
        encoded = self.binding(purpose, issued.nonce, **changes).encode()
        return Presented(
            purpose=purpose,
            ticket=issued.ticket,
            binding=encoded,
            evidence=self.evidence(encoded),
            tls_spki=self.keys.tls_spki,
            received=world.clock.now(),
        )

    def enroll(self, world: World, *, join_token: str = "") -> EnrollAnswer:
        """Enrol through the service and keep the certificate."""
        answer = world.plane.enrollment.enroll(
            self.enroll_call(self.presented(world, Purpose.ENROLL), join_token=join_token)
        )
        if answer.certificate is not None:
            self.chain = answer.certificate.chain
        return answer

    def enroll_call(self, presented: Presented, *, join_token: str = "") -> EnrollCall:
        nonce = Binding.decode(presented.binding).nonce
        return EnrollCall(
            presented=presented,
            proof=self.keys.prove(nonce, presented.binding),
            join_token=join_token,
            agent_version="1.0",
            correlation_id="0" * 16,
        )

    def attest_call(
        self,
        presented: Presented,
        workloads: tuple[str, ...] = (WORKLOAD,),
        *,
        certificate_not_after: datetime | None = None,
    ) -> AttestCall:
        return AttestCall(
            presented=presented,
            workloads=workloads,
            certificate_not_after=certificate_not_after or presented.received + _HOUR,
            agent_version="1.0",
            correlation_id="0" * 16,
        )

    def attest(
        self, world: World, workloads: tuple[str, ...] = (WORKLOAD,), *, lost: bool = False
    ) -> AttestAnswer:
        """Attest through the service; a lost answer leaves the state as it was."""
        answer = world.plane.attestation.attest(
            self.attest_call(self.presented(world, Purpose.ATTEST), workloads)
        )
        if not lost:
            self.take(answer.terms, answer.content_keys, answer.ratchet)
        return answer

    # Reading answers.

    def verified(self, cose: bytes) -> VerifiedTerms:
        return terms.verify(
            cose,
            keys=self.trust.terms_keys,
            trust_domain=self.trust.trust_domain,
            tenant=self.trust.tenant,
            node=self.keys.node,
        )

    def take(self, cose: bytes, content_keys: tuple[bytes, ...], ratchet: bytes) -> VerifiedTerms:
        """Believe signed terms and open what came beside them."""
        verified = self.verified(cose)
        assert verified.terms.sequence > self.sequence, "terms went back"
        self.sequence = verified.terms.sequence
        for lease in verified.terms.leases:
            if lease.state is LeaseTermsState.ENDED:
                self.held -= {lease.lease_id}
            else:
                self.held |= {lease.lease_id}
        for wrapped in content_keys:
            info = terms.content_key_info(verified.digest)
            _, key_id, key = terms.decode_content_key(bytes(self._open(wrapped, info)))
            self.content_keys[key_id] = key
        opened = self._open(ratchet, terms.ratchet_info(verified.digest))
        self.ratchet = terms.decode_ratchet(bytes(opened))
        return verified

    def take_response(self, response: agent_pb2.AttestResponse) -> VerifiedTerms:
        """Take an answer as it came over the wire."""
        if response.certificate_chain:
            self.chain = tuple(response.certificate_chain)
        wrapped = tuple(item.ciphertext for item in response.content_keys)
        return self.take(response.terms, wrapped, response.ratchet.ciphertext)

    def _open(self, ciphertext: bytes, info: bytes) -> bytearray:
        return hpke.open(self.hpke_key, ciphertext, info)


def admitted(world: World, **how: Any) -> Instance:  # noqa: ANN401 - fields of Instance
    """An instance that has just enrolled."""
    instance = Instance(world.plane.trust, **how)
    answer = instance.enroll(world)
    assert answer.code == "", answer
    return instance


def leased(world: World, **how: Any) -> Instance:  # noqa: ANN401 - fields of Instance
    """An instance that holds a lease on the workload."""
    instance = admitted(world, **how)
    answer = instance.attest(world)
    assert answer.denials == (), answer
    assert len(instance.held) == 1
    return instance


def lease_states(world: World, instance: Instance) -> Mapping[str, tuple[str, str, str]]:
    """Lease id -> (state, end cause, exposure) of every lease that the instance ever had."""
    rows = world.rows(
        "SELECT lease_id, state, end_cause, exposure FROM leases WHERE node_id = ?",
        instance.node_id,
    )
    return {str(row[0]): (str(row[1]), str(row[2]), str(row[3])) for row in rows}


def sha256(data: bytes) -> str:
    """Lower hex SHA-256."""
    return hashlib.sha256(data).hexdigest()
