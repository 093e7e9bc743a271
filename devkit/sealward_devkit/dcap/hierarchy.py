"""The development hierarchy of Intel's shape: root -> PCK platform CA -> PCK, root -> TCB signing.

    Sealward Development DCAP Root                P-256, marked, lives at most 7 days
    |-- Sealward Development PCK Platform CA      issues PCK certificates and their revocation list
    |   `-- Sealward Development PCK Certificate  one for each platform and TCB: its SGX extension
    `-- Sealward Development TCB Signing          signs TCB info and QE identities

The names are Intel's with "Intel SGX" replaced. Only the root carries the critical marker, since
what is below it is trusted for its signature alone, and other people's readers know no marker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward_devkit.pki import der_writer as der
from sealward_devkit.pki import extensions
from sealward_devkit.pki.certificates import (
    Extension,
    Template,
    Validity,
    sign_certificate,
    subject_public_key_info,
)
from sealward_devkit.pki.keys import p256_key
from sealward_devkit.pki.revocation import revocation_list
from sealward_devkit.pki.roots import DCAP_ROOT, NAME_PREFIX, root_template

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

    from sealward_devkit.pki.keys import RandomBytes

PLATFORM_CA: Final = f"{NAME_PREFIX}PCK Platform CA"
PCK: Final = f"{NAME_PREFIX}PCK Certificate"
TCB_SIGNING: Final = f"{NAME_PREFIX}TCB Signing"

COMPONENTS: Final = 16  # security version numbers of a TCB
FMSPC_SIZE, PCE_ID_SIZE, PPID_SIZE, PIID_SIZE = 6, 2, 16, 16

_SGX: Final = "1.2.840.113741.1.13.1"
_SCALABLE: Final = 1  # SGX type of a server with memory encryption alone
_LEAF_USAGE: Final = extensions.DIGITAL_SIGNATURE | extensions.NON_REPUDIATION


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKeys:
    """The three P-256 keys of a hierarchy."""

    root: EllipticCurvePrivateKey = field(repr=False)
    platform_ca: EllipticCurvePrivateKey = field(repr=False)
    tcb_signing: EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """CA certificates (DER), the root's revocation list, and the keys below; no root key is kept.

    The list revokes nothing and lasts as long as the root.
    """

    validity: Validity
    root: bytes
    root_crl: bytes
    platform_ca: bytes
    tcb_signing: bytes
    platform_ca_key: EllipticCurvePrivateKey = field(repr=False)
    tcb_signing_key: EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """What a PCK certificate says of its platform.

    Attributes:
        fmspc: 6 bytes: family, model, stepping, platform type and custom SKU.
        pce_id: 2 bytes.
        ppid: 16 bytes, of the processor package.
        platform_instance_id: 16 bytes.
        svns: 16 component security version numbers, each 0..255.
        pce_svn: of the provisioning certification enclave, 0..65535.
    """

    fmspc: bytes
    ppid: bytes = field(repr=False)
    platform_instance_id: bytes
    svns: tuple[int, ...]
    pce_svn: int
    pce_id: bytes = bytes(PCE_ID_SIZE)

    @property
    def cpu_svn(self) -> bytes:
        """CPUSVN, 16 bytes: here the components as they are (Intel's encoding is its own)."""
        return bytes(self.svns)


def generate_root_keys(random_bytes: RandomBytes) -> RootKeys:
    """Three keys from the given randomness."""
    return RootKeys(
        root=p256_key(random_bytes),
        platform_ca=p256_key(random_bytes),
        tcb_signing=p256_key(random_bytes),
    )


def mint_hierarchy(keys: RootKeys, validity: Validity) -> Hierarchy:
    """Root, PCK platform CA, TCB signing certificate, and the root's revocation list.

    Raises:
        ValueError: the root would live longer than 7 days.
    """
    root_key = keys.root.public_key()
    ca = platform_ca_template(keys.platform_ca.public_key(), root_key, validity)
    signing = tcb_signing_template(keys.tcb_signing.public_key(), root_key, validity)
    return Hierarchy(
        validity=validity,
        root=sign_certificate(root_template(DCAP_ROOT, root_key, validity), keys.root),
        root_crl=revocation_list(DCAP_ROOT, keys.root, validity),
        platform_ca=sign_certificate(ca, keys.root),
        tcb_signing=sign_certificate(signing, keys.root),
        platform_ca_key=keys.platform_ca,
        tcb_signing_key=keys.tcb_signing,
    )


def platform_ca_template(
    key: EllipticCurvePublicKey, issuer_key: EllipticCurvePublicKey, validity: Validity
) -> Template:
    """The intermediate that issues PCK certificates."""
    return _template(
        2,
        (DCAP_ROOT, PLATFORM_CA),
        key,
        validity,
        (
            extensions.authority_key_identifier(issuer_key),
            extensions.subject_key_identifier(key),
            extensions.key_usage(extensions.KEY_CERT_SIGN | extensions.CRL_SIGN),
            extensions.basic_constraints(path_length=0),
        ),
    )


def tcb_signing_template(
    key: EllipticCurvePublicKey, issuer_key: EllipticCurvePublicKey, validity: Validity
) -> Template:
    """The certificate whose key signs TCB info and QE identities."""
    leaf = _leaf_extensions(key, issuer_key)
    return _template(3, (DCAP_ROOT, TCB_SIGNING), key, validity, leaf)


def pck_template(
    facts: PlatformFacts,
    serial: int,
    key: EllipticCurvePublicKey,
    issuer_key: EllipticCurvePublicKey,
    validity: Validity,
) -> Template:
    """A provisioning certification key's certificate: what its platform is, at one TCB."""
    sgx = Extension(_SGX, sgx_extension(facts))
    leaf = (*_leaf_extensions(key, issuer_key), sgx)
    return _template(serial, (PLATFORM_CA, PCK), key, validity, leaf)


def sgx_extension(facts: PlatformFacts) -> bytes:
    """The value of Intel's extension: a SEQUENCE of object identifiers and values."""
    levels = [
        _item(f"2.{number}", der.integer(svn)) for number, svn in enumerate(facts.svns, start=1)
    ]
    configuration = der.sequence(
        _item("7.1", der.boolean(value=False)),  # dynamic platform
        _item("7.2", der.boolean(value=True)),  # cached keys
        _item("7.3", der.boolean(value=True)),  # simultaneous multithreading
    )
    return der.sequence(
        _item("1", der.octet_string(facts.ppid)),
        _item(
            "2",
            der.sequence(
                *levels,
                _item("2.17", der.integer(facts.pce_svn)),
                _item("2.18", der.octet_string(facts.cpu_svn)),
            ),
        ),
        _item("3", der.octet_string(facts.pce_id)),
        _item("4", der.octet_string(facts.fmspc)),
        _item("5", der.enumerated(_SCALABLE)),
        _item("6", der.octet_string(facts.platform_instance_id)),
        _item("7", configuration),
    )


def _item(suffix: str, value: bytes) -> bytes:
    return der.sequence(der.object_identifier(f"{_SGX}.{suffix}"), value)


def _leaf_extensions(
    key: EllipticCurvePublicKey, issuer_key: EllipticCurvePublicKey
) -> tuple[Extension, ...]:
    return (
        extensions.authority_key_identifier(issuer_key),
        extensions.subject_key_identifier(key),
        extensions.key_usage(_LEAF_USAGE),
        extensions.basic_constraints(ca=False),
    )


def _template(
    serial: int,
    names: tuple[str, str],
    key: EllipticCurvePublicKey,
    validity: Validity,
    chosen: tuple[Extension, ...],
) -> Template:
    """A template from its issuer's and its own name."""
    return Template(
        serial=serial,
        issuer=names[0],
        subject=names[1],
        not_before=validity.not_before,
        not_after=validity.not_after,
        public_key=subject_public_key_info(key),
        extensions=chosen,
    )
