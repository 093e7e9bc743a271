"""The format's own fields as plain JSON, for people and tools.

Policies see the normalised claims instead (`rats.claims`). Byte fields are lower-case hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealward.verifier.formats.hygon_csv.report import Report
    from sealward.verifier.rats.claims import Json


def describe_report(report: Report) -> dict[str, Json]:
    """Return every field of a report but its certificate, signature and mac."""
    return {
        "user_pubkey_digest": report.user_pubkey_digest.hex(),
        "vm_id": report.vm_id.hex(),
        "vm_version": report.vm_version.hex(),
        "report_data": report.report_data.hex(),
        "mnonce": report.mnonce.hex(),
        "measure": report.measure.hex(),
        "policy": f"{report.policy:#x}",
        "policy_flags": dict(report.policy_flags),
        "sig_usage": f"{report.sig_usage:#x}",
        "sig_algo": f"{report.sig_algo:#x}",
        "anonce": report.anonce.hex(),
        "serial_unsigned": report.serial,
    }
