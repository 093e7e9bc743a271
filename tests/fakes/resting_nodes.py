"""Nodes on record whose genuine TDX evidence rests on collateral that is held."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace

from fakes import collateral_files as files
from fakes import dcap_fixtures
from fakes.admin_plane import AdminPlane
from fakes.snp_fixtures import NOW
from fakes.state import a_lease, a_node, a_workload, an_evidence

from sealward.controlplane.adapters.evidence_verifier import LibraryVerifier
from sealward.controlplane.domain.errors import Conflict
from sealward.controlplane.domain.nodes import Node, NodeEvidence
from sealward.controlplane.domain.records import JsonText
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.collateral_view import CollateralBook
from sealward.controlplane.services.ports import Database, Transaction
from sealward.verifier.formats.dcap.evidence import Evidence, encode_tdx
from sealward.verifier.rats import evidence as envelopes


def tdx_envelope(machine: str = "first") -> bytes:
    """The evidence of a trust domain on that machine."""
    quote = dcap_fixtures.mint_tdx(dcap_fixtures.platform(machine)).quote
    return envelopes.encode(
        envelopes.Record(envelopes.TDX_EVIDENCE, encode_tdx(Evidence(quote=quote)))
    )


def tdx_evidence(database: Database, node: Node, machine: str = "first") -> NodeEvidence:
    """What is on record of a node that has attested now, with what is held."""
    cmw = tdx_envelope(machine)
    view = CollateralBook(database).view()
    found = LibraryVerifier(files.anchors()).verify(cmw, NOW, None, view)
    claims = ClaimsDocument.of(found.claims).encoded.decode()
    made = an_evidence(
        cmw=cmw,
        evidence_digest=hashlib.sha256(cmw).hexdigest(),
        claims=JsonText(claims),
        matches=view.matches,
        as_of=NOW,
    )
    return replace(made, node_id=node.node_id)


def resting(plane: AdminPlane, name: str, machine: str = "first", *, leases: int = 1) -> Node:
    """Put a TDX node with so many leases on record."""
    node = a_node(name, tee="tdx", development=True)
    evidence = tdx_evidence(plane.database, node, machine)

    def write(tx: Transaction) -> None:
        tx.nodes.add(node)
        tx.evidence.put(evidence)
        for number in range(leases):
            workload = a_workload(f"workload-{number}")
            with suppress(Conflict):
                tx.workloads.add(workload)
            tx.leases.add(a_lease(f"{name}-{number}", name, workload.name), ())

    plane.database.write(write)
    return node
