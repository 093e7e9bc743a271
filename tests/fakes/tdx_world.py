"""A furnished control plane that also believes a development root of Intel's shape.

Its TDX nodes attest for real; the appraisal policy asks for nothing but that Intel calls their TCB
up to date, so that what a sweep takes away is collateral's doing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fakes.collateral_files import pem
from fakes.control_plane import World, world
from fakes.instances import Instance
from fakes.policies import ADMIT_ALL, ALLOW_ALL
from fakes.snp_fixtures import stream
from sealward_devkit.dcap.boot import td_report
from sealward_devkit.dcap.collateral import (
    current_qe_identity,
    current_tcb_info,
    judging,
    mint_collateral,
)
from sealward_devkit.dcap.hierarchy import Hierarchy, generate_root_keys, mint_hierarchy
from sealward_devkit.dcap.platform import Platform, Tee, new_platform, new_quoting_enclave
from sealward_devkit.dcap.quote import Shape, mint_quote
from sealward_devkit.pki.certificates import Validity

from sealward.controlplane.adapters.system_clock import SystemClock
from sealward.controlplane.domain.policies import PolicyKind
from sealward.verifier.formats.dcap.evidence import Evidence, encode_tdx
from sealward.verifier.pki import certificate
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.wire import pem as armour

UP_TO_DATE_ONLY = {
    ".manifest": '{"roots":["sealward/appraisal"],"rego_version":1}',
    "policy.rego": """package sealward.appraisal

import rego.v1

default hardware := "contraindicated"

hardware := "affirming" if not input.claims.tcb_status

hardware := "affirming" if input.claims.tcb_status == "UpToDate"

trust_vector := {
	"instance-identity": "affirming",
	"configuration": "affirming",
	"executables": "affirming",
	"file-system": "none",
	"hardware": hardware,
	"runtime-opaque": "affirming",
	"storage-opaque": "none",
	"sourced-data": "none",
}

reasons contains {
	"code": "tcb_out_of_date",
	"claim": "claims.tcb_status",
	"expected": "UpToDate",
	"actual": input.claims.tcb_status,
	"hint": "update the platform",
} if hardware != "affirming"
""",
}


@cache
def _began() -> datetime:
    return SystemClock().now().replace(microsecond=0) - timedelta(hours=1)


@cache
def hierarchy() -> Hierarchy:
    """The development root, made once a process."""
    validity = Validity(_began(), _began() + timedelta(days=6))
    return mint_hierarchy(generate_root_keys(stream("tdx world")), validity)


@cache
def machine(name: str = "first") -> Platform:
    """A machine of that root; another name is another one of the same type."""
    return new_platform(hierarchy(), stream(f"tdx machine {name}"))


def generation(
    number: int = 20,
    status: str = "UpToDate",
    *,
    revoked: tuple[Platform, ...] = (),
    minutes: int = 0,
    **changes: Any,  # noqa: ANN401 - fields of TcbInfo
) -> bytes:
    """All of Intel's collateral, issued so many minutes after the root, as one bundle."""
    issued = _began() + timedelta(minutes=minutes)
    info = judging(
        replace(current_tcb_info(Tee.TDX, issued), evaluation_number=number, **changes), status
    )
    serials = tuple(certificate.parse(one.pck).serial for one in revoked)
    made = mint_collateral(hierarchy(), info, current_qe_identity(Tee.TDX, issued), revoked=serials)
    return made.to_json().encode()


@dataclass
class TdxInstance(Instance):
    """A trust domain that attests."""

    machine: Platform = field(default_factory=machine)

    def evidence(self, encoded: bytes, **_: Any) -> bytes:  # noqa: ANN401 - the base's signature
        """A quote over the binding."""
        report = td_report("image", report_data=bindings.digest(encoded))
        enclave = new_quoting_enclave(Tee.TDX, stream("tdx enclave"))
        quote = mint_quote(Shape.TDX_4, report, self.machine, enclave)
        payload = encode_tdx(Evidence(quote=quote))
        return envelopes.encode(envelopes.Record(envelopes.TDX_EVIDENCE, payload))


@contextmanager
def tdx_world(folder: Path) -> Iterator[World]:
    """Open a furnished control plane that TDX nodes can join."""
    with world(folder):
        pass  # furnishes the folder
    roots = folder / "root.der"
    ours = roots.read_bytes()
    if not armour.looks_like(ours):
        roots.write_bytes(pem(ours, hierarchy().root))
    with world(folder) as here:
        here.activate(PolicyKind.APPRAISAL, UP_TO_DATE_ONLY)
        here.activate(PolicyKind.ENROLLMENT, ADMIT_ALL)
        here.activate(PolicyKind.RELEASE, ALLOW_ALL)
        yield here
