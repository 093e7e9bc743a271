"""The repositories of a transaction.

One Protocol for each aggregate, all scoped to the transaction's tenant.

Rules that hold for every one of them, whatever the adapter:

- `get` raises NotFound, `find` returns None, `add` raises Conflict(already_exists) when the key is
  taken, `save` overwrites the whole record and raises NotFound when there is none.
- Lists come in key order, at most `limit` (1..MAX_PAGE) items, after the cursor of the previous
  page.
- Nothing commits: the unit of work begins and ends in the Database port.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from sealward.controlplane.domain.activations import PolicyActivation, PolicyRevision
from sealward.controlplane.domain.attempts import Attempt
from sealward.controlplane.domain.audit import AuditEntry, StoredCheckpoint
from sealward.controlplane.domain.decisions import Decision
from sealward.controlplane.domain.leases import Lease, LeasedModel, SignedTerms, WipeStatement
from sealward.controlplane.domain.nodes import Node, NodeEvidence, NodeState
from sealward.controlplane.domain.platforms import Platform
from sealward.controlplane.domain.principals import JoinToken, Principal, ServiceToken
from sealward.controlplane.domain.records import Page
from sealward.controlplane.domain.reference_values import (
    ReferenceSet,
    ReferenceSetState,
    ReferenceValue,
)
from sealward.controlplane.domain.runtime_logs import KeptRuntimeLog
from sealward.controlplane.domain.sweeps import Sweep
from sealward.controlplane.domain.system import SystemMarker
from sealward.controlplane.domain.trust_anchors import AnchorKind, TrustAnchor
from sealward.verifier.rats.result import Posture


class Nodes(Protocol):
    """Nodes by node_id."""

    def get(self, node_id: str) -> Node:
        """Return the node; NotFound(node_unknown)."""

    def find(self, node_id: str) -> Node | None:
        """Return the node or None."""

    def add(self, node: Node) -> None:
        """Insert; Conflict(already_exists)."""

    def save(self, node: Node) -> None:
        """Overwrite everything but `terms_sequence`; NotFound(node_unknown)."""

    def attested(self, node: Node) -> int:
        """Store what an attestation changes in a node and return its next terms sequence.

        `node` has the terms sequence that was read. Since every lease that is granted, and every
        one that a sweep ends, counts it up, nobody else has granted or ended any meanwhile.

        Raises:
            Conflict: `state_changed`, the sequence has moved since, or the node is not there.
        """

    def next_terms_sequence(self, node_id: str) -> int:
        """Count the node's terms up by one and return the new number; NotFound(node_unknown)."""

    def page(
        self,
        *,
        limit: int,
        after: str | None = None,
        state: NodeState | None = None,
        posture: Posture | None = None,
    ) -> Page[Node]:
        """List nodes by node_id, optionally of one state or posture."""

    def on_platform(self, platform_id: str, *, limit: int, after: str | None = None) -> Page[str]:
        """List the ids of the nodes on one platform."""

    def on_platforms(self, prefix: str, *, limit: int, after: str | None = None) -> Page[str]:
        """List the ids of the nodes whose platform id begins with `prefix`, by platform."""

    def count(self, *, state: NodeState | None = None, posture: Posture | None = None) -> int:
        """Count nodes."""


class Evidence(Protocol):
    """The latest evidence of each node.

    And an index from reference values to the nodes that matched them.
    """

    def put(self, evidence: NodeEvidence) -> None:
        """Replace the node's evidence and its matches."""

    def find(self, node_id: str) -> NodeEvidence | None:
        """Return the latest evidence of a node, matches included, or None."""

    def matching(self, kind: str, key: str, *, limit: int, after: str | None = None) -> Page[str]:
        """List the ids of the nodes whose latest appraisal matched this reference value."""


class RuntimeLogs(Protocol):
    """What is kept of each node's runtime measurement list, by node_id."""

    def digest(self, node_id: str) -> str | None:
        """Return the digest of what is kept of a node, or None."""

    def find(self, node_id: str) -> KeptRuntimeLog | None:
        """Return what is kept of a node, or None."""

    def put(self, kept: KeptRuntimeLog) -> None:
        """Insert or overwrite."""


