"""`sealward audit`: read the log, take it away, and verify it offline."""

from __future__ import annotations

from typing import Final

from sealward.controlplane.cli.lazy import LazyGroup

_COMMANDS: Final = {
    "checkpoint": "sealward.controlplane.cli.audit_remote:checkpoint",
    "entries": "sealward.controlplane.cli.audit_remote:entries",
    "export": "sealward.controlplane.cli.audit_remote:export",
    "log-key": "sealward.controlplane.cli.audit_remote:log_key",
    "verify": "sealward.controlplane.cli.audit_verify:audit_verify",
}

audit: Final = LazyGroup("audit", _COMMANDS, help="Read, export and verify the audit log.")
