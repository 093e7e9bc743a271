"""What AMD writes into an endorsement certificate: the 3704.1 extensions (AMD 57230, section 4).

A VCEK belongs to a chip and names it (hwID); a VLEK belongs to a cloud provider and names that
(cspID), and proves no chip. Both are made for exactly one reported TCB.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import der

if TYPE_CHECKING:
    from sealward.verifier.pki.certificate import Certificate

_ARC: Final = "1.3.6.1.4.1.3704.1."
OID_PRODUCT_NAME: Final = _ARC + "2"
_OID_HWID: Final = _ARC + "4"
_OID_CSP_ID: Final = _ARC + "5"

_MAX_SPL_BYTES: Final = 2  # 80 to FF take a leading zero
_MAX_SPL: Final = 0xFF
_MAX_VALUE_BYTES: Final = 256
_HWID_SIZES: Final = (8, 64)


@unique
class VekKind(StrEnum):
    """Whom the key belongs to: a chip, or a provider."""

    VCEK = "vcek"
    VLEK = "vlek"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vek:
    """The extensions of an endorsement certificate. Security patch levels are 0..255.

    Attributes:
        struct_version: 0 for Milan and Genoa, 1 for Turin.
        product_name: as written, "Milan-B0".
        spl4, spl5, spl6, spl7: reserved levels; Turin lacks the first.
        fmc: Turin's, None elsewhere.
        hwid: the chip, 64 bytes or Turin's 8; None in a VLEK.
        csp_id: the provider, None in a VCEK.
    """

    struct_version: int
    product_name: str
    bl: int
    tee: int
    snp: int
    spl4: int | None
    spl5: int
    spl6: int
    spl7: int
    ucode: int
    fmc: int | None
    hwid: bytes | None
    csp_id: str | None

    @property
    def kind(self) -> VekKind:
        """VCEK when a chip is named."""
        return VekKind.VLEK if self.hwid is None else VekKind.VCEK


def is_vek(certificate: Certificate) -> bool:
    """Whether a certificate presents itself as an AMD endorsement key."""
    return certificate.extension(OID_PRODUCT_NAME) is not None


def parse(certificate: Certificate) -> Vek:
    """Read the extensions of an endorsement certificate.

    Raises:
        MalformedEvidence: a required one is missing, or one is not what AMD 57230 says.
    """
    hwid = certificate.extension(_OID_HWID)
    csp_id = _optional_text(certificate, _OID_CSP_ID)
    if (hwid is None) == (csp_id is None):
        raise MalformedEvidence(0, "VEK: exactly one of hwID and cspID is needed")
    # The hwID is the raw extension value, not an OCTET STRING inside it.
    if hwid is not None and len(hwid.value) not in _HWID_SIZES:
        raise MalformedEvidence(0, f"VEK: hwID of {len(hwid.value)} bytes")
    return Vek(
        struct_version=_number(certificate, "1"),
        product_name=_text(certificate, OID_PRODUCT_NAME),
        bl=_number(certificate, "3.1"),
        tee=_number(certificate, "3.2"),
        snp=_number(certificate, "3.3"),
        spl4=_optional_number(certificate, "3.4"),
        spl5=_number(certificate, "3.5"),
        spl6=_number(certificate, "3.6"),
        spl7=_number(certificate, "3.7"),
        ucode=_number(certificate, "3.8"),
        fmc=_optional_number(certificate, "3.9"),
        hwid=None if hwid is None else hwid.value,
        csp_id=csp_id,
    )


def _number(certificate: Certificate, suffix: str) -> int:
    value = _optional_number(certificate, suffix)
    if value is None:
        raise MalformedEvidence(0, f"VEK: extension 3704.1.{suffix} is missing")
    return value


def _optional_number(certificate: Certificate, suffix: str) -> int | None:
    extension = certificate.extension(_ARC + suffix)
    if extension is None:
        return None
    what = f"VEK extension 3704.1.{suffix}"
    reader = der.read(extension.value, what=what, max_bytes=_MAX_VALUE_BYTES)
    value = reader.integer(what, max_bytes=_MAX_SPL_BYTES)
    reader.finish()
    if not 0 <= value <= _MAX_SPL:
        raise MalformedEvidence(0, f"{what}: {value} is not 0 to 255")
    return value


def _text(certificate: Certificate, oid: str) -> str:
    value = _optional_text(certificate, oid)
    if value is None:
        raise MalformedEvidence(0, f"VEK: extension {oid} is missing")
    return value


def _optional_text(certificate: Certificate, oid: str) -> str | None:
    extension = certificate.extension(oid)
    if extension is None:
        return None
    reader = der.read(extension.value, what=f"VEK extension {oid}", max_bytes=_MAX_VALUE_BYTES)
    value = reader.ia5(f"VEK extension {oid}")
    reader.finish()
    if not value or not value.isprintable():
        raise MalformedEvidence(0, f"VEK extension {oid}: empty or not printable")
    return value
