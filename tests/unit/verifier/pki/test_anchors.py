"""Trust anchors are one value: what it trusts decides its digest, and nothing else does."""

from __future__ import annotations

import pytest
from fakes import snp_fixtures
from sealward_devkit.pki import der_writer as der

from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.certificate import parse
from sealward.verifier.pki.development import DevelopmentRoot, import_root
from sealward.verifier.pki.roots import VENDOR_ROOTS
from sealward.verifier.rats.errors import Code, RefusedEvidence

ROOT = DevelopmentRoot("Milan", "ab" * 32)


def test_the_digest_names_what_is_trusted_in_any_order() -> None:
    shipped = TrustAnchors()
    assert shipped.digest == TrustAnchors(pinned=tuple(reversed(VENDOR_ROOTS))).digest
    others = {
        shipped.digest,
        TrustAnchors(pinned=VENDOR_ROOTS[:2]).digest,
        TrustAnchors(development_roots=(ROOT,)).digest,
        TrustAnchors(development_roots=(DevelopmentRoot("Genoa", ROOT.sha256),)).digest,
    }
    assert len(others) == 4


def test_a_root_is_found_by_its_fingerprint_and_by_nothing_else() -> None:
    anchors = TrustAnchors(development_roots=(ROOT,))
    assert anchors.identify(VENDOR_ROOTS[1].sha256) is VENDOR_ROOTS[1]
    assert anchors.identify(ROOT.sha256) is ROOT
    for foreign in ("", "Milan", VENDOR_ROOTS[0].sha256.upper(), "cd" * 32):
        with pytest.raises(RefusedEvidence) as caught:
            anchors.identify(foreign)
        assert caught.value.code is Code.ROOT_NOT_PINNED


def test_nothing_is_a_development_root_unless_asked_for() -> None:
    imported = import_root(snp_fixtures.hierarchy().ark, now=snp_fixtures.NOW)
    with pytest.raises(RefusedEvidence):
        TrustAnchors().identify(imported.sha256)


def test_a_development_root_has_no_name_beside_its_common_name() -> None:
    """An organisation in the subject could be anybody's, so there is none."""
    written = der.utf8_string("Sealward Development ARK Milan")
    common = der.sequence(der.object_identifier("2.5.4.3"), written)
    other = der.sequence(der.object_identifier("2.5.4.10"), der.utf8_string("Elsewhere"))
    alone = der.sequence(der.set_of_one(common))
    genuine = snp_fixtures.hierarchy().ark
    assert genuine.count(alone) == 2
    certificate = _with_subject(alone, der.sequence(der.set_of_one(common), der.set_of_one(other)))
    with pytest.raises(RefusedEvidence) as caught:
        import_root(certificate, now=snp_fixtures.NOW)
    assert caught.value.code is Code.DEVELOPMENT_ROOT_INVALID
    assert caught.value.actual == "O=Elsewhere,CN=Sealward Development ARK Milan"


def _with_subject(old: bytes, new: bytes) -> bytes:
    """The genuine root with other names; names are looked at before its signature is."""
    parsed = parse(snp_fixtures.hierarchy().ark)
    inside = parsed.tbs.replace(old, new)[4:]  # less the head, whose length has changed
    algorithm = snp_fixtures.hierarchy().ark.partition(parsed.tbs)[2]
    return der.sequence(der.sequence(inside), algorithm)
