"""One attestation as services see it: the call that came in and the answer that leaves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealward.controlplane.services.attestation_results import ResultRequest
from sealward.controlplane.services.evidence import Presented
from sealward.controlplane.services.node_certificates import NodeCertificate
from sealward.controlplane.services.release import WorkloadDenial
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.rats.result import Posture


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestCall:
    """One attestation as it came in on the agent listener.

    Attributes:
        presented: ticket, binding, evidence, the connection's key and the instant of arrival.
        workloads: names that the node would like to run.
        certificate_not_after: end of the certificate of this connection.
        agent_version: for the record.
        correlation_id: quoted to the node and to operators alike.
        result: for whom the node would like an attestation result; None when it wants none.
    """

    presented: Presented
    workloads: tuple[str, ...]
    certificate_not_after: datetime
    agent_version: str
    correlation_id: str
    result: ResultRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestAnswer:
    """What goes back to the node.

    Attributes:
        posture: the node's posture after this attestation.
        code: coarse reason of a posture that does not pass, else empty.
        terms: signed terms.
        content_keys: HPKE ciphertexts of newly granted content keys.
        tpm_lock: opens the layer inside of them; None for nodes that are not TPM nodes, and without
            content keys.
        ratchet: HPKE ciphertext of the next ratchet secret.
        denials: workloads asked for and not granted.
        certificate: a fresh node certificate, or None while the present one is young.
        renew_after_ms: when to attest again, from now.
        runtime_log_next: entries of the node's runtime log that it need not send again.
        attestation_result: a signed result; empty when none was asked for, or none would hold for
            another second.
    """

    posture: Posture
    code: str
    terms: bytes
    content_keys: tuple[bytes, ...]
    tpm_lock: Credential | None
    ratchet: bytes
    denials: tuple[WorkloadDenial, ...]
    certificate: NodeCertificate | None
    renew_after_ms: int
    runtime_log_next: int = 0
    attestation_result: str = ""
