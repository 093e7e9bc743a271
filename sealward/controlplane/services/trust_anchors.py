"""Trust anchors: whose TPMs a tenant believes, and which keys are whose Arm instance's.

docs/specs/tpm-node.md 2, docs/specs/evidence-envelope.md 11 and 12. Adding one gives access to
whatever its key signs, so it is the administrator's. Removing one is a cause of revocation:
evidence is verified under the anchors of an epoch, and no decision commits once that epoch has
moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.trust_anchors import (
    AnchorKind,
    AnchorRole,
    TrustAnchor,
    VouchedInstance,
)
from sealward.controlplane.services import arm_instances, inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.formats.tpm import anchor as anchors
from sealward.verifier.formats.tpm.anchor import Anchor
from sealward.verifier.pki import instance_keys
from sealward.verifier.rats import arm
from sealward.verifier.rats.errors import RefusedEvidence, VerifierError

# In force at once: every one is read and parsed with each piece of TPM evidence. A fleet has TPMs
# of a few vendors, and each vendor a few roots and intermediates.
MAX_ANCHORS: Final = 64
_KIND: Final = AnchorKind.tpm_ek
_NO_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280 4.1.2.5
_PUBLIC_ONLY: Final = (
    "give one ECDSA public key on P-256 or P-384; a secret, for tokens that carry a MAC, is never"
    " kept here: such a device cannot be a node"
)


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """Use cases around a tenant's trust anchors.

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
        anchor = TrustAnchor(
            kind=_KIND,
            fingerprint=checked.sha256,
            role=AnchorRole.root if checked.root else AnchorRole.intermediate,
            certificate=checked.der,
            name=name or checked.subject,
            subject=checked.subject,
            not_after=checked.not_after,
            development=development,
            added_by=principal.name,
            added=now,
            entry_id="",
        )

        def work(tx: Transaction) -> TrustAnchor:
            _require_room(tx.trust_anchors.in_force(_KIND), checked)
            return self._put(tx, anchor, by=principal, now=now)

        return self.on.database.write(work)  # takes nothing away, so there is nothing to fence

    def add_key(
        self, principal: Principal, spki: bytes, instance: VouchedInstance, *, name: str = ""
    ) -> TrustAnchor:
        """Trust a public key (DER SubjectPublicKeyInfo) as the one of an Arm instance.

        Raises:
            Refused: forbidden, invalid_request, trust_anchor_invalid.
            Conflict: already_exists, a key of the instance is in force; state_changed, nodes that
                rest on another key of it are being looked for.
        """
        require(principal, Right.trust_anchor_add)
        inputs.text(name, "the name")
        _require_instance(instance)
        now = self.on.clock.now()
        anchor = TrustAnchor(
            kind=instance.kind,
            fingerprint=instance.fingerprint,
            role=AnchorRole.root,
            certificate=spki,
            name=name or instance.subject,
            subject=instance.subject,
            not_after=_NO_END,
            development=False,
            added_by=principal.name,
            added=now,
            entry_id="",
        )
        _require_public_key(anchor)

        def work(tx: Transaction) -> TrustAnchor:
            _require_vacant(tx, anchor)
            return self._put(tx, anchor, by=principal, now=now)

        return self.on.database.write(work)  # as above

    def remove(self, principal: Principal, fingerprint: str, *, reason: str) -> TrustAnchor:
        """Trust an anchor no more: nodes that rest on this root or key lose their leases.

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
            anchor = _in_force(tx, fingerprint)
            body: Body = {**_named(anchor), "reason": reason}
            entry_id = self.on.record(
                tx, AuditKind.trust_anchor_removed, body, by=principal, now=now
            )
            removed = replace(anchor, removed=now, entry_id=entry_id)
            tx.trust_anchors.put(removed)
            cause = {"code": Code.trust_anchor_removed.value, "anchor": fingerprint}
            if anchor.instance is not None:
                cause["platform"] = anchor.instance.platform_id
            self.on.fence(tx, fences.TRUST_ANCHOR, cause, now)
            return removed

        removed = self.on.database.write(work)
        self.on.wake.sweeps()
        return removed

    def page(self, principal: Principal, *, limit: int, after: str | None) -> Page[TrustAnchor]:
        """List anchors by fingerprint, those that were removed included."""
        require(principal, Right.trust_anchor_read)
        return self.on.database.read(lambda tx: tx.trust_anchors.page(limit=limit, after=after))

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
        self, tx: Transaction, anchor: TrustAnchor, *, by: Principal, now: datetime
    ) -> TrustAnchor:
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


def _in_force(tx: Transaction, fingerprint: str) -> TrustAnchor:
    for kind in AnchorKind:
        anchor = tx.trust_anchors.find(kind, fingerprint)
        if anchor is not None and anchor.removed is None:
            return anchor
    raise NotFound(Code.not_found, f"no trust anchor {fingerprint} is in force")


def _require_instance(instance: VouchedInstance) -> None:
    size, told = arm.INSTANCE_ID_SIZE, instance.implementation_id
    inputs.lower_hex(instance.instance_id, "the instance id", least_bytes=size, most_bytes=size)
    if not instance.instance_id.startswith(f"{arm.UEID_RANDOM:02x}"):
        raise inputs.invalid(
            "the instance id does not begin with 01",
            "give the 33 bytes of the token's claim, its type in front",
        )
    if told is not None:
        size = arm.IMPLEMENTATION_ID_SIZE
        inputs.lower_hex(told, "the implementation id", least_bytes=size, most_bytes=size)


def _require_public_key(anchor: TrustAnchor) -> None:
    key = arm_instances.key_of(anchor)
    try:
        if key is None or len(anchor.certificate) > instance_keys.MAX_FILE_BYTES:
            raise Refused(Code.trust_anchor_invalid, "this is no public key", _PUBLIC_ONLY)
        instance_keys.public_key(key)
    except VerifierError as error:
        raise Refused(
            Code.trust_anchor_invalid, f"{error.code}: {error.detail}", _PUBLIC_ONLY
        ) from error


def _require_vacant(tx: Transaction, anchor: TrustAnchor) -> None:
    """Refuse a second key of one instance.

    A sweep sees whether the instance has a key, not which one: while it looks for the nodes that
    rest on a removed key, another one would hide them from it.
    """
    before = tx.trust_anchors.find(anchor.kind, anchor.fingerprint)
    if before is None:
        return
    if before.removed is None:
        raise Conflict(
            Code.already_exists,
            f"a key of {anchor.subject} is in force already: trust anchor {before.fingerprint}",
            "remove that one first, if this one takes its place",
        )
    swept = all(sweep.scope != fences.TRUST_ANCHOR for sweep in tx.sweeps.running())
    same = (before.certificate, before.subject) == (anchor.certificate, anchor.subject)
    if not same and not swept:
        raise Conflict(
            Code.state_changed,
            "nodes that rest on the removed key of this instance are still being looked for",
            "add this one again in a moment; `sealward status` shows sweeps that do not end",
        )


def _named(anchor: TrustAnchor) -> Body:
    key: Body = {} if anchor.instance is None else {"key": anchor.sha256}
    return {
        "anchor": anchor.fingerprint,
        "kind": anchor.kind.value,
        "role": anchor.role.value,
        "name": anchor.name,
        "subject": anchor.subject,
        "development": anchor.development,
        **key,
    }
