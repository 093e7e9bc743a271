"""`sealward model`: sealing models on the owner's machine, and registering what was sealed."""

from __future__ import annotations

from typing import Final

from sealward.controlplane.cli.lazy import LazyGroup

_COMMANDS: Final = {
    # local tools
    "creator-keygen": "sealward.controlplane.cli.model_keygen:creator_keygen",
    "inspect": "sealward.controlplane.cli.model_inspect:inspect",
    "rewrap": "sealward.controlplane.cli.model_rewrap:rewrap_command",
    "seal": "sealward.controlplane.cli.model_seal:seal_command",
    "verify": "sealward.controlplane.cli.model_verify:verify_command",
    # remote: HTTP only
    "list": "sealward.controlplane.cli.model_remote:list_models",
    "register": "sealward.controlplane.cli.model_remote:register",
    "withdraw": "sealward.controlplane.cli.model_remote:withdraw",
}

model: Final = LazyGroup(
    "model",
    _COMMANDS,
    help="Seal models, check sealed ones, register them.",
)
