"""Signed terms, version 1 (docs/specs/signed-terms.md): what a node may do, and until when."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import cbor, cose, statement
from sealward.verifier.wire.statement import Statement

MAX_BYTES: Final = 262_144  # 64 leases with 64 models each stay below
_AAD: Final = b"sealward/terms/v1"
_WHAT: Final = "terms"
_CONTENT_KEY_LABEL: Final = b"sealward/content-key-grant/v1"
_RATCHET_LABEL: Final = b"sealward/ratchet-grant/v1"

Obligation: TypeAlias = int | tuple[str, ...]


@unique
class TermsKind(IntEnum):
    """Whether terms answer an attestation or were pushed."""

    GRANT = 1
    REVOCATION = 2


@unique
class LeaseTermsState(IntEnum):
    """What terms do to a lease."""

    GRANTED = 1
    RENEWED = 2
    ENDED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTerms:
    """One sealed model version that a lease covers.

    Attributes:
        name: model name.
        version: granted version.
        core_digest: SHA-256 of the sealed header's core.
        header_digest: SHA-256 of the sealed header's signed part.
        content_key_id: id of the content key; the key itself travels wrapped.
        min_version: lowest version of this model that may be served.
    """

    name: str
    version: int
    core_digest: bytes
    header_digest: bytes
    content_key_id: bytes
    min_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """One lease within terms.

    Attributes:
        lease_id: 16 bytes.
        workload: workload name.
        state: see `LeaseTermsState`.
        ttl_ms: milliseconds from before the request was sent; 0 when ended.
        not_after_ms: horizon, Unix milliseconds, for people and logs.
        cause: what sets the horizon, or why the lease ended.
        models: what may be run.
        obligations: conditions of the release policies.
    """

    lease_id: bytes
    workload: str
    state: LeaseTermsState
    ttl_ms: int
    not_after_ms: int
    cause: str
    models: tuple[ModelTerms, ...] = ()
    obligations: Mapping[str, Obligation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A signed statement of the control plane to one node.

    Attributes:
        kind: see `TermsKind`.
        trust_domain: of the control plane.
        tenant: of the node.
        node: 32-byte thumbprint of the instance.
        sequence: strictly increasing for the node.
        issued_ms: Unix milliseconds.
        challenge: SHA-256 of the answered nonce; None in a revocation.
        leases: see `LeaseTerms`.
        policies: digests of the policies that decided, by "kind/layer".
        log_leaf: leaf hash of the audit entry of this decision.
        client_token_keys: raw Ed25519 keys that sign client tokens.
    """

    kind: TermsKind
    trust_domain: str
    tenant: str
    node: bytes
    sequence: int
    issued_ms: int
    challenge: bytes | None
    leases: tuple[LeaseTerms, ...]
    policies: Mapping[str, bytes]
    log_leaf: bytes
    client_token_keys: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Return the payload: one deterministic encoding."""
        return cbor.encode(
            {
                1: 1,
                2: int(self.kind),
                3: self.trust_domain,
                4: self.tenant,
                5: self.node,
                6: self.sequence,
                7: self.issued_ms,
                8: self.challenge,
                9: [_encode_lease(lease) for lease in self.leases],
                10: dict(self.policies),
                11: self.log_leaf,
                12: self.client_token_keys,
            }
        )


@dataclass(frozen=True, slots=True)
class VerifiedTerms:
    """Terms whose signature was checked; the only form in which an agent uses them.

    Attributes:
        terms: the statement.
        digest: SHA-256 of the payload, which wrapped keys are bound to.
    """

    terms: Terms
    digest: bytes


def sign(payload: bytes, *, public: bytes, signer: Callable[[bytes], bytes]) -> bytes:
    """Return the COSE_Sign1 over `payload` by the terms key whose raw public half is `public`."""
    return cose.sign1(payload, alg=cose.EDDSA, kid=key_id(public), sign=signer, external_aad=_AAD)


def key_id(public: bytes) -> bytes:
    """Return the COSE kid of a raw Ed25519 key."""
    return hashlib.sha256(public).digest()


def verify(
    data: bytes, *, keys: tuple[bytes, ...], trust_domain: str, tenant: str, node: bytes
) -> VerifiedTerms:
    """Check terms against pinned keys and the identity of this node (spec, agent rule 1).

    Raises:
        MalformedEvidence: not version 1 terms.
        RefusedEvidence: signed by a key that is not pinned, or meant for somebody else.
    """
    message = cose.parse_sign1(data, what=_WHAT, max_bytes=MAX_BYTES)
    public = {key_id(key): key for key in keys}.get(message.kid)
    if public is None or message.alg != cose.EDDSA:
        raise RefusedEvidence(Code.ROOT_NOT_PINNED, "terms are signed by a key that is not pinned")
    try:
        key = Ed25519PublicKey.from_public_bytes(public)
        key.verify(message.signature, message.to_be_signed(_AAD))
    except (InvalidSignature, ValueError) as error:
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID, "the signature of the terms is wrong"
        ) from error
    terms = decode(message.payload)
    if (terms.trust_domain, terms.tenant, terms.node) != (trust_domain, tenant, node):
        raise RefusedEvidence(Code.AUDIENCE_MISMATCH, "terms are meant for another node")
    return VerifiedTerms(terms=terms, digest=hashlib.sha256(message.payload).digest())


def decode(payload: bytes) -> Terms:
    """Read a payload whose signature the caller has checked.

    Raises:
        MalformedEvidence: anything but the one encoding of version 1 terms.
    """
    fields = Statement.decode(payload, what=_WHAT, max_bytes=MAX_BYTES)
    if fields.uint(1, "version") != 1:
        raise MalformedEvidence(0, f"{_WHAT}: only version 1 is known")
    kind = _kind(fields.uint(2, "kind"))
    trust_domain = fields.text(3, "trust domain")
    tenant = fields.text(4, "tenant")
    node = fields.octets(5, "node", size=32)
    sequence = fields.uint(6, "sequence")
    issued_ms = fields.uint(7, "issued at")
    challenge = fields.nullable(8, "challenge")
    if (challenge is None) != (kind is TermsKind.REVOCATION):
        raise MalformedEvidence(
            0, f"{_WHAT}: a grant answers a challenge and a revocation does not"
        )
    leases = tuple(_decode_lease(item) for item in fields.items(9, "leases"))
    policies = {
        name: statement.octets(value, f"{_WHAT}: policy digest", size=32)
        for name, value in fields.mapping(10, "policies").items()
    }
    log_leaf = fields.octets(11, "log leaf", size=32)
    client_token_keys = fields.digests(12, "client token keys")
    fields.finish()
    if len({lease.lease_id for lease in leases}) != len(leases):
        raise MalformedEvidence(0, f"{_WHAT}: a lease stands twice")
    return Terms(
        kind=kind,
        trust_domain=trust_domain,
        tenant=tenant,
        node=node,
        sequence=sequence,
        issued_ms=issued_ms,
        challenge=None
        if challenge is None
        else statement.octets(challenge, f"{_WHAT}: challenge", size=32),
        leases=leases,
        policies=policies,
        log_leaf=log_leaf,
        client_token_keys=client_token_keys,
    )


def content_key_info(terms_digest: bytes) -> bytes:
    """Return the HPKE info under which content keys travel beside terms with this digest."""
    return _length_prefixed(_CONTENT_KEY_LABEL) + terms_digest


def ratchet_info(terms_digest: bytes) -> bytes:
    """Return the HPKE info under which the next ratchet secret travels."""
    return _length_prefixed(_RATCHET_LABEL) + terms_digest


def encode_content_key(lease_id: bytes, content_key_id: bytes, content_key: bytes) -> bytes:
    """Return the plaintext of one wrapped content key."""
    return cbor.encode({1: lease_id, 2: content_key_id, 3: content_key})


def decode_content_key(plaintext: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (lease id, content key id, content key).

    Raises:
        MalformedEvidence: not that plaintext.
    """
    fields = Statement.decode(plaintext, what="wrapped content key", max_bytes=1024)
    lease_id = fields.octets(1, "lease", size=16)
    content_key_id = fields.octets(2, "content key id", size=32)
    content_key = fields.octets(3, "content key", size=32)
    fields.finish()
    return lease_id, content_key_id, content_key


