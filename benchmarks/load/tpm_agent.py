"""One TPM node's way from nothing to a node certificate, with the time of each part.

Keys, TPM commands, evidence and transport are the agent's own code; what is timed is wrapped around
it. `alone` has the same TPM do the same commands by the same code with nobody else taking part: the
credential that it opens is made here.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sealward.enclave_agent.attesters.port import (
    REPORT_DATA_SIZE,
    Credential,
    Evidence,
    KeyToProve,
)
from sealward.enclave_agent.attesters.tpm import settings
from sealward.enclave_agent.attesters.tpm.attester import TpmAttester
from sealward.enclave_agent.attesters.tpm.transport import Socket, TpmTransport
from sealward.enclave_agent.certificate import read_certificate
from sealward.enclave_agent.clock import BootClock, boottime_ns
from sealward.enclave_agent.enrollment import Enroller
from sealward.enclave_agent.evidence import EvidenceMaker
from sealward.enclave_agent.identity import HpkeKeyring, InstanceKeys
from sealward.enclave_agent.transport import Addresses, ControlPlane, EnrollmentClient
from sealward.protos.tpm_node import SECRET_BYTES
from sealward.protos.trust import TrustConfiguration
from sealward.verifier.formats.tpm import credential, name, public


class Part(StrEnum):
    """What the time of an enrolment is told apart into; the rest is the agent's own work."""

    KEYS = "TPM: a new attestation key, the endorsement's key and certificate"
    ACTIVATE = "TPM: the credential opened"
    QUOTE = "TPM: quote and lock"
    CHALLENGE = "GetChallenge, with the TLS handshake"
    CREDENTIAL = "GetCredential"
    ENROLL = "Enroll"


TPM: Final = (Part.KEYS, Part.ACTIVATE, Part.QUOTE)
CALLS: Final = (Part.CHALLENGE, Part.CREDENTIAL, Part.ENROLL)
_CALLS: Final = {"challenge": Part.CHALLENGE, "credential": Part.CREDENTIAL, "enroll": Part.ENROLL}


@dataclass(slots=True)
class Spent:
    """Seconds from the first to the last moment, and by part."""

    whole: float = 0.0
    parts: dict[Part, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def on(self, part: Part) -> Iterator[None]:
        """Add the time of the block to a part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.parts[part] += time.perf_counter() - began

    def of(self, parts: tuple[Part, ...]) -> float:
        """Return the seconds of several parts together."""
        return sum(self.parts[part] for part in parts)


class TimedAttester(TpmAttester):
    """The attester `tpm`; the time until the TPM has answered goes to the part it is asked for."""

    def __init__(self, table: dict[str, object], spent: Spent) -> None:
        chosen = settings.read(table)
        where = chosen.socket
        if where is None:
            raise ValueError("a TPM in software is behind a socket")

        @contextmanager
        def connect() -> Iterator[TpmTransport]:
            with Socket(*where) as transport:
                yield _TimedTransport(transport, lambda: spent.on(self._part))

        super().__init__(chosen, connect, random_bytes=os.urandom, sleep=time.sleep)
        self._part = Part.KEYS

    def credential_request(self) -> KeyToProve:
        """See TpmAttester."""
        self._part = Part.KEYS
        return super().credential_request()

    def activate(self, credential: Credential) -> bytes:
        """See TpmAttester."""
        self._part = Part.ACTIVATE
        return super().activate(credential)

    def collect(self, report_data: bytes) -> Evidence:
        """See TpmAttester."""
        self._part = Part.QUOTE
        return super().collect(report_data)


@dataclass(frozen=True, slots=True)
class _TimedTransport:
    transport: TpmTransport
    timing: Callable[[], AbstractContextManager[None]]

    def execute(self, command: bytes) -> bytes:
        with self.timing():
            return self.transport.execute(command)


class _TimedPlane(ControlPlane):
    """The control plane; the time until it has answered goes to the part of the call."""

    def __init__(
        self, addresses: Addresses, spent: Spent, *, trust: TrustConfiguration, keys: InstanceKeys
    ) -> None:
        super().__init__(addresses, server_roots=trust.server_roots, keys=keys)
        self._spent = spent

    @asynccontextmanager
    async def enrollment(self, clock: BootClock) -> AsyncIterator[EnrollmentClient]:
        async with super().enrollment(clock) as client:
            timed: Any = _TimedCalls(client, self._spent)
            yield timed


class _TimedCalls:
    def __init__(self, client: EnrollmentClient, spent: Spent) -> None:
        self._client = client
        self._spent = spent

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the client has
        call = getattr(self._client, name)

        async def timed(*args: Any) -> Any:  # noqa: ANN401 - passed through
            with self._spent.on(_CALLS[name]):
                return await call(*args)

        return timed


async def enroll(
    table: dict[str, object], addresses: Addresses, trust: TrustConfiguration
) -> Spent:
    """Enrol a new instance and return what it took, its keys in memory included.

    Raises:
        SystemExit: the node was not admitted.
    """
    spent = Spent()
    began = time.perf_counter()
    keys = InstanceKeys.generate()
    enroller = Enroller(
        plane=_TimedPlane(addresses, spent, trust=trust, keys=keys),
        maker=EvidenceMaker(trust=trust, keys=keys, attester=TimedAttester(table, spent)),
        keyring=HpkeKeyring(random_bytes=os.urandom, now_ns=boottime_ns()),
        clock=boottime_ns,
        join_token="",
    )
    answer = await enroller.enroll()
    if not answer.chain:
        raise SystemExit(f"the node was not admitted: {answer.denial}")
    read_certificate(answer.chain, tls_spki=keys.tls_spki, sent_ns=answer.sent_ns)
    spent.whole = time.perf_counter() - began
    return spent


def alone(table: dict[str, object]) -> Spent:
    """Have the TPM do what an enrolment asks of it; to make its credential is not on the clock.

    Raises:
        SystemExit: the TPM opened another secret.
    """
    spent = Spent()
    attester = TimedAttester(table, spent)
    key = attester.credential_request()
    secret = os.urandom(SECRET_BYTES)
    made = credential.make(
        public.parse(key.ek_public),
        name.name(public.parse(key.ak_public)),
        secret,
        random_bytes=os.urandom,
    )
    if attester.activate(Credential(made.id_object, made.encrypted_secret)) != secret:
        raise SystemExit("the TPM opened another secret")
    attester.collect(os.urandom(REPORT_DATA_SIZE))
    spent.whole = spent.of(TPM)
    return spent
