"""What services need from outside: a database, a keystore and a clock.

Adapters implement these and nothing else.

A use case is a function of a Transaction, handed to `Database.write` or `Database.read`. It must
be short, must not call out (network, policy engine, keystore over a network) and must not start
another unit of work: it runs while other writers wait. When it raises, all that it wrote is undone
and the exception reaches the caller unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from sealward.controlplane.domain.keys import DatedKey, KeyContext, KeyPurpose
from sealward.controlplane.services import (
    collateral_repository,
    device_repository,
    repositories,
    workload_repositories,
)

T = TypeVar("T")


class Transaction(Protocol):
    """One unit of work of one tenant.

    It is valid only during the function that it was handed to.
    """

    @property
    def tenant(self) -> str:
        """The tenant that every repository is scoped to."""

    @property
    def nodes(self) -> repositories.Nodes:
        """Nodes."""

    @property
    def evidence(self) -> repositories.Evidence:
        """The latest evidence of each node."""

    @property
    def runtime_logs(self) -> repositories.RuntimeLogs:
        """What is kept of the nodes' runtime logs."""

    @property
    def devices(self) -> device_repository.Devices:
        """Which node holds which device."""

    @property
    def leases(self) -> repositories.Leases:
        """Leases and the exposure ledger."""

    @property
    def terms(self) -> repositories.Terms:
        """Signed terms and wipe statements."""

    @property
    def references(self) -> repositories.References:
        """Reference sets and values."""

    @property
    def policies(self) -> repositories.Policies:
        """Policy revisions and activations."""

    @property
    def platforms(self) -> repositories.Platforms:
        """Platforms."""

    @property
    def trust_anchors(self) -> repositories.TrustAnchors:
        """Trust anchors."""

    @property
    def collateral(self) -> collateral_repository.Collateral:
        """Accepted collateral and its floors."""

    @property
    def workloads(self) -> workload_repositories.Workloads:
        """Workloads and their keys."""

    @property
    def models(self) -> workload_repositories.Models:
        """Sealed model versions."""

    @property
    def principals(self) -> repositories.Principals:
        """Principals and roles."""

    @property
    def tokens(self) -> repositories.Tokens:
        """Service tokens."""

    @property
    def join_tokens(self) -> repositories.JoinTokens:
        """Join tokens."""

    @property
    def challenges(self) -> repositories.Challenges:
        """Spent challenges."""

    @property
    def epochs(self) -> repositories.Epochs:
        """Fences."""

    @property
    def decisions(self) -> repositories.Decisions:
        """Decisions."""

    @property
    def attempts(self) -> repositories.Attempts:
        """Refused attempts."""

    @property
    def sweeps(self) -> repositories.Sweeps:
        """Sweeps."""

    @property
    def audit(self) -> repositories.Audit:
        """Audit entries and checkpoints."""

    @property
    def system(self) -> repositories.System:
        """The marker of the installation."""


class Database(Protocol):
    """Runs units of work.

    Safe to call from any thread; both calls block, so async edges use a thread.
    """

    def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` as one atomic unit and return its answer once it is durable.

        Units run one after another, so what `fn` reads is still true when it commits. Raises what
        `fn` raises; Unavailable when the database cannot commit, in which case nothing of the unit
        is kept.
        """

    def read(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` on one consistent snapshot of what is committed.

        A write inside it is refused by the database.
        """


class Keystore(Protocol):
    """Holds every key of the control plane, one for each purpose.

    None leaves it but as its methods say.

    Every method raises Refused(keystore_refused) for a purpose that has no such operation.
    """

    def public(self, purpose: KeyPurpose) -> bytes:
        """Return the public key.

        32 raw bytes for Ed25519 purposes, DER SubjectPublicKeyInfo for the CAs.
        """

    def sign(self, purpose: KeyPurpose, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature; for `terms`, `log`, `client_token` only."""

    def private_for_certificates(self, purpose: KeyPurpose) -> EllipticCurvePrivateKey:
        """Return the P-256 key of a CA, for `server_ca` and `node_ca` only.

        X.509 builders need the object.
        """

    def mac(self, purpose: KeyPurpose, data: bytes) -> tuple[str, bytes]:
        """Return the id of the current key and the 32-byte HMAC-SHA-256 tag.

        For the MAC purposes only.
        """

    def verify_mac(self, purpose: KeyPurpose, key_id: str, data: bytes, tag: bytes) -> bool:
        """Tell in constant time whether the tag is right under the kept key of that id."""

    def derive(self, purpose: KeyPurpose, info: bytes, length: int) -> bytes:
        """Return HKDF-SHA-256 output for `info`, for `ratchet` only; `length` is 1..64 bytes."""

    def wrap(self, plaintext: bytes, context: KeyContext) -> bytes:
        """Encrypt a secret (at most 4096 bytes) under the KEK, bound to its context."""

    def unwrap(self, wrapped: bytes, context: KeyContext) -> bytes:
        """Decrypt; Refused(key_unusable) for any other context, KEK, format version or damage."""

    def result_keys(self) -> tuple[DatedKey, ...]:
        """Return the keys of attestation results that are kept, the one that signs first."""

    def sign_result(self, spki: bytes, data: bytes) -> bytes:
        """Return r and s, 32 bytes each, of ES256 over `data` by a kept key of results."""

    def rotate_result_key(self, now: datetime, *, keep_previous: bool) -> None:
        """Begin to sign results with a fresh key, and keep the one before it or none."""


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC, in whole milliseconds as columns keep it."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds of a clock that never goes back, for measuring durations."""