def encode_ratchet(index: int, secret: bytes) -> bytes:
    """Return the plaintext of a wrapped ratchet secret."""
    return cbor.encode({1: index, 2: secret})


def decode_ratchet(plaintext: bytes) -> tuple[int, bytes]:
    """Return (index, secret).

    Raises:
        MalformedEvidence: not that plaintext.
    """
    fields = Statement.decode(plaintext, what="wrapped ratchet", max_bytes=1024)
    index = fields.uint(1, "index")
    secret = fields.octets(2, "secret", size=32)
    fields.finish()
    return index, secret


def _length_prefixed(label: bytes) -> bytes:
    return len(label).to_bytes(2, "big") + label


def _encode_lease(lease: LeaseTerms) -> dict[int, cbor.Encodable]:
    return {
        1: lease.lease_id,
        2: lease.workload,
        3: int(lease.state),
        4: lease.ttl_ms,
        5: lease.not_after_ms,
        6: lease.cause,
        7: [_encode_model(model) for model in lease.models],
        8: dict(lease.obligations),
    }


def _encode_model(model: ModelTerms) -> dict[int, cbor.Encodable]:
    return {
        1: model.name,
        2: model.version,
        3: model.core_digest,
        4: model.header_digest,
        5: model.content_key_id,
        6: model.min_version,
    }


