"""gRPC to the control plane: two channels, one root of trust, a deadline on every call.

TLS trusts the server roots of the measured trust configuration and nothing else; the operating
system's roots play no part. The agent channel presents the node certificate, so it is made anew
whenever that changes.

Every failure of a call leaves here as `Unreachable` (try again later) or `Refused` (the control
plane said no, with its code), whatever gRPC raised.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import grpc
from grpc import aio

from sealward.enclave_agent.attesters.port import Credential
from sealward.enclave_agent.certificate import NodeCertificate
from sealward.enclave_agent.clock import BootClock
from sealward.enclave_agent.identity import InstanceKeys
from sealward.enclave_agent.messages import (
    PROTOCOL_VERSION,
    AttestAnswer,
    Challenge,
    EnrollAnswer,
    ProtocolViolation,
    read_attestation,
    read_challenge,
    read_credential,
    read_enrollment,
)
from sealward.protos import agent_pb2, agent_pb2_grpc

Stream: TypeAlias = "aio.StreamStreamCall[agent_pb2.AgentMessage, agent_pb2.ServerMessage]"

MAX_RECEIVE: Final = 8 << 20  # terms of 256 KiB and 4,096 wrapped keys of 1.2 KiB
MAX_SEND: Final = 5 << 20  # evidence of 1 MiB, a runtime log of 3 MiB, and slack
CHALLENGE_DEADLINE_S: Final = 5.0
CREDENTIAL_DEADLINE_S: Final = 5.0  # one chain of certificates to verify, nothing to fetch
ENROLL_DEADLINE_S: Final = 20.0  # the control plane may have to fetch endorsements
ATTEST_DEADLINE_S: Final = 20.0
WATCH_DEADLINE_S: Final = 3600.0  # no call lives for ever: a stream this old is opened again

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_RECEIVE),
    ("grpc.max_send_message_length", MAX_SEND),
    ("grpc.keepalive_time_ms", 20_000),  # a host that silently drops packets is noticed
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),  # a challenge is spent once; what to repeat is decided here
    # The loop of runtime.py does the waiting; a channel that sulks on its own delays recovery.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CODE_KEY: Final = "sealward-code"
_CORRELATION_KEY: Final = "sealward-correlation-id"
_CORRELATION: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SAID_NO: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)


class CallFailed(Exception):
    """Base of the two ways a call fails; never raised itself."""


class Unreachable(CallFailed):
    """No answer: network, TLS, overload, deadline, or an answer outside the contract."""


class Refused(CallFailed):
    """The control plane answered no.

    Attributes:
        code: its coarse code, or the gRPC status in lower case when it gave none.
        correlation_id: to quote to an operator; may be empty.
    """

    def __init__(self, code: str, correlation_id: str) -> None:
        self.code: Final = code
        self.correlation_id: Final = correlation_id
        super().__init__(f"refused with {code} ({correlation_id or 'no correlation id'})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the two listeners are, as host:port. Free: what is trusted is the root, not a name."""

    enrollment: str
    agent: str


class EnrollmentClient:
    """The enrollment listener: TLS authenticates the server only."""

    def __init__(self, channel: aio.Channel, keys: InstanceKeys, clock: BootClock) -> None:
        self._stub: Final = agent_pb2_grpc.EnrollmentStub(channel)
        self._keys: Final = keys
        self._clock: Final = clock

    async def challenge(self) -> Challenge:
        """Ask for a challenge bound to this instance's TLS key.

        Raises:
            CallFailed: see `Unreachable` and `Refused`.
        """
        request = agent_pb2.ChallengeRequest(
            protocol_version=PROTOCOL_VERSION,
            purpose=agent_pb2.PURPOSE_ENROLL,
            tls_spki=self._keys.tls_spki,
        )
        with translated():
            message = await self._stub.GetChallenge(request, timeout=CHALLENGE_DEADLINE_S)
            return read_challenge(message, now_ns=self._clock())

    async def credential(self, request: agent_pb2.CredentialRequest) -> Credential:
        """Ask for a credential that only the TPM of the endorsement key opens.

        Raises:
            CallFailed: see `Unreachable` and `Refused`.
        """
        with translated():
            return read_credential(
                await self._stub.GetCredential(request, timeout=CREDENTIAL_DEADLINE_S)
            )

    async def enroll(self, request: agent_pb2.EnrollRequest) -> EnrollAnswer:
        """Enrol.

        Raises:
            CallFailed: see `Unreachable` and `Refused`.
        """
        sent_ns = self._clock()
        with translated():
            message = await self._stub.Enroll(request, timeout=ENROLL_DEADLINE_S)
            return read_enrollment(message, node=self._keys.node, sent_ns=sent_ns)


class AgentClient:
    """The agent listener: mutual TLS with the certificate of this instance."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Final = agent_pb2_grpc.AgentStub(channel)

    async def attest(self, request: agent_pb2.AttestRequest) -> AttestAnswer:
        """Attest. The caller has read its clock before.

        Raises:
            CallFailed: see `Unreachable` and `Refused`.
        """
        with translated():
            return read_attestation(await self._stub.Attest(request, timeout=ATTEST_DEADLINE_S))

    def watch(self) -> Stream:
        """Open the stream. Reading and writing it raise gRPC errors: use `translated`."""
        return self._stub.Watch(timeout=WATCH_DEADLINE_S)


class ControlPlane:
    """Makes channels to one control plane."""

    def __init__(
        self, addresses: Addresses, *, server_roots: tuple[str, ...], keys: InstanceKeys
    ) -> None:
        self._addresses: Final = addresses
        self._roots: Final = "".join(server_roots).encode("ascii")
        self._keys: Final = keys

    @asynccontextmanager
    async def enrollment(self, clock: BootClock) -> AsyncIterator[EnrollmentClient]:
        """Connect to the enrollment listener."""
        credentials = grpc.ssl_channel_credentials(root_certificates=self._roots)
        async with aio.secure_channel(
            self._addresses.enrollment, credentials, options=_OPTIONS
        ) as channel:
            yield EnrollmentClient(channel, self._keys, clock)

    @asynccontextmanager
    async def agent(self, certificate: NodeCertificate) -> AsyncIterator[AgentClient]:
        """Connect to the agent listener, presenting `certificate`."""
        credentials = grpc.ssl_channel_credentials(
            root_certificates=self._roots,
            private_key=self._keys.tls_key_pem(),
            certificate_chain=certificate.chain_pem,
        )
        async with aio.secure_channel(
            self._addresses.agent, credentials, options=_OPTIONS
        ) as channel:
            yield AgentClient(channel)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what gRPC and the message readers raise into `CallFailed`."""
    try:
        yield
    except aio.AioRpcError as error:
        raise _failed(error) from error
    except ProtocolViolation as error:
        raise Unreachable(f"the control plane broke the contract: {error}") from error
    except (aio.UsageError, aio.InternalError) as error:
        # reading or writing a stream that has just ended
        raise Unreachable(f"the call has ended: {error}") from error


def _failed(error: aio.AioRpcError) -> CallFailed:
    status = error.code()
    if status not in _SAID_NO:
        return Unreachable(f"{status.name.lower()}: {_printable(error.details())}")
    metadata = dict(error.trailing_metadata() or ())
    code = _text(metadata.get(_CODE_KEY), _CODE) or _text(error.details(), _CODE)
    correlation_id = _text(metadata.get(_CORRELATION_KEY), _CORRELATION)
    return Refused(code or status.name.lower(), correlation_id)


def _text(value: str | bytes | None, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def _printable(text: str | None) -> str:
    return ascii(text or "")[1:-1][:200]
