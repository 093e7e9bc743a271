"""The enrolment listener: server-authenticated TLS, for instances that have no certificate yet."""

from __future__ import annotations

from typing import Final, NoReturn

from sealward.controlplane.domain import node_words
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.policies import Admission
from sealward.controlplane.rpc.calls import (
    MAX_SPKI,
    Desk,
    agent_version,
    credential_message,
    list_part,
    require_protocol,
    require_purpose,
)
from sealward.controlplane.rpc.errors import abort
from sealward.controlplane.rpc.peer import Context
from sealward.controlplane.services.enrollment import EnrollAnswer, EnrollCall, EnrollmentService
from sealward.controlplane.services.evidence import Presented
from sealward.controlplane.services.tpm_nodes import CredentialCall, TpmNodes
from sealward.protos import agent_pb2, agent_pb2_grpc
from sealward.verifier.rats.binding import Binding, Purpose
from sealward.verifier.rats.errors import MalformedEvidence

RETRY_PENDING_MS: Final = 5_000  # a person is asked; soon enough after they answer
RETRY_REJECTED_MS: Final = 60_000  # only a change on our side or a new image can help

_ANSWERS: Final = {
    Admission.ADMIT: agent_pb2.ANSWER_ADMIT,
    Admission.PEND: agent_pb2.ANSWER_PEND,
    Admission.REJECT: agent_pb2.ANSWER_REJECT,
}
_RETRY_MS: Final = {
    Admission.ADMIT: 0,
    Admission.PEND: RETRY_PENDING_MS,
    Admission.REJECT: RETRY_REJECTED_MS,
}


class EnrollmentListener(agent_pb2_grpc.EnrollmentServicer):
    """Translates between messages and the services of enrolment; decides nothing."""

    def __init__(self, desk: Desk, service: EnrollmentService, tpm_nodes: TpmNodes) -> None:
        self._desk = desk
        self._service = service
        self._tpm_nodes = tpm_nodes

    async def _abort(
        self, context: Context, error: Exception, call: str, correlation_id: str
    ) -> NoReturn:
        count = self._desk.refusals.count
        await abort(context, error, call=call, correlation_id=correlation_id, count=count)

    async def GetChallenge(  # noqa: N802 - the name in the contract
        self, request: agent_pb2.ChallengeRequest, context: Context
    ) -> agent_pb2.Challenge:
        """Issue a challenge bound to the key that the caller names, and will have to prove."""
        correlation_id = self._desk.correlation_id()
        try:
            require_protocol(request.protocol_version)
            require_purpose(request, agent_pb2.PURPOSE_ENROLL)
            return self._desk.challenge(Purpose.ENROLL, _named_key(request.tls_spki))
        except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
            await self._abort(context, error, "GetChallenge", correlation_id)

    async def GetCredential(  # noqa: N802 - the name in the contract
        self, request: agent_pb2.CredentialRequest, context: Context
    ) -> agent_pb2.TpmCredential:
        """Make a credential that only the TPM with these keys opens."""
        correlation_id = self._desk.correlation_id()
        received = self._desk.clock.now()
        try:
            require_protocol(request.protocol_version)
            call = CredentialCall(
                ticket=request.ticket,
                tls_spki=_named_key(request.tls_spki),
                ak_public=request.ak_public,
                ek_public=request.ek_public,
                ek_certificate=request.ek_certificate,
                received=received,
            )
            made = await self._desk.decide(lambda: self._tpm_nodes.credential(call))
            return credential_message(made)
        except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
            await self._abort(context, error, "GetCredential", correlation_id)

    async def Enroll(  # noqa: N802 - the name in the contract
        self, request: agent_pb2.EnrollRequest, context: Context
    ) -> agent_pb2.EnrollResponse:
        """Decide one enrolment."""
        correlation_id = self._desk.correlation_id()
        received = self._desk.clock.now()
        try:
            require_protocol(request.protocol_version)
            call = EnrollCall(
                presented=Presented(
                    purpose=Purpose.ENROLL,
                    ticket=request.ticket,
                    binding=request.binding,
                    evidence=request.evidence,
                    tls_spki=_bound_key(request.binding),
                    received=received,
                    credential_proof=request.credential_proof,
                    runtime_log=list_part(request),
                ),
                proof=request.proof,
                join_token=request.join_token,
                agent_version=agent_version(request.agent),
                correlation_id=correlation_id,
            )
            answer = await self._desk.decide(lambda: self._service.enroll(call))
            return _response(answer, correlation_id)
        except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
            await self._abort(context, error, "Enroll", correlation_id)


def _named_key(tls_spki: bytes) -> bytes:
    if not 0 < len(tls_spki) <= MAX_SPKI:
        raise Refused(Code.invalid_request, "tls_spki is not a SubjectPublicKeyInfo")
    return tls_spki


def _bound_key(binding: bytes) -> bytes:
    """Return the key that the binding names; the service checks that the caller holds it."""
    try:
        return Binding.decode(binding).tls_spki
    except MalformedEvidence as error:
        raise Refused(Code.evidence_malformed, error.detail, "send a version 1 binding") from error


def _response(answer: EnrollAnswer, correlation_id: str) -> agent_pb2.EnrollResponse:
    response = agent_pb2.EnrollResponse(
        answer=_ANSWERS[answer.admission],
        node_id=answer.node_id,
        retry_after_ms=_RETRY_MS[answer.admission],
        runtime_log_next=answer.runtime_log_next,
    )
    if answer.certificate is not None:
        response.certificate_chain.extend(answer.certificate.chain)
    else:
        word = node_words.of_admission(answer.admission, answer.code)
        response.denial.CopyFrom(agent_pb2.Denial(code=word, correlation_id=correlation_id))
    return response
