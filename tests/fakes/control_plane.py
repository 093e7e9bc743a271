"""A control plane in this process, on a clock that a test moves: all that `bootstrap.build` builds.

Keys, database, policy workers, verifier and listeners are the real ones. What every test starts
from (shipped policies active, reference values imported, two platforms allowed, a workload with a
sealed model) is made once per process and copied.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fakes.sealed_models import CREATED, sealed_bytes, seeded
from fakes.snp_fixtures import stream
from fakes.state import ManualClock
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.platform import Platform, vcek_platform, vlek_platform
from sealward_devkit.snp.hierarchy import (
    Hierarchy,
    generate_root_keys,
    mint_hierarchy,
)
from sealward_devkit.snp.products import Product
from sealward_devkit.snp.report import development_measurement

from sealward.controlplane import bootstrap, server
from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.policy_engine.shipped import shipped
from sealward.controlplane.adapters.system_clock import SystemClock
from sealward.controlplane.bootstrap import ControlPlane
from sealward.controlplane.config import Address, CollateralServices, OpaServer, Settings
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import files_of
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import from_unix_ms, unix_ms
from sealward.controlplane.rpc.calls import Refusals
from sealward.controlplane.rpc.streams import StreamBells
from sealward.controlplane.server import Listening
from sealward.sealing.core import MIN_SEGMENT_BYTES, Format
from sealward.sealing.header import PREFIX_BYTES, Prefix
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.source import BytesSource
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.writer import Description, PlainModel, seal

TRUST_DOMAIN = "development.tests.sealward.invalid"
WORKLOAD = "scanner"
MODEL = "demo"
CREATOR = CreatorPrivateKey.generate(seeded("creator"))
TTL = timedelta(seconds=300)
IMAGES = "agent-images"
GOOD = development_measurement("agent 1.0")
OTHER = development_measurement("agent 1.1")
UNMEASURED_AGENT = development_measurement("an image whose agent is not measured")
CHAIN = ("firmware", "kernel", "cmdline", "rootfs", "agent")
_LIFE = timedelta(days=6)


@cache
def _hierarchy(product: Product) -> Hierarchy:
    now = SystemClock().now().replace(microsecond=0)
    validity = Validity(now - timedelta(hours=1), now + _LIFE)
    return mint_hierarchy(product, generate_root_keys(), validity)


@cache
def chip(name: str = "first") -> Platform:
    """A platform of the development root; only "first" and "second" are allowed at the start."""
    return vcek_platform(_hierarchy(Product.MILAN), stream(name))


@cache
def masked_chip(name: str = "first") -> Platform:
    """The chip of that name again; its host keeps CHIP_ID out of the chip's reports."""
    return replace(chip(name), chip_id=bytes(64))


@cache
def provider_chip(name: str = "provider") -> Platform:
    """A provider's platform: its key names no chip."""
    return vlek_platform(_hierarchy(Product.MILAN), stream(name), csp_id="cc.provider.example")


