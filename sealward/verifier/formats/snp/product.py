"""AMD's product lines: which there are, and how a report or certificate names them."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

from sealward.verifier.rats.errors import Code, RefusedEvidence


@unique
class Product(StrEnum):
    """A product line whose TCB layout and root we know, in AMD's spelling."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"

    @property
    def struct_version(self) -> int:
        """The structVersion (3704.1.1) of its endorsement certificates."""
        return 1 if self is Product.TURIN else 0

    @property
    def chip_id_size(self) -> int:
        """How many bytes of CHIP_ID are the chip's; the rest is zero."""
        return 8 if self is Product.TURIN else 64


# Family, first and last model (AMD 57230; evidence-formats section 2). Genoa includes Bergamo and
# Siena. Venice (1A/50-57, 90-AF, C0-C7) is left out until its root can be pinned.
_MODELS: Final = (
    (0x19, 0x00, 0x0F, Product.MILAN),
    (0x19, 0x10, 0x1F, Product.GENOA),
    (0x19, 0xA0, 0xAF, Product.GENOA),
    (0x1A, 0x00, 0x11, Product.TURIN),
)


def of_cpuid(family: int, model: int) -> Product:
    """Return the product line of a processor.

    Raises:
        RefusedEvidence: UNSUPPORTED_FORMAT.
    """
    for known_family, first, last, product in _MODELS:
        if family == known_family and first <= model <= last:
            return product
    raise RefusedEvidence(
        Code.UNSUPPORTED_FORMAT,
        "the report names a processor that this version does not know",
        claim="product",
        expected=", ".join(Product),
        actual=f"family {family:#x} model {model:#x}",
    )


def of_name(name: str) -> Product:
    """Return the product line of a certificate's productName; a stepping ("-B0") is dropped.

    Raises:
        RefusedEvidence: UNSUPPORTED_FORMAT.
    """
    try:
        return Product(name.partition("-")[0])
    except ValueError:
        raise RefusedEvidence(
            Code.UNSUPPORTED_FORMAT,
            "the endorsement key is for a product that this version does not know",
            claim="product",
            expected=", ".join(Product),
            actual=name,
        ) from None
