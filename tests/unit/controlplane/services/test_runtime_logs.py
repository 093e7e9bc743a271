"""Kept states are decoded once, in bounded memory, and are never another node's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from fakes import measuring_machines
from fakes.control_plane import World
from fakes.measuring_machines import MeasuringInstance, MeasuringMachine

from sealward.controlplane.domain.runtime_logs import KeptRuntimeLog
from sealward.controlplane.services import recorded as records
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.runtime_logs import RuntimeLogs
from sealward.verifier.rats.errors import MalformedEvidence

FILES = 5


def nodes(here: World, count: int) -> list[MeasuringInstance]:
    """Nodes that have attested, each with a list of its own."""
    measuring_machines.ready(here, MeasuringMachine())
    found = []
    for number in range(count):
        node = measuring_machines.admitted(here, MeasuringMachine())
        for file in range(1, FILES):
            node.kernel.measure(f"/usr/bin/{number}/{file}", bytes((number, file)))
        node.attest(here)
        found.append(node)
    return found


def claims_of(tx: Transaction, node: MeasuringInstance) -> ClaimsDocument:
    evidence = tx.evidence.find(node.node_id)
    assert evidence is not None
    return records.recorded(evidence).claims


@dataclass
class Reading:
    """What is kept, and how often it was read whole."""

    tx: Transaction
    whole: list[str]

    @property
    def runtime_logs(self) -> Reading:
        return self

    def digest(self, node_id: str) -> str | None:
        return self.tx.runtime_logs.digest(node_id)

    def find(self, node_id: str) -> KeptRuntimeLog | None:
        self.whole.append(node_id)
        return self.tx.runtime_logs.find(node_id)


@pytest.mark.parametrize(
    ("most", "reads"), [(3 * FILES, 3), (2 * FILES, 6), (0, 6)], ids=["all", "not all", "none"]
)
def test_what_fits_into_memory_is_decoded_once(here: World, most: int, reads: int) -> None:
    some, whole = nodes(here, 3), list[str]()
    logs = RuntimeLogs(here.plane.database, most=most)

    def paths(node: MeasuringInstance) -> list[str]:
        def read(tx: Transaction) -> list[str]:
            found = logs.recorded(Reading(tx, whole), node.node_id, claims_of(tx, node))  # type: ignore[arg-type]  # as far as it is asked
            assert found is not None
            return [item.path for item in found.log.measured]

        return here.plane.database.read(read)

    for _ in range(2):
        for number, node in enumerate(some):
            expected = [f"/usr/bin/{number}/{file}" for file in range(1, FILES)]
            assert paths(node) == ["/usr/bin/sealward-agent", *expected]
    assert len(whole) == reads


def test_claims_and_what_is_kept_must_be_of_one_another(here: World) -> None:
    node, other = nodes(here, 2)
    other.kernel.measure("/usr/bin/more", b"more")
    other.attest(here)
    logs = RuntimeLogs(here.plane.database)

    def read(tx: Transaction) -> None:
        claims = claims_of(tx, node)
        without = replace(claims, values={k: v for k, v in claims.values.items() if k != "ima"})
        assert logs.recorded(tx, node.node_id, without) is None
        assert logs.recorded(tx, node.node_id, claims) is not None
        for node_id in (other.node_id, "0" * 64):
            with pytest.raises(MalformedEvidence, match="recorded runtime log"):
                logs.recorded(tx, node_id, claims)

    here.plane.database.read(read)