@dataclass
class World:
    """A control plane and who administers it."""

    plane: ControlPlane
    clock: ManualClock
    admin: Principal
    token: str = field(repr=False)
    rung: list[str] = field(default_factory=list)

    @property
    def database_file(self) -> Path:
        return self.plane.settings.data / "sealward.db"

    def settle(self) -> None:
        """Do what the workers beside the listeners do: sweep, keep house, sequence the log."""
        self.plane.sweeper.run()
        self.plane.housekeeper.run()
        self.plane.sequencer.turn()

    def withdraw(self, measurement: bytes = GOOD) -> None:
        """Withdraw a measurement; the sweep is left to the caller."""
        self.plane.admin.references.withdraw(
            self.admin, IMAGES, "measurement", measurement.hex(), reason="a test"
        )

    def activate(
        self,
        kind: PolicyKind,
        files: Mapping[str, str],
        *,
        layer: Layer = Layer.ORGANISATION,
        scope: str | None = None,
    ) -> str:
        """Upload a policy through the real check and activate it; return the activation's id."""
        return activate(self.plane, self.admin, kind, files, layer=layer, scope=scope)

    def rows(self, query: str, *values: str | int) -> list[tuple[object, ...]]:
        """Answer a query over a connection of its own."""
        with closing(sqlite3.connect(self.database_file)) as connection:
            return connection.execute(query, values).fetchall()

    def counts(self, *, without: tuple[str, ...] = ()) -> dict[str, int]:
        """Count the rows of every table."""
        with closing(sqlite3.connect(self.database_file)) as connection:
            return {
                name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608 - our own table names
                for name in tables.metadata.tables
                if name not in without
            }

    def content(self, *, without: tuple[str, ...] = ()) -> str:
        """Digest every row of every table."""
        digest = hashlib.sha256()
        with closing(sqlite3.connect(self.database_file)) as connection:
            for name in tables.metadata.tables:
                if name not in without:
                    rows = connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608 - our own table names
                    digest.update(repr((name, sorted(map(repr, rows)))).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Reachable:
    """A control plane whose three listeners answer on loopback."""

    world: World
    listening: Listening

    @property
    def roots(self) -> bytes:
        return "".join(self.world.plane.trust.server_roots).encode()


def settings(
    data: Path,
    roots: Path | None,
    trust_domain: str = TRUST_DOMAIN,
    opa: OpaServer | None = None,
) -> Settings:
    """Settings of a test installation; development exactly when there are development roots."""
    anywhere = Address("127.0.0.1", 0)
    return Settings(
        data=data,
        trust_domain=trust_domain,
        rest=anywhere,
        enrollment=anywhere,
        agents=anywhere,
        names=("localhost", "127.0.0.1"),
        development=roots is not None,
        development_roots=() if roots is None else (roots,),
        policy_deadline_s=2.0,  # a shared machine
        opa=opa,
    )


@contextmanager
def world(folder: Path, *, collateral: CollateralServices | None = None) -> Iterator[World]:
    """Open a furnished control plane below `folder`; the second time it is as it was left."""
    made = open_world(folder, collateral=collateral)
    try:
        yield made
    finally:
        made.plane.close()


@contextmanager
def reachable(folder: Path, *, opa: OpaServer | None = None) -> Iterator[Reachable]:
    """Open a furnished control plane and its listeners, without the workers beside them."""
    loop = asyncio.new_event_loop()
    bells = StreamBells(loop)
    made = open_world(folder, ring=bells.ring, opa=opa)
    opened: list[Listening] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def listen() -> None:
        async with server.listeners(made.plane, bells, Refusals()) as listening:
            opened.append(listening)
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(listen())
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="listeners")
    thread.start()
    try:
        assert ready.wait(30)
        assert opened, "the listeners did not open"
        yield Reachable(made, opened[0])
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        made.plane.close()


def open_world(
    folder: Path,
    *,
    ring: Callable[[str], None] | None = None,
    opa: OpaServer | None = None,
    collateral: CollateralServices | None = None,
) -> World:
    """Build over `folder`, furnishing it first when it is empty. The caller closes the plane."""
    if not (folder / "plane").exists():
        shutil.copytree(_template(), folder, dirs_exist_ok=True)
    now = SystemClock().now()
    clock = ManualClock(from_unix_ms(unix_ms(now)))
    rung: list[str] = []
    chosen = settings(folder / "plane", folder / "root.der", opa=opa)
    plane = bootstrap.build(
        replace(chosen, collateral=collateral),
        ring=ring or rung.append,
        clock=clock,
    )
    token = (folder / "token").read_text()
    admin = plane.admin.principals.authenticate(token)
    return World(plane=plane, clock=clock, admin=admin, token=token, rung=rung)


def activate(
    plane: ControlPlane,
    admin: Principal,
    kind: PolicyKind,
    files: Mapping[str, str],
    *,
    layer: Layer = Layer.ORGANISATION,
    scope: str | None = None,
) -> str:
    """Upload a bundle and put it in force in place of what is there."""
    revision = plane.admin.policies.upload(admin, kind=kind, layer=layer, name="test", files=files)
    in_place = scope or str(layer)
    current = [
        a.activation_id
        for a in plane.admin.policies.active(admin)
        if (a.kind, a.layer, a.scope) == (kind, layer, in_place)
    ]
    made = plane.admin.policies.activate(
        admin, revision.digest, scope=scope, replaces=current[0] if current else None
    )
    return made.activation_id


