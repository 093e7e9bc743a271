"""A control plane's administration over real parts: SQLite, file keystore, HTTP application."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI

from sealward.controlplane.adapters.collateral.inspector import VendorInspector
from sealward.controlplane.adapters.db import schema, tables
from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.adapters.evidence_verifier import LibraryVerifier
from sealward.controlplane.adapters.keystore import file as keystore_file
from sealward.controlplane.api.app import create_app
from sealward.controlplane.domain.decisions import Decision, DecisionKind, Outcome
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.nodes import ClockClass, Node, NodeState
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import PolicyBundle
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.domain.records import JsonText
from sealward.controlplane.services.admin import AdminServices
from sealward.controlplane.services.administration import Dependencies
from sealward.controlplane.services.collateral import CollateralStore
from sealward.controlplane.services.collateral_forecast import Forecasts
from sealward.controlplane.services.collateral_view import CollateralBook
from sealward.controlplane.services.policies import PolicyCheck
from sealward.controlplane.services.principals import IssuedToken
from sealward.controlplane.services.reverification import Reverifier
from sealward.protos.trust import TrustConfiguration
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.rats.result import Posture

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
NODE_ID = "ab" * 32


@dataclass
class SteppedClock:
    """A clock that moves when a test says so."""

    instant: datetime = START

    def now(self) -> datetime:
        return self.instant

    def monotonic_ns(self) -> int:
        return int((self.instant - START) / timedelta(microseconds=1)) * 1000

    def advance(self, by: timedelta) -> None:
        self.instant += by


@dataclass
class CountingWake:
    """Counts how often the sweeper was told."""

    calls: int = 0

    def sweeps(self) -> None:
        self.calls += 1


@dataclass
class RecordingCheck:
    """Accepts every bundle and remembers it: the real check has its own tests."""

    seen: list[str] = field(default_factory=list)

    def __call__(self, bundle: PolicyBundle, kind: PolicyKind, layer: Layer) -> None:
        self.seen.append(f"{kind}/{layer}/{bundle.digest}")


@dataclass
class AppClient:
    """Calls an ASGI application from a test's own thread."""

    services: AdminServices
    portal: BlockingPortal

    @cached_property
    def app(self) -> FastAPI:
        """Built on first use: tests of services do not wait for it."""
        return create_app(self.services, random_bytes=secrets.token_bytes)

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:  # noqa: ANN401 - passed on
        response: httpx.Response = self.portal.call(self._request, method, path, how)
        return response

    def get(self, path: str, **how: Any) -> httpx.Response:  # noqa: ANN401 - passed on
        return self.request("GET", path, **how)

    def post(self, path: str, **how: Any) -> httpx.Response:  # noqa: ANN401 - passed on
        return self.request("POST", path, **how)

    async def _request(self, method: str, path: str, how: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://plane") as client:
            return await client.request(method, path, **how)


@dataclass
class AdminPlane:
    """Everything a test of the administration needs."""

    database: SqliteDatabase
    file: Path
    reader: sqlite3.Connection
    keystore: keystore_file.FileKeystore
    clock: SteppedClock
    wake: CountingWake
    services: AdminServices
    client: AppClient

    def administrator(self) -> IssuedToken:
        """Go through the bootstrap and return the first administrator."""
        credential = self.services.principals.issue_bootstrap_credential()
        assert credential is not None
        return self.services.principals.bootstrap(credential, "alice")

    def token_for(self, admin: Principal, role: Role) -> str:
        """Create a principal of one role and return its token."""
        issued = self.services.principals.create(
            admin, name=f"a-{role.replace('_', '-')}", roles=(role,), lifetime=timedelta(days=1)
        )
        return issued.text

    def add_node(self, **changes: Any) -> Node:  # noqa: ANN401 - passed on
        """Insert an admitted node, with changes."""
        node = replace(_NODE, **changes)
        self.database.write(lambda tx: tx.nodes.add(node))
        return node

    def add_decision(self, **changes: Any) -> Decision:  # noqa: ANN401 - passed on
        """Insert a refused decision about the node, with changes."""
        decision = replace(_DECISION, **changes)
        self.database.write(lambda tx: tx.decisions.add(decision))
        return decision

    def row_counts(self) -> Mapping[str, int]:
        """Count the rows of every table."""
        return {
            name: self.reader.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - our own table names
            for name in tables.metadata.tables
        }

    def everything_stored(self) -> str:
        """Return every value of every row, as text."""
        return "\n".join(
            repr(row)
            for name in tables.metadata.tables
            for row in self.reader.execute(f"SELECT * FROM {name}")  # noqa: S608 - our own table names
        )


def empty_plane(folder: Path) -> Path:
    """Make an unused database and keystore below `folder`, for `admin_plane` to copy."""
    schema.migrate(f"sqlite:///{folder / 'state.db'}")
    keystore_file.create(folder / "keys", secrets.token_bytes)
    return folder


@contextmanager
def admin_plane(
    folder: Path, template: Path, check: PolicyCheck | None = None
) -> Iterator[AdminPlane]:
    """Open an administration below `folder` that begins as a copy of `template`."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    database = SqliteDatabase(f"sqlite:///{folder / 'state.db'}")
    keystore = keystore_file.FileKeystore(folder / "keys", secrets.token_bytes)
    clock, wake = SteppedClock(), CountingWake()
    on = Dependencies(
        database=database,
        keystore=keystore,
        clock=clock,
        random_bytes=secrets.token_bytes,
        wake=wake,
    )
    verifier = LibraryVerifier(TrustAnchors())
    store = CollateralStore(on, VendorInspector(verifier.anchors))
    services = AdminServices.build(
        on,
        check=check or RecordingCheck(),
        trust=_trust(keystore),
        collateral=store,
        forecasts=Forecasts(
            on=on,
            store=store,
            reverifier=Reverifier(verifier, CollateralBook(database), database),
            fetches=frozenset(),
        ),
    )
    file = folder / "state.db"
    with start_blocking_portal() as portal, closing(sqlite3.connect(file)) as reader:
        client = AppClient(services, portal)
        try:
            yield AdminPlane(database, file, reader, keystore, clock, wake, services, client)
        finally:
            database.close()


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def _trust(keystore: keystore_file.FileKeystore) -> TrustConfiguration:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    root = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return TrustConfiguration(
        trust_domain="development.example",
        tenant="default",
        development=True,
        server_roots=(root.public_bytes(Encoding.PEM).decode(),),
        terms_keys=(keystore.public(KeyPurpose.terms),),
        log_keys=(keystore.public(KeyPurpose.log),),
    )


_NODE = Node(
    node_id=NODE_ID,
    state=NodeState.admitted,
    posture=Posture.COMPLIANT,
    tee="snp",
    instance_value="01" * 32,
    platform_id="snp:chip:" + "02" * 64,
    provider=None,
    development=True,
    clock=ClockClass.host,
    agent_version="0.1",
    tls_spki=b"spki",
    hpke_public=b"hpke",
    signing_public=b"sign",
    enrolled=START,
)
_DECISION = Decision(
    decision_id="d" * 32,
    node_id=NODE_ID,
    kind=DecisionKind.attest,
    outcome=Outcome.refused,
    code="posture_noncompliant",
    posture=Posture.NONCOMPLIANT,
    trust_vector=JsonText('{"executables":"contraindicated"}'),
    reasons=JsonText(
        '[{"code":"unknown_measurement","claim":"claims.measurements[launch]",'
        '"expected":"a digest in an active reference set","actual":"00ff",'
        '"hint":"import a reference set","layer":"organisation","rule":"sealward.appraisal"}]'
    ),
    input_digests=JsonText('{"claims":"00"}'),
    correlation_id="c0ffee00",
    decided=START,
    entry_id="e" * 32,
)
