"""Development SEV-SNP evidence in memory, for every suite that needs some.

Real formats under a test root: RSA-4096 hierarchies are made once per process and product (about a
second each) and cached; platforms and reports cost milliseconds. Everything is valid at `NOW`.

    evidence = mint(report_data=bytes(64), measurement=MEASUREMENT)
    evidence.report, evidence.vek, evidence.intermediate, evidence.root    # bytes, DER
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sealward_devkit.pki.certificates import Validity
from sealward_devkit.platform import Platform, vcek_platform, vlek_platform
from sealward_devkit.snp.hierarchy import (
    Hierarchy,
    RootKeys,
    generate_root_keys,
    mint_hierarchy,
)
from sealward_devkit.snp.products import Product
from sealward_devkit.snp.report import (
    Patch,
    development_measurement,
    key_info,
    mint_report,
    typical_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward_devkit.pki.certificates import Extension, Template

NOW: Final = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
VALIDITY: Final = Validity(NOW - timedelta(days=1), NOW + timedelta(days=6))
MEASUREMENT: Final = development_measurement("good agent")
CSP_ID: Final = "CN=cc.provider.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A report and the DER certificates that endorse it."""

    report: bytes
    vek: bytes
    intermediate: bytes
    root: bytes

    @property
    def certificates(self) -> tuple[bytes, bytes, bytes]:
        """Leaf first, root last."""
        return (self.vek, self.intermediate, self.root)


def root_keys(product: Product = Product.MILAN) -> RootKeys:
    """The RSA keys behind `hierarchy(product)`, for tests that sign something else with them."""
    return _root_keys(product)


def hierarchy(product: Product = Product.MILAN) -> Hierarchy:
    """The development hierarchy of a product, valid during `VALIDITY`."""
    return _hierarchy(product)


def platform(product: Product = Product.MILAN, name: str = "first") -> Platform:
    """A VCEK platform; another name is another chip of the same root."""
    return _platform(product, name)


def provider_platform(product: Product = Product.MILAN, name: str = "first") -> Platform:
    """A VLEK platform of the provider `CSP_ID`."""
    return _provider_platform(product, name)


def mint(chip: Platform | None = None, *patches: Patch, version: int = 5, **changes: Any) -> Minted:  # noqa: ANN401 - any field of ReportFields
    """A report of a typical guest with some fields changed, signed by the chip's key."""
    chip = platform() if chip is None else chip
    typical = typical_fields(chip.product, chip.tcb, version=version, chip_id=chip.chip_id)
    defaults: dict[str, Any] = {
        "key_info": key_info(chip.signing_key),
        "measurement": MEASUREMENT,
        "report_id": hashlib.sha256(b"a guest").digest(),
    }
    fields = replace(typical, **(defaults | changes))
    return Minted(
        report=mint_report(fields, chip.key, *patches),
        vek=chip.vek,
        intermediate=chip.intermediate,
        root=chip.root,
    )


def without_extension(template: Template, oid: str) -> Template:
    """The template less one of its extensions, which it must have."""
    kept = tuple(item for item in template.extensions if item.oid != oid)
    if len(kept) != len(template.extensions) - 1:
        raise ValueError(f"no extension {oid} to take away")
    return replace(template, extensions=kept)


def with_extension(template: Template, extension: Extension) -> Template:
    """The template with one extension added, or replaced where it has one of that OID."""
    kept = tuple(item for item in template.extensions if item.oid != extension.oid)
    return replace(template, extensions=(*kept, extension))


def stream(name: str) -> Callable[[int], bytes]:
    """A reproducible source of bytes: a counter under SHAKE-256. For tests only."""
    counter = 0

    def take(size: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{name} {counter}".encode()).digest(size)

    return take


# The caches take no default arguments: `f()` and `f(MILAN)` would be two entries, hence two keys.


@cache
def _root_keys(product: Product) -> RootKeys:
    del product  # the key of the cache: every product has its own root
    return generate_root_keys()


@cache
def _hierarchy(product: Product) -> Hierarchy:
    return mint_hierarchy(product, _root_keys(product), VALIDITY)


@cache
def _platform(product: Product, name: str) -> Platform:
    return vcek_platform(_hierarchy(product), stream(f"{product} {name}"))


@cache
def _provider_platform(product: Product, name: str) -> Platform:
    return vlek_platform(_hierarchy(product), stream(f"{product} {name} vlek"), csp_id=CSP_ID)