class Leases(Protocol):
    """Leases by lease_id, and the exposure ledger."""

    def get(self, lease_id: str) -> Lease:
        """Return the lease; NotFound."""

    def find(self, lease_id: str) -> Lease | None:
        """Return the lease or None."""

    def add(self, lease: Lease, models: Iterable[LeasedModel]) -> None:
        """Insert a lease with the model versions that it carries; Conflict(already_exists)."""

    def save(self, lease: Lease) -> None:
        """Overwrite the lease; NotFound."""

    def change(self, before: Lease, after: Lease) -> None:
        """Overwrite an active lease that still is as it was read.

        Raises:
            Conflict: `state_changed`, it has ended, or its horizon has moved.
        """

    def add_models(self, models: Iterable[LeasedModel]) -> None:
        """Add lines to the exposure ledger; a line that is already there stays as it is."""

    def models(self, lease_id: str) -> tuple[LeasedModel, ...]:
        """Return the model versions that a lease carried."""

    def active_of_node(self, node_id: str) -> tuple[Lease, ...]:
        """Return the active leases of one node (at most one for each workload)."""

    def count_active(self, workload: str) -> int:
        """Count the active leases of a workload."""

    def page(
        self,
        *,
        limit: int,
        after: str | None = None,
        node_id: str | None = None,
        workload: str | None = None,
        active: bool | None = None,
    ) -> Page[Lease]:
        """List leases by lease_id, optionally of one node, of one workload, active or ended."""

    def lapsed(self, now: datetime, *, limit: int) -> tuple[Lease, ...]:
        """Return active leases whose horizon is at or before `now`, oldest horizon first."""

    def exposures(
        self, workload: str, model: str, version: int, *, limit: int, after: str | None = None
    ) -> Page[Lease]:
        """List every lease that ever carried the content key of this model version."""


class Terms(Protocol):
    """Signed terms by (node_id, sequence), and the wipe statements that answer them."""

    def add(self, terms: SignedTerms) -> None:
        """Insert; Conflict(already_exists) when the sequence number is taken."""

    def after(self, node_id: str, sequence: int, *, limit: int) -> tuple[SignedTerms, ...]:
        """Return the node's terms above `sequence`, in order."""

    def latest(self, node_id: str) -> SignedTerms | None:
        """Return the node's newest terms or None."""

    def add_wipe(self, statement: WipeStatement) -> None:
        """Insert a wipe statement; Conflict(already_exists)."""

    def wipes(self, node_id: str) -> tuple[WipeStatement, ...]:
        """Return the node's newest wipe statements, newest first, at most MAX_PAGE."""


class References(Protocol):
    """Reference sets by name, values by (set_name, kind, key)."""

    def add_set(self, reference_set: ReferenceSet, values: Iterable[ReferenceValue]) -> None:
        """Insert a set with its values; Conflict(already_exists)."""

    def get_set(self, name: str) -> ReferenceSet:
        """Return the set; NotFound."""

    def save_set(self, reference_set: ReferenceSet) -> None:
        """Overwrite the set, not its values; NotFound."""

    def sets(
        self, *, limit: int, after: str | None = None, state: ReferenceSetState | None = None
    ) -> Page[ReferenceSet]:
        """List sets by name."""

    def values(
        self, set_name: str, *, limit: int, after: str | None = None
    ) -> Page[ReferenceValue]:
        """List the values of a set by kind and key."""

    def get_value(self, set_name: str, kind: str, key: str) -> ReferenceValue:
        """Return one value, withdrawn or not; NotFound."""

    def of_kind(self, set_name: str, kind: str) -> tuple[ReferenceValue, ...]:
        """Return every value of one kind in a set, withdrawn or not, by key."""

    def withdraw_value(self, kind: str, key: str, now: datetime, reason: str) -> None:
        """Mark the value withdrawn in every set that names it."""

    def reinstate_value(self, kind: str, key: str) -> None:
        """Take the mark off again, in every set."""

    def withdrawn_in(self, set_name: str) -> ReferenceValue | None:
        """Return the first value of a set that is withdrawn, in this set or in another."""

    def matching(
        self, wanted: Iterable[tuple[str, str]], now: datetime
    ) -> tuple[ReferenceValue, ...]:
        """Return the values in force for any of the wanted (kind, key) pairs.

        In force: no set holds the value as withdrawn, its own set is active or draining, and that
        set's not_after is after `now`.
        """

    def standing(
        self, kind: str, keys: Iterable[str], now: datetime
    ) -> tuple[tuple[str, str], ...]:
        """Return (key, set name) of the values in force for any of many keys of one kind."""

    def in_force(self, kind: str, now: datetime) -> tuple[ReferenceValue, ...]:
        """Return every value in force of one kind, by key: for kinds of which there are few."""

    def near(
        self,
        kind: str,
        *,
        prefix: str = "",
        length: int | None = None,
        name: str | None = None,
        limit: int,
    ) -> tuple[ReferenceValue, ...]:
        """Return values of a kind, in force or not, newest set first, to explain what was found.

        Args:
            kind: of the values.
            prefix: what their key begins with.
            length: characters of their key; None for any.
            name: what they are called in their set, exactly; None for any.
            limit: how many at most.
        """


