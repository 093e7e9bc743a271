"""Quotes, keys and certificates of a software TPM: what is taken, and each rule broken once."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes import software_tpm
from fakes.software_tpm import EndorsementKey, SoftwareTpm

from sealward.verifier.formats.tpm import attest, credential, endorsement, name, quote, view
from sealward.verifier.formats.tpm import public as publics
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.formats.tpm.quote import VerifiedQuote
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

NONCE = bytes(range(32))
KINDS = (
    ("rsa2048", ("rsassa", "sha256")),
    ("rsa2048", ("rsapss", "sha256")),
    ("rsa2048", ("rsapss", "sha384")),
    ("rsa3072", ("rsassa", "sha384")),
    ("p256", ("ecdsa", "sha256")),
    ("p384", ("ecdsa", "sha384")),
)


def banks(tpm: SoftwareTpm) -> tuple[PcrBank, ...]:
    return tuple(
        PcrBank(HashAlg[bank.upper()], tuple(sorted(values.items())))
        for bank, values in tpm.banks.items()
    )


def verify(tpm: SoftwareTpm, nonce: bytes = NONCE) -> VerifiedQuote:
    message = tpm.message(nonce)
    ak = publics.parse(tpm.ak_public)
    return quote.authenticate(message, tpm.sign(message), ak, banks(tpm))


def refusal(tpm: SoftwareTpm) -> Code:
    with pytest.raises(RefusedEvidence) as caught:
        verify(tpm)
    return caught.value.code


@pytest.mark.parametrize(("kind", "scheme"), KINDS, ids=str)
def test_every_kind_of_attestation_key_is_taken(kind: str, scheme: tuple[str, str]) -> None:
    tpm = SoftwareTpm(kind=kind, scheme=scheme, label="ak")
    verified = verify(tpm)
    assert verified.nonce == NONCE
    assert verified.ak_name == software_tpm.name_of(tpm.ak_public) == name.name(verified.ak)
    assert (verified.attest.clock, verified.attest.reset_count) == (123_456, 7)


def test_a_nonce_is_told_as_long_as_it_is() -> None:
    for carried in (NONCE + b"\0", NONCE[:-1], b""):
        assert verify(SoftwareTpm(), carried).nonce == carried


def test_banks_are_hashed_in_the_order_of_the_quote_whatever_order_they_are_presented_in() -> None:
    several = {
        "sha384": {1: b"\x31" * 48, 16: b"\x32" * 48},
        "sha1": {0: b"\x01" * 20},
        "sha256": {23: b"\x23" * 32, 0: b"\x00" * 32},
    }
    tpm = SoftwareTpm(kind="p256", scheme=("ecdsa", "sha256"), banks=several)
    message = tpm.message(NONCE)
    ak = publics.parse(tpm.ak_public)
    found = quote.authenticate(message, tpm.sign(message), ak, tuple(reversed(banks(tpm))))
    assert [bank.bank.label for bank in found.pcrs] == list(several)


def test_a_selection_that_differs_in_one_bit_is_refused() -> None:
    tpm = SoftwareTpm()
    message = tpm.message(NONCE)
    ak, signature = publics.parse(tpm.ak_public), tpm.sign(message)
    (bank,) = banks(tpm)
    (zero, seven) = bank.values
    for values in (
        (zero,),
        (zero, (6, seven[1])),
        (zero, (6, bytes(32)), seven),
        (),
    ):
        with pytest.raises(RefusedEvidence) as caught:
            quote.authenticate(message, signature, ak, (PcrBank(bank.bank, values),))
        assert caught.value.code is Code.PCR_MISMATCH
    for presented in ((), (bank, bank), (bank, PcrBank(HashAlg.SHA1, ((0, bytes(20)),)))):
        with pytest.raises(RefusedEvidence) as caught:
            quote.authenticate(message, signature, ak, presented)
        assert caught.value.code is Code.PCR_MISMATCH


def test_a_quote_over_no_pcr_at_all_is_refused() -> None:
    assert refusal(SoftwareTpm(banks={})) is Code.PCR_MISMATCH
    assert refusal(SoftwareTpm(banks={"sha256": {}})) is Code.PCR_MISMATCH


def test_a_bank_named_twice_in_a_quote_does_not_parse() -> None:
    tpm = SoftwareTpm()
    once = software_tpm.selection(tpm.banks)
    twice = b"\0\0\0\x02" + once[4:] * 2
    with pytest.raises(MalformedEvidence):
        attest.parse(tpm.message(NONCE).replace(once, twice))


@pytest.mark.parametrize("bit", [1, 4, 5, 16, 18])
def test_an_ak_that_lacks_one_attribute_is_refused(bit: int) -> None:
    lacking = SoftwareTpm(attributes=software_tpm.AK_ATTRIBUTES & ~(1 << bit))
    assert refusal(lacking) is Code.KEY_ATTRIBUTES_FORBIDDEN


@pytest.mark.parametrize("bit", [11, 17])
def test_an_ak_that_can_decrypt_or_be_duplicated_is_refused(bit: int) -> None:
    tpm = SoftwareTpm(attributes=software_tpm.AK_ATTRIBUTES | 1 << bit)
    assert refusal(tpm) is Code.KEY_ATTRIBUTES_FORBIDDEN


@pytest.mark.parametrize("bit", [0, 3, 8, 9, 12, 20, 31])
def test_a_reserved_attribute_does_not_parse(bit: int) -> None:
    with pytest.raises(MalformedEvidence):
        verify(SoftwareTpm(attributes=software_tpm.AK_ATTRIBUTES | 1 << bit))


def test_weak_keys_and_hashes_are_refused() -> None:
    assert refusal(SoftwareTpm(scheme=("rsassa", "sha1"))) is Code.ALGORITHM_FORBIDDEN
    assert refusal(SoftwareTpm(ak_name_alg="sha1")) is Code.ALGORITHM_FORBIDDEN
    assert refusal(SoftwareTpm(kind="rsa1024")) is Code.ALGORITHM_FORBIDDEN


def test_a_signature_by_another_scheme_of_the_same_key_is_refused() -> None:
    tpm = SoftwareTpm()
    message = tpm.message(NONCE)
    for scheme in (("rsapss", "sha256"), ("rsassa", "sha384")):
        with pytest.raises(RefusedEvidence) as caught:
            quote.authenticate(
                message,
                replace(tpm, scheme=scheme).sign(message),
                publics.parse(tpm.ak_public),
                banks(tpm),
            )
        assert caught.value.code is Code.KEY_KIND_MISMATCH


def test_a_pcr_digest_by_the_hash_of_the_bank_instead_of_the_scheme_is_refused() -> None:
    values = {"sha384": {0: b"\x05" * 48}}
    tpm = SoftwareTpm(banks=values)
    verify(tpm)
    message = tpm.message(NONCE, digest=hashlib.sha384(values["sha384"][0]).digest())
    with pytest.raises(RefusedEvidence) as caught:
        quote.authenticate(message, tpm.sign(message), publics.parse(tpm.ak_public), banks(tpm))
    assert caught.value.code is Code.PCR_MISMATCH


EKS = (
    EndorsementKey(),
    EndorsementKey(attributes=0x000300F2, aes=256, name_alg="sha384", kind="rsa3072"),
    EndorsementKey(kind="p256"),
    EndorsementKey(kind="p384", name_alg="sha384", aes=256, attributes=0x000300F2),
)


@pytest.mark.parametrize("ek", EKS, ids=lambda ek: f"{ek.kind}-{ek.name_alg}")
def test_a_credential_opens_in_its_tpm_and_beside_its_key_only(ek: EndorsementKey) -> None:
    public = publics.parse(ek.public)
    ak_name = software_tpm.name_of(SoftwareTpm().ak_public)
    size = public.name_alg.size
    for secret in (b"s", b"\x5a" * 32, bytes(size)):
        made = credential.make(public, ak_name, secret, random_bytes=lambda n: b"\x42" * n)
        assert ek.activate(made.id_object, made.encrypted_secret, ak_name) == secret
        with pytest.raises(AssertionError):
            ek.activate(made.id_object, made.encrypted_secret, ak_name[:-1] + b"\0")
    for wrong in (b"", bytes(size + 1)):
        with pytest.raises(ValueError, match="bytes"):
            credential.make(public, ak_name, wrong, random_bytes=bytes)


def test_randomness_of_a_credential_is_the_callers() -> None:
    public = publics.parse(EKS[3].public)
    first, again = (
        credential.make(public, b"name", b"secret", random_bytes=lambda n: b"\x01" * n)
        for _ in range(2)
    )
    other = credential.make(public, b"name", b"secret", random_bytes=lambda n: b"\x02" * n)
    assert first == again != other
    assert first.encrypted_secret != other.encrypted_secret


def test_no_credential_is_made_for_a_key_that_is_no_endorsement_key() -> None:
    for public in (SoftwareTpm().ak_public, EndorsementKey(attributes=0x00030072).public):
        with pytest.raises(RefusedEvidence) as caught:
            credential.make(publics.parse(public), b"name", b"s", random_bytes=bytes)
        assert caught.value.code is Code.KEY_ATTRIBUTES_FORBIDDEN


def endorse(certificate: bytes, *, development: bool = False) -> endorsement.EndorsedEk:
    root = EndorsementRoot(software_tpm.root_certificate_once(), development)
    return endorsement.endorse(certificate, (), roots=(root,), now=software_tpm.NOW)


@pytest.mark.parametrize("ek", EKS, ids=lambda ek: ek.kind)
def test_an_ek_certificate_is_taken_with_an_empty_subject(ek: EndorsementKey) -> None:
    endorsed = endorse(software_tpm.ek_certificate(ek))
    assert (endorsed.manufacturer, endorsed.model, endorsed.version) == tuple(
        text for _, text in software_tpm.DESCRIPTION
    )
    assert not endorsed.development
    endorsement.check_key(endorsed, publics.parse(ek.public))


def test_a_development_root_or_a_software_tpm_is_development() -> None:
    assert endorse(software_tpm.ek_certificate(EKS[2]), development=True).development
    model = tuple(
        (oid, "swtpm" if oid.endswith("2.2") else text) for oid, text in software_tpm.DESCRIPTION
    )
    assert endorse(software_tpm.ek_certificate(EKS[2], description=model)).development


@pytest.mark.parametrize(
    "certificate",
    [
        software_tpm.ek_certificate(EKS[2], usages=()),
        software_tpm.ek_certificate(EKS[2], usages=("2.23.133.8.3",)),
        software_tpm.ek_certificate(EKS[2], san_critical=False),
        software_tpm.ek_certificate(EKS[2], description=software_tpm.DESCRIPTION[:2]),
        software_tpm.ek_certificate(
            EKS[2], description=(*software_tpm.DESCRIPTION, software_tpm.DESCRIPTION[0])
        ),
        software_tpm.ek_certificate(EKS[2], key_usage=software_tpm.usage(encrypt=True)),
        software_tpm.ek_certificate(EKS[0], key_usage=software_tpm.usage(agree=True)),
        software_tpm.ek_certificate(EKS[2], ca=True),
    ],
    ids=["no-eku", "ak-eku", "san", "no-version", "twice", "ecc-usage", "rsa-usage", "ca"],
)
def test_an_ek_certificate_against_the_profile_is_refused(certificate: bytes) -> None:
    with pytest.raises(RefusedEvidence) as caught:
        endorse(certificate)
    assert caught.value.code is Code.CERTIFICATE_FORBIDDEN


def test_without_an_anchor_or_with_two_candidates_nothing_is_endorsed() -> None:
    leaf = software_tpm.ek_certificate(EKS[2])
    root = software_tpm.root_certificate_once()
    for certificates, code in (((), Code.ENDORSEMENT_MISSING), ((root,), Code.ROOT_NOT_PINNED)):
        with pytest.raises(RefusedEvidence) as caught:
            endorsement.endorse(leaf, certificates, roots=(), now=software_tpm.NOW)
        assert caught.value.code is code
    second = software_tpm.root_certificate()  # the same name and key, another signature
    assert second != root
    with pytest.raises(RefusedEvidence) as caught:
        endorsement.endorse(leaf, (second,), roots=(EndorsementRoot(root),), now=software_tpm.NOW)
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS


def test_a_point_off_its_curve_is_no_key() -> None:
    public = publics.parse(SoftwareTpm(kind="p256", scheme=("ecdsa", "sha256")).ak_public)
    assert isinstance(public.key, publics.EccKey)
    off = replace(public, key=replace(public.key, y=bytes(32)))
    with pytest.raises(RefusedEvidence) as caught:
        quote.keys.load(off, owner="x")
    assert caught.value.code is Code.ALGORITHM_FORBIDDEN
    assert isinstance(quote.keys.load(public, owner="x"), ec.EllipticCurvePublicKey)


def other_attest(kind: bytes, tail: bytes) -> bytes:
    """A quote's fixed fields with another type and what belongs to it."""
    return b"\xffTCG" + kind + SoftwareTpm().message(NONCE)[6:101] + tail


