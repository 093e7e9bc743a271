"""Issuing signed terms inside the transaction that decides, in one sequence for each node."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.leases import SignedTerms
from sealward.controlplane.domain.records import unix_ms
from sealward.controlplane.services.ports import Keystore, Transaction
from sealward.protos import terms
from sealward.protos.terms import LeaseTerms, Terms, TermsKind
from sealward.protos.trust import TrustConfiguration


@dataclass(frozen=True, slots=True)
class IssuedTerms:
    """Terms that are stored when the transaction commits.

    Attributes:
        cose: the signed statement.
        digest: SHA-256 of its payload, which wrapped keys are tied to.
        sequence: its place in the node's sequence.
    """

    cose: bytes
    digest: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class TermsIssuer:
    """Signs terms with the terms key of one control plane."""

    keystore: Keystore
    trust: TrustConfiguration

    def issue(
        self,
        tx: Transaction,
        *,
        node_id: str,
        sequence: int,
        kind: TermsKind,
        challenge: bytes | None,
        leases: tuple[LeaseTerms, ...],
        policies: Mapping[str, bytes],
        log_leaf: bytes,
        now: datetime,
    ) -> IssuedTerms:
        """Sign and store terms under `sequence`, which the caller has taken from the node."""
        payload = Terms(
            kind=kind,
            trust_domain=self.trust.trust_domain,
            tenant=self.trust.tenant,
            node=bytes.fromhex(node_id),
            sequence=sequence,
            issued_ms=unix_ms(now),
            challenge=challenge,
            leases=leases,
            policies=policies,
            log_leaf=log_leaf,
            client_token_keys=(self.keystore.public(KeyPurpose.client_token),),
        ).encode()
        cose = terms.sign(
            payload,
            public=self.keystore.public(KeyPurpose.terms),
            signer=lambda data: self.keystore.sign(KeyPurpose.terms, data),
        )
        tx.terms.add(
            SignedTerms(
                node_id=node_id, sequence=sequence, kind=kind.name.lower(), cose=cose, created=now
            )
        )
        return IssuedTerms(cose=cose, digest=hashlib.sha256(payload).digest(), sequence=sequence)
