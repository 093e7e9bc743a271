"""The format's own fields as plain JSON, for people and tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.formats.hcl.report import HclReport
    from sealward.verifier.formats.hcl.runtime import RuntimeClaims
    from sealward.verifier.rats.claims import Json


def describe(report: HclReport, said: RuntimeClaims) -> dict[str, Json]:
    """Return every field of a report but the hardware report and the keys' numbers."""
    keys: list[Json] = [*said.keys]
    return {
        "version": report.version,
        "hardware": report.hardware.name.lower(),
        "hash": report.hash.label,
        "runtime_claims_size": len(report.claims),
        "runtime_claims_sha256": HashAlg.SHA256.digest(report.claims).hex(),
        "keys": keys,
        "vm_configuration": dict(said.configuration),
        "user_data": None if said.user_data is None else said.user_data.hex(),
    }