def shipped_files(kind: PolicyKind) -> dict[str, str]:
    """The shipped bundle of a kind, as it is uploaded."""
    return {path: data.decode() for path, data in files_of(shipped(kind)).items()}


def create_workload(
    plane: ControlPlane,
    admin: Principal,
    name: str,
    *,
    production: bool = False,
    ttl: timedelta = TTL,
    max_instances: int | None = None,
) -> None:
    """Create a workload and register version 1 of a model sealed for it."""
    plane.admin.workloads.create(
        admin,
        name=name,
        data_class="internal",
        production=production,
        ttl=ttl,
        max_instances=max_instances,
        creators=(CREATOR.public.encoded,),
    )
    register(plane, admin, name)


def register(plane: ControlPlane, admin: Principal, workload: str, version: int = 1) -> None:
    """Seal a small model with the workload's public key and register it."""
    key = WorkloadKey.parse(plane.admin.workloads.public_key_file(admin, workload))
    content = b"the weights of a model"
    plain = PlainModel(
        format=Format.ONNX,
        parts=(BytesSource(content),),
        plain_digest=hashlib.sha256(content).digest(),
        external_digest=None,
    )
    sealed = sealed_bytes(
        lambda descriptor: seal(
            plain,
            Description(model=MODEL, version=version, created=CREATED),
            workload_key=key,
            creator=CREATOR,
            descriptor=descriptor,
            random_bytes=seeded(f"{workload}/{version}/{secrets.token_hex(8)}"),
            segment_bytes=MIN_SEGMENT_BYTES,
        )
    )
    header = sealed[: Prefix.parse(sealed[:PREFIX_BYTES]).total_bytes]
    plane.admin.models.register(admin, workload, header)


def image(digest: bytes, **changes: object) -> dict[str, object]:
    """A reference value of a measured agent image."""
    value = {
        "name": f"image {digest.hex()[:8]}",
        "components": list(CHAIN),
        "clock": "protected",
        "trust_config": "host_data",
        **changes,
    }
    return {"kind": "measurement", "key": digest.hex(), "value": value}


def furnish(plane: ControlPlane, *, not_after: datetime | None = None) -> tuple[Principal, str]:
    """Make an administrator, activate what is shipped and let the known images and chips in."""
    credential = plane.admin.principals.issue_bootstrap_credential()
    assert credential is not None
    issued = plane.admin.principals.bootstrap(credential, "alice")
    admin = issued.principal
    for kind in PolicyKind:
        activate(plane, admin, kind, shipped_files(kind))
    document = {
        "name": IMAGES,
        "not_after": None if not_after is None else not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "values": [
            image(GOOD),
            image(OTHER),
            image(UNMEASURED_AGENT, components=["firmware", "kernel"]),
            {
                "kind": "tcb_floor",
                "key": "snp/Milan",
                "value": {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115},
            },
        ],
    }
    plane.admin.references.import_set(admin, json.dumps(document).encode(), activate=True)
    for name in ("first", "second"):
        platform_id = chip(name).platform_id
        assert platform_id is not None
        plane.admin.platforms.allow(admin, platform_id)
    create_workload(plane, admin, WORKLOAD)
    return admin, issued.text


_kept: list[TemporaryDirectory[str]] = []  # of this process: the template lives as long as it does


@cache
def _template() -> Path:
    """A furnished installation, closed, to be copied."""
    _kept.append(TemporaryDirectory())
    folder = Path(_kept[0].name)
    root = x509.load_der_x509_certificate(_hierarchy(Product.MILAN).ark)
    (folder / "root.der").write_bytes(root.public_bytes(Encoding.DER))
    plane = bootstrap.build(
        settings(folder / "plane", folder / "root.der"), ring=lambda _node: None
    )
    try:
        _, token = furnish(plane)
        plane.sweeper.run()
    finally:
        plane.close()
    (folder / "token").write_text(token)
    return folder
