"""What ends when if nothing is renewed, and who mends it: pure counting over recorded claims (F19).

docs/specs/collateral.md section 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from sealward.verifier.rats.collateral import Kind

# The last part of a limit's name, as formats write it -> what it is collateral of.
_KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "tcb_info": Kind.INTEL_TCB_INFO,
        "qe_identity": Kind.INTEL_QE_IDENTITY,
        "pck_crl": Kind.INTEL_PCK_CRL,
        "root_crl": Kind.INTEL_ROOT_CRL,
        "driver": Kind.NVIDIA_RIM,
        "vbios": Kind.NVIDIA_RIM,
        "ocsp": Kind.NVIDIA_OCSP,
    }
)
CERTIFICATES: Final = "certificates"  # a claim that does not tell its certificates apart


@unique
class Mend(StrEnum):
    """What keeps a node from failing on that day."""

    fetched = "fetched"  # this control plane renews it by itself
    import_newer = "import_newer"  # an operator imports a newer piece
    reprovision = "reprovision"  # a certificate of the platform: its owner gets a new one


_HINTS: Final[Mapping[Mend, str]] = MappingProxyType(
    {
        Mend.fetched: "nothing to do: it is fetched again from half of its validity on",
        Mend.import_newer: "get a newer one from its vendor: sealward collateral import FILE",
        Mend.reprovision: "the platform's owner renews its certificate; then the node attests anew",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The first thing of a node that ends.

    Attributes:
        node_id: whose.
        component: what ends: the key of a piece of collateral, or the name of a certificate.
        at: when, aware UTC.
        mend: what keeps that from happening.
        leases: active leases of the node.
    """

    node_id: str
    component: str
    at: datetime
    mend: Mend
    leases: int

    @property
    def hint(self) -> str:
        """What to do, in a sentence."""
        return _HINTS[self.mend]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cliff:
    """All that ends at one instant for one cause: a cliff where that is more than one node."""

    at: datetime
    component: str
    mend: Mend
    nodes: int
    leases: int

    @property
    def hint(self) -> str:
        """What to do, in a sentence."""
        return _HINTS[self.mend]


def kind_of(limit: str) -> Kind | None:
    """Return what a limit of a claim is collateral of; None for a certificate."""
    return _KINDS.get(limit.rpartition(".")[2])


def cliffs(endings: Iterable[Ending]) -> tuple[Cliff, ...]:
    """Return how many nodes and leases end at each instant, by cause, the earliest first."""
    grouped: dict[tuple[datetime, str, Mend], tuple[int, int]] = {}
    for ending in endings:
        key = (ending.at, ending.component, ending.mend)
        nodes, leases = grouped.get(key, (0, 0))
        grouped[key] = (nodes + 1, leases + ending.leases)
    return tuple(
        Cliff(at=at, component=component, mend=mend, nodes=nodes, leases=leases)
        for (at, component, mend), (nodes, leases) in sorted(grouped.items())
    )
