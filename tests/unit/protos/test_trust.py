"""The trust configuration: canonical bytes whose digest is measured, or a refusal."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sealward.protos.trust import TrustConfiguration
from sealward.verifier.rats.errors import MalformedEvidence

NOW = datetime(2026, 9, 1, tzinfo=UTC)
_KEY = ec.generate_private_key(ec.SECP256R1())


def _root(number: int) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"root {number}")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(_KEY.public_key()).serial_number(number)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=3650))
    return builder.sign(_KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


ROOTS = (_root(1), _root(2), _root(3))
TRUST = TrustConfiguration(
    trust_domain="prod.example",
    tenant="default",
    development=False,
    server_roots=ROOTS[:1],
    terms_keys=(bytes(32),),
    log_keys=(bytes([1]) * 32,),
)


def test_a_file_reads_back_and_its_digest_is_that_of_its_bytes() -> None:
    for trust in (
        TRUST,
        replace(TRUST, server_roots=ROOTS[:2], witness_keys=(bytes(32), bytes([1]) * 32)),
        replace(TRUST, trust_domain="development.example", development=True),
    ):
        data = trust.encode()
        assert TrustConfiguration.decode(data) == trust
        assert trust.digest() == hashlib.sha256(data).digest()
        spki = _KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert trust.audience().pin == hashlib.sha256(spki).digest()
        assert trust.audience().trust_domain == trust.trust_domain


BROKEN: dict[str, dict] = {
    "development in a production domain": {"development": True},
    "a development domain in production": {"trust_domain": "development.example"},
    "an upper-case domain": {"trust_domain": "Upper.example"},
    "no domain": {"trust_domain": ""},
    "a domain of 254 characters": {"trust_domain": "a" * 254},
    "a tenant with a space": {"tenant": "a b"},
    "no server root": {"server_roots": ()},
    "three server roots": {"server_roots": ROOTS},
    "a server root twice": {"server_roots": (ROOTS[0], ROOTS[0])},
    "a server root that is none": {"server_roots": ("no certificate",)},
    "no terms key": {"terms_keys": ()},
    "a terms key of 31 bytes": {"terms_keys": (bytes(31),)},
    "three terms keys": {"terms_keys": (bytes(32), bytes([1]) * 32, bytes([2]) * 32)},
    "a log key twice": {"log_keys": (bytes(32), bytes(32))},
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_rule_is_malformed(name: str) -> None:
    with pytest.raises(MalformedEvidence):
        TrustConfiguration.decode(replace(TRUST, **BROKEN[name]).encode())


@given(st.data())
def test_one_changed_byte_is_malformed_or_another_configuration(data: st.DataObject) -> None:
    whole = bytearray(TRUST.encode())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = TrustConfiguration.decode(bytes(whole))
    except MalformedEvidence:
        return
    assert read.encode() == bytes(whole)
    assert read.digest() != TRUST.digest()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", TRUST.encode() + b"\n"])
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        TrustConfiguration.decode(data)
