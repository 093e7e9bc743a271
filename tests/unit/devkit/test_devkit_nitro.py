"""Minted Nitro documents: the shapes that AWS's have, read by libraries that are not ours."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import cbor2
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from fakes import nitro_fixtures
from fakes.snp_fixtures import NOW, VALIDITY
from sealward_devkit.nitro import hierarchy as minter
from sealward_devkit.nitro import image
from sealward_devkit.nitro.document import milliseconds
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.pki.extensions import DEVELOPMENT_MARKER_OID

from sealward.verifier.formats.nitro import verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.errors import RefusedEvidence

if TYPE_CHECKING:
    from pathlib import Path

BINDING = bytes(range(64))


def load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def opened(document: bytes) -> tuple[list, dict]:
    message = cbor2.loads(document)  # noqa: TID251 - a second reader, not the one under test
    assert cbor2.dumps(message) == document
    return message, cbor2.loads(message[2])  # noqa: TID251 - likewise


def check_signature(document: bytes) -> None:
    (protected, _, content, signature), members = opened(document)
    r, s = (int.from_bytes(signature[at : at + 48], "big") for at in (0, 48))
    key = load(members["certificate"]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signed = cbor2.dumps(["Signature1", protected, b"", content])
    key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA384()))


def test_a_document_has_what_was_asked_for_and_null_for_the_rest() -> None:
    message, members = opened(nitro_fixtures.mint(user_data=BINDING))
    assert message[0] == bytes.fromhex("a1013822")
    assert message[1] == {}
    assert members["user_data"] == BINDING
    assert (members["nonce"], members["public_key"]) == (None, None)
    assert datetime.fromtimestamp(members["timestamp"] / 1000, UTC) == NOW
    assert members["module_id"] == nitro_fixtures.enclave().module_id
    measured = image.measure(nitro_fixtures.IMAGE, nitro_fixtures.TRUST)
    assert members["pcrs"][0] == measured[0]
    assert members["pcrs"][4] == image.of_parent(nitro_fixtures.instance().instance_id)[4]
    assert members["pcrs"][15] == bytes(48)


def test_members_come_in_the_order_of_real_documents(vectors_dir: Path) -> None:
    _, real = opened((vectors_dir / "nitro/nitro-veracruz.cose.bin").read_bytes())
    _, minted = opened(nitro_fixtures.mint())
    assert list(minted) == list(real)
    assert list(minted["pcrs"]) == list(real["pcrs"])


def test_the_signature_is_the_leafs_and_covers_the_content() -> None:
    document = nitro_fixtures.mint()
    check_signature(document)
    message, _ = opened(document)
    message[2] = message[2].replace(b"SHA384", b"SHA385")
    with pytest.raises(InvalidSignature):
        check_signature(cbor2.dumps(message))


def test_the_chain_has_five_certificates_and_a_leaf_of_three_hours() -> None:
    _, members = opened(nitro_fixtures.mint())
    chain = [load(members["certificate"]), *(load(der) for der in reversed(members["cabundle"]))]
    assert len(chain) == 5
    for certificate, issuer in zip(chain, [*chain[1:], chain[-1]], strict=True):
        certificate.verify_directly_issued_by(issuer)
    leaf, root = chain[0], chain[-1]
    assert leaf.not_valid_before_utc == NOW - timedelta(seconds=3)
    assert leaf.not_valid_after_utc == NOW + timedelta(hours=3)
    assert root.not_valid_after_utc == VALIDITY.not_after
    assert import_root(members["cabundle"][0], now=NOW).line == "Nitro"
    marker = x509.ObjectIdentifier(DEVELOPMENT_MARKER_OID)
    marked = [marker in {item.oid for item in one.extensions} for one in chain]
    assert marked == [False, False, False, False, True]


def test_the_verifier_takes_it_under_that_root_and_under_no_other() -> None:
    root = import_root(nitro_fixtures.hierarchy().root, now=NOW)
    trusting = TrustAnchors(development_roots=(root,))
    document = nitro_fixtures.mint(user_data=BINDING)
    verified = verify.authenticate(document, anchors=trusting, now=NOW, cache=ChainCache())
    assert verified.document.user_data == BINDING
    assert verified.endorsed.development
    with pytest.raises(RefusedEvidence):
        verify.authenticate(document, anchors=TrustAnchors(), now=NOW, cache=ChainCache())


def test_an_image_is_measured_with_its_trust_configuration() -> None:
    good = image.measure("agent", b"{}")
    assert image.measure("agent", b"{}") == good
    elsewhere = image.measure("agent", b"{ }")
    assert {index for index in good if good[index] != elsewhere[index]} == {0, 2}
    other = image.measure("another", b"{}")
    assert {index for index in good if good[index] != other[index]} == {0, 1, 2}


def test_the_parent_is_measured_as_aws_says() -> None:
    role = "arn:aws:iam::123456789012:role/Example"
    pcrs = image.of_parent("i-0123456789abcdef0", role)
    assert pcrs[3] == hashlib.sha384(bytes(48) + role.encode()).digest()
    assert pcrs[4] == hashlib.sha384(bytes(48) + b"i-0123456789abcdef0").digest()


def test_time_is_exact_to_the_millisecond() -> None:
    assert milliseconds(datetime(2026, 11, 23, 12, 0, 0, 696_999, tzinfo=UTC)) % 1000 == 696
    assert milliseconds(datetime(1970, 1, 1, tzinfo=UTC)) == 0


def test_no_key_is_shown_and_no_root_lives_longer_than_a_week() -> None:
    for shown in (nitro_fixtures.instance(), nitro_fixtures.enclave(), nitro_fixtures.hierarchy()):
        assert "PrivateKey" not in repr(shown)
    with pytest.raises(ValueError, match="7 days"):
        minter.mint_hierarchy(
            nitro_fixtures.root_keys(), Validity(NOW, NOW + timedelta(days=7, seconds=1))
        )
