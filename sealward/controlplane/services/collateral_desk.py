"""What the evidence gate asks of collateral: a view to verify with, and what to say without it.

Only platforms that are known cause a fetch (F30): an admitted node, the holder of a usable join
token, or an endorsement key of a chip on the allow-list. A stranger's chip id costs nothing but the
verification that it asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final, Protocol

from sealward.controlplane.domain.errors import Code, DomainError, Refused, Unavailable
from sealward.controlplane.domain.platforms import PlatformState
from sealward.controlplane.services.collateral_view import CollateralBook, CollateralView
from sealward.controlplane.services.ports import Database, Transaction
from sealward.controlplane.services.refusals import refused
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import RefusedEvidence, VerifierError

_CHIP: Final = "snp:chip:"  # as the verifier writes the platform id of a VCEK's chip
_IMPORT: Final = "import it with `sealward collateral import`"

Known = Callable[[Transaction], bool]


@unique
class Lane(StrEnum):
    """Whose budget a fetch comes out of: joining platforms never spend that of renewals."""

    joining = "joining"
    renewal = "renewal"


@unique
class Answer(StrEnum):
    """What a fetcher says to a request."""

    coming = "coming"  # asked for now, or somebody else's request is on its way
    off = "off"
    backing_off = "backing_off"
    over_budget = "over_budget"
    unavailable = "unavailable"  # no service publishes this kind


class Fetcher(Protocol):
    """Fetches in the background; never blocks, never raises."""

    def request(self, key: Key, lane: Lane, who: str = "") -> Answer:
        """Ask for a piece, once however many wait for it.

        Args:
            key: the piece.
            lane: whose budget pays.
            who: the node or chip that causes it, which has a share of the budget; empty for
                ourselves.
        """


class NoFetcher:
    """The fetcher of an installation that fetches nothing."""

    def request(self, key: Key, lane: Lane, who: str = "") -> Answer:  # noqa: ARG002 - it fetches nothing
        """Return off."""
        return Answer.off


_WHY: Final = {
    Answer.off: "this control plane fetches nothing",
    Answer.backing_off: "its vendor's service failed; it is asked again later",
    Answer.over_budget: "the budget of this hour is spent",
    Answer.unavailable: "no service publishes it",
}


@dataclass(frozen=True, slots=True)
class CollateralDesk:
    """Answers the gate.

    Attributes:
        database: where known platforms are.
        book: pieces in memory.
        fetcher: asked for what is missing.
    """

    database: Database
    book: CollateralBook
    fetcher: Fetcher

    def view(self) -> CollateralView:
        """Return what one verification sees of the store."""
        return self.book.view()

    def wish(self, view: CollateralView, who: str) -> None:
        """Ask for what an admitted node's verification looked for and could do without."""
        for key in view.absent:
            self.fetcher.request(key, Lane.renewal, who)

    def refusal(self, error: VerifierError, known: Known, lane: Lane, who: str) -> DomainError:
        """Return the domain's refusal of what the verifier raised, after asking for what it needs.

        Args:
            error: from the verifier.
            known: tells whether the caller is one of ours, in a unit of work that only reads.
            lane: whose budget pays.
            who: the key that the caller has proven to hold, as a node id.
        """
        if not isinstance(error, RefusedEvidence) or not error.needs:
            return refused(error)
        ours = self.database.read(
            lambda tx: any(_chip_allowed(tx, key) for key in error.needs) or known(tx)
        )
        needs = ", ".join(map(str, error.needs))
        if not ours:
            return Refused(
                Code.collateral_missing,
                f"{error.detail}: {needs}",
                f"{_IMPORT}, allow the platform, or join with a token: nothing is fetched for"
                " platforms that are not known",
            )
        payer = _payer(error.needs, lane, who)
        answers = [self.fetcher.request(key, lane, payer) for key in error.needs]
        stuck = next((answer for answer in answers if answer is not Answer.coming), None)
        if stuck is None:
            return Unavailable(
                Code.collateral_pending,
                f"{needs} is being fetched",
                "attest again in a few seconds, with fresh evidence",
            )
        return Refused(Code.collateral_missing, f"{error.detail}: {needs}; {_WHY[stuck]}", _IMPORT)


def _payer(needs: tuple[Key, ...], lane: Lane, who: str) -> str:
    """Return whose share pays: who joins has as many keys as he likes, and one chip.

    Nothing is signed yet: both are what the caller says, and neither may spend what others need.
    """
    if lane is Lane.renewal:
        return who
    chips = (key.name.split("/")[1] for key in needs if key.kind is Kind.AMD_VEK)
    return next(chips, who)


def _chip_allowed(tx: Transaction, key: Key) -> bool:
    """Whether `key` is the endorsement key of a chip that an administrator allowed."""
    if key.kind is not Kind.AMD_VEK:
        return False
    platform = tx.platforms.find(_CHIP + key.name.split("/")[1])
    return platform is not None and platform.state is PlatformState.allowed
