"""What differs between the three SNP products: identity, TCB layout and chip id size.

Source: evidence-formats section 2 (TCB_VERSION table, CPUID to product, VEK extensions).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

CHIP_ID_SIZE: Final = 64


class Product(StrEnum):
    """An EPYC product that signs SNP reports; the value is AMD's name for it."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"


@dataclass(frozen=True, slots=True)
class Cpuid:
    """Family (extended plus base), model and stepping as a version 3 report carries them."""

    family: int
    model: int
    stepping: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcb:
    """Security patch levels, each 0..255; `fmc` exists on Turin only."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0


def encode_tcb(product: Product, tcb: Tcb) -> bytes:
    """TCB_VERSION, 8 bytes, in the order this product uses."""
    match product:
        case Product.MILAN | Product.GENOA:
            return bytes((tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode))
        case Product.TURIN:
            return bytes((tcb.fmc, tcb.bootloader, tcb.tee, tcb.snp, 0, 0, 0, tcb.microcode))
        case _ as never:
            assert_never(never)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFacts:
    """The constants of one product.

    `vcek_product_name` is the text in the VCEK's productName extension (with a stepping on Milan),
    `hw_id_size` the bytes of CHIP_ID that mean something, `default_tcb` a plausible current TCB.
    """

    vcek_product_name: str
    struct_version: int
    hw_id_size: int
    cpuid: Cpuid
    default_tcb: Tcb


FACTS: Final[dict[Product, ProductFacts]] = {
    Product.MILAN: ProductFacts(
        vcek_product_name="Milan-B0",
        struct_version=0,
        hw_id_size=64,
        cpuid=Cpuid(0x19, 0x01, 0x01),
        default_tcb=Tcb(bootloader=4, tee=0, snp=0x18, microcode=0xDB),
    ),
    Product.GENOA: ProductFacts(
        vcek_product_name="Genoa",
        struct_version=0,
        hw_id_size=64,
        cpuid=Cpuid(0x19, 0x11, 0x01),
        default_tcb=Tcb(bootloader=10, tee=0, snp=0x17, microcode=0x54),
    ),
    Product.TURIN: ProductFacts(
        vcek_product_name="Turin",
        struct_version=1,
        hw_id_size=8,
        cpuid=Cpuid(0x1A, 0x02, 0x01),
        default_tcb=Tcb(fmc=1, bootloader=1, tee=1, snp=4, microcode=0x47),
    ),
}
