"""Evidence binding, version 1 (docs/specs/evidence-binding.md): what evidence speaks for.

Shared by the agent, which encodes, and the control plane, which checks.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import cbor, statement
from sealward.verifier.wire.statement import Statement

MAX_BYTES: Final = 8192  # an X-Wing key is 1,216 bytes; the rest is digests and 64 held leases
_LABEL: Final = "sealward/evidence-binding"
_VERSION: Final = 1
_WHAT: Final = "evidence binding"
_RATCHET_LABEL: Final = b"sealward/ratchet/v1"


@unique
class Purpose(StrEnum):
    """What evidence may be used for; a binding for one purpose is never evidence for another."""

    ENROLL = "enroll"
    ATTEST = "attest"
    CLIENT = "client"
    RECEIPT = "receipt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Whom the evidence is for: a trust domain, and the server root that the attester pinned.

    Attributes:
        trust_domain: DNS name.
        pin: SHA-256 of the pinned root's DER SubjectPublicKeyInfo.
    """

    trust_domain: str
    pin: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatement:
    """What the agent says of itself: bound, so not changed on the way, but not thereby true.

    Attributes:
        agent_version: release of the agent.
        clock_source: the guest kernel's name of its clock source, for example "tsc" or "kvm-clock".
        held_leases: 16-byte lease ids, as the agent believes them.
        open_models: 32-byte header digests of the sealed models that are open.
    """

    agent_version: str
    clock_source: str
    held_leases: tuple[bytes, ...] = ()
    open_models: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The statement whose SHA-512 evidence carries.

    Attributes:
        purpose: see `Purpose`.
        nonce: 32 bytes of the challenge.
        audience: see `Audience`.
        tenant: tenant name.
        tls_spki: DER SubjectPublicKeyInfo of the instance's TLS key.
        hpke_suite: suite id of `hpke_public` (docs/specs/sealed-model.md).
        hpke_public: raw public key to which secrets are wrapped.
        signing_public: raw Ed25519 key that signs wipe statements.
        inference_config: digest of the private-inference key configuration, or None.
        ratchet: index and MAC of the lease ratchet, or None before the first attestation.
        sub_evidence: SHA-256 of every other sub-evidence, in the envelope's order.
        logs: SHA-256 of every log sent along.
        statement: see `AgentStatement`.
        further_keys: (purpose, SHA-256 of a public key), ascending by purpose.
    """

    purpose: Purpose
    nonce: bytes
    audience: Audience
    tenant: str
    tls_spki: bytes
    hpke_suite: int
    hpke_public: bytes
    signing_public: bytes
    statement: AgentStatement
    inference_config: bytes | None = None
    ratchet: tuple[int, bytes] | None = None
    sub_evidence: tuple[bytes, ...] = ()
    logs: tuple[bytes, ...] = ()
    further_keys: tuple[tuple[str, bytes], ...] = field(default=())

    def encode(self) -> bytes:
        """Return the one deterministic encoding: the bytes that are hashed."""
        said = self.statement
        return cbor.encode(
            {
                1: [_LABEL, _VERSION],
                2: self.purpose.value,
                3: self.nonce,
                4: [self.audience.trust_domain, self.audience.pin],
                5: self.tenant,
                6: self.tls_spki,
                7: [self.hpke_suite, self.hpke_public],
                8: self.signing_public,
                9: self.inference_config,
                10: None if self.ratchet is None else list(self.ratchet),
                11: self.sub_evidence,
                12: [
                    self.logs,
                    {
                        1: said.agent_version,
                        2: said.clock_source,
                        3: said.held_leases,
                        4: said.open_models,
                    },
                ],
                13: [list(key) for key in self.further_keys],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Binding:
        """Read a binding.

        Raises:
            MalformedEvidence: not the one encoding of a version 1 binding (spec section 1).
        """
        fields = Statement.decode(data, what=_WHAT, max_bytes=MAX_BYTES)
        label, version = statement.pair(fields.nullable(1, "label"), f"{_WHAT}: label")
        # `uint` first: in Python true equals 1, in CBOR it is another value.
        if label != _LABEL or statement.uint(version, f"{_WHAT}: version") != _VERSION:
            raise MalformedEvidence(0, f"{_WHAT}: only version {_VERSION} is known")
        purpose = _purpose(fields.text(2, "purpose"))
        nonce = fields.octets(3, "nonce", size=32)
        domain, pin = statement.pair(fields.nullable(4, "audience"), f"{_WHAT}: audience")
        tenant = fields.text(5, "tenant")
        tls_spki = fields.octets(6, "TLS key", most=1024)
        suite, public = statement.pair(fields.nullable(7, "HPKE key"), f"{_WHAT}: HPKE key")
        signing = fields.octets(8, "signing key", size=32)
        config = fields.nullable(9, "inference configuration")
        ratchet = fields.nullable(10, "ratchet")
        sub_evidence = fields.digests(11, "sub-evidence")
        logs, said = statement.pair(fields.nullable(12, "logs"), f"{_WHAT}: logs and statement")
        keys = fields.items(13, "further keys")
        fields.finish()
        what = f"{_WHAT}: audience"
        return cls(
            purpose=purpose,
            nonce=nonce,
            audience=Audience(
                trust_domain=statement.text(domain, what), pin=statement.octets(pin, what, size=32)
            ),
            tenant=tenant,
            tls_spki=tls_spki,
            hpke_suite=statement.uint(suite, f"{_WHAT}: HPKE suite", most=0xFFFF),
            hpke_public=statement.octets(public, f"{_WHAT}: HPKE key"),
            signing_public=signing,
            inference_config=_digest_or_none(config),
            ratchet=_ratchet(ratchet),
            sub_evidence=sub_evidence,
            logs=_digests(logs),
            statement=_statement(said),
            further_keys=_further_keys(keys),
        )


def digest(encoded: bytes) -> bytes:
    """Return the 64 bytes evidence carries; 32-byte fields carry the first half (section 2)."""
    return hashlib.sha512(encoded).digest()


def thumbprint(tls_spki: bytes) -> bytes:
    """Return SHA-256 of a DER SubjectPublicKeyInfo: the name of an instance."""
    return hashlib.sha256(tls_spki).digest()


def ratchet_mac(secret: bytes, nonce: bytes, tls_spki: bytes) -> bytes:
    """Return the 32-byte proof of holding the ratchet secret (spec section 4)."""
    return hmac.digest(secret, _RATCHET_LABEL + nonce + thumbprint(tls_spki), "sha256")


def require_bound(encoded: bytes, carried: bytes) -> None:
    """Check spec section 3, step 7: evidence carries this binding.

    Args:
        encoded: the binding's bytes as received.
        carried: the 64 or 32 bytes found in authenticated evidence.

    Raises:
        RefusedEvidence: `binding_mismatch`.
    """
    expected = digest(encoded)
    if len(carried) not in (32, 64) or not hmac.compare_digest(expected[: len(carried)], carried):
        raise RefusedEvidence(
            Code.BINDING_MISMATCH,
            "the evidence was made for another binding",
            claim="report_data",
            expected=expected.hex(),
            actual=carried.hex(),
            hint="collect fresh evidence for this challenge and these keys",
        )


def _purpose(value: str) -> Purpose:
    try:
        return Purpose(value)
    except ValueError:
        raise MalformedEvidence(0, f"{_WHAT}: unknown purpose") from None


def _digest_or_none(value: cbor.Value) -> bytes | None:
    return (
        None
        if value is None
        else statement.octets(value, f"{_WHAT}: inference configuration", size=32)
    )


def _ratchet(value: cbor.Value) -> tuple[int, bytes] | None:
    if value is None:
        return None
    index, mac = statement.pair(value, f"{_WHAT}: ratchet")
    what = f"{_WHAT}: ratchet"
    return statement.uint(index, what), statement.octets(mac, what, size=32)


def _digests(value: cbor.Value) -> tuple[bytes, ...]:
    what = f"{_WHAT}: logs"
    return tuple(statement.octets(item, what, size=32) for item in statement.items(value, what))


def _statement(value: cbor.Value) -> AgentStatement:
    fields = Statement(value, "agent statement")
    said = AgentStatement(
        agent_version=fields.text(1, "agent version", most=64),
        clock_source=fields.text(2, "clock source", most=64),
        held_leases=fields.digests(3, "held leases", size=16),
        open_models=fields.digests(4, "open models"),
    )
    fields.finish()
    return said


def _further_keys(values: list[cbor.Value]) -> tuple[tuple[str, bytes], ...]:
    what = f"{_WHAT}: further keys"
    keys = []
    for value in values:
        purpose, key = statement.pair(value, what)
        keys.append((statement.text(purpose, what, most=64), statement.octets(key, what, size=32)))
    if any(a[0] >= b[0] for a, b in itertools.pairwise(keys)):
        raise MalformedEvidence(0, f"{what} are not strictly ascending by purpose")
    return tuple(keys)
