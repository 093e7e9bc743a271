"""Runtime measurement lists of TPM nodes (docs/specs/ima-claims.md): proven, kept, told again.

    1. a list belongs to TPM evidence, and is within its budget        evidence.py
    2. it begins at 0, or where what is kept of the instance ends      here
    3. the quote beside it proves it                                   verifier, ima_log.py
    4. what was measured is matched with reference values in force     here, file_book.py
    5. what is kept is replaced in the transaction that decides        here

What is kept is read from the database, by its digest from memory: decoding takes milliseconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.runtime_logs import KeptRuntimeLog
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.file_book import FileBook, KnownFiles
from sealward.controlplane.services.ports import Database, Transaction
from sealward.verifier.composite import ima_log
from sealward.verifier.composite.ima_log import ListPart
from sealward.verifier.formats.ima import state as states
from sealward.verifier.formats.ima.state import State
from sealward.verifier.formats.tpm.quote import VerifiedQuote
from sealward.verifier.rats import runtime_log
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.runtime_log import RuntimeLog
from sealward.verifier.wire import json

# Of all states in memory together, at some 350 bytes each. A fleet with more has its states decoded
# at every renewal.
_MEASURED_REMEMBERED: Final = 250_000

_Kept: TypeAlias = "tuple[str, State]"  # digest of its encoding, and the state


@dataclass(frozen=True, slots=True)
class MatchableLog:
    """A log, and what answers which of its files are known."""

    log: RuntimeLog
    _book: FileBook = field(repr=False)

    def told(
        self, tx: Transaction, *, epoch: int, now: datetime
    ) -> tuple[Mapping[str, json.Canonical], KnownFiles]:
        """Return the claim of it, and the known files that it is made with.

        Args:
            tx: one snapshot.
            epoch: value of the fence of reference values in that snapshot.
            now: for the end of reference sets.
        """
        known = self._book.known(tx, self.log.digests(), epoch=epoch, now=now)
        return self.log.to_json(known.digests), known


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedLog:
    """A list as far as a quote proves it.

    Attributes:
        log: what is claimed of it, before it is matched.
        kept: what to keep for the next evidence; None when that is what is kept already.
        before: digest of what was kept; None when nothing was.
        entries: how many are proven, and need not be sent again.
    """

    log: MatchableLog
    kept: KeptRuntimeLog | None
    before: str | None
    entries: int


class RuntimeLogs:
    """Proves lists, and remembers the decoded states of this process's nodes."""

    def __init__(self, database: Database, *, most: int = _MEASURED_REMEMBERED) -> None:
        """Remember states with `most` measurements in all."""
        self._most = most
        self._database = database
        self._book = FileBook()
        self._lock = threading.Lock()
        self._states: OrderedDict[str, State] = OrderedDict()
        self._measured = 0

    def confirm(
        self, part: ListPart | None, quote: VerifiedQuote, *, node_id: str, now: datetime
    ) -> ConfirmedLog | None:
        """Return what the quote proves; None for an instance that never sent a list.

        An instance that did and sends none now gets a claim that says so, and no policy can take
        it for one without a list.

        Raises:
            Refused: `runtime_log_gap`.
            MalformedEvidence: the list does not parse.
            RefusedEvidence: the quote does not prove it.
        """
        found = self._database.read(lambda tx: self._find(tx, node_id))
        digest, before = (None, None) if found is None else found
        if part is None:
            return None if found is None else self._stopped(found, now)
        expected = ima_log.next_entry(before, quote)
        if part.first not in (0, expected):
            raise Refused(
                Code.runtime_log_gap,
                f"the runtime log begins at entry {part.first}, and {expected} are proven",
                "send all of it, from entry 0",
            )
        confirmed = ima_log.confirm(part, quote, before=before, now=now)
        return ConfirmedLog(
            log=MatchableLog(confirmed.log, self._book),
            kept=self._encoded(node_id, confirmed.state, found),
            before=digest,
            entries=confirmed.state.entries,
        )

    def recorded(
        self, tx: Transaction, node_id: str, claims: ClaimsDocument
    ) -> MatchableLog | None:
        """Return the log that recorded claims tell of, to match it anew; None when there is none.

        Raises:
            MalformedEvidence: claims and what is kept are not of one another.
        """
        told = claims.values.get("ima")
        if told is None:
            return None
        found = self._find(tx, node_id)
        if found is None or not isinstance(told, dict):
            raise MalformedEvidence(0, "recorded runtime log: nothing is kept of it")
        log = runtime_log.recorded(told, found[1].measured)
        if log.entries != found[1].entries:
            raise MalformedEvidence(0, "recorded runtime log: another one is kept")
        return MatchableLog(log, self._book)

    def _stopped(self, found: _Kept, now: datetime) -> ConfirmedLog:
        digest, state = found
        log = MatchableLog(ima_log.stopped(state, now=now), self._book)
        return ConfirmedLog(log=log, kept=None, before=digest, entries=state.entries)

    def _find(self, tx: Transaction, node_id: str) -> _Kept | None:
        digest = tx.runtime_logs.digest(node_id)
        if digest is None:
            return None
        state = self._remembered(digest)
        if state is None:
            kept = tx.runtime_logs.find(node_id)
            if kept is None:
                return None
            digest, state = kept.digest, states.parse(kept.state)
            self._remember(digest, state)
        return digest, state

    def _encoded(self, node_id: str, state: State, before: _Kept | None) -> KeptRuntimeLog | None:
        if before is not None and state == before[1]:  # the usual renewal: nothing was measured
            return None
        kept = KeptRuntimeLog.of(node_id, states.encode(state))
        self._remember(kept.digest, state)
        return kept

    def _remembered(self, digest: str) -> State | None:
        with self._lock:
            state = self._states.get(digest)
            if state is not None:
                self._states.move_to_end(digest)
            return state

    def _remember(self, digest: str, state: State) -> None:
        with self._lock:
            if digest not in self._states:
                self._states[digest] = state
                self._measured += len(state.measured)
            while self._measured > self._most:
                _, forgotten = self._states.popitem(last=False)
                self._measured -= len(forgotten.measured)


def keep(tx: Transaction, node_id: str, confirmed: ConfirmedLog | None) -> None:
    """Write what a decision keeps of its node's list.

    Raises:
        Conflict: `state_changed`, other evidence of this node came first.
    """
    if confirmed is None:
        return
    if tx.runtime_logs.digest(node_id) != confirmed.before:
        raise Conflict(Code.state_changed, "another list of this node was proven meanwhile")
    if confirmed.kept is not None:
        tx.runtime_logs.put(confirmed.kept)
