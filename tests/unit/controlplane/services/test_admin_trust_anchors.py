"""Trust anchors: who may add one, what may be one, and what the removal of one sets off."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.admin_plane import START, AdminPlane
from fakes.tpm_cas import BELOW, OTHER_ROOT, ROOT, Ca

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, DomainError, NotFound, Refused
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.domain.trust_anchors import AnchorKind, AnchorRole
from sealward.controlplane.services.trust_anchors import MAX_ANCHORS, TrustAnchors
from sealward.verifier.wire import json

CERTIFICATE = ROOT.certificate(START)
SOFTWARE = Ca(name="swtpm-localca-rootca", label="swtpm root").certificate(START)

ADMIN = Principal(principal_id="p-ada", name="ada", roles=(Role.admin,), created=START)


def production(plane: AdminPlane) -> TrustAnchors:
    """The same use cases in an installation that is not for development."""
    return replace(plane.services.trust_anchors, development=False)


def refused(plane: AdminPlane, anchors: TrustAnchors, der: bytes, **how: object) -> DomainError:
    before = plane.row_counts()
    with pytest.raises(DomainError) as caught:
        anchors.add(ADMIN, der, **how)  # type: ignore[arg-type]  # a table of keywords
    assert plane.row_counts() == before
    return caught.value


def entry(plane: AdminPlane, by: Principal, kind: AuditKind) -> object:
    """The body of the one audit entry of a kind."""
    found = plane.services.audit_log.page(by, limit=100, after=None).items
    (body,) = (entry.body for entry in found if entry.kind is kind)
    return json.decode(body, what="entry", max_bytes=1 << 16)


def test_a_root_is_in_force_at_once_and_the_log_says_who_added_it(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    added = production(plane).add(alice, CERTIFICATE, name="rack 4")
    assert (added.role, added.name, added.added_by) == (AnchorRole.root, "rack 4", "alice")
    in_force = plane.database.read(lambda tx: tx.trust_anchors.in_force(AnchorKind.tpm_ek))
    assert in_force == (added,)
    assert entry(plane, alice, AuditKind.trust_anchor_added) == {
        "by": {"id": alice.principal_id, "name": "alice"},
        "anchor": added.fingerprint,
        "kind": "tpm-ek",
        "role": "root",
        "name": "rack 4",
        "subject": "CN=Example TPM Root",
        "development": False,
    }


def test_an_anchor_without_a_name_has_its_subject(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    added = plane.services.trust_anchors.add(alice, BELOW.certificate(START, issuer=ROOT))
    assert (added.role, added.name) == (AnchorRole.intermediate, "CN=Example TPM Issuing CA")


def test_adding_one_takes_nothing_away(plane: AdminPlane) -> None:
    plane.services.trust_anchors.add(plane.administrator().principal, CERTIFICATE)
    assert plane.database.read(lambda tx: tx.sweeps.running()) == ()
    assert plane.wake.calls == 0


@pytest.mark.parametrize(
    ("der", "told"),
    [
        (ROOT.certificate(START, ca=False), "certificate_forbidden"),
        (ROOT.certificate(START + timedelta(days=-900)), "certificate_expired"),
        (Ca(name="Weak", label="weak", kind="rsa1024").certificate(START), "certificate_forbidden"),
        (SOFTWARE, "development_root_invalid"),
        (b"", "malformed"),
        (CERTIFICATE + b"\0", "malformed"),
        (bytes(20_000), "malformed"),
    ],
    ids=["no CA", "expired", "weak", "software TPM", "empty", "trailing byte", "too large"],
)
def test_what_cannot_be_an_anchor_is_refused_with_what_to_do(
    plane: AdminPlane, der: bytes, told: str
) -> None:
    error = refused(plane, plane.services.trust_anchors, der)
    assert (error.code, error.detail.partition(":")[0]) == (Code.trust_anchor_invalid, told)
    assert error.hint


def test_a_production_installation_takes_no_development_anchor(plane: AdminPlane) -> None:
    """F29: marked or not, the CA of a software TPM never gets into one."""
    anchors = production(plane)
    assert refused(plane, anchors, SOFTWARE, development=True).code is Code.development_refused
    assert refused(plane, anchors, CERTIFICATE, development=True).code is Code.development_refused
    assert refused(plane, anchors, SOFTWARE).code is Code.trust_anchor_invalid


def test_a_development_installation_takes_the_ca_of_a_software_tpm_as_marked(
    plane: AdminPlane,
) -> None:
    alice = plane.administrator().principal
    assert plane.services.trust_anchors.add(alice, SOFTWARE, development=True).development


def test_a_development_anchor_that_imitates_a_vendor_is_refused(plane: AdminPlane) -> None:
    der = Ca(name="Infineon OPTIGA(TM) RSA Root CA", label="imitation").certificate(START)
    error = refused(plane, plane.services.trust_anchors, der, development=True)
    assert error.detail.startswith("root_imitates_vendor: ")


def test_a_name_is_one_printable_line(plane: AdminPlane) -> None:
    error = refused(plane, plane.services.trust_anchors, CERTIFICATE, name="two\nlines")
    assert error.code is Code.invalid_request


def test_an_anchor_in_force_is_not_added_again(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    anchors.add(alice, CERTIFICATE)
    with pytest.raises(Conflict) as caught:
        anchors.add(alice, CERTIFICATE, name="again")
    assert caught.value.code is Code.already_exists


def test_two_anchors_of_one_name_would_make_every_chain_ambiguous(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    first = anchors.add(alice, CERTIFICATE)
    successor = Ca(name=ROOT.name, label="the key that follows").certificate(START)
    with pytest.raises(Conflict) as caught:
        anchors.add(alice, successor)
    assert caught.value.code is Code.already_exists
    assert first.fingerprint in caught.value.detail
    anchors.remove(alice, first.fingerprint, reason="a successor")
    anchors.add(alice, successor)


def test_removing_one_fences_and_leaves_a_sweep(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    added = anchors.add(alice, CERTIFICATE)
    epoch = plane.database.read(lambda tx: tx.epochs.read((fences.TRUST_ANCHOR,)))
    removed = anchors.remove(alice, added.fingerprint, reason="the vendor lost its key")
    assert removed.removed == START
    assert plane.database.read(lambda tx: tx.trust_anchors.in_force(AnchorKind.tpm_ek)) == ()
    moved = plane.database.read(lambda tx: tx.epochs.read((fences.TRUST_ANCHOR,)))
    assert moved[fences.TRUST_ANCHOR] == epoch[fences.TRUST_ANCHOR] + 1
    (sweep,) = plane.database.read(lambda tx: tx.sweeps.running())
    assert sweep.scope == fences.TRUST_ANCHOR
    assert plane.wake.calls == 1
    body = entry(plane, alice, AuditKind.trust_anchor_removed)
    assert isinstance(body, dict)
    assert body["reason"] == "the vendor lost its key"


def test_what_is_not_in_force_is_not_removed(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    added = anchors.add(alice, CERTIFICATE)
    anchors.remove(alice, added.fingerprint, reason="a test")
    for fingerprint in (added.fingerprint, "00" * 32):
        with pytest.raises(NotFound):
            anchors.remove(alice, fingerprint, reason="a test")
    for fingerprint in ("", "00", added.fingerprint.upper()):
        with pytest.raises(Refused) as caught:
            anchors.remove(alice, fingerprint, reason="a test")
        assert caught.value.code is Code.invalid_request


def test_a_removal_has_a_reason(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    added = plane.services.trust_anchors.add(alice, CERTIFICATE)
    with pytest.raises(Refused) as caught:
        plane.services.trust_anchors.remove(alice, added.fingerprint, reason="")
    assert caught.value.code is Code.invalid_request


def test_a_removed_anchor_may_come_back_under_another_name(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    anchors.remove(alice, anchors.add(alice, CERTIFICATE).fingerprint, reason="a test")
    plane.clock.advance(timedelta(hours=1))
    again = anchors.add(alice, CERTIFICATE, name="back", development=True)
    assert anchors.page(alice, limit=9, after=None).items == (again,)
    assert (again.removed, again.added) == (None, START + timedelta(hours=1))


def test_a_list_shows_removed_anchors_too(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    kept = anchors.add(alice, OTHER_ROOT.certificate(START))
    gone = anchors.add(alice, CERTIFICATE)
    anchors.remove(alice, gone.fingerprint, reason="a test")
    first = anchors.page(alice, limit=1, after=None)
    second = anchors.page(alice, limit=1, after=first.after)
    shown = {item.fingerprint: item.removed for item in (*first.items, *second.items)}
    assert shown == {kept.fingerprint: None, gone.fingerprint: START}


def test_anchors_are_as_many_as_can_be_read_with_each_evidence(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    for number in range(MAX_ANCHORS):
        anchors.add(alice, Ca(name=f"Root {number}", label="tpm-ca").certificate(START))
    with pytest.raises(Refused) as caught:
        anchors.add(alice, CERTIFICATE)
    assert caught.value.code is Code.invalid_request
    first = anchors.page(alice, limit=1, after=None).items[0]
    anchors.remove(alice, first.fingerprint, reason="a test")
    anchors.add(alice, CERTIFICATE)
