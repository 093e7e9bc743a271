"""Attestation documents: a COSE_Sign1 without tag, ES384, over AWS's map (evidence-formats 4).

Every member is an argument and nothing is checked: a test that needs an impossible document asks
for one. CBOR is AWS's: members in their usual order, and null for what was not given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from sealward_devkit.nitro.hierarchy import leaf_template
from sealward_devkit.pki.certificates import sign_certificate
from sealward_devkit.pki.keys import p384_key

if TYPE_CHECKING:
    from datetime import datetime

    from sealward_devkit.nitro.hierarchy import Instance
    from sealward_devkit.pki.keys import RandomBytes

_PROTECTED: Final = bytes.fromhex("a1013822")  # {1: -35}: ES384
_COORDINATE: Final = 48
_PCRS: Final = 16  # as many as real documents have
_NOTHING: Final = bytes(48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclave:
    """A running enclave: where, its name, what was measured, and its current leaf.

    Attributes:
        module_id: "i-...-enc...".
        pcrs: PCR index to value, 48 bytes; those that are not given are zero.
        key: signs documents.
        certificate: DER, of that key.
        cabundle: DER, root first.
    """

    module_id: str
    pcrs: tuple[tuple[int, bytes], ...]
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: bytes = field(repr=False)
    cabundle: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an enclave asks to have signed; None where it asks for nothing."""

    user_data: bytes | None = None
    nonce: bytes | None = None
    public_key: bytes | None = None


def start_enclave(
    instance: Instance,
    module_id: str,
    pcrs: tuple[tuple[int, bytes], ...],
    now: datetime,
    random_bytes: RandomBytes,
) -> Enclave:
    """Give an enclave a key and a leaf that lives 3 hours; the hypervisor renews it by another."""
    key = p384_key(random_bytes)
    template = leaf_template(instance, module_id, key.public_key(), now)
    return Enclave(
        module_id=module_id,
        pcrs=pcrs,
        key=key,
        certificate=sign_certificate(template, instance.key),
        cabundle=instance.cabundle,
    )


def mint_document(enclave: Enclave, request: Request, timestamp: datetime) -> bytes:
    """The document that the hypervisor would sign at `timestamp` (aware UTC)."""
    return sign_payload(cbor2.dumps(payload(enclave, request, timestamp)), enclave.key)


def payload(enclave: Enclave, request: Request, timestamp: datetime) -> dict[str, object]:
    """The map that is signed, in AWS's order, for tests that change a member of it."""
    return {
        "module_id": enclave.module_id,
        "digest": "SHA384",
        "timestamp": milliseconds(timestamp),
        "pcrs": dict.fromkeys(range(_PCRS), _NOTHING) | dict(enclave.pcrs),
        "certificate": enclave.certificate,
        "cabundle": list(enclave.cabundle),
        "public_key": request.public_key,
        "user_data": request.user_data,
        "nonce": request.nonce,
    }


def sign_payload(content: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A COSE_Sign1 over any content (RFC 9052 section 4.4)."""
    to_be_signed = cbor2.dumps(["Signature1", _PROTECTED, b"", content])
    r, s = utils.decode_dss_signature(key.sign(to_be_signed, ec.ECDSA(hashes.SHA384())))
    signature = r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
    return cbor2.dumps([_PROTECTED, {}, content, signature])


def milliseconds(instant: datetime) -> int:
    """Milliseconds since 1970, exactly."""
    return (instant - instant.fromtimestamp(0, instant.tzinfo)) // timedelta(milliseconds=1)
