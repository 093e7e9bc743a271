"""Terms as an agent's lease book takes them: verified, for one node."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sealward.protos.terms import (
    LeaseTerms,
    LeaseTermsState,
    ModelTerms,
    Obligation,
    Terms,
    TermsKind,
    VerifiedTerms,
)

NONCE = b"\x11" * 32


def model(name: str = "m", version: int = 1, min_version: int = 1) -> ModelTerms:
    """Return a model whose digests follow from its name and version."""
    seed = hashlib.sha256(f"{name}/{version}".encode()).digest()
    return ModelTerms(
        name=name,
        version=version,
        core_digest=seed,
        header_digest=hashlib.sha256(seed).digest(),
        content_key_id=hashlib.sha256(seed + b"key").digest(),
        min_version=min_version,
    )


def lease(
    number: int = 1,
    state: LeaseTermsState = LeaseTermsState.GRANTED,
    *,
    ttl_ms: int = 1_000,
    not_after_ms: int = 1 << 50,
    workload: str = "w",
    models: tuple[ModelTerms, ...] | None = None,
    obligations: Mapping[str, Obligation] | None = None,
) -> LeaseTerms:
    """Return what terms say of lease `number`."""
    ended = state is LeaseTermsState.ENDED
    return LeaseTerms(
        lease_id=number.to_bytes(16, "big"),
        workload=workload,
        state=state,
        ttl_ms=0 if ended else ttl_ms,
        not_after_ms=not_after_ms,
        cause="ttl",
        models=() if ended else (models if models is not None else (model(),)),
        obligations=obligations or {},
    )


def grant(
    sequence: int, *leases: LeaseTerms, nonce: bytes = NONCE, issued_ms: int = 0
) -> VerifiedTerms:
    """Return verified grant terms that answer `nonce`."""
    return _verified(TermsKind.GRANT, sequence, leases, hashlib.sha256(nonce).digest(), issued_ms)


def revocation(sequence: int, *leases: LeaseTerms, issued_ms: int = 0) -> VerifiedTerms:
    """Return verified revocation terms."""
    return _verified(TermsKind.REVOCATION, sequence, leases, None, issued_ms)


def _verified(
    kind: TermsKind,
    sequence: int,
    leases: tuple[LeaseTerms, ...],
    challenge: bytes | None,
    issued_ms: int,
) -> VerifiedTerms:
    said = Terms(
        kind=kind,
        trust_domain="plane.test",
        tenant="acme",
        node=bytes(32),
        sequence=sequence,
        issued_ms=issued_ms,
        challenge=challenge,
        leases=leases,
        policies={},
        log_leaf=bytes(32),
        client_token_keys=(bytes(32),),
    )
    return VerifiedTerms(terms=said, digest=hashlib.sha256(said.encode()).digest())
