"""`sealward trust-anchor` against a real server over TLS."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from fakes import arm_tokens
from fakes.admin_plane import START, AdminPlane
from fakes.admin_server import tls_server
from fakes.tpm_cas import BELOW, ROOT, Ca
from unit.controlplane.cli.test_cli_remote import Cli

SOFTWARE = Ca(name="swtpm-localca-rootca", label="swtpm root").certificate(START)
CERTIFICATES = (ROOT.certificate(START), BELOW.certificate(START, issuer=ROOT))


@pytest.fixture
def cli(plane: AdminPlane, tmp_path: Path) -> Iterator[Cli]:
    with tls_server(plane, tmp_path) as server:
        made = Cli(plane, server, tmp_path)
        assert made.bootstrap().exit_code == 0
        yield made


def armoured(*certificates: bytes) -> bytes:
    return b"".join(
        x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in certificates
    )


def file(cli: Cli, content: bytes, name: str = "roots") -> str:
    (cli.folder / name).write_bytes(content)
    return str(cli.folder / name)


def test_the_life_of_an_anchor(cli: Cli) -> None:
    added = cli.json("trust-anchor", "add", file(cli, CERTIFICATES[0]), "--name", "rack 4")
    assert isinstance(added, list)
    fingerprint = added[0]["fingerprint"]
    assert fingerprint in cli.ok("trust-anchor", "list")
    removed = cli.json("trust-anchor", "remove", fingerprint, "--reason", "sold")
    assert isinstance(removed, dict)
    assert (removed["name"], removed["removed"]) == ("rack 4", "2026-11-23T12:00:00Z")
    (listed,) = cli.json("trust-anchor", "list")  # type: ignore[misc]  # a list
    assert listed == removed
    assert "not_found" in cli.refused("trust-anchor", "remove", fingerprint, "--reason", "again")


def test_a_bundle_and_a_der_file_go_in_with_one_command(cli: Cli) -> None:
    other = Ca(name="Other TPM Root", label="other-tpm-ca").certificate(START)
    told = cli.ok(
        "trust-anchor", "add", file(cli, armoured(*CERTIFICATES)), file(cli, other, "other")
    )
    assert told.count("root  ") == 2
    assert told.count("intermediate") == 1


def test_a_software_tpms_ca_needs_its_flag(cli: Cli) -> None:
    path = file(cli, armoured(SOFTWARE))
    told = cli.refused("trust-anchor", "add", path)
    assert "trust_anchor_invalid: development_root_invalid" in told
    assert "--development" in told
    assert "swtpm-localca-rootca" in cli.ok("trust-anchor", "add", path, "--development")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no certificate",
        armoured(CERTIFICATES[0])[:-10],
        b"-----BEGIN CERTIFICATE-----\n",
        bytes(100_000),
    ],
    ids=["empty", "text", "cut", "no end", "huge"],
)
def test_what_is_no_certificate_is_one_sentence(cli: Cli, content: bytes) -> None:
    told = cli.refused("trust-anchor", "add", file(cli, content))
    assert told.startswith("Error: ")
    assert "Hint: " in told


def test_a_file_and_a_reason_have_to_be_named(cli: Cli) -> None:
    cli.refused("trust-anchor", "add", code=2)
    cli.refused("trust-anchor", "add", str(cli.folder / "absent"), code=2)
    cli.refused("trust-anchor", "remove", "00" * 32, code=2)


ID = arm_tokens.INSTANCE_ID.hex()
PUBLIC = (
    arm_tokens.key("maker")
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)
PRIVATE = arm_tokens.key("maker").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("kind", ["cca-key", "psa-key"])
def test_the_life_of_an_instances_key(cli: Cli, kind: str) -> None:
    path = file(cli, PUBLIC, "key.pem")
    pinned = ("--implementation-id", arm_tokens.IMPLEMENTATION_ID.hex())
    added = cli.json("trust-anchor", "add", path, "--kind", kind, "--instance-id", ID, *pinned)
    assert isinstance(added, list)
    assert added[0]["subject"] == f"{kind[:3]}:instance:{ID} of {pinned[1]}"
    assert added[0]["sha256"] == hashlib.sha256(arm_tokens.spki("maker")).hexdigest()
    told = cli.ok("trust-anchor", "list")
    assert kind in told
    assert added[0]["fingerprint"] in told
    again = cli.refused("trust-anchor", "add", path, "--kind", kind, "--instance-id", ID)
    assert "already_exists" in again
    cli.ok("trust-anchor", "remove", added[0]["fingerprint"], "--reason", "sold")


@pytest.mark.parametrize(
    "content",
    [arm_tokens.SECRET, PRIVATE, PUBLIC * 2, PUBLIC[:-10], armoured(CERTIFICATES[0]), b""],
    ids=["secret", "private key", "two", "cut", "certificate", "empty"],
)
def test_what_is_not_one_public_key_never_leaves_this_machine(cli: Cli, content: bytes) -> None:
    before = cli.plane.row_counts()
    path = file(cli, content, "key")
    told = cli.refused("trust-anchor", "add", path, "--kind", "psa-key", "--instance-id", ID)
    assert told.startswith("Error: public key file: ")
    assert "never a private key or a secret" in told
    assert cli.plane.row_counts() == before


def test_a_key_is_one_file_and_one_instances(cli: Cli) -> None:
    path = file(cli, PUBLIC, "key.pem")
    command = ("trust-anchor", "add", path, "--kind", "cca-key")
    assert "--instance-id" in cli.refused(*command, code=2)
    assert "one FILE" in cli.refused(*command, path, "--instance-id", ID, code=2)
    assert "invalid_request" in cli.refused(*command, "--instance-id", ID, "--development")
    certificate = file(cli, CERTIFICATES[0])
    told = cli.refused("trust-anchor", "add", certificate, "--instance-id", ID)
    assert "invalid_request" in told
