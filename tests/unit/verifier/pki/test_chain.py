"""The chain walker over small hierarchies of every permitted algorithm, each rule broken alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from sealward_devkit.pki import der_writer as der

from sealward.verifier.pki import algorithms, certificate, chain
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.certificate import Certificate
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import pem

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=10)
NOW = START + timedelta(days=5)
RULES = chain.Rules(
    algorithms=frozenset(SignatureAlgorithm) - {SignatureAlgorithm.FORBIDDEN},
    critical=frozenset({"1.2.3"}),
)
Change = Callable[["Spec"], "Spec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What goes into a certificate of these tests."""

    subject: str
    issuer: str
    kind: str
    ca: bool = True
    path_length: int | None = None
    usage: bytes | None = b"\x03\x02\x02\x04"  # keyCertSign
    end: datetime = END
    start: datetime = START
    critical: str | None = None
    signer: str = ""
    identifier: bytes = field(default=b"")


@cache
def key(label: str) -> PrivateKeyTypes:
    kind = label.partition(":")[0]
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "p521":
        return ec.generate_private_key(ec.SECP521R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, {"rsa": 2048, "pss": 2048, "small": 1024}[kind])


_OIDS = {
    "p256": ("1.2.840.10045.4.3.2", b""),
    "p384": ("1.2.840.10045.4.3.3", b""),
    "p521": ("1.2.840.10045.4.3.3", b""),
    "rsa": ("1.2.840.113549.1.1.11", der.null()),
    "small": ("1.2.840.113549.1.1.11", der.null()),
    "ed25519": ("1.3.101.112", b""),
}


def identifier(kind: str) -> bytes:
    if kind == "pss":
        sha384 = der.sequence(der.object_identifier("2.16.840.1.101.3.4.2.2"), der.null())
        mgf = der.sequence(der.object_identifier("1.2.840.113549.1.1.8"), sha384)
        parameters = der.sequence(
            der.explicit(0, sha384), der.explicit(1, mgf), der.explicit(2, der.integer(48))
        )
        return der.sequence(der.object_identifier("1.2.840.113549.1.1.10"), parameters)
    oid, parameters = _OIDS[kind]
    return der.sequence(der.object_identifier(oid), parameters)


def sign(signer: PrivateKeyTypes, kind: str, data: bytes) -> bytes:
    if isinstance(signer, rsa.RSAPrivateKey):
        if kind == "pss":
            sha384 = hashes.SHA384()
            return signer.sign(data, padding.PSS(padding.MGF1(sha384), 48), sha384)
        return signer.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        digest = hashes.SHA256() if kind == "p256" else hashes.SHA384()
        return signer.sign(data, ec.ECDSA(digest))
    assert isinstance(signer, ed25519.Ed25519PrivateKey)
    return signer.sign(data)


def name(text: str) -> bytes:
    attribute = der.sequence(der.object_identifier("2.5.4.3"), der.utf8_string(text))
    return der.sequence(der.set_of_one(attribute))


def extension(oid: str, value: bytes) -> bytes:
    return der.sequence(
        der.object_identifier(oid), der.boolean(value=True), der.octet_string(value)
    )


def mint(spec: Spec) -> Certificate:
    limit = b"" if spec.path_length is None else der.integer(spec.path_length)
    items = (
        [extension("2.5.29.19", der.sequence(der.boolean(value=True), limit))] if spec.ca else []
    )
    if spec.usage is not None:
        items.append(extension("2.5.29.15", spec.usage))
    if spec.critical is not None:
        items.append(extension(spec.critical, der.null()))
    public = key(f"{spec.kind}:{spec.subject}").public_key()  # type: ignore[union-attr]
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    algorithm = spec.identifier or identifier(spec.kind)
    tbs = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(0),
        algorithm,
        name(spec.issuer),
        der.sequence(der.time(spec.start), der.time(spec.end)),
        name(spec.subject),
        spki,
        der.explicit(3, der.sequence(*items)),
    )
    signer = key(f"{spec.kind}:{spec.signer or spec.issuer}")
    signature = sign(signer, spec.kind, tbs)
    return certificate.parse(der.sequence(tbs, algorithm, der.bit_string(signature)))


def path(kind: str = "p384", /, **changes: Change) -> tuple[Certificate, ...]:
    """Leaf, lower, upper, root; each may be changed before it is signed."""
    specs = {
        "leaf": Spec(subject="leaf", issuer="lower", kind=kind, ca=False, usage=None),
        "lower": Spec(subject="lower", issuer="upper", kind=kind, path_length=0),
        "upper": Spec(subject="upper", issuer="root", kind=kind, path_length=1),
        "root": Spec(subject="root", issuer="root", kind=kind),
    }
    return tuple(
        mint(changes[role](spec) if role in changes else spec) for role, spec in specs.items()
    )


def refusal(members: tuple[Certificate, ...], rules: chain.Rules = RULES) -> RefusedEvidence:
    with pytest.raises(RefusedEvidence) as caught:
        chain.walk(members, rules=rules, now=NOW)
    return caught.value


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "pss"])
def test_a_good_chain_of_every_permitted_algorithm_holds(kind: str) -> None:
    sooner = END - timedelta(days=1)
    later = START + timedelta(days=1)
    members = path(
        kind,
        lower=lambda spec: replace(spec, end=sooner),
        leaf=lambda spec: replace(spec, start=later, critical="1.2.3"),
    )
    window = chain.walk(members, rules=RULES, now=NOW)
    assert window == chain.Window(later, sooner, "CN=lower")
    assert chain.walk(members[3:], rules=RULES, now=NOW).not_after == END


