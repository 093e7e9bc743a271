"""A machine with a real swtpm that a control plane admits, made as `make demo ATTESTER=tpm` does.

Its TPM has two endorsement keys with certificates, and a control plane knows a machine by the one
that it shows: so one machine is two platforms here.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import Final

from sealward_devkit.demo.hardware import Launch, Tpm
from sealward_devkit.demo.stage import Stage
from sealward_devkit.tpm import machine

from benchmarks.load.installation import Installation, start

_NODE: Final = "node"
_IMAGE: Final = "bench-agent"
_CERTIFICATES: Final = (machine.CERTIFICATE, "ek-rsa2048.crt")  # as swtpm_setup names them


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmMachine:
    """A machine that has booted, and the control plane that admits it.

    Attributes:
        installation: the control plane.
        settings: the agent's table [attester], without its name.
    """

    installation: Installation
    settings: dict[str, object]


def boot(stage: Stage) -> TpmMachine:
    """Start a control plane, make a machine, have it admitted, and boot it.

    Raises:
        DevelopmentFilesError: swtpm is not installed.
        WentWrong: a command failed.
    """
    machine.require_programs()
    installation = start(stage)
    stage.run("sealward-devkit", "tpm", "create", f"tpm-{_NODE}", "--ca", "ca")
    stage.run(
        *("sealward", "trust-anchor", "add", "--development"),
        *(f"ca/{machine.ROOT}", f"ca/{machine.ISSUER}"),
    )
    document = stage.run("sealward-devkit", "tpm", "reference", _IMAGE, "--trust", "trust.json")
    (stage.folder / "reference.json").write_text(json.dumps(document))
    stage.run("sealward", "reference", "import", "reference.json")
    folder = stage.folder / f"tpm-{_NODE}"
    for certificate in _CERTIFICATES:
        stage.run("sealward", "platform", "allow", machine.platform_id(folder, certificate))
    table = Tpm().attester(stage, Launch(_NODE, _IMAGE, ""))
    settings: dict[str, object] = tomllib.loads(table)
    del settings["name"]
    return TpmMachine(installation=installation, settings=settings)
