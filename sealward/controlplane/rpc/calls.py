"""What the two listeners share: ids, threads, and the reading of a request's envelope."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeVar

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services.challenges import ChallengeService, IssuedChallenge
from sealward.controlplane.services.ports import Clock
from sealward.protos import agent_pb2
from sealward.verifier.composite.ima_log import ListPart
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.rats.binding import Purpose

PROTOCOL_VERSION: Final = 1
MAX_AGENT_VERSION: Final = 64  # characters
MAX_SPKI: Final = 1024  # bytes; a P-256 SubjectPublicKeyInfo has 91

T = TypeVar("T")


class Lane:
    """Threads of their own for one kind of work, with a bounded queue in front of them (F30).

    Enrolments are anonymous, renewals keep leases alive, pushes revoke them: none of them waits
    behind another's flood, and what does not fit is refused at once instead of growing a queue.
    """

    def __init__(self, executor: Executor, *, most: int) -> None:
        """`most` pieces of work may be waiting or running."""
        self._executor = executor
        self._most = most
        self._inside = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread of this lane.

        Raises:
            Refused: `rate_limited`.
        """
        if self._inside >= self._most:
            raise Refused(
                Code.rate_limited, "too many requests of this kind wait", "try again later"
            )
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._inside -= 1


class Refusals:
    """Counts what was refused; the log gets one entry an interval, never one a request (F25)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, call: str, code: str) -> None:
        """Count one refusal; both names come from closed lists."""
        with self._lock:
            self._counts[f"{call}/{code}"] += 1

    def drain(self) -> dict[str, int]:
        """Return the counts since the last time, and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(sorted(counts.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What every call of one listener needs.

    Attributes:
        clock: the only source of time.
        random_bytes: for correlation ids.
        lane: threads for decisions; the event loop only moves bytes.
        challenges: makes challenges.
        refusals: counts what was refused.
    """

    clock: Clock
    random_bytes: RandomBytes
    lane: Lane
    challenges: ChallengeService
    refusals: Refusals

    def correlation_id(self) -> str:
        """Return a fresh id that a node can quote to an operator."""
        return self.random_bytes(8).hex()

    async def decide(self, work: Callable[[], T]) -> T:
        """Run a synchronous decision in a thread."""
        return await self.lane.run(work)

    def challenge(self, purpose: Purpose, tls_spki: bytes) -> agent_pb2.Challenge:
        """Return a fresh challenge message."""
        return challenge_message(self.challenges.issue(purpose, tls_spki))


def challenge_message(issued: IssuedChallenge) -> agent_pb2.Challenge:
    """Return a challenge as it travels."""
    return agent_pb2.Challenge(
        nonce=issued.nonce, ticket=issued.ticket, expires_in_ms=issued.expires_in_ms
    )


def credential_message(credential: Credential) -> agent_pb2.TpmCredential:
    """Return a credential as it travels."""
    return agent_pb2.TpmCredential(
        id_object=credential.id_object, encrypted_secret=credential.encrypted_secret
    )


def list_part(
    request: agent_pb2.EnrollRequest | agent_pb2.AttestRequest,
) -> ListPart | None:
    """Return the part of the runtime log that came along, or None."""
    if not request.HasField("runtime_log"):
        return None
    return ListPart(first=request.runtime_log.first, data=request.runtime_log.data)


def require_protocol(version: int) -> None:
    """Refuse a protocol that this control plane does not speak.

    Raises:
        Refused: `unsupported_protocol`.
    """
    if version != PROTOCOL_VERSION:
        raise Refused(
            Code.unsupported_protocol,
            f"protocol version {version} is not spoken here, only {PROTOCOL_VERSION}",
            "upgrade the older side",
        )


def require_purpose(
    request: agent_pb2.ChallengeRequest, purpose: agent_pb2.Purpose.ValueType
) -> None:
    """Refuse a challenge request that belongs on the other listener.

    Raises:
        Refused: `purpose_mismatch`.
    """
    if request.purpose != purpose:
        raise Refused(Code.purpose_mismatch, "the other listener serves this purpose")


def agent_version(description: agent_pb2.AgentDescription) -> str:
    """Return the agent's stated version, bounded and printable.

    Raises:
        Refused: `invalid_request`.
    """
    version = description.agent_version
    if len(version) > MAX_AGENT_VERSION or not version.isprintable():
        raise Refused(Code.invalid_request, "the agent version is not a short printable text")
    return version
