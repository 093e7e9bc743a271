"""Development roots: their names, their life, and the certificate of one with an elliptic key.

The names of this list are all that the verifier imports (sealward.verifier.pki.development); AMD's
are in `sealward_devkit.snp.hierarchy`, one for each product.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealward_devkit.pki import extensions
from sealward_devkit.pki.certificates import Template, Validity, subject_public_key_info

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAXIMUM_ROOT_LIFE: Final = timedelta(days=7)
NAME_PREFIX: Final = "Sealward Development "

DCAP_ROOT: Final = f"{NAME_PREFIX}DCAP Root"
NITRO_ROOT: Final = f"{NAME_PREFIX}Nitro Root"
GPU_ROOT: Final = f"{NAME_PREFIX}GPU Root"
RIM_ROOT: Final = f"{NAME_PREFIX}RIM Root"
GOOGLE_ROOT: Final = f"{NAME_PREFIX}Google AK Root"


def root_template(
    name: str, key: RSAPublicKey | EllipticCurvePublicKey, validity: Validity
) -> Template:
    """A self-signed development root of this name.

    Raises:
        ValueError: it would live longer than `MAXIMUM_ROOT_LIFE`. Tests that need such a root
            replace the dates of the template.
    """
    require_short_life(validity)
    return Template(
        serial=1,
        issuer=name,
        subject=name,
        not_before=validity.not_before,
        not_after=validity.not_after,
        public_key=subject_public_key_info(key),
        extensions=(
            extensions.key_usage(extensions.KEY_CERT_SIGN | extensions.CRL_SIGN),
            extensions.subject_key_identifier(key),
            extensions.basic_constraints(),
            extensions.development_marker(),
        ),
    )


def require_short_life(validity: Validity) -> None:
    """Refuse dates that no development root may have, with `ValueError`."""
    if validity.not_after - validity.not_before > MAXIMUM_ROOT_LIFE:
        raise ValueError("a development root lives at most 7 days")
