"""The composition root: the only module that builds concrete things."""

from __future__ import annotations

import os
import secrets
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from sealward.controlplane.adapters import certificates
from sealward.controlplane.adapters.certificates import NodeAuthority, TlsIdentity
from sealward.controlplane.adapters.collateral.inspector import VendorInspector
from sealward.controlplane.adapters.collateral.remote import ServiceUrls, VendorServices
from sealward.controlplane.adapters.db import schema
from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.adapters.evidence_verifier import LibraryVerifier
from sealward.controlplane.adapters.keystore import file as keystores
from sealward.controlplane.adapters.keystore.file import FileKeystore
from sealward.controlplane.adapters.keystore.private_files import (
    DIRECTORY_MODE,
    require_private_directory,
)
from sealward.controlplane.adapters.policy_engine.opa.endpoint import Endpoint, InvalidEndpoint
from sealward.controlplane.adapters.policy_engines import PolicyEngines, open_engines
from sealward.controlplane.adapters.server_identity import ServerIdentity
from sealward.controlplane.adapters.system_clock import SystemClock
from sealward.controlplane.config import CollateralServices, InvalidSettings, Settings
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.system import SystemKind, SystemMarker
from sealward.controlplane.services.admin import AdminServices
from sealward.controlplane.services.administration import Dependencies
from sealward.controlplane.services.appraisal import Appraiser
from sealward.controlplane.services.attempts import Attempts
from sealward.controlplane.services.attestation import AttestationService
from sealward.controlplane.services.attestation_results import ResultIssuer
from sealward.controlplane.services.challenges import ChallengeService
from sealward.controlplane.services.collateral import CollateralStore
from sealward.controlplane.services.collateral_desk import CollateralDesk, Lane, NoFetcher
from sealward.controlplane.services.collateral_fetching import Fetching
from sealward.controlplane.services.collateral_forecast import Forecasts
from sealward.controlplane.services.collateral_view import CollateralBook
from sealward.controlplane.services.enrollment import EnrollmentService
from sealward.controlplane.services.evidence import EvidenceGate
from sealward.controlplane.services.lapses import Housekeeper
from sealward.controlplane.services.policy_book import PolicyBook
from sealward.controlplane.services.ports import Clock
from sealward.controlplane.services.release import Releaser
from sealward.controlplane.services.release_core import ReleaseCore
from sealward.controlplane.services.reverification import Reverifier
from sealward.controlplane.services.runtime_logs import RuntimeLogs
from sealward.controlplane.services.sequencer import Sequencer
from sealward.controlplane.services.sweeper import Sweeper
from sealward.controlplane.services.terms_issuer import TermsIssuer
from sealward.controlplane.services.tpm_nodes import TpmNodes
from sealward.controlplane.services.wipes import WipeService
from sealward.protos.trust import TrustConfiguration
from sealward.verifier import registry
from sealward.verifier.pki import development
from sealward.verifier.pki.anchors import TrustAnchors

_CREDENTIAL_FILE = "bootstrap-credential"
_TRUST_FILE = "trust.json"


