"""The forecast: which nodes fail on which day, and what a newer piece would change (F19).

Counts from what is on record; nothing is verified but for a proposal, where the evidence of each
node that rests on the proposed key is verified with it and without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sealward.controlplane.domain.collateral import Inspected
from sealward.controlplane.domain.collateral_forecast import (
    CERTIFICATES,
    Cliff,
    Ending,
    Mend,
    cliffs,
    kind_of,
)
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.nodes import Node, NodeEvidence, NodeState
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.services import inputs
from sealward.controlplane.services.administration import Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.collateral import CollateralStore
from sealward.controlplane.services.collateral_view import MATCH_KIND
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.recorded import recorded
from sealward.controlplane.services.reverification import Reverifier
from sealward.verifier.rats.collateral import Key, Kind

MAX_DAYS: Final = 3650
_AMD_LIST: Final = "crl"
_PAGE: Final = 256  # nodes in one snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The whole fleet until an instant.

    Attributes:
        as_of, until: aware UTC.
        nodes: admitted nodes that were looked at.
        ending: of these, the nodes that something of ends.
        unknown: of these, the nodes whose record tells no dates.
        cliffs: what ends when, for how many; the earliest first.
    """

    as_of: datetime
    until: datetime
    nodes: int
    ending: int
    unknown: int
    cliffs: tuple[Cliff, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What a proposed piece does to one node.

    Attributes:
        before, after: the vendor's TCB status, or the code of the refusal.
        advisories: that apply with the proposal and did not before.
        leases: active leases of the node.
    """

    node_id: str
    before: str
    after: str
    advisories: tuple[str, ...]
    leases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a proposed piece would change."""

    piece: Inspected
    examined: int
    shifts: tuple[Shift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """Use cases around what collateral will do.

    Attributes:
        on: what every use case reaches.
        store: reads and verifies a proposal.
        reverifier: verifies evidence on record.
        fetches: kinds that this control plane renews by itself.
    """

    on: Dependencies
    store: CollateralStore
    reverifier: Reverifier
    fetches: frozenset[Kind]

    def outlook(self, principal: Principal, *, days: int) -> Outlook:
        """Return what ends within so many days, over the whole fleet.

        Raises:
            Refused: forbidden, invalid_request.
        """
        require(principal, Right.collateral_read)
        now, until = self._span(days)
        endings: list[Ending] = []
        nodes = unknown = 0
        for ending in self._fleet():
            nodes += 1
            unknown += ending is None
            if ending is not None and ending.at <= until:
                endings.append(ending)
        return Outlook(
            as_of=now,
            until=until,
            nodes=nodes,
            ending=len(endings),
            unknown=unknown,
            cliffs=cliffs(endings),
        )

    def nodes(
        self, principal: Principal, *, days: int, limit: int, after: str | None
    ) -> Page[Ending]:
        """List the nodes that something of ends within so many days, by node id.

        A page may hold fewer than `limit`: it is of `limit` nodes, those that go on left out.
        """
        require(principal, Right.collateral_read)
        _, until = self._span(days)

        def work(tx: Transaction) -> Page[Ending]:
            page = tx.nodes.page(limit=limit, after=after, state=NodeState.admitted)
            found = (self._first(tx, node) for node in page.items)
            return Page(
                items=tuple(one for one in found if one is not None and one.at <= until),
                after=page.after,
            )

        return self.on.database.read(work)

    def proposal(self, principal: Principal, data: bytes, *, named: Key | None = None) -> Proposal:
        """Return which nodes a newer piece would rate otherwise; nothing is stored.

        Raises:
            Refused: forbidden; collateral_invalid, collateral_expired, collateral_rolled_back;
                invalid_request when the file holds more than one piece.
        """
        require(principal, Right.collateral_import)  # it verifies much (F30)
        now = self.on.clock.now()
        pieces = self.store.examine(data, named=named, now=now)
        if len(pieces) != 1:
            raise inputs.invalid(
                f"the file holds {len(pieces)} pieces of collateral",
                "propose one at a time, for example a TCB info with its issuer chain behind it",
            )
        piece = pieces[0]
        shifts, examined = [], 0
        for evidence, leases in self._resting(piece.key):
            before = self.reverifier.again(evidence, now)
            after = self.reverifier.again(evidence, now, (piece.key, piece.content))
            if before is None or after is None:
                continue
            examined += 1
            if (before.tcb_status, before.advisories) != (after.tcb_status, after.advisories):
                shifts.append(
                    Shift(
                        node_id=evidence.node_id,
                        before=before.tcb_status,
                        after=after.tcb_status,
                        advisories=tuple(sorted(set(after.advisories) - set(before.advisories))),
                        leases=leases,
                    )
                )
        return Proposal(piece=piece, examined=examined, shifts=tuple(shifts))

    def _span(self, days: int) -> tuple[datetime, datetime]:
        if not 1 <= days <= MAX_DAYS:
            raise Refused(Code.invalid_request, f"days is not 1 to {MAX_DAYS}")
        now = self.on.clock.now()
        return now, now + timedelta(days=days)

    def _fleet(self) -> Iterator[Ending | None]:
        """Yield the first ending of every admitted node; None where none is on record."""
        after: str | None = None
        while True:

            def work(tx: Transaction) -> tuple[tuple[Ending | None, ...], str | None]:
                page = tx.nodes.page(limit=_PAGE, after=after, state=NodeState.admitted)  # noqa: B023 - runs at once
                return tuple(self._first(tx, node) for node in page.items), page.after

            found, after = self.on.database.read(work)
            yield from found
            if after is None:
                return

    def _first(self, tx: Transaction, node: Node) -> Ending | None:
        evidence = tx.evidence.find(node.node_id)
        endings = () if evidence is None else tuple(self._endings(tx, evidence))
        if not endings:
            return None
        at, component, mend = min(endings)
        return Ending(
            node_id=node.node_id,
            component=component,
            at=at,
            mend=mend,
            leases=len(tx.leases.active_of_node(node.node_id)),
        )

    def _endings(
        self, tx: Transaction, evidence: NodeEvidence
    ) -> Iterator[tuple[datetime, str, Mend]]:
        """Yield what ends when of one node, collateral by the dates of what is held now."""
        keys = [_key(match.key) for match in evidence.matches if match.kind == MATCH_KIND]
        for name, end in _limits(evidence):
            if name.rpartition(".")[2] == _AMD_LIST:
                continue  # without it a node's claims say so, and it goes on
            kind = kind_of(name)
            if kind is None:
                yield end, name, Mend.reprovision
                continue
            mend = Mend.fetched if kind in self.fetches else Mend.import_newer
            own = [key for key in keys if key.kind is kind]
            piece = tx.collateral.current(own[0]) if len(own) == 1 else None
            if piece is None:
                yield end, name, mend
            else:
                yield piece.next_update, str(piece.key), mend

    def _resting(self, key: Key) -> Iterator[tuple[NodeEvidence, int]]:
        """Yield the evidence of every node that rests on a key, with its count of leases."""
        after: str | None = None
        while True:

            def work(tx: Transaction) -> tuple[tuple[tuple[NodeEvidence, int], ...], str | None]:
                page = tx.evidence.matching(MATCH_KIND, str(key), limit=_PAGE, after=after)  # noqa: B023 - runs at once
                found = tuple(
                    (evidence, len(tx.leases.active_of_node(node_id)))
                    for node_id in page.items
                    if (evidence := tx.evidence.find(node_id)) is not None
                )
                return found, page.after

            found, after = self.on.database.read(work)
            yield from found
            if after is None:
                return


def _limits(evidence: NodeEvidence) -> Iterator[tuple[str, datetime]]:
    """Yield (name, end) of the recorded claims."""
    collateral = recorded(evidence).claims.values.get("collateral")
    if not isinstance(collateral, dict):
        return
    limits = collateral.get("limits")
    named = limits if isinstance(limits, dict) else {CERTIFICATES: collateral.get("not_after")}
    for name, text in named.items():
        if isinstance(text, str):
            yield name, datetime.fromisoformat(text)


def _key(text: str) -> Key:
    kind, _, name = text.partition(":")
    return Key(Kind(kind), name)
