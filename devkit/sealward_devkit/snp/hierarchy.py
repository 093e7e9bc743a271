"""The development hierarchy: ARK -> ASK -> VCEK and ARK -> ASVK -> VLEK, for one product.

The shapes are AMD's (evidence-formats section 2); the names, the marker and the short life are
ours (security-requirements F29). Functions named `*_template` return what would be signed, so that
a test can change one field; `mint_*` sign it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from sealward_devkit.pki import der_writer as der
from sealward_devkit.pki.certificates import (
    Extension,
    Template,
    Validity,
    sign_certificate,
    subject_public_key_info,
)
from sealward_devkit.pki.extensions import (
    CRL_SIGN,
    KEY_CERT_SIGN,
    authority_key_identifier,
    basic_constraints,
    development_marker,
    key_usage,
    subject_key_identifier,
)
from sealward_devkit.pki.roots import NAME_PREFIX, require_short_life
from sealward_devkit.snp.products import FACTS, Product, Tcb

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_AMD_VEK_ARC: Final = "1.3.6.1.4.1.3704.1"
_RSA_BITS: Final = 4096
# AMD's own serial numbers for the three roles; every VEK has 0.
_SERIAL_ARK, _SERIAL_ASK, _SERIAL_ASVK, _SERIAL_VEK = 0x10000, 0x10001, 0x10101, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKeys:
    """The three RSA-4096 keys of one product's hierarchy."""

    ark: RSAPrivateKey = field(repr=False)
    ask: RSAPrivateKey = field(repr=False)
    asvk: RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One product's CA certificates (DER) and the keys that sign VEKs; the ARK key is not kept."""

    product: Product
    validity: Validity
    ark: bytes
    ask: bytes
    asvk: bytes
    ask_key: RSAPrivateKey = field(repr=False)
    asvk_key: RSAPrivateKey = field(repr=False)


def generate_root_keys() -> RootKeys:
    """Three new RSA-4096 keys, about a second of work; the library draws its own randomness."""
    return RootKeys(ark=_new_rsa_key(), ask=_new_rsa_key(), asvk=_new_rsa_key())


def mint_hierarchy(product: Product, keys: RootKeys, validity: Validity) -> Hierarchy:
    """The development ARK, ASK and ASVK of a product.

    Raises:
        ValueError: the root would live longer than `roots.MAXIMUM_ROOT_LIFE`. Tests that need
            such a root sign an `ark_template` themselves.
    """
    require_short_life(validity)
    ark_public = keys.ark.public_key()
    ask = ask_template(product, keys.ask.public_key(), ark_public, validity)
    asvk = asvk_template(product, keys.asvk.public_key(), ark_public, validity)
    return Hierarchy(
        product=product,
        validity=validity,
        ark=sign_certificate(ark_template(product, ark_public, validity), keys.ark),
        ask=sign_certificate(ask, keys.ark),
        asvk=sign_certificate(asvk, keys.ark),
        ask_key=keys.ask,
        asvk_key=keys.asvk,
    )


def ark_template(product: Product, key: RSAPublicKey, validity: Validity) -> Template:
    """The self-signed development root."""
    name = _ca_name("ARK", product)
    return Template(
        serial=_SERIAL_ARK,
        issuer=name,
        subject=name,
        not_before=validity.not_before,
        not_after=validity.not_after,
        public_key=subject_public_key_info(key),
        extensions=(
            key_usage(KEY_CERT_SIGN | CRL_SIGN),
            subject_key_identifier(key),
            basic_constraints(),
            development_marker(),
        ),
    )


def ask_template(
    product: Product, key: RSAPublicKey, issuer_key: RSAPublicKey, validity: Validity
) -> Template:
    """The intermediate that signs VCEKs."""
    return Template(
        serial=_SERIAL_ASK,
        issuer=_ca_name("ARK", product),
        subject=_ca_name("ASK", product),
        not_before=validity.not_before,
        not_after=validity.not_after,
        public_key=subject_public_key_info(key),
        extensions=(
            subject_key_identifier(key),
            authority_key_identifier(issuer_key),
            basic_constraints(path_length=0),
            key_usage(KEY_CERT_SIGN),
            development_marker(),
        ),
    )


def asvk_template(
    product: Product, key: RSAPublicKey, issuer_key: RSAPublicKey, validity: Validity
) -> Template:
    """The intermediate that signs VLEKs: an ASK but for its serial and name."""
    ask = ask_template(product, key, issuer_key, validity)
    return replace(ask, serial=_SERIAL_ASVK, subject=_ca_name("ASVK", product))


def vcek_template(
    product: Product, key: EllipticCurvePublicKey, tcb: Tcb, hw_id: bytes, validity: Validity
) -> Template:
    """A chip's endorsement certificate; `hw_id` is 64 bytes, 8 on Turin."""
    facts = FACTS[product]
    return Template(
        serial=_SERIAL_VEK,
        issuer=_ca_name("ASK", product),
        subject=_ca_name("VCEK", product),
        not_before=validity.not_before,
        not_after=validity.not_after,
        public_key=subject_public_key_info(key),
        extensions=(
            *_vek_extensions(product, facts.vcek_product_name, tcb),
            Extension(vek_oid("4"), hw_id),  # raw bytes: AMD wraps them in nothing
        ),
    )


def vlek_template(
    product: Product, key: EllipticCurvePublicKey, tcb: Tcb, csp_id: str, validity: Validity
) -> Template:
    """A cloud provider's endorsement certificate: names the provider and no chip."""
    return Template(
        serial=_SERIAL_VEK,
        issuer=_ca_name("ASVK", product),
        subject=_ca_name("VLEK", product),
        not_before=validity.not_before,
        not_after=validity.not_after,
        public_key=subject_public_key_info(key),
        extensions=(
            *_vek_extensions(product, product.value, tcb),
            Extension(vek_oid("5"), der.ia5_string(csp_id)),
        ),
    )


def vek_oid(suffix: str) -> str:
    """The dotted OID of a VEK extension, from its suffix in the specification ("3.1", "4")."""
    return f"{_AMD_VEK_ARC}.{suffix}"


def _vek_extensions(product: Product, product_name: str, tcb: Tcb) -> tuple[Extension, ...]:
    # Turin has an FMC level and lacks the first reserved one (.3.4).
    turin = product is Product.TURIN
    levels = (
        *((("3.9", tcb.fmc),) if turin else ()),
        ("3.1", tcb.bootloader),
        ("3.2", tcb.tee),
        ("3.3", tcb.snp),
        *(() if turin else (("3.4", 0),)),
        ("3.5", 0),
        ("3.6", 0),
        ("3.7", 0),
        ("3.8", tcb.microcode),
    )
    return (
        Extension(vek_oid("1"), der.integer(FACTS[product].struct_version)),
        Extension(vek_oid("2"), der.ia5_string(product_name)),
        *(Extension(vek_oid(suffix), der.integer(level)) for suffix, level in levels),
    )


def _ca_name(role: str, product: Product) -> str:
    # Never AMD's own names: a look-alike is refused at import (F29).
    return f"{NAME_PREFIX}{role} {product.value}"


def _new_rsa_key() -> RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
