"""The Database port on SQLite: one writer at a time with group commit, readers beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sealward.controlplane.adapters.db import engine, schema
from sealward.controlplane.adapters.db.attempts import AttemptRepository
from sealward.controlplane.adapters.db.audit import AuditRepository
from sealward.controlplane.adapters.db.collateral import CollateralRepository
from sealward.controlplane.adapters.db.decisions import DecisionRepository, SweepRepository
from sealward.controlplane.adapters.db.devices import DeviceRepository
from sealward.controlplane.adapters.db.fences import ChallengeRepository, EpochRepository
from sealward.controlplane.adapters.db.leases import LeaseRepository
from sealward.controlplane.adapters.db.nodes import EvidenceRepository, NodeRepository
from sealward.controlplane.adapters.db.platforms import PlatformRepository
from sealward.controlplane.adapters.db.policies import PolicyRepository
from sealward.controlplane.adapters.db.principals import (
    JoinTokenRepository,
    PrincipalRepository,
    TokenRepository,
)
from sealward.controlplane.adapters.db.references import ReferenceRepository
from sealward.controlplane.adapters.db.rows import Scope
from sealward.controlplane.adapters.db.runtime_logs import RuntimeLogRepository
from sealward.controlplane.adapters.db.system import SystemRepository
from sealward.controlplane.adapters.db.terms import TermsRepository
from sealward.controlplane.adapters.db.transactions import Transactions
from sealward.controlplane.adapters.db.trust_anchors import TrustAnchorRepository
from sealward.controlplane.adapters.db.workloads import ModelRepository, WorkloadRepository
from sealward.controlplane.adapters.db.writer import Writer
from sealward.controlplane.domain.records import DEFAULT_TENANT
from sealward.controlplane.services.ports import Transaction

T = TypeVar("T")


class SqlTransaction:
    """services.ports.Transaction: repositories that share a connection and a tenant."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._scope = Scope(connection, tenant)

    @property
    def tenant(self) -> str:
        """The tenant that every repository is scoped to."""
        return self._scope.tenant

    @property
    def nodes(self) -> NodeRepository:
        """Nodes."""
        return NodeRepository(self._scope)

    @property
    def evidence(self) -> EvidenceRepository:
        """The latest evidence of each node."""
        return EvidenceRepository(self._scope)

    @property
    def runtime_logs(self) -> RuntimeLogRepository:
        """What is kept of the nodes' runtime logs."""
        return RuntimeLogRepository(self._scope)

    @property
    def devices(self) -> DeviceRepository:
        """Which node holds which device."""
        return DeviceRepository(self._scope)

    @property
    def leases(self) -> LeaseRepository:
        """Leases and the exposure ledger."""
        return LeaseRepository(self._scope)

    @property
    def terms(self) -> TermsRepository:
        """Signed terms and wipe statements."""
        return TermsRepository(self._scope)

    @property
    def references(self) -> ReferenceRepository:
        """Reference sets and values."""
        return ReferenceRepository(self._scope)

    @property
    def policies(self) -> PolicyRepository:
        """Policy revisions and activations."""
        return PolicyRepository(self._scope)

    @property
    def platforms(self) -> PlatformRepository:
        """Platforms."""
        return PlatformRepository(self._scope)

    @property
    def trust_anchors(self) -> TrustAnchorRepository:
        """Trust anchors."""
        return TrustAnchorRepository(self._scope)

    @property
    def collateral(self) -> CollateralRepository:
        """Accepted collateral and its floors."""
        return CollateralRepository(self._scope)

    @property
    def workloads(self) -> WorkloadRepository:
        """Workloads and their keys."""
        return WorkloadRepository(self._scope)

    @property
    def models(self) -> ModelRepository:
        """Sealed model versions."""
        return ModelRepository(self._scope)

    @property
    def principals(self) -> PrincipalRepository:
        """Principals and roles."""
        return PrincipalRepository(self._scope)

    @property
    def tokens(self) -> TokenRepository:
        """Service tokens."""
        return TokenRepository(self._scope)

    @property
    def join_tokens(self) -> JoinTokenRepository:
        """Join tokens."""
        return JoinTokenRepository(self._scope)

    @property
    def challenges(self) -> ChallengeRepository:
        """Spent challenges."""
        return ChallengeRepository(self._scope)

    @property
    def epochs(self) -> EpochRepository:
        """Fences."""
        return EpochRepository(self._scope)

    @property
    def decisions(self) -> DecisionRepository:
        """Decisions."""
        return DecisionRepository(self._scope)

    @property
    def attempts(self) -> AttemptRepository:
        """Refused attempts."""
        return AttemptRepository(self._scope)

    @property
    def sweeps(self) -> SweepRepository:
        """Sweeps."""
        return SweepRepository(self._scope)

    @property
    def audit(self) -> AuditRepository:
        """Audit entries and checkpoints."""
        return AuditRepository(self._scope)

    @property
    def system(self) -> SystemRepository:
        """The marker of the installation."""
        return SystemRepository(self._scope)


class SqliteDatabase:
    """services.ports.Database on one SQLite file. `close` it when done."""

    def __init__(self, url: str, *, tenant: str = DEFAULT_TENANT) -> None:
        """Open `url` (sqlite:////FILE), whose schema must be current: `schema.migrate` makes it so.

        Raises:
            Refused(wrong_database): not a database we can use.
            Refused(schema_mismatch): older or newer than this build.
            Unavailable(database_unavailable): it cannot be opened.
        """
        schema.require_current(url)
        self._tenant = tenant
        self._write_engine = engine.write_engine(url)
        self._read_engine = engine.read_engine(url)
        self._writer = Writer(self._write_engine)
        self._reads = Transactions(
            self._read_engine, begin=engine.BEGIN_READING, most=engine.READERS
        )

    def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` as one atomic unit and return its answer once it is durable."""
        return self._writer.run(lambda connection: fn(SqlTransaction(connection, self._tenant)))

    def read(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` on one consistent snapshot of what is committed."""
        try:
            with self._reads.begin() as connection:
                return fn(SqlTransaction(connection, self._tenant))
        except DBAPIError as error:
            raise engine.translate(error) from None

    def close(self) -> None:
        """Finish queued units, then close every connection. Idempotent."""
        self._writer.close()
        self._reads.close()
        self._write_engine.dispose()
        self._read_engine.dispose()