@pytest.mark.parametrize(
    ("kind", "tail", "shown"),
    [
        (b"\x80\x1a", b"\x00\x22\x00\x0b" + b"\x01" * 32 + b"\x00\x20" + b"\x02" * 32, "creation"),
        (b"\x80\x14", b"\x00\x22\x00\x0b" + b"\x01" * 32 + b"\x00\x05\x00\x03abc", "nv"),
    ],
    ids=["creation", "nv"],
)
def test_attestations_of_creation_and_of_nv_contents_read_and_are_no_quotes(
    kind: bytes, tail: bytes, shown: str
) -> None:
    data = other_attest(kind, tail)
    parsed = attest.parse(data)
    assert attest.encode(parsed) == data
    assert view.describe_attest(parsed)["type"] == shown
    tpm = SoftwareTpm()
    with pytest.raises(RefusedEvidence) as caught:
        quote.authenticate(data, tpm.sign(data), publics.parse(tpm.ak_public), banks(tpm))
    assert caught.value.code is Code.UNSUPPORTED_FORMAT
    with pytest.raises(MalformedEvidence):
        attest.parse(other_attest(b"\x80\x19", tail))  # a time attestation


def test_a_public_area_with_an_algorithm_we_do_not_know_does_not_parse() -> None:
    ek, ak = EndorsementKey(kind="p256").public, SoftwareTpm().ak_public
    for data, old, new in (
        (ek, b"\x00\x06\x00\x80\x00\x43", b"\x00\x06\x00\x80\x00\x42"),  # AES in another mode
        (ek, b"\x00\x06\x00\x80\x00\x43", b"\x00\x26\x00\x80\x00\x43"),  # Camellia
        (ak, b"\x00\x14\x00\x0b", b"\x00\x17\x00\x0b"),  # OAEP is no signature
        (ak, b"\x08\x00\x00\x00\x00\x00", b"\x08\x08\x00\x00\x00\x00"),  # bits that differ from n
    ):
        assert old in data
        with pytest.raises(MalformedEvidence):
            publics.parse(data.replace(old, new, 1))


def test_an_unusual_exponent_is_refused() -> None:
    public = publics.parse(SoftwareTpm().ak_public)
    assert isinstance(public.key, publics.RsaKey)
    for exponent in (3, 65539):
        with pytest.raises(RefusedEvidence):
            quote.keys.load(replace(public, key=replace(public.key, exponent=exponent)), owner="x")
    written_out = replace(public, key=replace(public.key, exponent=65537))
    quote.keys.load(written_out, owner="x")
    assert name.name(written_out) != name.name(public)  # another spelling is another object


def test_an_endorsement_key_with_a_weak_name_is_refused() -> None:
    with pytest.raises(RefusedEvidence) as caught:
        credential.make(
            publics.parse(EndorsementKey(name_alg="sha1").public), b"n", b"s", random_bytes=bytes
        )
    assert caught.value.code is Code.ALGORITHM_FORBIDDEN
