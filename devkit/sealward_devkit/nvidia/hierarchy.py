"""The development hierarchies of NVIDIA's shape, P-384 throughout.

    Sealward Development GPU Root                        marked, lives at most 7 days
    `-- ... <chip> Identity
        `-- ... <chip> Provisioner ICA 1
            `-- ... <chip> A01 GSP BROM                  one device
                `-- ... <chip> A01 GSP FMC LF            the key that signs its reports

    Sealward Development RIM Root                        marked, lives at most 7 days
    `-- ... Reference Value CA
        `-- ... Reference Value L3
            `-- ... RIM Signer                           signs manifests

As in NVIDIA's, the certificates that a vendor issued name an OCSP responder, those that a device
makes for itself do not.
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
from sealward_devkit.pki.keys import p384_key
from sealward_devkit.pki.roots import GPU_ROOT, NAME_PREFIX, RIM_ROOT, root_template

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from sealward_devkit.pki.keys import RandomBytes

RESPONDER: Final = "http://ocsp.invalid"

_OID_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
_OID_OCSP: Final = "1.3.6.1.5.5.7.48.1"
_OID_COMPOSITE_DEVICE_ID: Final = "2.23.133.5.4.1"
_OID_SHA384: Final = "2.16.840.1.101.3.4.2.2"
_URI: Final = 0x86  # GeneralName [6]
_SERIAL_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A chain of CAs: certificates (DER) from the lowest to the root, and the lowest one's key.

    `keys` are theirs in the same order, for tests that revoke.
    """

    validity: Validity
    path: tuple[bytes, ...]
    name: str
    keys: tuple[EllipticCurvePrivateKey, ...] = field(repr=False)

    @property
    def root(self) -> bytes:
        """The development root, DER."""
        return self.path[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU or switch: its chip, its firmware (48 bytes), its key, its certificates leaf first."""

    chip: str
    fwid: bytes
    path: tuple[bytes, ...]
    key: EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who signs manifests: key and certificates, its own first."""

    path: tuple[bytes, ...]
    key: EllipticCurvePrivateKey = field(repr=False)


def gpu_authority(chip: str, random_bytes: RandomBytes, validity: Validity) -> Authority:
    """Root, identity CA and provisioner of a chip ("GH100", "GB100", "LS_10").

    Raises:
        ValueError: the root would live longer than 7 days.
    """
    names = f"{NAME_PREFIX}{chip} Identity", f"{NAME_PREFIX}{chip} Provisioner ICA 1"
    return _authority(GPU_ROOT, names, random_bytes, validity)


def rim_authority(random_bytes: RandomBytes, validity: Validity) -> Authority:
    """Root and two CAs above signers of manifests.

    Raises:
        ValueError: the root would live longer than 7 days.
    """
    names = f"{NAME_PREFIX}Reference Value CA", f"{NAME_PREFIX}Reference Value L3"
    return _authority(RIM_ROOT, names, random_bytes, validity)


def new_device(authority: Authority, chip: str, fwid: bytes, random_bytes: RandomBytes) -> Device:
    """A new device of a chip, running firmware with this digest."""
    processor = "FSP" if chip.startswith("LS") else "GSP"
    brom_name = f"{NAME_PREFIX}{chip} A01 {processor} BROM"
    brom_key, key = p384_key(random_bytes), p384_key(random_bytes)
    brom = _certificate(
        (authority.name, brom_name),
        (brom_key, authority.keys[0]),
        authority.validity,
        random_bytes,
        (extensions.basic_constraints(), extensions.key_usage(extensions.KEY_CERT_SIGN)),
    )
    leaf = _certificate(
        (brom_name, f"{NAME_PREFIX}{chip} A01 {processor} FMC LF"),
        (key, brom_key),
        authority.validity,
        random_bytes,
        (extensions.key_usage(extensions.DIGITAL_SIGNATURE), _composite(key, fwid)),
    )
    return Device(chip=chip, fwid=fwid, path=(leaf, brom, *authority.path), key=key)


def new_signer(authority: Authority, random_bytes: RandomBytes) -> Signer:
    """A new signer of manifests."""
    key = p384_key(random_bytes)
    chosen = (
        extensions.basic_constraints(ca=False),
        extensions.key_usage(extensions.DIGITAL_SIGNATURE),
        information_access(),
    )
    names = authority.name, f"{NAME_PREFIX}RIM Signer"
    keys = key, authority.keys[0]
    certificate = _certificate(names, keys, authority.validity, random_bytes, chosen)
    return Signer(path=(certificate, *authority.path), key=key)


def information_access() -> Extension:
    """AuthorityInformationAccess that names a responder which does not exist."""
    location = der.tlv(_URI, RESPONDER.encode())
    description = der.sequence(der.object_identifier(_OID_OCSP), location)
    return Extension(_OID_INFORMATION_ACCESS, der.sequence(description))


def _composite(key: EllipticCurvePrivateKey, fwid: bytes) -> Extension:
    """CompositeDeviceID (TCG DICE Layering), as Hopper's leaves have it."""
    named = der.sequence(der.object_identifier(_OID_SHA384), der.octet_string(fwid))
    spki = subject_public_key_info(key.public_key())
    return Extension(_OID_COMPOSITE_DEVICE_ID, der.sequence(der.integer(1), spki, named))


def _authority(
    root_name: str, names: tuple[str, str], random_bytes: RandomBytes, validity: Validity
) -> Authority:
    keys = tuple(p384_key(random_bytes) for _ in range(3))
    root = sign_certificate(root_template(root_name, keys[0].public_key(), validity), keys[0])
    usage = extensions.KEY_CERT_SIGN | extensions.CRL_SIGN
    chosen = (
        extensions.basic_constraints(),
        extensions.key_usage(usage),
        information_access(),
    )
    middle = _certificate((root_name, names[0]), (keys[1], keys[0]), validity, random_bytes, chosen)
    lowest = _certificate((names[0], names[1]), (keys[2], keys[1]), validity, random_bytes, chosen)
    return Authority(validity=validity, path=(lowest, middle, root), name=names[1], keys=keys[::-1])


def _certificate(
    names: tuple[str, str],
    keys: tuple[EllipticCurvePrivateKey, EllipticCurvePrivateKey],
    validity: Validity,
    random_bytes: RandomBytes,
    chosen: tuple[Extension, ...],
) -> bytes:
    """A certificate from (issuer's, own) names and (own, issuer's) keys."""
    template = Template(
        serial=int.from_bytes(random_bytes(_SERIAL_BYTES), "big"),
        issuer=names[0],
        subject=names[1],
        not_before=validity.not_before,
        not_after=validity.not_after,
        public_key=subject_public_key_info(keys[0].public_key()),
        extensions=chosen,
    )
    return sign_certificate(template, keys[1])
