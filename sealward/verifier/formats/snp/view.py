"""The format's own fields as plain JSON, for people and tools: every field of report and VEK.

Policies see the normalised claims instead (`rats.claims`). Byte fields are lower-case hex, 64-bit
fields "0x..." text, since JSON readers keep only 53 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.snp import tcb
from sealward.verifier.formats.snp.report import FIELDS

if TYPE_CHECKING:
    from sealward.verifier.formats.snp.product import Product
    from sealward.verifier.formats.snp.report import Report
    from sealward.verifier.formats.snp.vek import Vek
    from sealward.verifier.rats.claims import Json

_TCBS: Final = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
_HEX_FIELDS: Final = tuple(
    name
    for name, code, _ in FIELDS
    if code.endswith("s")
    and name not in _TCBS
    and not name.startswith(("reserved_", "signature_", "current_", "committed_"))
)


def describe_report(report: Report, product: Product) -> dict[str, Json]:
    """Return every field of a report; `product` says how to read its TCBs."""
    view: dict[str, Json] = {
        "version": report.version,
        "guest_svn": report.guest_svn,
        "policy": f"{report.policy:#x}",
        "policy_abi": "{}.{}".format(*report.abi),
        "policy_flags": dict(report.policy_flags),
        "vmpl": report.vmpl,
        "signature_algo": report.signature_algo,
        "platform_info": f"{report.platform_info:#x}",
        "platform_flags": dict(report.platform_flags),
        "author_key_enabled": report.author_key_enabled,
        "mask_chip_key": report.mask_chip_key,
        "signing_key": report.signing_key.name.lower(),
        "current_version": "{}.{}.{}".format(*report.current_build),
        "committed_version": "{}.{}.{}".format(*report.committed_build),
    }
    for name in _HEX_FIELDS:
        view[name] = _octets(report, name).hex()
    for name in _TCBS:
        raw = _octets(report, name)
        components = tcb.decode(name.removesuffix("_tcb"), raw, product).to_json()
        view[name] = {**components, "raw": raw.hex()}
    if report.has_cpuid:
        view["cpuid"] = {
            "family": report.cpuid_family,
            "model": report.cpuid_model,
            "stepping": report.cpuid_stepping,
        }
    if report.has_mitigations:
        view["launch_mit_vector"] = f"{report.launch_mit_vector:#x}"
        view["current_mit_vector"] = f"{report.current_mit_vector:#x}"
    return view


def describe_vek(extensions: Vek) -> dict[str, Json]:
    """Return every extension of an endorsement certificate that is there."""
    view: dict[str, Json | None] = {
        "kind": extensions.kind.value,
        "struct_version": extensions.struct_version,
        "product_name": extensions.product_name,
        "bl": extensions.bl,
        "tee": extensions.tee,
        "snp": extensions.snp,
        "spl4": extensions.spl4,
        "spl5": extensions.spl5,
        "spl6": extensions.spl6,
        "spl7": extensions.spl7,
        "ucode": extensions.ucode,
        "fmc": extensions.fmc,
        "hwid": None if extensions.hwid is None else extensions.hwid.hex(),
        "csp_id": extensions.csp_id,
    }
    return {name: value for name, value in view.items() if value is not None}


def _octets(report: Report, name: str) -> bytes:
    value: bytes = getattr(report, name)
    return value
