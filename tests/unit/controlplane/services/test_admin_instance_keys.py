"""Keys of Arm instances as trust anchors: what may be one, and what the removal of one sets off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from fakes import arm_tokens
from fakes.admin_plane import START, AdminPlane
from fakes.state import a_trust_anchor
from fakes.tpm_cas import ROOT

from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, DomainError, NotFound, Refused
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.domain.trust_anchors import AnchorKind, AnchorRole, VouchedInstance
from sealward.controlplane.services import arm_instances
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

KEY = arm_tokens.spki("maker")
CCA = VouchedInstance(AnchorKind.cca_key, arm_tokens.INSTANCE_ID.hex())
PINNED = replace(CCA, implementation_id=arm_tokens.IMPLEMENTATION_ID.hex())
ADMIN = Principal(principal_id="p-ada", name="ada", roles=(Role.admin,), created=START)


def refused(plane: AdminPlane, call: Callable[[], object]) -> DomainError:
    before = plane.row_counts()
    with pytest.raises(DomainError) as caught:
        call()
    assert plane.row_counts() == before
    return caught.value


def bodies(plane: AdminPlane, by: Principal, kind: AuditKind) -> list[object]:
    found = plane.services.audit_log.page(by, limit=100, after=None).items
    return [
        json.decode(entry.body, what="entry", max_bytes=1 << 16)
        for entry in found
        if entry.kind is kind
    ]


@pytest.mark.parametrize("instance", [CCA, PINNED], ids=["any implementation", "pinned"])
@pytest.mark.parametrize("kind", [AnchorKind.cca_key, AnchorKind.psa_key])
def test_a_key_is_in_force_at_once_and_the_log_says_whose_it_is(
    plane: AdminPlane, instance: VouchedInstance, kind: AnchorKind
) -> None:
    instance = replace(instance, kind=kind)
    alice = plane.administrator().principal
    added = plane.services.trust_anchors.add_key(alice, KEY, instance, name="rack 4")
    assert plane.database.read(lambda tx: tx.trust_anchors.in_force(kind)) == (added,)
    assert (added.role, added.development) == (AnchorRole.root, False)
    assert added.not_after == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert added.instance == instance
    pinned = instance.implementation_id
    assert arm_instances.key_of(added) == InstanceKey(
        scheme=Scheme(kind.value[:3]),
        spki=KEY,
        instance_id=arm_tokens.INSTANCE_ID,
        implementation_id=None if pinned is None else bytes.fromhex(pinned),
    )
    assert bodies(plane, alice, AuditKind.trust_anchor_added) == [
        {
            "by": {"id": alice.principal_id, "name": "alice"},
            "anchor": added.fingerprint,
            "kind": kind.value,
            "role": "root",
            "name": "rack 4",
            "subject": instance.subject,
            "development": False,
            "key": hashlib.sha256(KEY).hexdigest(),
        }
    ]


def test_adding_one_takes_nothing_away(plane: AdminPlane) -> None:
    plane.services.trust_anchors.add_key(plane.administrator().principal, KEY, CCA)
    assert plane.database.read(lambda tx: tx.sweeps.running()) == ()
    assert plane.wake.calls == 0


def private(key: object) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined, no-any-return]  # any private key


def public(key: object) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]  # as above


NO_KEYS = {
    "a secret": arm_tokens.SECRET,
    "a long secret": arm_tokens.SECRET * 2,
    "a private key": private(arm_tokens.key("maker")),
    "P-521": arm_tokens.spki("maker", "secp521r1"),
    "RSA": public(rsa.generate_private_key(65537, 2048)),
    "Ed25519": public(ed25519.Ed25519PrivateKey.generate()),
    "a certificate": ROOT.certificate(START),
    "empty": b"",
    "trailing byte": KEY + b"\0",
    "huge": KEY + bytes(5000),
}


@pytest.mark.parametrize("given", NO_KEYS)
def test_what_is_no_public_key_of_the_profiles_is_refused_and_never_kept(
    plane: AdminPlane, given: str
) -> None:
    """Above all the secret of a device whose tokens carry a MAC: it could mint them."""
    anchors = plane.services.trust_anchors
    error = refused(plane, lambda: anchors.add_key(ADMIN, NO_KEYS[given], CCA))
    assert error.code is Code.trust_anchor_invalid
    assert "P-256 or P-384" in error.hint
    assert "never kept here" in error.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"instance_id": ""},
        {"instance_id": "01" * 32},
        {"instance_id": "01" * 34},
        {"instance_id": "02" * 33},
        {"instance_id": "01" + "AB" * 32},
        {"implementation_id": ""},
        {"implementation_id": "01" * 31},
        {"implementation_id": "AB" * 32},
    ],
    ids=str,
)
def test_ids_are_those_that_a_token_can_have(plane: AdminPlane, changes: dict[str, str]) -> None:
    instance = replace(CCA, **changes)  # type: ignore[arg-type]  # texts all
    anchors = plane.services.trust_anchors
    error = refused(plane, lambda: anchors.add_key(ADMIN, KEY, instance))
    assert error.code is Code.invalid_request
    assert error.hint


def test_a_name_is_one_printable_line(plane: AdminPlane) -> None:
    anchors = plane.services.trust_anchors
    error = refused(plane, lambda: anchors.add_key(ADMIN, KEY, CCA, name="two\nlines"))
    assert error.code is Code.invalid_request


def test_only_an_administrator_vouches(plane: AdminPlane) -> None:
    operator = replace(ADMIN, roles=(Role.operator,))
    anchors = plane.services.trust_anchors
    assert refused(plane, lambda: anchors.add_key(operator, KEY, CCA)).code is Code.forbidden


def test_an_instance_has_one_key_at_a_time(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    first = anchors.add_key(alice, KEY, CCA)
    other = arm_tokens.spki("another maker")
    for key, instance in ((KEY, CCA), (other, CCA), (other, PINNED)):
        with pytest.raises(Conflict) as caught:
            anchors.add_key(alice, key, instance)
        assert caught.value.code is Code.already_exists
        assert first.fingerprint in caught.value.detail
    anchors.add_key(alice, KEY, replace(CCA, kind=AnchorKind.psa_key))
    anchors.add_key(alice, KEY, replace(CCA, instance_id="01" + "77" * 32))


def test_the_same_anchor_may_come_back_while_nodes_are_swept_and_another_may_not(
    plane: AdminPlane,
) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    anchors.remove(alice, anchors.add_key(alice, KEY, CCA).fingerprint, reason="a test")
    for key, instance in ((arm_tokens.spki("another maker"), CCA), (KEY, PINNED)):
        with pytest.raises(Conflict) as caught:
            anchors.add_key(alice, key, instance)
        assert caught.value.code is Code.state_changed
    plane.clock.advance(timedelta(hours=1))
    again = anchors.add_key(alice, KEY, CCA)
    assert (again.removed, again.added) == (None, START + timedelta(hours=1))


def test_removing_one_leaves_a_sweep_of_that_platform(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    added = anchors.add_key(alice, KEY, PINNED)
    removed = anchors.remove(alice, added.fingerprint, reason="sold")
    assert removed.removed == START
    (sweep,) = plane.database.read(lambda tx: tx.sweeps.running())
    cause = json.decode(sweep.cause, what="cause", max_bytes=1 << 12)
    assert cause == {
        "code": "trust_anchor_removed",
        "anchor": added.fingerprint,
        "platform": CCA.platform_id,
    }
    assert plane.wake.calls == 1
    with pytest.raises(NotFound):
        anchors.remove(alice, added.fingerprint, reason="again")


def test_one_list_shows_anchors_of_all_kinds_page_by_page(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    anchors = plane.services.trust_anchors
    added = {
        anchors.add(alice, ROOT.certificate(START)).fingerprint,
        anchors.add_key(alice, KEY, CCA).fingerprint,
        anchors.add_key(alice, KEY, replace(CCA, kind=AnchorKind.psa_key)).fingerprint,
    }
    shown: list[str] = []
    after = None
    for _ in added:
        page = anchors.page(alice, limit=1, after=after)
        shown += [item.fingerprint for item in page.items]
        after = page.after
    assert (shown, after) == (sorted(added), None)


def test_a_certificate_has_no_instance_whatever_its_subject_says() -> None:
    imitation = a_trust_anchor(subject=CCA.platform_id)
    assert (imitation.instance, arm_instances.key_of(imitation)) == (None, None)


@pytest.mark.parametrize("instance", [CCA, PINNED, replace(CCA, kind=AnchorKind.psa_key)], ids=str)
def test_a_subject_names_its_instance(instance: VouchedInstance) -> None:
    assert VouchedInstance.named(instance.subject) == instance
    for other in ("", "tpm:ek:00", f"{instance.subject} ", instance.subject.upper()):
        assert VouchedInstance.named(other) is None


def test_other_evidence_is_not_parsed_and_a_token_that_does_not_parse_is_malformed(
    plane: AdminPlane,
) -> None:
    nothing = arm_instances.NO_INSTANCE
    for other in (b"", b"\xff" * 9, envelopes.encode(envelopes.Record("a/b", b"x"))):
        assert arm_instances.trust(plane.database, other) is nothing
    beside = envelopes.Record("a/b", envelopes.CCA_EVIDENCE.encode())
    assert arm_instances.trust(plane.database, envelopes.encode(beside)) is nothing
    alone = envelopes.Collection((("gpu-0", envelopes.Record(envelopes.CCA_EVIDENCE, b"x")),))
    assert arm_instances.trust(plane.database, envelopes.encode(alone)) is nothing
    for media in (envelopes.CCA_EVIDENCE, envelopes.PSA_EVIDENCE):
        with pytest.raises(MalformedEvidence):
            arm_instances.trust(plane.database, envelopes.encode(envelopes.Record(media, b"x")))


def test_a_removal_needs_its_reason(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    added = plane.services.trust_anchors.add_key(alice, KEY, CCA)
    with pytest.raises(Refused) as caught:
        plane.services.trust_anchors.remove(alice, added.fingerprint, reason="")
    assert caught.value.code is Code.invalid_request
