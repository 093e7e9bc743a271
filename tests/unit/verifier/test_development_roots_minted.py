"""Each rule for development roots, broken alone by the minter and refused with its code (F29)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes import snp_fixtures
from fakes.snp_fixtures import with_extension, without_extension
from sealward_devkit.pki import der_writer as der
from sealward_devkit.pki import keys, roots
from sealward_devkit.pki.certificates import Algorithm, Extension, Template, sign_certificate
from sealward_devkit.pki.extensions import DEVELOPMENT_MARKER_OID
from sealward_devkit.pki.roots import MAXIMUM_ROOT_LIFE
from sealward_devkit.snp import hierarchy as minter
from sealward_devkit.snp.products import Product

from sealward.verifier.pki import development
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence

Change = Callable[[Template], Template]

NOW = snp_fixtures.NOW
MARKER = DEVELOPMENT_MARKER_OID
BASIC_CONSTRAINTS, KEY_USAGE = "2.5.29.19", "2.5.29.15"


def ark_template() -> Template:
    public = snp_fixtures.root_keys().ark.public_key()
    return minter.ark_template(Product.MILAN, public, snp_fixtures.VALIDITY)


def signed(template: Template) -> bytes:
    return sign_certificate(template, snp_fixtures.root_keys().ark)


def named(template: Template, name: str) -> Template:
    return replace(template, issuer=name, subject=name)


def refusal(certificate: bytes) -> RefusedEvidence:
    with pytest.raises(RefusedEvidence) as caught:
        development.import_root(certificate, now=NOW)
    return caught.value


@dataclass(frozen=True)
class Elliptic:
    """A role that is not AMD's, and the kind of key and signature of its vendor."""

    name: str
    line: str
    key: ec.EllipticCurvePrivateKey
    algorithm: Algorithm

    def signed(self, change: Change = lambda root: root) -> bytes:
        template = roots.root_template(self.name, self.key.public_key(), snp_fixtures.VALIDITY)
        return sign_certificate(change(template), self.key)


P256 = keys.p256_key(snp_fixtures.stream("root P-256"))
P384 = keys.p384_key(snp_fixtures.stream("root P-384"))
ELLIPTIC = [
    Elliptic(roots.DCAP_ROOT, "DCAP", P256, Algorithm.ECDSA_SHA256),
    Elliptic(roots.NITRO_ROOT, "Nitro", P384, Algorithm.ECDSA_SHA384),
    Elliptic(roots.GPU_ROOT, "GPU", P384, Algorithm.ECDSA_SHA384),
    Elliptic(roots.RIM_ROOT, "RIM", P384, Algorithm.ECDSA_SHA384),
]
EVERY_ELLIPTIC = pytest.mark.parametrize("role", ELLIPTIC, ids=lambda role: role.line)


@EVERY_ELLIPTIC
def test_each_other_vendor_has_one_root_of_its_line(role: Elliptic) -> None:
    assert development.import_root(role.signed(), now=NOW).line == role.line


def test_a_google_like_root_is_rsa_and_its_name_is_no_imitation() -> None:
    key = snp_fixtures.root_keys().ark
    template = roots.root_template(roots.GOOGLE_ROOT, key.public_key(), snp_fixtures.VALIDITY)
    root = sign_certificate(template, key, Algorithm.PKCS1_SHA256)
    assert development.import_root(root, now=NOW).line == "Google"
    pss = refusal(sign_certificate(template, key, Algorithm.PSS_SHA384))
    assert pss.code is Code.ALGORITHM_FORBIDDEN


@EVERY_ELLIPTIC
@pytest.mark.parametrize(
    "change",
    [
        lambda root: without_extension(root, MARKER),
        lambda root: with_extension(root, Extension(MARKER, der.null(), critical=False)),
        lambda root: replace(root, not_after=root.not_before + timedelta(days=7, seconds=1)),
        lambda root: replace(root, subject=f"{root.subject} 2"),
        lambda root: replace(root, subject=root.subject.removesuffix(" Root")),
    ],
    ids=["no marker", "not critical", "too long", "longer name", "shorter name"],
)
def test_no_role_has_weaker_rules(role: Elliptic, change: Change) -> None:
    assert refusal(role.signed(change)).code is Code.DEVELOPMENT_ROOT_INVALID


@EVERY_ELLIPTIC
def test_a_role_takes_the_keys_of_its_vendor_only(role: Elliptic) -> None:
    other = P384 if role.key is P256 else P256
    assert refusal(replace(role, key=other).signed()).code is Code.DEVELOPMENT_ROOT_INVALID
    rsa_key = snp_fixtures.root_keys().ark
    template = roots.root_template(role.name, rsa_key.public_key(), snp_fixtures.VALIDITY)
    error = refusal(sign_certificate(template, rsa_key))
    assert (error.code, error.actual) == (Code.DEVELOPMENT_ROOT_INVALID, "RSA")


@EVERY_ELLIPTIC
def test_a_role_takes_the_signatures_of_its_vendor_only(role: Elliptic) -> None:
    template = roots.root_template(role.name, role.key.public_key(), snp_fixtures.VALIDITY)
    both = {Algorithm.ECDSA_SHA256, Algorithm.ECDSA_SHA384}
    (other,) = both - {role.algorithm}
    foreign = sign_certificate(template, role.key, other)
    assert refusal(foreign).code is Code.ALGORITHM_FORBIDDEN


