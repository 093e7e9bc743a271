"""Certificate revocation lists, version 2 (RFC 5280 section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward_devkit.pki import der_writer as der
from sealward_devkit.pki.certificates import (
    Extension,
    IssuerKey,
    algorithm_identifier,
    encode_extension,
    name,
    sign,
    usual_algorithm,
)
from sealward_devkit.pki.extensions import authority_key_identifier

if TYPE_CHECKING:
    from sealward_devkit.pki.certificates import Validity

_VERSION_2: Final = 1
_CRL_NUMBER: Final = "2.5.29.20"


def revocation_list(
    issuer: str,
    key: IssuerKey,
    updates: Validity,
    *,
    number: int = 1,
    revoked: tuple[int, ...] = (),
) -> bytes:
    """The DER list of the CA named `issuer`.

    `updates` are thisUpdate and nextUpdate; `revoked` are serial numbers, all revoked at
    thisUpdate; `number` is the list's own, which a CA only ever raises.
    """
    identifier = algorithm_identifier(usual_algorithm(key))
    began = der.time(updates.not_before)
    entries = [der.sequence(der.integer(serial), began) for serial in revoked]
    extensions = (
        authority_key_identifier(key.public_key()),
        Extension(_CRL_NUMBER, der.integer(number)),
    )
    body = der.sequence(
        der.integer(_VERSION_2),
        identifier,
        name(issuer),
        began,
        der.time(updates.not_after),
        der.sequence(*entries) if entries else b"",  # absent when there is none (5.1.2.6)
        der.explicit(0, der.sequence(*(encode_extension(item) for item in extensions))),
    )
    return der.sequence(body, identifier, der.bit_string(sign(body, key, usual_algorithm(key))))
