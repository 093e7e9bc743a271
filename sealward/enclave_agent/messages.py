"""What the control plane says, read from protobuf into values: shape and size, never trust.

A gRPC message is outside data like any other. Everything here is checked before anything is done
with it, and `ProtocolViolation` is the one error; signatures are checked where terms are used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from sealward.enclave_agent.attesters.port import Credential
from sealward.protos import agent_pb2, terms

PROTOCOL_VERSION: Final = 1

_NONCE_BYTES: Final = 32
_MAX_TICKET: Final = 512  # docs/specs/challenge.md
_MAX_EXPIRES_MS: Final = 30_000
_MAX_CERTIFICATES: Final = 8
_MAX_CERTIFICATE: Final = 16_384
_MAX_WRAPPED: Final = 4_096  # a wrapped key is 1.2 KiB
_MAX_KEYS: Final = 4_096  # 64 leases with 64 models each
_MAX_REFUSED: Final = 256
_MAX_CREDENTIAL: Final = 1_024  # each of its parts; an RSA-4096 endorsement key takes 512
_MAX_DELAY_MS: Final = 24 * 3_600_000
_DIGEST_BYTES: Final = 32
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TOKEN: Final = re.compile(r"(?:[A-Za-z0-9_.-]{1,65536})?")  # for others to read, not for us
_CORRELATION: Final = re.compile(r"[A-Za-z0-9._-]{0,128}")


class ProtocolViolation(Exception):
    """A message of the control plane is not what the contract allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A coarse code, and a number to quote to an operator."""

    code: str
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A challenge and when it is of no further use.

    Attributes:
        nonce: 32 bytes.
        ticket: opaque.
        expires_ns: boot-time instant after which answering is in vain.
    """

    nonce: bytes
    ticket: bytes = field(repr=False)
    expires_ns: int


@unique
class Admission(StrEnum):
    """What enrolment was answered with."""

    ADMIT = "admit"
    PEND = "pend"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollAnswer:
    """The answer to an enrolment.

    Attributes:
        admission: see `Admission`.
        chain: DER certificates, leaf first; empty unless admitted.
        denial: why not; None when admitted.
        retry_after_s: what the control plane asks for, seconds; 0 when it does not.
        sent_ns: boot-time instant read before the request left.
        runtime_log_next: entries of the runtime log that need not be sent again.
    """

    admission: Admission
    chain: tuple[bytes, ...]
    denial: Denial | None
    retry_after_s: float
    sent_ns: int
    runtime_log_next: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestAnswer:
    """The answer to an attestation; `signed_terms` and the wrapped secrets are still unproven.

    Attributes:
        posture: what the control plane calls the node.
        signed_terms: COSE_Sign1, or empty when nothing is granted or held.
        content_keys: HPKE ciphertexts.
        lock: opens the layer within them, or None where there is none.
        ratchet: HPKE ciphertext of the next ratchet secret, or None.
        chain: a fresh certificate, or empty.
        denial: why the posture is not compliant, or None.
        refused: workloads that were asked for and not granted.
        again_s: when the next challenge is meant to come, seconds; 0 when not said.
        runtime_log_next: entries of the runtime log that need not be sent again.
        attestation_result: the result that was asked for, unread; empty when there is none.
    """

    posture: str
    signed_terms: bytes = field(repr=False)
    content_keys: tuple[bytes, ...] = field(repr=False)
    ratchet: bytes | None = field(repr=False)
    chain: tuple[bytes, ...]
    denial: Denial | None
    refused: tuple[tuple[str, Denial], ...]
    again_s: float
    lock: Credential | None = None
    runtime_log_next: int = 0
    attestation_result: str = ""


def read_challenge(message: agent_pb2.Challenge, *, now_ns: int) -> Challenge:
    """Read a challenge received at `now_ns`.

    Raises:
        ProtocolViolation: not the contract's challenge.
    """
    if len(message.nonce) != _NONCE_BYTES or not 0 < len(message.ticket) <= _MAX_TICKET:
        raise ProtocolViolation("a challenge has a nonce of 32 bytes and a ticket of 1..512")
    if not 0 < message.expires_in_ms <= _MAX_EXPIRES_MS:
        raise ProtocolViolation(f"a challenge lives {_MAX_EXPIRES_MS} ms at most")
    return Challenge(
        nonce=message.nonce,
        ticket=message.ticket,
        expires_ns=now_ns + message.expires_in_ms * 1_000_000,
    )


def read_credential(message: agent_pb2.TpmCredential) -> Credential:
    """Read a credential; whether it is one, the TPM finds out.

    Raises:
        ProtocolViolation: a part is missing or beyond its budget.
    """
    parts = (message.id_object, message.encrypted_secret)
    if not all(0 < len(part) <= _MAX_CREDENTIAL for part in parts):
        raise ProtocolViolation(f"a credential has two parts of 1 to {_MAX_CREDENTIAL} bytes")
    return Credential(*parts)


