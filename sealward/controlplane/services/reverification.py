"""Verifying recorded evidence again, with the collateral of now or with a proposed piece.

What a node once sent stays true as a signature and may change in what it means: a newer TCB info
calls the same TCB out of date, a revocation list ends a chain (F17, F19). Binding and freshness
were checked when it came and are not asked again, so nothing here can raise a posture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sealward.controlplane.domain.nodes import NodeEvidence
from sealward.controlplane.services import arm_instances
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.collateral_view import CollateralBook, Proposed
from sealward.controlplane.services.evidence import EvidenceVerifier
from sealward.controlplane.services.ports import Database
from sealward.controlplane.services.tpm_nodes import is_tpm
from sealward.verifier.rats.collateral import Key
from sealward.verifier.rats.errors import RefusedEvidence, VerifierError
from sealward.verifier.rats.result import Verdict
from sealward.verifier.wire import json


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Recorded evidence as it stands today.

    Attributes:
        evidence_digest: which evidence.
        epochs: fence values of the collateral that verification asked for.
        claims: None when it is refused now.
        verdicts: the verifier's own.
        refusal: why it is refused, or None.
    """

    evidence_digest: str
    epochs: Mapping[str, int]
    claims: ClaimsDocument | None
    verdicts: tuple[Verdict, ...]
    refusal: VerifierError | None

    @property
    def tcb_status(self) -> str:
        """What the vendor's statements say of the TCB; the refusal's code when it is refused."""
        if self.claims is None:
            return "" if self.refusal is None else self.refusal.code.value
        status = self.claims.values.get("tcb_status")
        return status if isinstance(status, str) else ""

    @property
    def advisories(self) -> tuple[str, ...]:
        """The vendor's advisories that apply."""
        told = None if self.claims is None else self.claims.values.get("advisories")
        return tuple(map(str, told)) if isinstance(told, list | tuple) else ()

    def reason(self) -> dict[str, json.Canonical]:
        """Return the refusal as reasons are recorded."""
        error = self.refusal
        told = error if isinstance(error, RefusedEvidence) else None
        return {
            "code": "" if error is None else error.code.value,
            "claim": None if told is None else told.claim,
            "expected": None if told is None else told.expected,
            "actual": ("" if error is None else error.detail) if told is None else told.actual,
            "hint": "the evidence on record does not hold with the collateral of now",
            "layer": "verifier",
            "rule": "verifier",
        }


@dataclass(frozen=True, slots=True)
class Reverifier:
    """Verifies what is on record.

    Attributes:
        verifier: the one that evidence comes in through.
        book: collateral in memory.
        database: for the keys of Arm instances.
    """

    verifier: EvidenceVerifier
    book: CollateralBook
    database: Database

    def again(
        self,
        evidence: NodeEvidence,
        now: datetime,
        proposed: tuple[Key, bytes] | None = None,
    ) -> Again | None:
        """Return what recorded evidence proves at `now`; None for a TPM's, which asks for nothing.

        Args:
            evidence: on record.
            now: aware UTC.
            proposed: a piece to stand in the place of the one that is held.
        """
        if is_tpm(evidence.cmw):
            return None
        view = self.book.view()
        source = view if proposed is None else Proposed(*proposed, view)
        try:
            arm = arm_instances.trust(self.database, evidence.cmw)
            found = self.verifier.verify(evidence.cmw, now, None, source, arm.keys)
        except VerifierError as error:
            return Again(
                evidence_digest=evidence.evidence_digest,
                epochs=view.epochs,
                claims=None,
                verdicts=(),
                refusal=error,
            )
        return Again(
            evidence_digest=evidence.evidence_digest,
            epochs=view.epochs,
            claims=ClaimsDocument.of(found.claims),
            verdicts=found.claims.verdicts,
            refusal=None,
        )
