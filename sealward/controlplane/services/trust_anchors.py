"""Trust anchors: whose endorsement keys of TPMs a tenant believes (docs/specs/tpm-node.md 2).

Adding one gives access to whatever its key signs, so it is the administrator's. Removing one is a
cause of revocation: evidence is verified under the anchors of an epoch, and no decision commits
once that epoch has moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.trust_anchors import AnchorKind, AnchorRole, TrustAnchor
from sealward.controlplane.services import inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.formats.tpm import anchor as anchors
from sealward.verifier.formats.tpm.anchor import Anchor
from sealward.verifier.rats.errors import RefusedEvidence, VerifierError

# In force at once: every one is read and parsed with each piece of TPM evidence. A fleet has TPMs
# of a few vendors, and each vendor a few roots and intermediates.
MAX_ANCHORS: Final = 64
_KIND: Final = AnchorKind.tpm_ek


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """Use cases around trust anchors of TPM endorsement keys.

    Attributes:
        on: what every use case reaches.
        development: whether this installation takes development anchors (F29).
    """

    on: Dependencies
    development: bool

    def add(
        self, principal: Principal, certificate: bytes, *, name: str = "", development: bool = False
    ) -> TrustAnchor:
        """Trust a CA certificate (DER) from now on; one that was removed may be added again.

        Raises:
            Refused: forbidden, invalid_request, trust_anchor_invalid, development_refused.
            Conflict: already_exists, it is in force, or another one of its name is.
        """
        require(principal, Right.trust_anchor_add)
        inputs.text(name, "the name")
        now = self.on.clock.now()
        checked = self._check(certificate, development=development, now=now)

        def work(tx: Transaction) -> TrustAnchor:
            _require_room(tx.trust_anchors.in_force(_KIND), checked)
            return self._put(tx, checked, name, development=development, by=principal, now=now)

        return self.on.database.write(work)  # takes nothing away, so there is nothing to fence

    def remove(self, principal: Principal, fingerprint: str, *, reason: str) -> TrustAnchor:
        """Trust an anchor no more: nodes whose TPM chains to this root lose their leases.

        An intermediate only completes chains: without it, nodes that need it cannot attest anew.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: no such anchor is in force.
        """
        require(principal, Right.trust_anchor_remove)
        inputs.lower_hex(fingerprint, "the fingerprint", least_bytes=32, most_bytes=32)
        inputs.text(reason, "the reason", least=1)
        now = self.on.clock.now()

        def work(tx: Transaction) -> TrustAnchor:
            anchor = tx.trust_anchors.find(_KIND, fingerprint)
            if anchor is None or anchor.removed is not None:
                raise NotFound(Code.not_found, f"no trust anchor {fingerprint} is in force")
            body: Body = {**_named(anchor), "reason": reason}
            entry_id = self.on.record(
                tx, AuditKind.trust_anchor_removed, body, by=principal, now=now
            )
            removed = replace(anchor, removed=now, entry_id=entry_id)
            tx.trust_anchors.put(removed)
            cause = {"code": Code.trust_anchor_removed.value, "anchor": fingerprint}
            self.on.fence(tx, fences.TRUST_ANCHOR, cause, now)
            return removed

        removed = self.on.database.write(work)
        self.on.wake.sweeps()
        return removed

    def page(self, principal: Principal, *, limit: int, after: str | None) -> Page[TrustAnchor]:
        """List anchors by fingerprint, those that were removed included."""
        require(principal, Right.trust_anchor_read)
        return self.on.database.read(
            lambda tx: tx.trust_anchors.page(_KIND, limit=limit, after=after)
        )

    def _check(self, certificate: bytes, *, development: bool, now: datetime) -> Anchor:
        if development and not self.development:
            raise Refused(
                Code.development_refused,
                "a production installation takes no development anchors",
                "import it into an installation of `sealward serve --development`",
            )
        try:
            return anchors.check(certificate, development=development, now=now)
        except VerifierError as error:
            hint = error.hint if isinstance(error, RefusedEvidence) else None
            raise Refused(
                Code.trust_anchor_invalid,
                f"{error.code}: {error.detail}",
                hint or "give a CA certificate of a TPM vendor, in date, as DER or PEM",
            ) from error

    def _put(
        self,
        tx: Transaction,
        checked: Anchor,
        name: str,
        *,
        development: bool,
        by: Principal,
        now: datetime,
    ) -> TrustAnchor:
        anchor = TrustAnchor(
            kind=_KIND,
            fingerprint=checked.sha256,
            role=AnchorRole.root if checked.root else AnchorRole.intermediate,
            certificate=checked.der,
            name=name or checked.subject,
            subject=checked.subject,
            not_after=checked.not_after,
            development=development,
            added_by=by.name,
            added=now,
            entry_id="",
        )
        entry_id = self.on.record(tx, AuditKind.trust_anchor_added, _named(anchor), by=by, now=now)
        anchor = replace(anchor, entry_id=entry_id)
        tx.trust_anchors.put(anchor)
        return anchor


def _require_room(in_force: tuple[TrustAnchor, ...], checked: Anchor) -> None:
    """Refuse an anchor that could not stand beside those in force; see `add`."""
    if any(anchor.fingerprint == checked.sha256 for anchor in in_force):
        raise Conflict(Code.already_exists, f"trust anchor {checked.sha256} is in force already")
    namesake = next((a for a in in_force if a.subject == checked.subject), None)
    if namesake is not None:
        # Chains are found by name: with both in force no TPM below either would be believed.
        raise Conflict(
            Code.already_exists,
            f"trust anchor {namesake.fingerprint} has the same subject, {checked.subject}",
            "remove that one first, if this one takes its place",
        )
    if len(in_force) >= MAX_ANCHORS:
        raise inputs.invalid(
            f"{MAX_ANCHORS} trust anchors are in force, which is as many as may be",
            "remove those that no TPM of yours chains to",
        )


def _named(anchor: TrustAnchor) -> Body:
    return {
        "anchor": anchor.fingerprint,
        "kind": anchor.kind.value,
        "role": anchor.role.value,
        "name": anchor.name,
        "subject": anchor.subject,
        "development": anchor.development,
    }
