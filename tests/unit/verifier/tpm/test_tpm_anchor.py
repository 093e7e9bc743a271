"""Which certificates may vouch for endorsement keys (docs/specs/tpm-node.md 2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from fakes.software_tpm import NOW
from fakes.tpm_cas import BELOW, ROOT, Ca
from hypothesis import given
from hypothesis import strategies as st

from sealward.verifier.formats.tpm import anchor
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence, VerifierError
from sealward.verifier.wire import pem

VENDOR = Ca(name="Infineon OPTIGA(TM) RSA Root CA", label="vendor", kind="rsa2048")


def refusal(der: bytes, *, development: bool = False) -> Code:
    with pytest.raises(RefusedEvidence) as caught:
        anchor.check(der, development=development, now=NOW)
    return caught.value.code


@pytest.mark.parametrize("ca", [ROOT, replace(ROOT, kind="p384"), VENDOR], ids=lambda ca: ca.kind)
def test_a_root_in_date_is_an_anchor(ca: Ca) -> None:
    der = ca.certificate(NOW)
    found = anchor.check(der, development=False, now=NOW)
    assert (found.der, found.root, found.subject) == (der, True, f"CN={ca.name}")
    assert found.sha256 == x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256()).hex()
    assert found.not_after == (NOW + timedelta(days=365)).replace(microsecond=0)


def test_what_another_ca_issued_is_an_intermediate() -> None:
    assert not anchor.check(BELOW.certificate(NOW, issuer=ROOT), development=False, now=NOW).root


@pytest.mark.parametrize("issuer", [None, ROOT], ids=["root", "intermediate"])
@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"ca": False}, Code.CERTIFICATE_FORBIDDEN),
        ({"sign": False}, Code.CERTIFICATE_FORBIDDEN),
        ({"digest": hashes.SHA512()}, Code.ALGORITHM_FORBIDDEN),
        ({"extension": x509.PolicyConstraints(0, None)}, Code.CERTIFICATE_FORBIDDEN),
        ({"life": (timedelta(days=-9), timedelta(seconds=-1))}, Code.CERTIFICATE_EXPIRED),
        ({"life": (timedelta(days=1), timedelta(days=9))}, Code.CERTIFICATE_NOT_YET_VALID),
    ],
    ids=["no CA", "does not sign", "algorithm", "extension", "expired", "not yet valid"],
)
def test_what_could_not_stand_in_a_chain_is_refused(
    issuer: Ca | None, how: dict[str, object], code: Code
) -> None:
    ca = BELOW if issuer else ROOT
    assert refusal(ca.certificate(NOW, issuer=issuer, **how)) is code  # type: ignore[arg-type]  # a table of keywords


@pytest.mark.parametrize("issuer", [None, ROOT], ids=["root", "intermediate"])
def test_a_weak_key_is_refused(issuer: Ca | None) -> None:
    weak = Ca(name="Weak", label="weak", kind="rsa1024")
    assert refusal(weak.certificate(NOW, issuer=issuer)) is Code.CERTIFICATE_FORBIDDEN


def test_a_self_issued_certificate_must_be_signed_by_its_own_key() -> None:
    forged = replace(ROOT, label="somebody else's key")
    assert refusal(forged.certificate(NOW, issuer=ROOT)) is Code.SIGNATURE_INVALID


def test_a_certificate_beyond_its_budget_does_not_parse() -> None:
    large = replace(ROOT, name="x").certificate(
        NOW, extension=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(9000))
    )
    with pytest.raises(MalformedEvidence):
        anchor.check(large, development=False, now=NOW)


SOFTWARE = [
    Ca(name="swtpm-localca-rootca", label="swtpm root"),
    Ca(name="SWTPM-LocalCA", label="swtpm root"),
    Ca(name="swtpm-localca", label="swtpm signing"),
]


@pytest.mark.parametrize("ca", SOFTWARE, ids=lambda ca: ca.name)
def test_the_ca_of_a_software_tpm_is_taken_as_development_only(ca: Ca) -> None:
    der = ca.certificate(NOW)
    assert refusal(der) is Code.DEVELOPMENT_ROOT_INVALID
    assert anchor.check(der, development=True, now=NOW).root


def test_a_certificate_below_a_software_tpms_ca_is_one_of_it() -> None:
    der = BELOW.certificate(NOW, issuer=SOFTWARE[0])
    assert refusal(der) is Code.DEVELOPMENT_ROOT_INVALID


def test_the_ca_that_swtpm_itself_made_is_recognised(vectors_dir: Path) -> None:
    """By the names in a real one: the certificates that came with the vectors of swtpm."""
    found = sorted((vectors_dir / "tpm").rglob("*rootca*.pem"))
    assert found, "the vectors hold the root of a swtpm_localca"
    for file in found:
        (der,) = pem.decode(file.read_bytes(), what=file.name, max_bytes=1 << 16)
        issued = x509.load_der_x509_certificate(der).not_valid_before_utc
        with pytest.raises(RefusedEvidence) as caught:
            anchor.check(der, development=False, now=issued)
        assert caught.value.code is Code.DEVELOPMENT_ROOT_INVALID
        assert anchor.check(der, development=True, now=issued).root


@pytest.mark.parametrize(
    "name",
    [
        "Infineon OPTIGA(TM) TPM 2.0 ECC Root CA",
        "STM TPM EK Root CA",
        "Nuvoton TPM Root CA 2110",
        "www.intel.com",
        "Microsoft TPM Root Certificate Authority 2014",
        "EK/AK CA Root, Google LLC",
        "AMDTPM AMD",
    ],
)
def test_a_development_anchor_does_not_carry_a_vendors_name(name: str) -> None:
    """F29."""
    der = Ca(name=name, label="imitation").certificate(NOW)
    assert refusal(der, development=True) is Code.ROOT_IMITATES_VENDOR
    assert anchor.check(der, development=False, now=NOW).root


@given(data=st.binary(max_size=300))
def test_any_bytes_are_an_anchor_or_one_documented_refusal(data: bytes) -> None:
    with pytest.raises(VerifierError):
        anchor.check(data, development=False, now=NOW)


@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_no_flipped_bit_leaves_a_root_an_anchor(at: int, bit: int) -> None:
    """Its own signature covers every byte; ECDSA has no two signatures that differ in one bit."""
    at %= len(GOOD)
    damaged = GOOD[:at] + bytes([GOOD[at] ^ (1 << bit)]) + GOOD[at + 1 :]
    try:
        found = anchor.check(damaged, development=False, now=NOW)
    except VerifierError:
        return
    assert not found.root, "an issuer's name that differs makes it an intermediate of nobody"


GOOD = ROOT.certificate(NOW)
