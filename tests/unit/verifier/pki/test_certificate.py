"""X.509 as RFC 5280 writes it, rule by rule; certificates are put together field by field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import snp_fixtures
from sealward_devkit.pki import der_writer as der

from sealward.verifier.pki import certificate
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.certificate import BasicConstraints, Certificate
from sealward.verifier.rats.errors import MalformedEvidence

DATES = der.sequence(
    der.time(datetime(2026, 1, 1, tzinfo=UTC)), der.time(datetime(2026, 2, 1, tzinfo=UTC))
)
ECDSA = der.sequence(der.object_identifier("1.2.840.10045.4.3.3"))
KEY = der.sequence(der.sequence(der.object_identifier("1.2.840.10045.2.1")), der.bit_string(b"k"))


def attribute(value: bytes, oid: str = "2.5.4.3") -> bytes:
    return der.sequence(der.object_identifier(oid), value)


def name(*attributes: bytes) -> bytes:
    return der.sequence(*(der.set_of_one(item) for item in attributes))


SUBJECT = name(attribute(der.utf8_string("x")))


def extension(oid: str, value: bytes, critical: bytes = b"") -> bytes:
    return der.sequence(der.object_identifier(oid), critical, der.octet_string(value))


def build(**changes: Any) -> bytes:  # noqa: ANN401 - any field
    parts: dict[str, bytes] = {
        "version": der.explicit(0, der.integer(2)),
        "serial": der.integer(0),
        "algorithm": ECDSA,
        "issuer": SUBJECT,
        "dates": DATES,
        "subject": SUBJECT,
        "key": KEY,
        "more": b"",
        "extensions": der.explicit(3, der.sequence(*changes.pop("items", ()))),
    }
    outer = changes.pop("outer", ECDSA)
    parts |= changes
    return der.sequence(der.sequence(*parts.values()), outer, der.bit_string(b"signature"))


def parse(**changes: Any) -> Certificate:  # noqa: ANN401 - any field
    return certificate.parse(build(**changes))


def test_a_certificate_is_read_field_by_field() -> None:
    parsed = parse(serial=der.integer(2**160 - 1), items=[extension("1.2.3", b"raw")])
    assert parsed.serial == 2**160 - 1
    assert parsed.subject.common_name == "x"
    assert parsed.signature_algorithm is SignatureAlgorithm.ECDSA_SHA384
    assert parsed.spki == KEY
    assert parsed.signature == b"signature"
    assert parsed.not_before == datetime(2026, 1, 1, tzinfo=UTC)
    found = parsed.extension("1.2.3")
    assert found is not None
    assert (found.value, found.critical) == (b"raw", False)
    assert parsed.extension("1.2.4") is None
    assert parsed.basic_constraints is None
    assert parsed.key_cert_sign is False


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"version": b""}, "version"),
    ({"version": der.explicit(0, der.integer(1))}, "version 3"),
    ({"version": der.explicit(0, der.integer(2) + der.null())}, "trailing"),
    ({"serial": b"\x02\x01\xff"}, "negative"),
    ({"serial": der.integer(1 << 160)}, "beyond 20 octets"),
    ({"serial": der.integer(1 << 168)}, "INTEGER of 22 bytes"),
    ({"outer": der.sequence(der.object_identifier("1.2.3"))}, "algorithms differ"),
    ({"algorithm": der.null()}, "signature"),
    ({"outer": b"\x30\x03\x30\x05\x00"}, "need 5 bytes"),
    ({"dates": der.sequence(der.null(), der.null())}, "not a time"),
    ({"subject": der.sequence(der.tlv(0x31, b""))}, "need 1 byte"),
    ({"subject": name(*[attribute(der.utf8_string("x"))] * 17)}, "too many attributes"),
    ({"subject": name(attribute(b"\x0c\x01\xff"))}, "text does not match"),
    ({"subject": name(attribute(b"\x13\x01\xff"))}, "text does not match"),
    ({"subject": name(attribute(b"\x30\x01\x02"))}, "need 1 byte"),
    ({"subject": name(attribute(der.null() + der.null()))}, "trailing"),
    ({"key": der.sequence(der.sequence(), der.bit_string(b""), der.null())}, "trailing"),
    ({"more": der.tlv(0x81, b"\x00")}, "tag 0x81, expected 0xa3"),
    ({"extensions": b""}, "extensions"),
    ({"items": [extension("1.2.3", b"", b"\x01\x01\x00")]}, "omits the default"),
    ({"items": [extension("1.2.3", b""), extension("1.2.3", b"")]}, "repeated"),
    ({"items": [extension(f"1.2.{at}", b"") for at in range(33)]}, "too many extensions"),
    ({"items": [extension("2.5.29.19", b"")]}, "basicConstraints"),
    ({"items": [extension("2.5.29.19", der.sequence() + der.null())]}, "trailing"),
    ({"items": [extension("2.5.29.19", der.sequence(der.integer(0)))]}, "trailing"),
    (
        {"items": [extension("2.5.29.19", der.sequence(b"\x01\x01\xff", b"\x02\x02\x01\x00"))]},
        "2 bytes",
    ),
    ({"items": [extension("2.5.29.15", der.null())]}, "keyUsage"),
    ({"items": [extension("2.5.29.15", b"\x03\x02\x02\x04" + der.null())]}, "trailing"),
]


@pytest.mark.parametrize(
    ("changes", "why"),
    BROKEN,
    ids=[f"{number} {why}" for number, (_, why) in enumerate(BROKEN)],
)
def test_each_rule_broken_alone_is_malformed(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(MalformedEvidence, match=why):
        parse(**changes)


def test_nothing_may_follow_anywhere() -> None:
    whole = build()
    with pytest.raises(MalformedEvidence, match="trailing"):
        certificate.parse(whole + b"\x00")
    with pytest.raises(MalformedEvidence, match="at most"):
        certificate.parse(bytes(certificate.MAX_CERTIFICATE_BYTES + 1))
    inner = der.sequence(der.sequence(), ECDSA, der.bit_string(b""), der.null())
    with pytest.raises(MalformedEvidence, match="trailing"):
        certificate.parse(inner)


def test_names_are_shown_in_full_and_compared_as_bytes() -> None:
    subject = name(
        attribute(der.tlv(0x13, b"US"), "2.5.4.6"),
        attribute(der.utf8_string('a,b="c"\\'), "2.5.4.10"),
        attribute(der.tlv(0x14, b"old"), "1.2.3"),
        attribute(der.utf8_string("two\nlines"), "2.5.4.11"),
        attribute(der.utf8_string("CN=y")),
    )
    parsed = parse(subject=subject, issuer=name(attribute(der.tlv(0x13, b"x")))).subject
    assert parsed.text == (
        'CN=CN\\=y,OU=#0c0974776f0a6c696e6573,1.2.3=#14036f6c64,O=a\\,b\\=\\"c\\"\\\\,C=US'
    )
    assert parsed.common_name == "CN=y"
    printable, utf8 = parse(subject=name(attribute(der.tlv(0x13, b"x")))), parse()
    assert printable.subject.text == utf8.subject.text
    assert printable.subject != utf8.subject


def test_a_name_with_two_common_names_has_none() -> None:
    twice = name(attribute(der.utf8_string("a")), attribute(der.utf8_string("b")))
    assert parse(subject=twice).subject.common_name is None
    both = der.sequence(
        der.tlv(0x31, attribute(der.utf8_string("a")) + attribute(der.utf8_string("b")))
    )
    assert len(parse(subject=both).subject.attributes) == 2
    assert parse(subject=name()).subject.text == ""


@pytest.mark.parametrize(
    ("value", "constraints"),
    [
        (der.sequence(), BasicConstraints(ca=False, path_length=None)),
        (der.sequence(b"\x01\x01\xff"), BasicConstraints(ca=True, path_length=None)),
        (der.sequence(b"\x01\x01\xff", der.integer(3)), BasicConstraints(ca=True, path_length=3)),
    ],
)
def test_basic_constraints(value: bytes, constraints: BasicConstraints) -> None:
    assert parse(items=[extension("2.5.29.19", value)]).basic_constraints == constraints


def test_an_unknown_algorithm_is_read_and_forbidden() -> None:
    md5 = der.sequence(der.object_identifier("1.2.840.113549.1.1.4"), der.null())
    assert parse(algorithm=md5, outer=md5).signature_algorithm is SignatureAlgorithm.FORBIDDEN


def test_the_fingerprint_is_over_the_whole_certificate() -> None:
    root = certificate.parse(snp_fixtures.hierarchy().ark)
    other = certificate.parse(snp_fixtures.hierarchy().ask)
    assert len(root.fingerprint) == 64
    assert root.fingerprint != other.fingerprint
