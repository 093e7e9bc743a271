"""COSE_Sign1: what is signed is what RFC 9052 says, and only our profile is read."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor, cose

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MESSAGE = cose.sign1(b"terms", alg=cose.EDDSA, kid=b"k1", sign=KEY.sign, external_aad=b"aad")


def parse(data: bytes) -> cose.Sign1:
    return cose.parse_sign1(data, what="message", max_bytes=1000)


def tagged(*parts: cbor.Encodable) -> bytes:
    return b"\xd2" + cbor.encode(list(parts))


def test_what_was_signed_verifies_over_the_sig_structure() -> None:
    parsed = parse(MESSAGE)
    assert (parsed.alg, parsed.kid, parsed.payload) == (-8, b"k1", b"terms")
    KEY.public_key().verify(parsed.signature, parsed.to_be_signed(b"aad"))
    assert cbor.decode(parsed.to_be_signed(b"aad"), what="x", max_bytes=200) == [
        "Signature1",
        cbor.encode({1: -8, 4: b"k1"}),
        b"aad",
        b"terms",
    ]
    assert parsed.to_be_signed() != parsed.to_be_signed(b"aad")


def test_the_payload_stays_out_of_the_repr() -> None:
    assert "terms" not in repr(parse(MESSAGE))


HEADER = cbor.encode({1: -8, 4: b"k"})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "need 1 bytes"),
        (MESSAGE[1:], "not tagged"),
        (b"\xd8\x12" + MESSAGE[1:], "not tagged"),  # tag 18 in two bytes
        (MESSAGE + b"\x00", "trailing"),
        (b"\xd2\xa0", "array of four"),
        (tagged(HEADER, {}, b"p"), "array of four"),
        (tagged(HEADER, {1: 1}, b"p", b"s"), "unprotected"),
        (tagged(HEADER, [], b"p", b"s"), "unprotected"),
        (tagged(HEADER, {}, None, b"s"), "byte strings"),
        (tagged(HEADER, {}, b"p", "s"), "byte strings"),
        (tagged({1: -8}, {}, b"p", b"s"), "protected header is not a byte string"),
        (tagged(b"", {}, b"p", b"s"), "protected header"),
        (tagged(cbor.encode({1: -8}), {}, b"p", b"s"), "exactly"),
        (tagged(cbor.encode({1: -8, 4: b"k", 2: []}), {}, b"p", b"s"), "exactly"),
        (tagged(cbor.encode([1]), {}, b"p", b"s"), "exactly"),
        (tagged(cbor.encode({1: True, 4: b"k"}), {}, b"p", b"s"), "alg is an integer"),
        (tagged(cbor.encode({1: "EdDSA", 4: b"k"}), {}, b"p", b"s"), "alg is an integer"),
        (tagged(cbor.encode({1: -8, 4: "k"}), {}, b"p", b"s"), "kid a byte string"),
        (bytes(1001), "at most 1000"),
    ],
)
def test_anything_but_the_profile_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(MalformedEvidence, match=why):
        parse(data)
