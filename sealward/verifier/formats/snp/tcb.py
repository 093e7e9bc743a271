"""TCB_VERSION: eight bytes whose meaning depends on the product (AMD 56860, 57230).

Compared component by component and never as a 64-bit number: microcode sits in the highest byte, so
a number would call a newer microcode with an older firmware "greater".
"""

from __future__ import annotations

from typing import Final

from sealward.verifier.formats.snp.product import Product
from sealward.verifier.rats.claims import SecurityVersions
from sealward.verifier.rats.errors import Code, RefusedEvidence

# Component names by byte, lowest address first; "" is reserved and zero.
_LAYOUTS: Final = {
    Product.MILAN: ("bootloader", "tee", "", "", "", "", "snp", "microcode"),
    Product.GENOA: ("bootloader", "tee", "", "", "", "", "snp", "microcode"),
    Product.TURIN: ("fmc", "bootloader", "tee", "snp", "", "", "", "microcode"),
}
_USED: Final = {
    product: tuple((name, at) for at, name in enumerate(layout) if name)
    for product, layout in _LAYOUTS.items()
}
_RESERVED: Final = {
    product: tuple(at for at, name in enumerate(layout) if not name)
    for product, layout in _LAYOUTS.items()
}


def decode(name: str, raw: bytes, product: Product) -> SecurityVersions:
    """Return the components of one TCB of a report, called `name` in claims.

    Raises:
        RefusedEvidence: TCB_MISMATCH when a byte that `product` does not use is not zero.
    """
    used, reserved = _USED[product], _RESERVED[product]
    if any(raw[at] for at in reserved):
        raise RefusedEvidence(
            Code.TCB_MISMATCH,
            f"the {name} TCB uses bytes that {product} does not have",
            claim=f"tcb.{name}",
            actual=raw.hex(),
        )
    return SecurityVersions(name, tuple([(component, raw[at]) for component, at in used]))


def encode(components: dict[str, int], product: Product) -> bytes:
    """Return the eight bytes of named components, each 0..255; unnamed bytes are zero."""
    return bytes(components[name] if name else 0 for name in _LAYOUTS[product])


def has_component(product: Product, component: str) -> bool:
    """Whether a TCB of `product` has this component."""
    return component in _LAYOUTS[product]
