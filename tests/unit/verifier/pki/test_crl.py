"""Revocation lists as RFC 5280 writes them, rule by rule; lists are put together field by field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import dcap_fixtures, dcap_vectors
from sealward_devkit.pki import der_writer as der
from sealward_devkit.pki.revocation import revocation_list
from sealward_devkit.pki.roots import DCAP_ROOT

from sealward.verifier.pki import certificate, crl
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.crl import RevocationList
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence

THIS = datetime(2026, 1, 1, tzinfo=UTC)
NEXT = datetime(2026, 2, 1, tzinfo=UTC)
ECDSA = der.sequence(der.object_identifier("1.2.840.10045.4.3.2"))
ALLOWED = frozenset({SignatureAlgorithm.ECDSA_SHA256})
NAME = der.sequence(
    der.set_of_one(der.sequence(der.object_identifier("2.5.4.3"), der.utf8_string("x")))
)


def extension(oid: str, value: bytes, critical: bytes = b"") -> bytes:
    return der.sequence(der.object_identifier(oid), critical, der.octet_string(value))


MINUS_ONE = b"\x02\x01\xff"
NUMBER = extension("2.5.29.20", der.integer(7))


def entry(serial: int, *extensions: bytes) -> bytes:
    more = der.sequence(*extensions) if extensions else b""
    return der.sequence(der.integer(serial), der.time(THIS), more)


def build(**changes: Any) -> bytes:  # noqa: ANN401 - any field
    items = changes.pop("items", (NUMBER,))
    entries = changes.pop("entries", ())
    parts: dict[str, bytes] = {
        "version": der.integer(1),
        "algorithm": ECDSA,
        "issuer": NAME,
        "this": der.time(THIS),
        "next": der.time(NEXT),
        "entries": der.sequence(*entries) if entries else b"",
        "extensions": der.explicit(0, der.sequence(*items)),
        "more": b"",
    }
    outer = changes.pop("outer", ECDSA)
    signature = changes.pop("signature", der.bit_string(b"s"))
    parts |= changes
    return der.sequence(der.sequence(*parts.values()), outer, signature)


def test_a_list_is_read() -> None:
    found = crl.parse(build(entries=(entry(5), entry(2**159 + 1))))
    assert (found.this_update, found.next_update, found.number) == (THIS, NEXT, 7)
    assert found.revoked == {5, 2**159 + 1}
    assert found.issuer.text == "CN=x"
    assert found.signature_algorithm is SignatureAlgorithm.ECDSA_SHA256
    assert found.signature == b"s"


def test_a_list_of_nothing_has_no_list() -> None:
    assert crl.parse(build()).revoked == frozenset()
    assert crl.parse(build(items=())).number is None


def test_a_reason_beside_an_entry_changes_nothing() -> None:
    reason = extension("2.5.29.21", b"\x0a\x01\x08")  # removeFromCRL: only deltas have that
    assert crl.parse(build(entries=(entry(5, reason),))).revoked == {5}


@pytest.mark.parametrize(
    "changes",
    [
        {"version": der.integer(0)},
        {"version": b""},
        {"outer": der.sequence(der.object_identifier("1.2.840.10045.4.3.3"))},
        {"next": b""},
        {"extensions": b""},
        {"more": der.integer(1)},
        {"entries": (entry(5), entry(5))},
        {"entries": (der.sequence(MINUS_ONE, der.time(THIS)),)},
        {"entries": (der.sequence(der.integer(5)),)},
        {"entries": (entry(5, extension("2.5.29.29", b"\x30\x00", der.boolean(value=True))),)},
        {"items": (NUMBER, NUMBER)},
        {"items": (extension("2.5.29.20", MINUS_ONE),)},
        {"items": (extension("2.5.29.20", b"\x02\x00"),)},
        {"items": (NUMBER, extension("2.5.29.27", der.integer(1), der.boolean(value=True)))},
        {"items": (NUMBER, extension("2.5.29.28", b"\x30\x00", der.boolean(value=True)))},
        {"signature": b""},
    ],
    ids=str,
)
def test_anything_else_is_refused(changes: dict[str, Any]) -> None:
    """Also what a delta or a partitioned list would say: an absent serial must mean not revoked."""
    with pytest.raises(MalformedEvidence):
        crl.parse(build(**changes))


def test_nothing_stands_behind_a_list_and_a_budget_holds() -> None:
    with pytest.raises(MalformedEvidence):
        crl.parse(build() + b"\0")
    with pytest.raises(MalformedEvidence, match="at most"):
        crl.parse(build() + bytes(crl.MAX_CRL_BYTES))


def test_a_list_is_told_from_a_certificate() -> None:
    hierarchy = dcap_fixtures.hierarchy()
    assert crl.looks_like(hierarchy.root_crl)
    assert crl.looks_like(build(entries=tuple(entry(number) for number in range(40))))
    assert not crl.looks_like(hierarchy.root)
    assert not crl.looks_like(b"\x30\x82")
    assert not crl.looks_like(b"\x30\xfe" + bytes(20))


def of_root(**changes: Any) -> RevocationList:  # noqa: ANN401 - of the minter
    key = dcap_fixtures.root_keys().root
    return crl.parse(revocation_list(DCAP_ROOT, key, dcap_fixtures.VALIDITY, **changes))


def test_a_list_verifies_under_its_issuer() -> None:
    root = certificate.parse(dcap_fixtures.hierarchy().root)
    found = of_root(revoked=(9,), number=4)
    crl.verify(found, root, allowed=ALLOWED)
    assert found.number == 4
    assert found.revoked == {9}


def code(action: Any) -> Code:  # noqa: ANN401 - any call
    with pytest.raises(RefusedEvidence) as caught:
        action()
    return caught.value.code


def test_a_list_verifies_under_nobody_else() -> None:
    hierarchy = dcap_fixtures.hierarchy()
    root, ca = certificate.parse(hierarchy.root), certificate.parse(hierarchy.platform_ca)
    found = of_root()
    assert code(lambda: crl.verify(found, ca, allowed=ALLOWED)) is Code.CHAIN_BROKEN
    other = dcap_fixtures.root_keys().tcb_signing
    forged = crl.parse(revocation_list(DCAP_ROOT, other, dcap_fixtures.VALIDITY))
    assert code(lambda: crl.verify(forged, root, allowed=ALLOWED)) is Code.SIGNATURE_INVALID
    none: frozenset[SignatureAlgorithm] = frozenset()
    assert code(lambda: crl.verify(found, root, allowed=none)) is Code.ALGORITHM_FORBIDDEN


def test_only_who_may_sign_lists_signs_them() -> None:
    """The TCB signer has a key of the right kind, and no right to revoke anything."""
    hierarchy, keys = dcap_fixtures.hierarchy(), dcap_fixtures.root_keys()
    signer = certificate.parse(hierarchy.tcb_signing)
    assert signer.subject.common_name is not None
    said = revocation_list(signer.subject.common_name, keys.tcb_signing, dcap_fixtures.VALIDITY)
    refused = code(lambda: crl.verify(crl.parse(said), signer, allowed=ALLOWED))
    assert refused is Code.CERTIFICATE_FORBIDDEN


def test_a_list_says_nothing_outside_its_dates() -> None:
    found = crl.parse(build())
    second = timedelta(seconds=1)
    found.check_dates(THIS)
    found.check_dates(NEXT)
    early = code(lambda: found.check_dates(THIS - second))
    late = code(lambda: found.check_dates(NEXT + second))
    assert (early, late) == (Code.COLLATERAL_NOT_YET_VALID, Code.COLLATERAL_EXPIRED)


def test_a_certificate_on_the_list_is_refused() -> None:
    root = certificate.parse(dcap_fixtures.hierarchy().root)
    of_root(revoked=(root.serial + 1,)).check(root)
    listed = of_root(revoked=(root.serial,))
    assert code(lambda: listed.check(root)) is Code.CERTIFICATE_REVOKED


def test_every_list_of_the_vectors_is_read(vectors_dir: Path) -> None:
    seen = set()
    for vector in dcap_vectors.load(vectors_dir):
        for key, data in vector.source.pieces.items():
            if crl.looks_like(data):
                found = crl.parse(data)
                assert found.this_update < found.next_update
                assert found.number is not None
                seen.add((str(key), len(found.revoked)))
    assert {name for name, _ in seen} == {
        "intel-pck-crl:platform",
        "intel-pck-crl:processor",
        "intel-root-crl:root",
    }
    assert max(count for _, count in seen) > 50
