"""The sequencer: gives entries their place in the log and signs what the log has become.

    1. Entries that transactions left without an index get the next indices, in order of arrival.
    2. That commits. Only then
    3. a checkpoint over all of them is signed, and
    4. stored.

A crash between any two steps loses nothing: entries wait to be placed, and a tree larger than its
newest checkpoint is signed at the next turn. Nothing is ever signed that a crash could take back
(security-requirements F14). One sequencer a log: of two, the indices of one collide and it starts
over from what the other wrote.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from sealward.controlplane.domain import checkpoint as notes
from sealward.controlplane.domain.audit import StoredCheckpoint
from sealward.controlplane.domain.checkpoint import Checkpoint, CheckpointRefused, LogKey
from sealward.controlplane.domain.errors import Code, DomainError, Unavailable
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.merkle import Frontier
from sealward.controlplane.domain.records import MAX_PAGE
from sealward.controlplane.services.ports import Clock, Database, Keystore

INTERVAL_S: Final = 0.5  # between turns; half of what is promised, so that a slow turn keeps it


class Sequencer:
    """Extends and signs one audit log. Not safe for several threads: run it in one."""

    def __init__(
        self, *, database: Database, keystore: Keystore, clock: Clock, trust_domain: str
    ) -> None:
        """`trust_domain` names the log; raises CheckpointRefused for one that cannot."""
        self._database = database
        self._keystore = keystore
        self._clock = clock
        self.key: Final = LogKey(notes.log_name(trust_domain), keystore.public(KeyPurpose.log))
        self._tree: Frontier | None = None
        self._signed = 0

    def turn(self) -> StoredCheckpoint | None:
        """Place what waits and sign it; None when there is nothing new.

        Raises:
            Unavailable(log_unavailable): the stored leaves contradict our own last checkpoint.
            Conflict: another sequencer is at work; the next turn starts from its state.
            Unavailable(database_unavailable): nothing is lost, try again.
        """
        try:
            tree = self._place(self._tree or self._load())
        except DomainError:
            self._tree = None  # what is stored decides where to go on
            raise
        self._tree = tree
        if tree.size == self._signed:
            return None
        stored = self._sign(tree)
        self._signed = tree.size
        return stored

    def run(
        self,
        stop: threading.Event,
        on_error: Callable[[DomainError], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Take turns until `stop` is set, and one last turn after that."""
        stopping = False
        while not stopping:
            stopping = stop.wait(interval_s)
            try:
                self.turn()
            except DomainError as error:
                on_error(error)

    def _load(self) -> Frontier:
        """Return the tree of the stored leaves, checked against the newest checkpoint."""
        latest = self._database.read(lambda tx: tx.audit.latest_checkpoint())
        tree = Frontier()
        if latest is not None:
            tree = self._extend(tree, latest.size)
            self._require_signed(tree, latest.note)
            self._signed = latest.size
        return self._extend(tree, None)

    def _require_signed(self, tree: Frontier, note: str) -> None:
        try:
            signed = notes.verify(note, self.key)
        except CheckpointRefused:
            signed = None
        if signed is None or (tree.size, tree.root()) != (signed.size, signed.root):
            raise Unavailable(
                Code.log_unavailable,
                "the stored audit entries are not those of the last signed checkpoint",
                "the database was changed or restored: export it and verify it offline",
            )

    def _extend(self, tree: Frontier, size: int | None) -> Frontier:
        """Read stored leaves up to `size`, or all."""
        while size is None or tree.size < size:
            room = MAX_PAGE if size is None else min(MAX_PAGE, size - tree.size)
            leaves = self._leaves(tree.size, room)
            if not leaves:
                break
            tree = tree.extend(leaves)
        return tree

    def _leaves(self, start: int, count: int) -> tuple[bytes, ...]:
        return self._database.read(lambda tx: tx.audit.leaf_hashes(start, limit=count))

    def _place(self, tree: Frontier) -> Frontier:
        while waiting := self._database.read(lambda tx: tx.audit.unsequenced(limit=MAX_PAGE)):
            self._commit(tree.size, [entry_id for entry_id, _ in waiting])
            tree = tree.extend(leaf for _, leaf in waiting)
        return tree

    def _commit(self, first: int, entry_ids: list[str]) -> None:
        self._database.write(lambda tx: tx.audit.place(first, entry_ids))

    def _sign(self, tree: Frontier) -> StoredCheckpoint:
        root = tree.root()
        checkpoint = Checkpoint(self.key.name, tree.size, root)
        note = notes.sign(
            checkpoint, self.key, lambda body: self._keystore.sign(KeyPurpose.log, body)
        )
        stored = StoredCheckpoint(tree.size, root, note, self._clock.now())
        self._database.write(lambda tx: tx.audit.add_checkpoint(stored))
        return stored