class Policies(Protocol):
    """Policy revisions by digest, and their activations."""

    def add_revision(self, revision: PolicyRevision) -> None:
        """Insert; Conflict(already_exists)."""

    def get_revision(self, digest: str) -> PolicyRevision:
        """Return the revision; NotFound."""

    def find_revision(self, digest: str) -> PolicyRevision | None:
        """Return the revision or None."""

    def revisions(self, *, limit: int, after: str | None = None) -> Page[PolicyRevision]:
        """List revisions by digest."""

    def activate(self, activation: PolicyActivation) -> None:
        """End the activation that `replaces` names and insert this one.

        Conflict(activation_replaced) when `replaces` is not the active one of this (kind, layer,
        scope, mode).
        """

    def end(self, activation_id: str, now: datetime) -> None:
        """End an activation without a successor; Conflict(state_changed) when it is not active."""

    def active(self, kind: str | None = None) -> tuple[PolicyActivation, ...]:
        """Return every active activation, of one kind or all, by kind, layer, scope and mode."""

    def activations(self, *, limit: int, after: str | None = None) -> Page[PolicyActivation]:
        """List activations by activation_id, ended ones included."""


class Platforms(Protocol):
    """Platforms by platform_id."""

    def find(self, platform_id: str) -> Platform | None:
        """Return the platform or None, which means unknown."""

    def put(self, platform: Platform) -> None:
        """Insert or overwrite."""

    def page(self, *, limit: int, after: str | None = None) -> Page[Platform]:
        """List platforms by platform_id."""


class TrustAnchors(Protocol):
    """Trust anchors by (kind, fingerprint), the removed ones included."""

    def find(self, kind: AnchorKind, fingerprint: str) -> TrustAnchor | None:
        """Return the anchor or None."""

    def put(self, anchor: TrustAnchor) -> None:
        """Insert or overwrite."""

    def in_force(self, kind: AnchorKind) -> tuple[TrustAnchor, ...]:
        """Return every anchor of a kind that is not removed, by fingerprint."""

    def page(self, *, limit: int, after: str | None = None) -> Page[TrustAnchor]:
        """List anchors of all kinds by fingerprint, the removed ones included."""


class Principals(Protocol):
    """Principals with their roles, by principal_id."""

    def get(self, principal_id: str) -> Principal:
        """Return the principal; NotFound."""

    def find(self, principal_id: str) -> Principal | None:
        """Return the principal or None."""

    def add(self, principal: Principal) -> None:
        """Insert with roles; Conflict(already_exists) on the id or the name."""

    def save(self, principal: Principal) -> None:
        """Overwrite, roles included; NotFound."""

    def page(self, *, limit: int, after: str | None = None) -> Page[Principal]:
        """List principals by principal_id."""


class Tokens(Protocol):
    """Service tokens by token_id."""

    def find(self, token_id: str) -> ServiceToken | None:
        """Return the token or None."""

    def add(self, token: ServiceToken) -> None:
        """Insert; Conflict(already_exists)."""

    def use(self, token_id: str, now: datetime) -> None:
        """Spend a single-use token; Refused(token_spent) when it was spent before."""

    def revoke(self, token_id: str, now: datetime) -> None:
        """Mark as revoked, keeping the first instant; NotFound."""

    def page(self, *, limit: int, after: str | None = None) -> Page[ServiceToken]:
        """List tokens by token_id."""


class JoinTokens(Protocol):
    """Join tokens by token_id."""

    def find(self, token_id: str) -> JoinToken | None:
        """Return the token or None."""

    def add(self, token: JoinToken) -> None:
        """Insert; Conflict(already_exists)."""

    def use(self, token_id: str, node_id: str, now: datetime) -> None:
        """Spend the token for one node; Refused(join_token_spent, join_token_invalid)."""

    def page(self, *, limit: int, after: str | None = None) -> Page[JoinToken]:
        """List tokens by token_id."""


class Challenges(Protocol):
    """Spent challenges. Asking for one writes nothing; only redeeming does (F10)."""

    def spend(self, nonce_hash: str, expires: datetime) -> None:
        """Record a redeemed challenge by its hex SHA-256; Refused(challenge_spent)."""

    def purge(self, now: datetime, *, limit: int) -> int:
        """Forget up to `limit` challenges that expired before `now`; return how many."""


