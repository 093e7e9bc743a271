"""The development hierarchy of AWS's shape, P-384 throughout, and the instances below it.

    Sealward Development Nitro Root                  marked, lives at most 7 days
    `-- Sealward Development Nitro Regional          path length 2
        `-- Sealward Development Nitro Zonal         path length 1
            `-- Sealward Development Nitro i-...     the parent instance, path length 0
                `-- ...Nitro i-...-enc...            one enclave, 3 hours

AWS renews all but the root within days; here they live as long as the root, but for the leaf.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealward_devkit.pki import extensions
from sealward_devkit.pki.certificates import (
    Extension,
    Template,
    Validity,
    sign_certificate,
    subject_public_key_info,
)
from sealward_devkit.pki.keys import p384_key
from sealward_devkit.pki.roots import NAME_PREFIX, NITRO_ROOT, root_template

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

    from sealward_devkit.pki.keys import RandomBytes

REGIONAL: Final = f"{NAME_PREFIX}Nitro Regional"
ZONAL: Final = f"{NAME_PREFIX}Nitro Zonal"
LEAF_LIFE: Final = timedelta(hours=3)
LEAF_BEGINS_BEFORE: Final = timedelta(seconds=3)  # as AWS's do: clocks differ

_CA_USAGE: Final = extensions.DIGITAL_SIGNATURE | extensions.KEY_CERT_SIGN | extensions.CRL_SIGN
_INSTANCE_ID_BYTES: Final = 9  # 17 digits are used
_ENCLAVE_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKeys:
    """The three keys that are no instance's."""

    root: EllipticCurvePrivateKey = field(repr=False)
    regional: EllipticCurvePrivateKey = field(repr=False)
    zonal: EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """CA certificates (DER) and the key that endorses instances; no other key is kept."""

    validity: Validity
    root: bytes
    regional: bytes
    zonal: bytes
    zonal_key: EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A parent instance: its id ("i-" and 17 hex digits), the key of its hypervisor, its bundle.

    `cabundle` are DER certificates as documents carry them: root, regional, zonal, instance.
    """

    instance_id: str
    key: EllipticCurvePrivateKey = field(repr=False)
    cabundle: tuple[bytes, bytes, bytes, bytes] = field(repr=False)

    @property
    def platform_id(self) -> str:
        """The identity that the verifier derives."""
        return f"nitro:instance:{self.instance_id}"


def generate_root_keys(random_bytes: RandomBytes) -> RootKeys:
    """Three keys from the given randomness."""
    return RootKeys(
        root=p384_key(random_bytes), regional=p384_key(random_bytes), zonal=p384_key(random_bytes)
    )


def mint_hierarchy(keys: RootKeys, validity: Validity) -> Hierarchy:
    """Root, regional and zonal certificates.

    Raises:
        ValueError: the root would live longer than 7 days.
    """
    root_key, regional_key = keys.root.public_key(), keys.regional.public_key()
    regional = ca_template((NITRO_ROOT, REGIONAL), regional_key, root_key, validity, 2)
    zonal = ca_template((REGIONAL, ZONAL), keys.zonal.public_key(), regional_key, validity, 1)
    return Hierarchy(
        validity=validity,
        root=sign_certificate(root_template(NITRO_ROOT, root_key, validity), keys.root),
        regional=sign_certificate(regional, keys.root),
        zonal=sign_certificate(zonal, keys.regional),
        zonal_key=keys.zonal,
    )


def new_instance(hierarchy: Hierarchy, random_bytes: RandomBytes) -> Instance:
    """A new parent instance, endorsed for as long as its root lives."""
    instance_id = f"i-{random_bytes(_INSTANCE_ID_BYTES).hex()[:17]}"
    key = p384_key(random_bytes)
    template = ca_template(
        (ZONAL, instance_name(instance_id)),
        key.public_key(),
        hierarchy.zonal_key.public_key(),
        hierarchy.validity,
        0,
    )
    certificate = sign_certificate(template, hierarchy.zonal_key)
    return Instance(
        instance_id=instance_id,
        key=key,
        cabundle=(hierarchy.root, hierarchy.regional, hierarchy.zonal, certificate),
    )


def new_module_id(instance: Instance, random_bytes: RandomBytes) -> str:
    """The name of a new enclave on an instance."""
    return f"{instance.instance_id}-enc{random_bytes(_ENCLAVE_ID_BYTES).hex()}"


def instance_name(name: str) -> str:
    """The common name of an instance, or of an enclave on it."""
    return f"{NAME_PREFIX}Nitro {name}"


def ca_template(
    names: tuple[str, str],
    key: EllipticCurvePublicKey,
    issuer_key: EllipticCurvePublicKey,
    validity: Validity,
    path_length: int,
) -> Template:
    """An intermediate from its issuer's and its own name."""
    chosen = (
        extensions.basic_constraints(path_length=path_length),
        extensions.authority_key_identifier(issuer_key),
        extensions.subject_key_identifier(key),
        extensions.key_usage(_CA_USAGE),
    )
    return _template(names, key, validity, 1, chosen)


def leaf_template(
    instance: Instance, module_id: str, key: EllipticCurvePublicKey, now: datetime
) -> Template:
    """The certificate of an enclave's key, from about `now` (aware UTC) for `LEAF_LIFE`."""
    validity = Validity(now - LEAF_BEGINS_BEFORE, now + LEAF_LIFE)
    usage = extensions.DIGITAL_SIGNATURE | extensions.NON_REPUDIATION
    chosen = (
        extensions.basic_constraints(ca=False),
        extensions.key_usage(usage, critical=False),
    )
    names = instance_name(instance.instance_id), instance_name(module_id)
    serial = int(now.timestamp() * 1000)
    return _template(names, key, validity, serial, chosen)


def _template(
    names: tuple[str, str],
    key: EllipticCurvePublicKey,
    validity: Validity,
    serial: int,
    chosen: tuple[Extension, ...],
) -> Template:
    return Template(
        serial=serial,
        issuer=names[0],
        subject=names[1],
        not_before=validity.not_before,
        not_after=validity.not_after,
        public_key=subject_public_key_info(key),
        extensions=chosen,
    )
