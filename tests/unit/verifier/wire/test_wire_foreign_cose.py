"""COSE of others: header and payload are kept as they came; only shapes we know are read."""

from __future__ import annotations

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor, foreign_cose

ES256 = cbor.encode({1: -7})
ANY = frozenset({None, 17, 18})


def message(*parts: cbor.Encodable, tag: bytes = b"\xd2") -> bytes:
    return tag + cbor.encode(list(parts))


def parse(data: bytes, tags: frozenset[int | None] = ANY) -> foreign_cose.Message:
    return foreign_cose.parse(data, what="message", max_bytes=1000, tags=tags)


@pytest.mark.parametrize(
    ("tag", "number", "context"),
    [(b"\xd2", 18, "Signature1"), (b"", None, "Signature1"), (b"\xd1", 17, "MAC0")],
)
def test_what_was_signed_is_built_around_the_bytes_that_came(
    tag: bytes, number: int | None, context: str
) -> None:
    payload = bytes.fromhex("bf0102ff")  # not as we would write it
    parsed = parse(message(ES256, {}, payload, b"sig", tag=tag))
    assert (parsed.tag, parsed.alg, parsed.authenticator) == (number, -7, b"sig")
    assert (parsed.protected, parsed.payload) == (ES256, payload)
    signed = cbor.decode(parsed.to_be_signed(), what="x", max_bytes=100)
    assert signed == [context, ES256, b"", payload]


def test_an_array_of_indefinite_length_is_read_too() -> None:
    parts = b"".join(cbor.encode(part) for part in (ES256, {}, b"payload", b"sig"))
    assert parse(b"\x9f" + parts + b"\xff").payload == b"payload"


def test_which_tags_a_format_has_is_for_the_format_to_say() -> None:
    for tag, number in ((b"\xd2", 18), (b"\xd1", 17), (b"", None)):
        data = message(ES256, {}, b"", b"", tag=tag)
        assert parse(data, frozenset({number})).tag == number
        with pytest.raises(MalformedEvidence, match="not the COSE message"):
            parse(data, ANY - {number})


def test_payload_and_signature_stay_out_of_the_repr() -> None:
    assert "secret" not in repr(parse(message(ES256, {}, b"secret", b"secret")))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "need 1 byte"),
        (b"\xd2", "need 1 byte"),
        (b"\xd2\xd2" + message(ES256, {}, b"", b"", tag=b""), "tag"),
        (message(ES256, {}, b"", b"") + b"\0", "trailing"),
        (message(ES256, {}, b""), "array of four"),
        (message(ES256, {}, b"", b"", b""), "array of four"),
        (b"\xd2\xa0", "array of four"),
        (message(ES256, {4: b"kid"}, b"", b""), "unprotected"),
        (message(ES256, b"", b"", b""), "unprotected"),
        (message({1: -7}, {}, b"", b""), "not a byte string"),
        (message(ES256, {}, None, b""), "byte strings"),
        (message(ES256, {}, b"", None), "byte strings"),
        (message(b"", {}, b"", b""), "need 1 byte"),
        (message(cbor.encode({}), {}, b"", b""), "exactly the algorithm"),
        (message(cbor.encode([1]), {}, b"", b""), "exactly the algorithm"),
        (message(cbor.encode({1: -7, 4: b"k"}), {}, b"", b""), "exactly the algorithm"),
        (message(cbor.encode({1: -7, 2: [1]}), {}, b"", b""), "nested too deeply"),
        (message(cbor.encode({3: -7}), {}, b"", b""), "exactly the algorithm"),
        (message(cbor.encode({1: "ES256"}), {}, b"", b""), "not an integer"),
        (message(cbor.encode({1: True}), {}, b"", b""), "not an integer"),
        (message(cbor.encode({1: -7}) + b"\0", {}, b"", b""), "trailing"),
        (message(b"\xa1\x01\x39\x00\x06", {}, b"", b""), "shortest"),
        (message(bytes(17), {}, b"", b""), "at most 16"),
        (message(ES256, {}, bytes(1000), b""), "at most 1000"),
    ],
)
def test_any_other_shape_is_malformed(data: bytes, why: str) -> None:
    with pytest.raises(MalformedEvidence, match=why):
        parse(data)