class SweepBell:
    """Wakes the sweeping thread; `services.administration.Wake`."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def sweeps(self) -> None:
        """Say that a commit left a sweep behind."""
        self.event.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollateralRoom:
    """Everything about collateral; `fetching` and `services` where vendors are asked at all."""

    store: CollateralStore
    desk: CollateralDesk
    forecasts: Forecasts
    fetching: Fetching | None
    services: VendorServices | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """Everything that one process runs, built and ready. `close` it when done."""

    settings: Settings
    clock: Clock
    database: SqliteDatabase
    engines: PolicyEngines
    trust: TrustConfiguration
    server_identity: ServerIdentity
    node_root: bytes
    admin: AdminServices
    challenges: ChallengeService
    tpm_nodes: TpmNodes
    enrollment: EnrollmentService
    attestation: AttestationService
    wipes: WipeService
    sweeper: Sweeper
    housekeeper: Housekeeper
    sequencer: Sequencer
    bell: SweepBell
    collateral: CollateralRoom

    def close(self) -> None:
        """End policy engines and connections to vendors, then the database."""
        self.engines.close()
        if self.collateral.services is not None:
            self.collateral.services.close()
        self.database.close()


def build(
    settings: Settings, *, ring: Callable[[str], None], clock: Clock | None = None
) -> ControlPlane:
    """Open or create the installation in `settings.data` and build everything over it.

    Args:
        settings: already found servable.
        ring: told of every node for which there is something to push.
        clock: the operating system's, unless somebody else keeps the time.

    Raises:
        DomainError: the data folder belongs to another installation, or cannot be used; or the
            OPA server cannot.
        InvalidSettings: a development root or endorsement is not one, or a TLS file for OPA; or the
            settings are half production and half development.
    """
    settings.require_one_kind()  # whoever made them: no root comes in by a way around `serve`
    engines = _engines(
        settings
    )  # first, so that an OPA server that is refused leaves nothing behind
    try:
        return _build(settings, engines, ring=ring, clock=clock or SystemClock())
    except BaseException:
        engines.close()
        raise


def _build(
    settings: Settings, engines: PolicyEngines, *, ring: Callable[[str], None], clock: Clock
) -> ControlPlane:
    engine = engines.deciding
    random_bytes = secrets.token_bytes
    data = settings.data
    data.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    require_private_directory(data.resolve())  # one that was there has the mode somebody gave it
    keys = data / "keys"
    if not keys.exists():
        keystores.create(keys, random_bytes, clock.now())
    keystores.complete(keys, random_bytes, clock.now())
    keystore = FileKeystore(keys, random_bytes)
    database = _database(settings, clock)
    roots = {
        purpose: certificates.load_or_create_root(
            data / name,
            purpose=purpose,
            keystore=keystore,
            trust_domain=settings.trust_domain,
            now=clock.now(),
        )
        for purpose, name in (
            (KeyPurpose.server_ca, "server-root.pem"),
            (KeyPurpose.node_ca, "node-root.pem"),
        )
    }
    trust = TrustConfiguration(
        trust_domain=settings.trust_domain,
        tenant=settings.tenant,
        development=settings.development,
        server_roots=(roots[KeyPurpose.server_ca].public_bytes(Encoding.PEM).decode(),),
        terms_keys=(keystore.public(KeyPurpose.terms),),
        log_keys=(keystore.public(KeyPurpose.log),),
    )
    _write_public(data / _TRUST_FILE, trust.encode())
    book = PolicyBook()
    challenges = ChallengeService(
        keystore=keystore, clock=clock, random_bytes=random_bytes, trust=trust
    )
    tpm_nodes = TpmNodes(
        database=database, keystore=keystore, random_bytes=random_bytes, challenges=challenges
    )
    runtime_logs = RuntimeLogs(database)
    verifier = _verifier(settings, clock)
    bell = SweepBell()
    on = Dependencies(
        database=database, keystore=keystore, clock=clock, random_bytes=random_bytes, wake=bell
    )
    collateral = _collateral(settings, on, verifier)
    gate = EvidenceGate(
        database=database,
        verifier=verifier,
        challenges=challenges,
        tpm=tpm_nodes,
        runtime_logs=runtime_logs,
        collateral=collateral.desk,
        trust=trust,
    )
    appraiser = Appraiser(
        engine=engine,
        trust_config_digest=trust.digest().hex(),
        development=settings.development,
    )
    releaser = Releaser(engine, book)
    issuer = TermsIssuer(keystore, trust)
    authority = NodeAuthority(
        roots[KeyPurpose.node_ca], keystore, settings.trust_domain, settings.tenant
    )
    attempts = Attempts.of(clock, random_bytes)

    def issue_server(now: datetime) -> TlsIdentity:
        root = roots[KeyPurpose.server_ca]
        return certificates.issue_server(root, keystore=keystore, names=settings.names, now=now)

    return ControlPlane(
        settings=settings,
        clock=clock,
        database=database,
        engines=engines,
        trust=trust,
        server_identity=ServerIdentity(issue_server, clock.now()),
        node_root=roots[KeyPurpose.node_ca].public_bytes(Encoding.PEM),
        admin=AdminServices.build(
            on,
            check=engines.check,
            trust=trust,
            collateral=collateral.store,
            forecasts=collateral.forecasts,
        ),
        challenges=challenges,
        tpm_nodes=tpm_nodes,
        enrollment=EnrollmentService(
            database=database,
            keystore=keystore,
            clock=clock,
            random_bytes=random_bytes,
            gate=gate,
            book=book,
            engine=engine,
            appraiser=appraiser,
            certificates=authority,
            attempts=attempts,
            wake=bell,
        ),
        attestation=AttestationService(
            database=database,
            keystore=keystore,
            clock=clock,
            random_bytes=random_bytes,
            gate=gate,
            book=book,
            appraiser=appraiser,
            releaser=releaser,
            core=ReleaseCore(keystore, settings.tenant),
            issuer=issuer,
            certificates=authority,
            results=ResultIssuer(keystore, settings.trust_domain),
            attempts=attempts,
            wake=bell,
        ),
        wipes=WipeService(database, clock, random_bytes),
        sweeper=Sweeper(
            database=database,
            clock=clock,
            random_bytes=random_bytes,
            book=book,
            appraiser=appraiser,
            releaser=releaser,
            issuer=issuer,
            runtime_logs=runtime_logs,
            reverifier=collateral.forecasts.reverifier,
            ring=ring,
        ),
        housekeeper=Housekeeper(database, keystore, clock, random_bytes),
        sequencer=Sequencer(
            database=database, keystore=keystore, clock=clock, trust_domain=settings.trust_domain
        ),
        bell=bell,
        collateral=collateral,
    )


def write_bootstrap_credential(plane: ControlPlane) -> Path | None:
    """Write a fresh bootstrap credential for its owner only; None once an administrator exists."""
    text = plane.admin.principals.issue_bootstrap_credential()
    path = plane.settings.data / _CREDENTIAL_FILE
    path.unlink(missing_ok=True)
    if text is None:
        return None
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
    return path


def _engines(settings: Settings) -> PolicyEngines:
    opa = settings.opa
    try:
        return open_engines(
            None
            if opa is None
            else Endpoint.parse(opa.url, ca=opa.ca, certificate=opa.certificate, key=opa.key),
            deadline_seconds=settings.policy_deadline_s,
            places=settings.decision_threads + 1,  # and the sweeper
        )
    except InvalidEndpoint as error:
        raise InvalidSettings(str(error)) from error


def _database(settings: Settings, clock: Clock) -> SqliteDatabase:
    url = f"sqlite:///{(settings.data / 'sealward.db').resolve()}"
    schema.migrate(url)
    database = SqliteDatabase(url, tenant=settings.tenant)
    kind = SystemKind.development if settings.development else SystemKind.production
    marker = database.read(lambda tx: tx.system.find())
    if marker is None:
        fresh = SystemMarker(
            kind=kind, trust_domain=settings.trust_domain, generation=1, created=clock.now()
        )
        database.write(lambda tx: tx.system.initialise(fresh))
        return database
    if (marker.kind, marker.trust_domain) != (kind, settings.trust_domain):
        database.close()
        raise Refused(
            Code.wrong_database,
            f"this data folder belongs to the {marker.kind} installation {marker.trust_domain}",
            "a database never changes kind; give another --data folder",
        )
    return database


def _verifier(settings: Settings, clock: Clock) -> LibraryVerifier:
    development_roots = tuple(
        development.import_root(der, now=clock.now())
        for path in settings.development_roots
        for der in _certificates(path)
    )
    own = tuple(
        der
        for path in sorted(settings.endorsements.iterdir() if settings.endorsements else ())
        for der in _certificates(path)
    )
    return LibraryVerifier(TrustAnchors(development_roots=development_roots), own)


def _collateral(settings: Settings, on: Dependencies, verifier: LibraryVerifier) -> CollateralRoom:
    store = CollateralStore(on, VendorInspector(verifier.anchors))
    book = CollateralBook(on.database)
    asked = settings.collateral
    services = None if asked is None else _vendor_services(asked)
    fetching = None
    if asked is not None and services is not None:
        fetching = Fetching(
            store=store,
            remote=services,
            budgets={
                Lane.joining: asked.joining_per_hour,
                Lane.renewal: asked.renewals_per_hour,
            },
            jitter=lambda: secrets.randbelow(1 << 32) / (1 << 32),
        )
    return CollateralRoom(
        store=store,
        desk=CollateralDesk(on.database, book, fetching or NoFetcher()),
        forecasts=Forecasts(
            on=on,
            store=store,
            reverifier=Reverifier(verifier, book, on.database),
            fetches=frozenset() if services is None else services.renews(),
        ),
        fetching=fetching,
        services=services,
    )


def _vendor_services(asked: CollateralServices) -> VendorServices:
    try:
        tls = ssl.create_default_context(cafile=None if asked.ca is None else str(asked.ca))
    except (ssl.SSLError, OSError) as error:
        raise InvalidSettings(f"[collateral] ca: {error}") from error
    urls = ServiceUrls(
        amd=asked.amd.rstrip("/") or None,
        intel=asked.intel.rstrip("/") or None,
        intel_root_crl=asked.intel_root_crl or None,
        nvidia_rim=asked.nvidia_rim.rstrip("/") or None,
    )
    return VendorServices(urls, tls=tls)


def _certificates(path: Path) -> tuple[bytes, ...]:
    items = registry.recognise(path.read_bytes())
    if any(item.role in kind.evidence for item in items for kind in registry.KINDS):
        raise InvalidSettings(f"{path.name} holds evidence, not certificates")
    return tuple(item.data for item in items)


def _write_public(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(content)
    draft.replace(path)
