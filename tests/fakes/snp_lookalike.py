"""Development evidence under the vendor's own names and without our marker.

What a careless or hostile minter would make: the devkit's keys, extensions and reports, in
certificates that call themselves AMD's. Readers of other people check those names, so it shows them
what we mint; our own verifier and control plane must refuse it wherever it is offered.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier
from fakes.snp_fixtures import CSP_ID, root_keys, stream
from sealward_devkit.pki.extensions import DEVELOPMENT_MARKER_OID
from sealward_devkit.platform import vcek_platform, vlek_platform
from sealward_devkit.snp import hierarchy as minting
from sealward_devkit.snp.products import FACTS
from sealward_devkit.snp.report import SigningKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
    from sealward_devkit.pki.certificates import Template, Validity
    from sealward_devkit.platform import Platform
    from sealward_devkit.snp.products import Product

_PSS: Final = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
_VENDOR: Final = (
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
    (NameOID.COUNTRY_NAME, "US"),
    (NameOID.LOCALITY_NAME, "Santa Clara"),
    (NameOID.STATE_OR_PROVINCE_NAME, "CA"),
    (NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
)


def lookalike(
    product: Product, signing_key: SigningKey, validity: Validity, *, marked: bool = False
) -> Platform:
    """A platform whose chain bears the vendor's names; `marked` keeps our critical marker."""
    keys = root_keys(product)
    hierarchy = minting.mint_hierarchy(product, keys, validity)
    ark_key, line = keys.ark.public_key(), product.value
    ark = minting.ark_template(product, ark_key, validity)
    if signing_key is SigningKey.VCEK:
        made = vcek_platform(hierarchy, stream(f"{product} lookalike"))
        ica_key, ica_name, name = keys.ask, f"SEV-{line}", "SEV-VCEK"
        ica = minting.ask_template(product, ica_key.public_key(), ark_key, validity)
        hw_id = made.chip_id[: FACTS[product].hw_id_size]
        vek = minting.vcek_template(product, made.key.public_key(), made.tcb, hw_id, validity)
    else:
        made = vlek_platform(hierarchy, stream(f"{product} lookalike"), csp_id=CSP_ID)
        ica_key, ica_name, name = keys.asvk, f"SEV-VLEK-{line}", "SEV-VLEK"
        ica = minting.asvk_template(product, ica_key.public_key(), ark_key, validity)
        vek = minting.vlek_template(product, made.key.public_key(), made.tcb, CSP_ID, validity)
    root = f"ARK-{line}"
    return replace(
        made,
        root=_sign(ark, root, root, keys.ark, marked=marked),
        intermediate=_sign(ica, root, ica_name, keys.ark, marked=marked),
        vek=_sign(vek, ica_name, name, ica_key, marked=marked),
    )


def bundle(platform: Platform) -> str:
    """Intermediate, then root, as PEM: the form in which the vendor publishes its own."""
    chain = (platform.intermediate, platform.root)
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in chain)


def _sign(
    template: Template, issuer: str, subject: str, key: RSAPrivateKey, *, marked: bool
) -> bytes:
    """What the template says, but for names, marker and a serial number that a library signs."""
    builder = (
        x509.CertificateBuilder()
        .issuer_name(_name(issuer))
        .subject_name(_name(subject))
        .serial_number(template.serial or 1)
        .not_valid_before(template.not_before)
        .not_valid_after(template.not_after)
        .public_key(_public_key(template.public_key))
    )
    for item in template.extensions:
        if marked or item.oid != DEVELOPMENT_MARKER_OID:
            extension = x509.UnrecognizedExtension(ObjectIdentifier(item.oid), item.value)
            builder = builder.add_extension(extension, item.critical)
    signed = builder.sign(key, hashes.SHA384(), rsa_padding=_PSS)
    return signed.public_bytes(serialization.Encoding.DER)


def _public_key(spki: bytes) -> CertificatePublicKeyTypes:
    key = serialization.load_der_public_key(spki)
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    return key


def _name(common_name: str) -> x509.Name:
    attributes = (*_VENDOR, (NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