@pytest.mark.parametrize("role", ["lower", "upper", "root"])
@pytest.mark.parametrize(
    "change",
    [
        lambda spec: replace(spec, ca=False),
        lambda spec: replace(spec, usage=None),
        lambda spec: replace(spec, usage=b"\x03\x02\x01\x02"),  # cRLSign
    ],
    ids=["no CA", "no usage", "another usage"],
)
def test_an_issuer_that_may_not_issue_is_refused(role: str, change: Change) -> None:
    assert refusal(path(**{role: change})).code is Code.CERTIFICATE_FORBIDDEN


@pytest.mark.parametrize(("role", "length"), [("upper", 0), ("root", 1), ("root", 0)])
def test_a_chain_longer_than_its_issuers_allow_is_refused(role: str, length: int) -> None:
    error = refusal(path(**{role: lambda spec: replace(spec, path_length=length)}))
    assert error.code is Code.CERTIFICATE_FORBIDDEN
    assert "longer chain" in error.detail


def test_a_chain_of_just_the_allowed_length_holds() -> None:
    members = path(root=lambda spec: replace(spec, path_length=2))
    chain.walk(members, rules=RULES, now=NOW)


@pytest.mark.parametrize("role", ["leaf", "lower", "upper", "root"])
def test_a_member_signed_by_another_key_of_the_same_name_is_refused(role: str) -> None:
    error = refusal(path(**{role: lambda spec: replace(spec, signer="other")}))
    assert error.code is Code.SIGNATURE_INVALID


@pytest.mark.parametrize("role", ["leaf", "lower", "upper", "root"])
def test_a_member_by_another_issuer_is_refused(role: str) -> None:
    members = path(**{role: lambda spec: replace(spec, issuer="nobody", signer=spec.issuer)})
    assert refusal(members).code is Code.CHAIN_BROKEN


@pytest.mark.parametrize("role", ["leaf", "lower", "upper", "root"])
def test_a_critical_extension_nobody_understands_is_refused(role: str) -> None:
    error = refusal(path(**{role: lambda spec: replace(spec, critical="1.2.4")}))
    assert (error.code, error.actual) == (Code.CERTIFICATE_FORBIDDEN, "1.2.4")


@pytest.mark.parametrize("role", ["leaf", "lower", "upper", "root"])
def test_every_member_is_dated(role: str) -> None:
    late = refusal(path(**{role: lambda spec: replace(spec, end=NOW - timedelta(seconds=1))}))
    assert late.code is Code.CERTIFICATE_EXPIRED
    assert f"CN={role}" in late.detail
    early = refusal(path(**{role: lambda spec: replace(spec, start=NOW + timedelta(seconds=1))}))
    assert early.code is Code.CERTIFICATE_NOT_YET_VALID


def test_algorithms_the_format_does_not_use_are_refused() -> None:
    only_pss = chain.Rules(frozenset({SignatureAlgorithm.RSA_PSS_SHA384}), frozenset())
    assert refusal(path("p384"), only_pss).code is Code.ALGORITHM_FORBIDDEN
    assert refusal(path("rsa"), only_pss).code is Code.ALGORITHM_FORBIDDEN
    assert refusal(path("ed25519")).code is Code.ALGORITHM_FORBIDDEN


@pytest.mark.parametrize(("kind", "claimed"), [("p384", "rsa"), ("rsa", "p384")])
def test_an_algorithm_of_another_kind_of_key_is_refused(kind: str, claimed: str) -> None:
    members = path(kind, leaf=lambda spec: replace(spec, identifier=identifier(claimed)))
    assert refusal(members).code is Code.ALGORITHM_FORBIDDEN


@pytest.mark.parametrize("kind", ["p521", "small"])
def test_keys_of_another_curve_or_too_small_are_refused(kind: str) -> None:
    assert refusal(path(kind)).code is Code.CERTIFICATE_FORBIDDEN


@pytest.mark.parametrize("spki", [b"", b"\x30\x00", der.sequence(der.null())])
def test_a_broken_key_is_refused(spki: bytes) -> None:
    with pytest.raises(RefusedEvidence) as caught:
        algorithms.load_public_key(spki, owner="somebody")
    assert caught.value.code is Code.CERTIFICATE_FORBIDDEN


def test_pss_with_other_parameters_is_another_algorithm() -> None:
    salt32 = identifier("pss").replace(der.integer(48), der.integer(32))
    assert SignatureAlgorithm.of(identifier("pss")) is SignatureAlgorithm.RSA_PSS_SHA384
    assert SignatureAlgorithm.of(salt32) is SignatureAlgorithm.FORBIDDEN


def test_the_roots_of_every_vendor_hold_by_themselves(vectors_dir: Path) -> None:
    seen = set()
    for file in sorted(vectors_dir.glob("roots/*.pem")):
        (data,) = pem.decode(file.read_bytes(), what=file.name, max_bytes=1 << 16)
        root = certificate.parse(data)
        if root.issuer == root.subject:
            chain.walk((root,), rules=RULES, now=NOW)
            seen.add(root.signature_algorithm)
    assert seen == RULES.algorithms
