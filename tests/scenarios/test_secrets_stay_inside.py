"""F2: after a whole life of a lease no key stands in the database, in an answer or in the log."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import structlog
from anyio.from_thread import start_blocking_portal
from fakes import wire_agent as wire
from fakes.admin_plane import AppClient, bearer
from fakes.collateral_files import pem
from fakes.control_plane import MODEL, WORKLOAD, Reachable, chip
from fakes.instances import Instance, lease_states
from fakes.secret_walk import _forms, find_secrets

from sealward import telemetry
from sealward.controlplane.domain.keys import KeyContext, KeyPurpose, WrapPurpose
from sealward.controlplane.services import ratchet
from sealward.protos import agent_pb2
from sealward.protos.agent_pb2_grpc import AgentStub
from sealward.protos.wipe import WipeCause, WipeStatement

CREDENTIAL = "a join token"


@dataclass
class Overheard:
    """Everything that left the process."""

    grpc: list[bytes] = field(default_factory=list)
    rest: list[tuple[str, bytes]] = field(default_factory=list)
    log: str = ""


@contextmanager
def logged(into: Overheard) -> Iterator[None]:
    """Collect every log line, in the form that the service writes, at the finest level."""
    stream, root, present = io.StringIO(), logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    telemetry.configure(as_json=True, level="debug", stream=stream)
    try:
        yield
    finally:
        into.log = stream.getvalue()
        root.handlers, root.level = handlers, level
        structlog.configure(**present)


def live(plane: Reachable, heard: Overheard) -> tuple[Instance, Mapping[str, bytes]]:
    """Play a life of a node over the wire; return it and every secret that played a part."""
    world = plane.world
    instance = Instance(world.plane.trust)
    joined = world.plane.admin.join_tokens.create(world.admin)
    heard.grpc.append(wire.enroll(plane, instance).SerializeToString())
    ratchets = []
    with wire.agent_channel(plane, instance) as channel:
        stub = AgentStub(channel)
        for _ in range(3):
            heard.grpc.append(wire.attest(stub, instance).SerializeToString())
            assert instance.ratchet is not None
            ratchets.append(instance.ratchet[1])
        (lease,) = instance.held
        hello = agent_pb2.Hello(protocol_version=1, highest_sequence=instance.sequence)
        world.withdraw()
        world.settle()
        statement = WipeStatement(
            node=instance.keys.node,
            sequence=instance.sequence + 1,
            cause=WipeCause.REVOKED,
            leases=(lease,),
            items=(),
            elapsed_ms=1,
            unknown=(),
        ).sign(instance.keys.signing_public, instance.keys.sign)
        said = (
            agent_pb2.AgentMessage(hello=hello),
            agent_pb2.AgentMessage(challenge_wanted=agent_pb2.ChallengeWanted()),
            agent_pb2.AgentMessage(wiped=agent_pb2.WipeStatement(statement=statement)),
        )
        call = stub.Watch(iter(said), timeout=wire.DEADLINE_S)
        kinds = set()
        for message in call:
            heard.grpc.append(message.SerializeToString())
            kinds.add(message.WhichOneof("message"))
        assert "wipe_recorded" in kinds
    assert [state[0] for state in lease_states(world, instance).values()] == ["ended"]
    assert len(instance.content_keys) == 1
    world.settle()
    return instance, {
        "content key": next(iter(instance.content_keys.values())),
        **{f"ratchet secret {n}": secret for n, secret in enumerate(ratchets)},
        **_of_the_plane(plane, instance),
        CREDENTIAL: joined.text.rpartition(".")[2].encode(),
        "administrator's token": world.token.rpartition(".")[2].encode(),
    }


def _of_the_plane(plane: Reachable, instance: Instance) -> dict[str, bytes]:
    """Private keys and symmetric keys that never leave their files or the release core."""
    built = plane.world.plane
    keystore = built.attestation.keystore
    key = built.database.read(lambda tx: tx.workloads.latest_key(WORKLOAD))
    context = KeyContext(
        purpose=WrapPurpose.workload_private,
        tenant=built.settings.tenant,
        workload=WORKLOAD,
        version=key.version,
    )
    private = keystore.unwrap(key.wrapped_private, context)
    files = built.settings.data / "keys"
    symmetric = {
        f"{purpose} key {n}": bytes.fromhex(line)
        for purpose in (
            KeyPurpose.kek,
            KeyPurpose.challenge_mac,
            KeyPurpose.token_mac,
            KeyPurpose.ratchet,
            KeyPurpose.tpm_activation,
        )
        for n, line in enumerate((files / f"{purpose}.key").read_text().split())
    }
    asymmetric = {
        f"{purpose} private key": (files / f"{purpose}.key").read_bytes().split(b"\n")[1]
        for purpose in (KeyPurpose.terms, KeyPurpose.log, KeyPurpose.client_token)
    }
    return {
        "workload private key, ML-KEM seed": private[2:66],
        "workload private key, X25519": private[66:],
        "next ratchet secret": ratchet.secret(keystore, instance.node_id, 4),
        **symmetric,
        **asymmetric,
    }


def ask_everything(plane: Reachable, instance: Instance, heard: Overheard) -> None:
    """Ask every GET of the OpenAPI document, following ids that exist."""
    world = plane.world
    ((lease,),) = world.rows("SELECT lease_id FROM leases")
    platform = chip()
    chain = pem(platform.intermediate, platform.root)
    (held,) = world.plane.collateral.store.import_file(world.admin, chain)
    ((digest,),) = world.rows("SELECT digest FROM policy_revisions LIMIT 1")
    ((quoted,),) = world.rows(
        "SELECT correlation_id FROM decisions WHERE correlation_id != '' LIMIT 1"
    )
    values = {
        "node_id": instance.node_id,
        "lease_id": str(lease),
        "workload": WORKLOAD,
        "version": "1",
        "digest": str(digest),
        "correlation_id": str(quoted),
    }
    with start_blocking_portal() as portal:
        client = AppClient(world.plane.admin, portal)
        for path, methods in client.app.openapi()["paths"].items():
            if "get" not in methods:
                continue
            names = {"name": "agent-images" if "reference" in path else MODEL}
            if path.startswith("/v1/collateral/"):
                names = {"digest": held.digest}
            if path.startswith("/v1/workloads/{name}"):
                names = {"name": WORKLOAD}
            answer = client.get(path.format(**(values | names)), headers=bearer(world.token))
            assert answer.status_code == httpx.codes.OK, (path, answer.text)
            heard.rest.append((path, answer.content + repr(answer.headers).encode()))


def test_no_secret_is_stored_answered_or_logged(own_plane: Reachable) -> None:
    plane, heard = own_plane, Overheard()
    with logged(heard):
        instance, wanted = live(plane, heard)
        ask_everything(plane, instance, heard)
    assert len(wanted) > 12
    assert len(heard.rest) > 20
    assert heard.log.count("\n") > 1
    leaks = find_secrets(plane.world.database_file, wanted)
    assert leaks == ()
    for name, secret in wanted.items():
        for form in _forms(secret):
            assert form not in heard.log.encode(), name
            for path, body in heard.rest:
                assert form not in body, (name, path)
            for message in heard.grpc:
                assert form not in message, name


def test_the_walk_finds_what_is_there(own_plane: Reachable) -> None:
    """A walk that cannot find anything proves nothing: what is public is found everywhere."""
    plane, heard = own_plane, Overheard()
    instance, _ = live(plane, heard)
    ask_everything(plane, instance, heard)
    found = find_secrets(plane.world.database_file, {"node": instance.keys.node})
    assert {"nodes.node_id", "leases.node_id", "signed_terms.cose"} <= {
        leak.place for leak in found
    }
    assert any(instance.node_id.encode() in body for _, body in heard.rest)
    assert any(instance.keys.node in message for message in heard.grpc)


@pytest.mark.parametrize("purpose", list(KeyPurpose))
def test_no_key_file_is_readable_by_others(own_plane: Reachable, purpose: KeyPurpose) -> None:
    file = own_plane.world.plane.settings.data / "keys" / f"{purpose}.key"
    assert file.stat().st_mode & 0o077 == 0
