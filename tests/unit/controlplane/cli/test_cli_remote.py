"""The remote commands against a real server over TLS."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from fakes.admin_models import CREATOR, sealed_model
from fakes.admin_plane import NODE_ID, START, AdminPlane
from fakes.admin_requests import MEASUREMENT, PLATFORM, POLICY, REFERENCE_SET
from fakes.admin_server import Server, tls_server
from fakes.sealed_models import seeded

from sealward.controlplane.cli.main import main
from sealward.controlplane.domain.audit import StoredCheckpoint
from sealward.controlplane.domain.nodes import NodeState
from sealward.controlplane.domain.records import JsonText
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.workload_key import WorkloadKey

HOSTILE = "\x1b]0;owned\x07\u202e"


@dataclass(frozen=True)
class Cli:
    """The command line of one administrator."""

    plane: AdminPlane
    server: Server
    folder: Path

    @property
    def credentials(self) -> Path:
        return self.folder / "alice.json"

    def __call__(self, *arguments: str) -> Result:
        environment = {"SEALWARD_CREDENTIALS": str(self.credentials)}
        return CliRunner().invoke(main, arguments, env=environment, prog_name="sealward")

    def ok(self, *arguments: str) -> str:
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> object:
        return json.loads(self.ok(*arguments, "--json"))  # noqa: TID251 - as a script would read it

    def refused(self, *arguments: str, code: int = 1) -> str:
        result = self(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        return result.stderr

    def bootstrap(self, name: str = "alice") -> Result:
        once = self.folder / "bootstrap"
        if not once.exists():
            credential = self.plane.services.principals.issue_bootstrap_credential()
            assert credential is not None
            once.touch(0o600)
            once.write_text(credential + "\n")
        where = ("--server", self.server.url, "--ca", str(self.server.ca))
        return self("admin", "bootstrap", "--credential", str(once), "--name", name, *where)


@pytest.fixture
def fresh(plane: AdminPlane, tmp_path: Path) -> Iterator[Cli]:
    with tls_server(plane, tmp_path) as server:
        yield Cli(plane, server, tmp_path)


@pytest.fixture
def cli(fresh: Cli) -> Cli:
    assert fresh.bootstrap().exit_code == 0
    return fresh


def write(folder: Path, name: str, content: object) -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_bootstrap_writes_a_private_file_and_later_commands_need_only_that(fresh: Cli) -> None:
    result = fresh.bootstrap()
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(fresh.credentials.stat().st_mode) == 0o600
    token = json.loads(fresh.credentials.read_text())["token"]  # noqa: TID251 - the file as it is
    assert token not in result.output
    assert "alice" in fresh.ok("admin", "list")


def test_a_second_bootstrap_is_refused_and_overwrites_nothing(cli: Cli) -> None:
    kept = cli.credentials.read_text()
    assert cli.bootstrap("mallory").exit_code == 1
    assert cli.credentials.read_text() == kept
    other = cli.folder / "other.json"
    once = str(cli.folder / "bootstrap")
    told = cli.refused(
        "admin", "bootstrap", "--credential", once, "--name", "mallory",
        "--server", cli.server.url, "--ca", str(cli.server.ca), "--credentials", str(other),
    )  # fmt: skip
    assert "token_spent" in told
    assert "Hint:" in told
    assert not other.exists()


def test_the_life_of_a_reference_set(cli: Cli) -> None:
    file = write(cli.folder, "set.json", REFERENCE_SET)
    assert "active" in cli.ok("reference", "import", file)
    assert "already_exists" in cli.refused("reference", "import", file)
    assert MEASUREMENT in cli.ok("reference", "show", "agents")
    withdraw = ("reference", "withdraw", "measurement", MEASUREMENT, "--set", "agents")
    cli.refused(*withdraw, code=2)
    assert "withdrawn" in cli.ok(*withdraw, "--reason", "leaked")
    reinstate = ("reference", "reinstate", *withdraw[2:])
    cli.refused(*reinstate, code=2)
    assert "active" in cli.ok(*reinstate, "--reason", "false alarm")
    assert "withdrawn" in cli.ok(*withdraw, "--reason", "leaked after all")
    cli.ok("reference", "expire", "agents", "--not-after", "2027-01-31T00:00:00Z")
    assert "2027-01-31" in cli.ok("reference", "list")
    assert "revoked" in cli.ok("reference", "revoke", "agents", "--reason", "old")
    listed = cli.json("reference", "list")
    assert [item["state"] for item in listed] == ["revoked"]


def test_policies_are_pushed_by_folder_and_activated_in_place_of_each_other(cli: Cli) -> None:
    folder = cli.folder / "release-policy"
    folder.mkdir()
    for name, text in POLICY["files"].items():
        (folder / name).write_text(text)
    first = cli.json("policy", "push", str(folder))
    assert (first["kind"], first["layer"], first["name"]) == (
        "release",
        "organisation",
        "release-policy",
    )
    cli.ok("policy", "activate", first["digest"])
    (folder / "policy.rego").write_text("package sealward.release\n\nallow := false\n")
    second = cli.json("policy", "push", str(folder))
    activated = cli.json("policy", "activate", second["digest"])
    assert activated["replaces"] is not None
    in_force = cli.json("policy", "list", "--active")
    assert [item["digest"] for item in in_force] == [second["digest"]]
    assert "allow := false" in cli.ok("policy", "show", second["digest"])
    (folder / "README.md").write_text("hello")
    assert "README.md" in cli.refused("policy", "push", str(folder))


@pytest.mark.parametrize("kind", ["appraisal", "release", "enrollment"])
def test_the_shipped_policies_are_pushed_by_name(cli: Cli, kind: str) -> None:
    assert cli.json("policy", "push", "--shipped", kind)["kind"] == kind


def test_platforms_and_tokens(cli: Cli) -> None:
    assert "allowed" in cli.ok("platform", "allow", PLATFORM, "--note", "rack 4")
    assert "denied" in cli.ok("platform", "deny", PLATFORM, "--note", "stolen")
    assert "stolen" in cli.ok("platform", "list")
    token = cli.ok("join-token", "create", "--label", "site=berlin").strip()
    assert token.count(".") == 1
    assert token.partition(".")[2] not in cli.ok("join-token", "list")
    cli.refused("join-token", "create", "--label", "site", code=2)


def test_workloads_and_their_public_key_files(cli: Cli) -> None:
    cli.ok("workload", "create", "scoring", "--ttl", "15", "--max-instances", "2")
    assert "scoring" in cli.ok("workload", "list")
    output = cli.folder / "scoring.pub.json"
    told = cli.json("workload", "key", "scoring", "-o", str(output))
    assert told["key"] in output.read_text()
    assert "workload_unknown" in cli.refused("workload", "key", "none", "-o", str(output))
    jwt = cli.ok("client-token", "create", "--workload", "scoring", "--subject", "bob").strip()
    assert jwt.count(".") == 2


def creator_file(folder: Path, creator: CreatorPrivateKey = CREATOR) -> Path:
    path = folder / f"{creator.public.key_id.hex()[:8]}.pub"
    path.write_bytes(creator.public.encode_file() + b"\n")
    return path


def test_creators_are_pinned_listed_and_removed(cli: Cli) -> None:
    other = CreatorPrivateKey.generate(seeded("another"))
    first, second = creator_file(cli.folder), creator_file(cli.folder, other)
    cli.ok("workload", "create", "scoring", "--creator", str(first))
    added = cli.json("workload", "creator", "add", "scoring", str(second))
    assert added["public_key"] == base64.b64encode(other.public.encoded).decode()
    ids = {each.public.key_id.hex() for each in (CREATOR, other)}
    listed = cli.json("workload", "creator", "list", "scoring")
    assert {item["key_id"] for item in listed} == ids
    assert "already_exists" in cli.refused("workload", "creator", "add", "scoring", str(second))
    key = cli.folder / "scoring.pub.json"
    cli.ok("workload", "key", "scoring", "-o", str(key))
    sealed = cli.folder / "demo.sealed"
    sealed.write_bytes(sealed_model(WorkloadKey.parse(key.read_bytes()), creator=other))
    cli.ok("model", "register", str(sealed))
    cli.ok("workload", "creator", "remove", "scoring", added["key_id"], "--reason", "key lost")
    assert added["key_id"] not in cli.ok("workload", "creator", "list", "scoring")
    (model,) = cli.json("model", "list", "scoring")
    assert model["state"] == "withdrawn"
    sealed.write_bytes(sealed_model(WorkloadKey.parse(key.read_bytes()), creator=other, version=2))
    told = cli.refused("model", "register", str(sealed))
    assert "model_refused" in told
    assert "sealward workload creator add scoring" in told
    for damaged in (b"", b"{}", first.read_bytes()[:-9]):
        second.write_bytes(damaged)
        cli.refused("workload", "creator", "add", "scoring", str(second))
        cli.refused("workload", "create", "other", "--creator", str(second))


def test_a_sealed_model_is_registered_by_its_header_alone(cli: Cli) -> None:
    cli.ok("workload", "create", "scoring", "--creator", str(creator_file(cli.folder)))
    key = cli.folder / "scoring.pub.json"
    cli.ok("workload", "key", "scoring", "-o", str(key))
    sealed = cli.folder / "demo.sealed"
    sealed.write_bytes(sealed_model(WorkloadKey.parse(key.read_bytes())))
    made = cli.json("model", "register", str(sealed))
    assert (made["workload"], made["name"], made["version"]) == ("scoring", "demo", 1)
    assert "already_exists" in cli.refused("model", "register", str(sealed))
    assert "demo" in cli.ok("model", "list", "scoring")
    assert "NODE" in cli.ok("exposure", "scoring/demo@1")
    assert "withdrawn" in cli.ok("model", "withdraw", "scoring/demo@1", "--reason", "old")
    for damaged in (b"", b"not sealed", sealed.read_bytes()[:100]):
        sealed.write_bytes(damaged)
        assert "Hint:" in cli.refused("model", "register", str(sealed))


def test_a_node_is_explained_with_claim_expected_found_and_hint(cli: Cli) -> None:
    cli.plane.add_node(state=NodeState.pending)
    cli.plane.add_decision()
    told = cli.ok("node", "explain", NODE_ID)
    for part in (
        "unknown_measurement",
        "claims.measurements[launch]",
        "00ff",
        "import a reference set",
    ):
        assert part in told
    assert "admitted" in cli.ok("node", "admit", NODE_ID)
    cli.refused("node", "quarantine", NODE_ID, code=2)
    assert "quarantined" in cli.ok("node", "quarantine", NODE_ID, "--reason", "odd")
    assert "stale" in cli.ok("node", "release", NODE_ID, "--reason", "fine")
    assert "state_changed" in cli.refused("node", "reject", NODE_ID)
    assert cli.json("node", "list", "--state", "admitted")[0]["node_id"] == NODE_ID
    assert "not_found" in cli.refused("node", "show", "../../v1/status")
    cli.refused("node", "show", "..", code=2)


def test_what_an_attacker_wrote_never_acts_on_the_terminal(cli: Cli) -> None:
    reasons = json.dumps(
        [{"code": HOSTILE, "claim": HOSTILE, "expected": HOSTILE, "actual": HOSTILE}]
    )
    cli.plane.add_node(
        instance_value=HOSTILE,
        agent_version=HOSTILE,
        provider=HOSTILE,
        tee=HOSTILE,
        labels_attested=((HOSTILE, HOSTILE),),
    )
    cli.plane.add_decision(code=HOSTILE, correlation_id=HOSTILE, reasons=JsonText(reasons))
    for command in (("node", "list"), ("node", "show", NODE_ID), ("node", "explain", NODE_ID)):
        for extra in ((), ("--json",)):
            told = cli.ok(*command, *extra)
            assert not any(ord(c) < 32 and c != "\n" for c in told)
            assert "\u202e" not in told
            assert "owned" in told


def test_status_leases_exposure_trust_and_the_log(cli: Cli) -> None:
    assert "appraisal" in cli.ok("status")
    assert "LEASE" in cli.ok("lease", "list", "--active")
    assert "model_unknown" in cli.refused("exposure", "scoring/demo@1")
    cli.refused("exposure", "scoring", code=2)
    output = cli.folder / "trust.json"
    digest = cli.json("trust", "show", "-o", str(output))["digest"]
    assert digest in cli.ok("trust", "show")
    assert output.read_bytes() == cli.plane.services.trust.configuration.encode()
    kinds = [item["kind"] for item in cli.json("audit", "entries")]
    assert "token.used" in kinds
    assert "not_found" in cli.refused("audit", "checkpoint")
    exported = cli.folder / "log.jsonl"
    cli.ok("audit", "export", "-o", str(exported))
    assert exported.read_bytes().startswith(b'{"origin"')
    assert not exported.with_name("log.jsonl.part").exists()
    assert "development.example/log+" in cli.ok("audit", "log-key")


def test_what_a_server_sends_as_a_checkpoint_drives_no_terminal(cli: Cli) -> None:
    note = f"log\n1\nroot\n\n\u2014 {HOSTILE}\n"
    hostile = StoredCheckpoint(size=1, root=bytes(32), note=note, created=START)
    cli.plane.database.write(lambda tx: tx.audit.add_checkpoint(hostile))
    told = cli.ok("audit", "checkpoint")
    assert told.count("\n") == note.count("\n")
    assert all(line.isprintable() for line in told.split("\n"))
    output = cli.folder / "checkpoint"
    cli.ok("audit", "checkpoint", "-o", str(output))
    assert output.read_text() == note


def test_a_file_name_drives_no_terminal(cli: Cli) -> None:
    for hostile in (cli.folder / "folder\x1b]0;owned\x07", cli.folder / "file\x1b]0;owned\x07"):
        if hostile.name.startswith("folder"):
            hostile.mkdir()
        else:
            hostile.write_bytes(b"no evidence")
        for command in (("verify",), ("model", "register"), ("audit", "verify", "--log-key")):
            result = cli(*command, str(hostile))
            assert result.exit_code != 0
            assert "owned" in result.stderr or "Missing" in result.stderr
            assert all(line.isprintable() for line in result.stderr.split("\n"))


def test_another_principal_gets_its_own_file(cli: Cli) -> None:
    output = cli.folder / "bob.json"
    made = cli.json("admin", "create", "bob", "--role", "viewer", "-o", str(output))
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    as_bob = ("--credentials", str(output))
    cli.ok("node", "list", *as_bob)
    told = cli.refused("platform", "allow", PLATFORM, *as_bob)
    assert "forbidden" in told
    assert "operator" in told
    renewed = cli.folder / "bob-again.json"
    cli.ok("admin", "token", made["principal_id"], "-o", str(renewed))
    cli.ok("node", "list", "--credentials", str(renewed))
    cli.refused("admin", "token", made["principal_id"], "-o", str(renewed))
    cli.ok("admin", "disable", made["principal_id"])
    assert "unauthenticated" in cli.refused("node", "list", *as_bob)


def test_a_stranger_server_is_not_talked_to(cli: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with tls_server(cli.plane, other) as stranger:
        told = cli.refused("status", "--server", stranger.url)
    assert "no answer from" in told
    assert "Hint:" in told


NOT_CREDENTIALS = {
    "empty": b"",
    "no members": b"{}",
    "other version": b'{"v":2,"server":"https://a","ca":"","token":""}',
    "no TLS": b'{"v":1,"server":"http://a","ca":"","token":""}',
    "no CA": b'{"v":1,"server":"https://a","ca":"","token":""}',
    "extra member": b'{"v":1,"server":"https://a","ca":"x","token":"","extra":1}',
    "duplicate": b'{"v":1,"v":1,"server":"https://a","ca":"x","token":""}',
    "not text": b"\xff" * 10,
    "too large": b" " * 70_000,
}


@pytest.mark.parametrize("content", NOT_CREDENTIALS.values(), ids=NOT_CREDENTIALS)
def test_a_credentials_file_that_is_not_one_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "credentials.json"
    file.write_bytes(content)
    file.chmod(0o600)
    refuse_credentials(file)


def test_a_credentials_file_that_is_missing_or_open_to_others_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    refuse_credentials(file)
    file.write_text("{}")
    file.chmod(0o640)
    assert "can be read by others" in refuse_credentials(file)
    refuse_credentials(tmp_path)


def refuse_credentials(file: Path) -> str:
    result = CliRunner().invoke(main, ["status", "--credentials", str(file)])
    assert result.exit_code in {1, 2}
    assert "Traceback" not in result.stderr
    assert "Error: " in result.stderr
    return result.stderr


def test_every_remote_command_takes_json_and_has_help() -> None:
    def commands(
        group: click.Group, path: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from commands(command, (*path, name))
            else:
                yield (*path, name), command

    found = dict(commands(main, ()))
    assert len(found) > 40
    for path, command in found.items():
        assert command.help, path
        names = {parameter.name for parameter in command.params}
        if "credentials" in names:
            assert "as_json" in names, path
