"""An instance that speaks gRPC over TLS to the real listeners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fakes.control_plane import WORKLOAD, Reachable
from fakes.instances import Instance

from sealward.protos import agent_pb2, agent_pb2_grpc
from sealward.verifier.rats.binding import Purpose

DEADLINE_S = 30.0
_PURPOSES = {
    Purpose.ENROLL: agent_pb2.PURPOSE_ENROLL,
    Purpose.ATTEST: agent_pb2.PURPOSE_ATTEST,
}


@contextmanager
def enrollment_channel(plane: Reachable) -> Iterator[grpc.Channel]:
    """A connection to the enrolment listener."""
    credentials = grpc.ssl_channel_credentials(root_certificates=plane.roots)
    options = (("grpc.use_local_subchannel_pool", 1),)  # one channel is one connection
    with grpc.secure_channel(str(plane.listening.enrollment), credentials, options) as channel:
        yield channel


@contextmanager
def agent_channel(
    plane: Reachable, instance: Instance, chain: tuple[bytes, ...] | None = None
) -> Iterator[grpc.Channel]:
    """A connection to the agent listener under the instance's certificate, or another chain."""
    shown = instance.chain if chain is None else chain
    credentials = grpc.ssl_channel_credentials(
        root_certificates=plane.roots,
        private_key=instance.keys.tls_key_pem() if shown else None,
        certificate_chain=b"".join(map(_pem, shown)) if shown else None,
    )
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.secure_channel(str(plane.listening.agents), credentials, options) as channel:
        yield channel


def challenge(
    stub: agent_pb2_grpc.EnrollmentStub | agent_pb2_grpc.AgentStub,
    instance: Instance,
    purpose: Purpose,
) -> agent_pb2.Challenge:
    """Ask for a challenge."""
    request = agent_pb2.ChallengeRequest(
        protocol_version=1, purpose=_PURPOSES[purpose], tls_spki=instance.keys.tls_spki
    )
    return stub.GetChallenge(request, timeout=DEADLINE_S)


def enroll_request(
    instance: Instance,
    given: agent_pb2.Challenge,
    **changes: Any,  # noqa: ANN401 - fields of Binding
) -> agent_pb2.EnrollRequest:
    """A complete enrolment that answers `given`."""
    encoded = instance.binding(Purpose.ENROLL, given.nonce, **changes).encode()
    return agent_pb2.EnrollRequest(
        protocol_version=1,
        ticket=given.ticket,
        binding=encoded,
        evidence=instance.evidence(encoded),
        proof=instance.keys.prove(given.nonce, encoded),
    )


def attest_request(
    instance: Instance,
    given: agent_pb2.Challenge,
    *,
    workloads: tuple[str, ...] = (WORKLOAD,),
    **changes: Any,  # noqa: ANN401 - fields of Binding
) -> agent_pb2.AttestRequest:
    """A complete attestation that answers `given`."""
    encoded = instance.binding(Purpose.ATTEST, given.nonce, **changes).encode()
    return agent_pb2.AttestRequest(
        protocol_version=1,
        ticket=given.ticket,
        binding=encoded,
        evidence=instance.evidence(encoded),
        workloads=workloads,
    )


def enroll(plane: Reachable, instance: Instance) -> agent_pb2.EnrollResponse:
    """Enrol over the wire and keep the certificate."""
    with enrollment_channel(plane) as channel:
        stub = agent_pb2_grpc.EnrollmentStub(channel)
        given = challenge(stub, instance, Purpose.ENROLL)
        response = stub.Enroll(enroll_request(instance, given), timeout=DEADLINE_S)
    instance.chain = tuple(response.certificate_chain)
    return response


def attest(stub: agent_pb2_grpc.AgentStub, instance: Instance) -> agent_pb2.AttestResponse:
    """Attest over the wire and take the answer."""
    request = attest_request(instance, challenge(stub, instance, Purpose.ATTEST))
    response = stub.Attest(request, timeout=DEADLINE_S)
    instance.take_response(response)
    return response


def refusal(call: Callable[[], object]) -> tuple[str, grpc.StatusCode]:
    """The code and status of the refusal that `call` must meet; it comes with a correlation id."""
    try:
        call()
    except grpc.RpcError as error:
        return read_refusal(error)
    raise AssertionError("the call was answered")


def read_refusal(error: Any) -> tuple[str, grpc.StatusCode]:  # noqa: ANN401 - grpc's errors are calls
    """The code and status in a gRPC error of ours."""
    metadata = dict(error.trailing_metadata() or ())
    assert metadata.get("sealward-correlation-id"), error
    assert error.details() == metadata["sealward-code"]
    return metadata["sealward-code"], error.code()


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