def test_an_elliptic_key_makes_no_ark() -> None:
    template = replace(
        roots.root_template(roots.NITRO_ROOT, P384.public_key(), snp_fixtures.VALIDITY),
        issuer="Sealward Development ARK Milan",
        subject="Sealward Development ARK Milan",
    )
    error = refusal(sign_certificate(template, P384))
    assert (error.code, error.expected) == (Code.DEVELOPMENT_ROOT_INVALID, "RSA")


@pytest.mark.parametrize("product", Product)
def test_what_the_kit_mints_is_a_development_root_of_its_line(product: Product) -> None:
    root = development.import_root(snp_fixtures.hierarchy(product).ark, now=NOW)
    assert root.line == product.value


def test_both_sides_wrote_down_the_same_marker_and_the_same_life() -> None:
    assert development.DEVELOPMENT_MARKER_OID == DEVELOPMENT_MARKER_OID
    assert development.MAX_LIFE == MAXIMUM_ROOT_LIFE


@pytest.mark.parametrize(
    "change",
    [
        lambda root: without_extension(root, MARKER),
        lambda root: with_extension(root, Extension(MARKER, der.null(), critical=False)),
        lambda root: with_extension(root, Extension(MARKER, b"", critical=True)),
        lambda root: with_extension(
            root, Extension(MARKER, der.boolean(value=True), critical=True)
        ),
    ],
    ids=["missing", "not critical", "empty", "another value"],
)
def test_a_root_without_the_exact_critical_marker_is_refused(change: Change) -> None:
    error = refusal(signed(change(ark_template())))
    assert (error.code, error.expected) == (Code.DEVELOPMENT_ROOT_INVALID, MARKER)


def test_seven_days_are_allowed_and_a_second_more_is_not() -> None:
    start = NOW - timedelta(days=1)
    week = replace(ark_template(), not_before=start, not_after=start + timedelta(days=7))
    assert development.import_root(signed(week), now=NOW).line == "Milan"
    longer = replace(week, not_after=week.not_after + timedelta(seconds=1))
    error = refusal(signed(longer))
    assert (error.code, error.expected) == (Code.DEVELOPMENT_ROOT_INVALID, "at most 7 days")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ARK-Milan", Code.ROOT_IMITATES_VENDOR),
        ("SEV-Milan", Code.ROOT_IMITATES_VENDOR),
        ("AMD Development ARK Milan", Code.ROOT_IMITATES_VENDOR),
        ("Intel SGX Root CA", Code.ROOT_IMITATES_VENDOR),
        ("NVIDIA Device Identity CA", Code.ROOT_IMITATES_VENDOR),
        ("Some Development ARK Milan", Code.DEVELOPMENT_ROOT_INVALID),
        ("Google Development AK Root", Code.ROOT_IMITATES_VENDOR),
        ("Sealward Development Intel DCAP Root", Code.ROOT_IMITATES_VENDOR),
        ("Sealward Development AWS Root", Code.ROOT_IMITATES_VENDOR),
        ("Sealward Development ASK Milan", Code.DEVELOPMENT_ROOT_INVALID),
        ("Sealward Development ARK Nitro", Code.DEVELOPMENT_ROOT_INVALID),
        ("sealward development dcap root", Code.DEVELOPMENT_ROOT_INVALID),
        ("Sealward Development ARK Milan and more", Code.DEVELOPMENT_ROOT_INVALID),
    ],
)
def test_a_root_by_another_name_is_refused_and_an_imitation_is_called_one(
    name: str, code: Code
) -> None:
    assert refusal(signed(named(ark_template(), name))).code is code


@pytest.mark.parametrize(
    "change",
    [
        lambda root: without_extension(root, BASIC_CONSTRAINTS),
        lambda root: without_extension(root, KEY_USAGE),
        lambda root: with_extension(
            root, Extension(BASIC_CONSTRAINTS, der.sequence(), critical=True)
        ),
        lambda root: with_extension(
            root, Extension(KEY_USAGE, der.bit_string(b"\x80", unused_bits=7), critical=True)
        ),
        lambda root: with_extension(root, Extension("1.2.3", der.null(), critical=True)),
    ],
    ids=["no constraints", "no key usage", "not a CA", "not for certificates", "unknown critical"],
)
def test_a_root_that_may_not_issue_is_refused(change: Change) -> None:
    assert refusal(signed(change(ark_template()))).code is Code.CERTIFICATE_FORBIDDEN


def test_a_root_outside_its_dates_is_refused() -> None:
    day = timedelta(days=1)
    past = replace(ark_template(), not_before=NOW - 2 * day, not_after=NOW - day)
    future = replace(ark_template(), not_before=NOW + day, not_after=NOW + 2 * day)
    assert refusal(signed(past)).code is Code.CERTIFICATE_EXPIRED
    assert refusal(signed(future)).code is Code.CERTIFICATE_NOT_YET_VALID


def test_a_root_signed_by_another_key_or_named_by_another_issuer_is_refused() -> None:
    foreign = sign_certificate(ark_template(), snp_fixtures.root_keys().ask)
    assert refusal(foreign).code is Code.SIGNATURE_INVALID
    issued = replace(ark_template(), issuer="Sealward Development ARK Genoa")
    assert refusal(signed(issued)).code is Code.CHAIN_BROKEN


def test_every_flipped_byte_of_a_root_is_refused_with_a_documented_error() -> None:
    genuine = signed(ark_template())
    for at in range(0, len(genuine), 7):
        damaged = genuine[:at] + bytes((genuine[at] ^ 0x01,)) + genuine[at + 1 :]
        with pytest.raises((RefusedEvidence, MalformedEvidence)):
            development.import_root(damaged, now=NOW)
