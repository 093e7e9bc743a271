"""The `sealward` command: parses, delegates, and prints errors as one sentence and a hint."""

from __future__ import annotations

from typing import Any, Final

import click
from click.exceptions import NoArgsIsHelpError

import sealward
from sealward.controlplane.cli.lazy import LazyGroup
from sealward.controlplane.cli.terminal import Failure, printable
from sealward.controlplane.domain.errors import DomainError

# name -> "module:attribute". Loaded on use, so `sealward verify` never imports the server.
_COMMANDS: Final[dict[str, str]] = {
    # local tools
    "verify": "sealward.controlplane.cli.verify:verify",
    # local and remote together
    "audit": "sealward.controlplane.cli.audit:audit",
    "model": "sealward.controlplane.cli.model:model",
    "serve": "sealward.controlplane.cli.serve:serve",
    # remote: HTTP only
    "admin": "sealward.controlplane.cli.admin:admin",
    "client-token": "sealward.controlplane.cli.client_token:client_token",
    "collateral": "sealward.controlplane.cli.collateral:collateral",
    "exposure": "sealward.controlplane.cli.model_remote:exposure",
    "join-token": "sealward.controlplane.cli.join_token:join_token",
    "lease": "sealward.controlplane.cli.lease:lease",
    "node": "sealward.controlplane.cli.node:node",
    "platform": "sealward.controlplane.cli.platform:platform",
    "policy": "sealward.controlplane.cli.policy:policy",
    "reference": "sealward.controlplane.cli.reference:reference",
    "result-key": "sealward.controlplane.cli.result_key:result_key",
    "status": "sealward.controlplane.cli.status:status",
    "trust": "sealward.controlplane.cli.trust:trust",
    "trust-anchor": "sealward.controlplane.cli.trust_anchor:trust_anchor",
    "workload": "sealward.controlplane.cli.workload:workload",
}


class _Main(LazyGroup):
    """The outermost group: whatever a command refuses with ends here, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except (NoArgsIsHelpError, BrokenPipeError):  # nobody reads on (`| head`): click ends it
            raise
        except click.UsageError as error:  # may name a file, and anybody names files
            raise click.UsageError(printable(error.format_message()), error.ctx) from None
        except DomainError as error:
            raise Failure(f"{error.code}: {error.detail}", error.hint) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise Failure(f"{where}{error.strerror or error}") from None


main: Final = click.version_option(sealward.__version__, prog_name="sealward")(
    _Main(
        "sealward",
        _COMMANDS,
        help="Leased keys for attested nodes: policy as code for confidential AI.",
    )
)
