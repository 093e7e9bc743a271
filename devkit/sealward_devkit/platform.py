"""A development platform: what a chip and its key service hold, in memory.

The platform owns the chip id and the key that signs reports. Guests on it share both; a guest's own
identity is the REPORT_ID its attester draws (security-requirements F5).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from sealward_devkit.pki.certificates import sign_certificate
from sealward_devkit.pki.keys import RandomBytes, p384_key
from sealward_devkit.snp.hierarchy import Hierarchy, vcek_template, vlek_template
from sealward_devkit.snp.products import CHIP_ID_SIZE, FACTS, Product, Tcb
from sealward_devkit.snp.report import SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One chip of a development root.

    `chip_id` is CHIP_ID as reports carry it: 64 bytes, all zero for a VLEK platform, whose provider
    hides the chip. `vek`, `intermediate` and `root` are DER certificates.
    """

    product: Product
    signing_key: SigningKey
    tcb: Tcb
    chip_id: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    vek: bytes = field(repr=False)
    intermediate: bytes = field(repr=False)
    root: bytes = field(repr=False)

    @property
    def platform_id(self) -> str | None:
        """The identity the verifier derives, `snp:chip:<hwID in hex>`; None if masked."""
        hw_id = self.chip_id[: FACTS[self.product].hw_id_size]
        return f"snp:chip:{hw_id.hex()}" if any(hw_id) else None


def vcek_platform(
    hierarchy: Hierarchy, random_bytes: RandomBytes, *, tcb: Tcb | None = None
) -> Platform:
    """A new chip with its own VCEK, valid as long as its root."""
    product, facts = hierarchy.product, FACTS[hierarchy.product]
    tcb = facts.default_tcb if tcb is None else tcb
    hw_id = random_bytes(facts.hw_id_size)
    key = p384_key(random_bytes)
    template = vcek_template(product, key.public_key(), tcb, hw_id, hierarchy.validity)
    return Platform(
        product=product,
        signing_key=SigningKey.VCEK,
        tcb=tcb,
        chip_id=hw_id.ljust(CHIP_ID_SIZE, b"\0"),
        key=key,
        vek=sign_certificate(template, hierarchy.ask_key),
        intermediate=hierarchy.ask,
        root=hierarchy.ark,
    )


def vlek_platform(
    hierarchy: Hierarchy, random_bytes: RandomBytes, *, csp_id: str, tcb: Tcb | None = None
) -> Platform:
    """A host of a cloud provider: signs by a VLEK that names `csp_id`, and masks its chip id."""
    product = hierarchy.product
    tcb = FACTS[product].default_tcb if tcb is None else tcb
    key = p384_key(random_bytes)
    template = vlek_template(product, key.public_key(), tcb, csp_id, hierarchy.validity)
    return Platform(
        product=product,
        signing_key=SigningKey.VLEK,
        tcb=tcb,
        chip_id=bytes(CHIP_ID_SIZE),
        key=key,
        vek=sign_certificate(template, hierarchy.asvk_key),
        intermediate=hierarchy.asvk,
        root=hierarchy.ark,
    )