def _kind(value: int) -> TermsKind:
    try:
        return TermsKind(value)
    except ValueError:
        raise MalformedEvidence(0, f"{_WHAT}: unknown kind {value}") from None


def _lease_state(value: int) -> LeaseTermsState:
    try:
        return LeaseTermsState(value)
    except ValueError:
        raise MalformedEvidence(0, f"{_WHAT}: unknown lease state {value}") from None


def _decode_lease(value: cbor.Value) -> LeaseTerms:
    fields = Statement(value, f"{_WHAT}: lease")
    lease = LeaseTerms(
        lease_id=fields.octets(1, "lease id", size=16),
        workload=fields.text(2, "workload"),
        state=_lease_state(fields.uint(3, "state")),
        ttl_ms=fields.uint(4, "ttl"),
        not_after_ms=fields.uint(5, "horizon"),
        cause=fields.text(6, "cause"),
        models=tuple(_decode_model(item) for item in fields.items(7, "models")),
        obligations={k: _obligation(v) for k, v in fields.mapping(8, "obligations").items()},
    )
    fields.finish()
    if lease.state is LeaseTermsState.ENDED and lease.ttl_ms != 0:
        raise MalformedEvidence(0, f"{_WHAT}: an ended lease has a ttl")
    return lease


def _decode_model(value: cbor.Value) -> ModelTerms:
    fields = Statement(value, f"{_WHAT}: model")
    model = ModelTerms(
        name=fields.text(1, "name"),
        version=fields.uint(2, "version"),
        core_digest=fields.octets(3, "core digest", size=32),
        header_digest=fields.octets(4, "header digest", size=32),
        content_key_id=fields.octets(5, "content key id", size=32),
        min_version=fields.uint(6, "min version"),
    )
    fields.finish()
    if model.version < model.min_version:
        raise MalformedEvidence(0, f"{_WHAT}: a granted version is below the minimum")
    return model


def _obligation(value: cbor.Value) -> Obligation:
    what = f"{_WHAT}: obligation"
    if isinstance(value, list):
        return tuple(statement.text(item, what) for item in statement.items(value, what))
    return statement.uint(value, what)