class Epochs(Protocol):
    """Fences: a counter for each scope, 0 until first bumped (F16)."""

    def read(self, scopes: Iterable[str]) -> dict[str, int]:
        """Return the value of each scope."""

    def require(self, expected: Mapping[str, int]) -> None:
        """Return when every scope still has its expected value; Conflict(epoch_moved) otherwise."""

    def bump(self, scope: str) -> int:
        """Count the scope up by one and return its new value.

        The instant of revocation when this commits.
        """


class Decisions(Protocol):
    """Decisions by decision_id."""

    def add(self, decision: Decision) -> None:
        """Insert; Conflict(already_exists)."""

    def get(self, decision_id: str) -> Decision:
        """Return the decision; NotFound."""

    def page(
        self, *, limit: int, after: str | None = None, node_id: str | None = None
    ) -> Page[Decision]:
        """List decisions by decision_id (oldest first), optionally of one node."""

    def latest(self, node_id: str, *, limit: int) -> tuple[Decision, ...]:
        """Return a node's newest decisions, newest first."""

    def before(self, decision: Decision, *, limit: int) -> tuple[Decision, ...]:
        """Return a node's newest decisions before this one, newest first."""

    def correlated(self, correlation_id: str) -> Decision | None:
        """Return the newest decision that was answered with this correlation id, or None."""


class Attempts(Protocol):
    """Refused attempts by attempt_id, a bounded number of them."""

    def add(self, attempt: Attempt) -> None:
        """Insert, and forget the oldest above what is kept of a node and of strangers."""

    def latest(self, node_id: str, *, limit: int) -> tuple[Attempt, ...]:
        """Return the newest attempts under a node's key, newest first."""

    def correlated(self, correlation_id: str) -> Attempt | None:
        """Return the newest attempt that was answered with this correlation id, or None."""

    def purge(self, before: datetime, *, limit: int) -> int:
        """Forget up to `limit` attempts from before an instant; return how many."""


class Sweeps(Protocol):
    """Sweeps by sweep_id."""

    def add(self, sweep: Sweep) -> None:
        """Insert; Conflict(already_exists)."""

    def save(self, sweep: Sweep) -> None:
        """Overwrite; NotFound."""

    def get(self, sweep_id: str) -> Sweep:
        """Return the sweep; NotFound."""

    def running(self) -> tuple[Sweep, ...]:
        """Return the sweeps that are not done, oldest first."""

    def page(self, *, limit: int, after: str | None = None) -> Page[Sweep]:
        """List sweeps by sweep_id."""


class Audit(Protocol):
    """Audit entries.

    `append` and the lists are the tenant's; what the sequencer uses spans the whole log.
    """

    def append(self, entry: AuditEntry) -> None:
        """Insert an unsequenced entry; ValueError when it is another tenant's or already placed."""

    def get(self, entry_id: str) -> AuditEntry:
        """Return the entry; NotFound."""

    def page(self, *, limit: int, after: str | None = None) -> Page[AuditEntry]:
        """List the tenant's entries by entry_id, sequenced or not."""

    def unsequenced(self, *, limit: int) -> tuple[tuple[str, bytes], ...]:
        """Return (entry_id, leaf_hash) of the whole log's entries without an index, by entry_id."""

    def place(self, first_index: int, entry_ids: Iterable[str]) -> None:
        """Give consecutive indices.

        Conflict(state_changed) when an entry is placed already or an index is taken.
        """

    def leaf_hashes(self, start: int, *, limit: int) -> tuple[bytes, ...]:
        """Return the leaf hashes of the whole log from index `start` on, in order."""

    def entries(self, start: int, *, limit: int) -> tuple[AuditEntry, ...]:
        """Return the entries of the whole log from index `start` on, in order."""

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Insert; Conflict(already_exists) when there is one of that size."""

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """Return the largest checkpoint or None."""

    def checkpoints(self, above: int, *, limit: int) -> tuple[StoredCheckpoint, ...]:
        """Return checkpoints of more than `above` leaves, smallest first."""


class System(Protocol):
    """The marker of the installation; not scoped to a tenant."""

    def find(self) -> SystemMarker | None:
        """Return the marker, None on a database that was never used."""

    def initialise(self, marker: SystemMarker) -> None:
        """Write the marker once; Conflict(already_exists)."""

    def raise_generation(self) -> int:
        """Count the generation up by one and return it; NotFound before `initialise`."""