def read_enrollment(
    message: agent_pb2.EnrollResponse, *, node: bytes, sent_ns: int
) -> EnrollAnswer:
    """Read the answer to an enrolment of the instance `node` that left after `sent_ns`.

    Raises:
        ProtocolViolation: not the contract's answer, or about somebody else.
    """
    admissions = {
        agent_pb2.ANSWER_ADMIT: Admission.ADMIT,
        agent_pb2.ANSWER_PEND: Admission.PEND,
        agent_pb2.ANSWER_REJECT: Admission.REJECT,
    }
    admission = admissions.get(message.answer)
    if admission is None:
        raise ProtocolViolation("enrolment was answered with nothing this agent knows")
    if message.node_id and message.node_id != node.hex():
        raise ProtocolViolation("enrolment was answered for another node")
    chain = _chain(message.certificate_chain)
    if bool(chain) != (admission is Admission.ADMIT):
        raise ProtocolViolation("a certificate comes with an admission, and only with one")
    return EnrollAnswer(
        admission=admission,
        chain=chain,
        denial=_denial(message.denial) if message.HasField("denial") else None,
        retry_after_s=_delay(message.retry_after_ms),
        sent_ns=sent_ns,
        runtime_log_next=message.runtime_log_next,
    )


def read_attestation(message: agent_pb2.AttestResponse) -> AttestAnswer:
    """Read the answer to an attestation.

    Raises:
        ProtocolViolation: not the contract's answer.
    """
    if len(message.terms) > terms.MAX_BYTES or len(message.content_keys) > _MAX_KEYS:
        raise ProtocolViolation("terms or wrapped keys are beyond their budget")
    if len(message.refused) > _MAX_REFUSED:
        raise ProtocolViolation("more refused workloads than can be asked for")
    locked = message.HasField("tpm_lock")
    if locked and not message.content_keys:
        raise ProtocolViolation("a lock comes with content keys, and only with them")
    return AttestAnswer(
        posture=_code(message.posture) if message.posture else "unknown",
        signed_terms=message.terms,
        content_keys=tuple(_wrapped(key) for key in message.content_keys),
        ratchet=_wrapped(message.ratchet) if message.HasField("ratchet") else None,
        chain=_chain(message.certificate_chain),
        denial=_denial(message.denial) if message.HasField("denial") else None,
        refused=tuple((_workload(r.workload), _denial(r.denial)) for r in message.refused),
        again_s=_delay(message.attest_again_in_ms),
        lock=read_credential(message.tpm_lock) if locked else None,
        runtime_log_next=message.runtime_log_next,
        attestation_result=_token(message.attestation_result),
    )


def read_digest(value: bytes) -> bytes:
    """Read the SHA-256 of a recorded statement.

    Raises:
        ProtocolViolation: not 32 bytes.
    """
    if len(value) != _DIGEST_BYTES:
        raise ProtocolViolation("a recorded statement is named by 32 bytes")
    return value


def _denial(message: agent_pb2.Denial) -> Denial:
    if _CORRELATION.fullmatch(message.correlation_id) is None:
        raise ProtocolViolation("a correlation id is up to 128 letters, digits, dots and dashes")
    return Denial(code=_code(message.code), correlation_id=message.correlation_id)


def _code(text: str) -> str:
    if _CODE.fullmatch(text) is None:
        raise ProtocolViolation("a code is up to 64 lower-case letters, digits and underscores")
    return text


def _workload(text: str) -> str:
    if not 0 < len(text) <= _MAX_TICKET or not text.isprintable():
        raise ProtocolViolation("a refused workload is not named by printable text")
    return text


def _wrapped(message: agent_pb2.WrappedSecret) -> bytes:
    if not 0 < len(message.ciphertext) <= _MAX_WRAPPED:
        raise ProtocolViolation("a wrapped secret is beyond its budget")
    return message.ciphertext


def _token(text: str) -> str:
    if _TOKEN.fullmatch(text) is None:
        raise ProtocolViolation("an attestation result is not a JWT of usual size")
    return text


def _delay(milliseconds: int) -> float:
    return min(milliseconds, _MAX_DELAY_MS) / 1000


def _chain(certificates: Sequence[bytes]) -> tuple[bytes, ...]:
    if len(certificates) > _MAX_CERTIFICATES:
        raise ProtocolViolation("a certificate chain is too long")
    if any(not 0 < len(der) <= _MAX_CERTIFICATE for der in certificates):
        raise ProtocolViolation("a certificate is beyond its budget")
    return tuple(certificates)
