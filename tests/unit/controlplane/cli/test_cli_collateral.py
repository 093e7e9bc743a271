"""`sealward collateral` against a real server over TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes import collateral_files as files
from fakes import snp_fixtures
from fakes.admin_plane import START, AdminPlane, AppClient
from fakes.admin_server import tls_server
from fakes.resting_nodes import resting
from unit.controlplane.cli.test_cli_remote import Cli


@pytest.fixture
def cli(plane: AdminPlane, tmp_path: Path) -> Iterator[Cli]:
    """A server that believes the development roots of this suite."""
    services = replace(
        plane.services, collateral=files.store(plane), forecasts=files.forecasts(plane)
    )
    trusting = replace(plane, services=services, client=AppClient(services, plane.client.portal))
    with tls_server(trusting, tmp_path) as server:
        made = Cli(trusting, server, tmp_path)
        assert made.bootstrap().exit_code == 0
        yield made


def file(cli: Cli, content: bytes, name: str) -> str:
    (cli.folder / name).write_bytes(content)
    return str(cli.folder / name)


def test_files_of_vendors_go_in_with_one_command(cli: Cli) -> None:
    told = cli.json(
        "collateral",
        "import",
        file(cli, files.amd_chain(), "cert_chain"),
        file(cli, snp_fixtures.platform().vek, "vcek.der"),
        file(cli, files.amd_crl(), "crl"),
        file(cli, files.bundle(), "tdx.json"),
    )
    assert [(item["kind"], item["outcome"]) for item in told] == [
        ("amd-chain", "stored"),
        ("amd-vek", "stored"),
        ("amd-crl", "stored"),
        ("intel-tcb-info", "stored"),
        ("intel-qe-identity", "stored"),
        ("intel-pck-crl", "stored"),
        ("intel-root-crl", "stored"),
    ]
    assert len(cli.json("collateral", "list")) == 7
    assert "Milan/vcek" in cli.ok("collateral", "list", "--kind", "amd-crl")
    shown = cli.json("collateral", "show", told[3]["digest"])
    assert shown["floor"]["number"] == shown["number"] == "20"
    assert "floor, number" in cli.ok("collateral", "show", told[3]["digest"])


def test_an_archive_goes_out_and_in_again(cli: Cli) -> None:
    cli.ok("collateral", "import", file(cli, files.bundle(), "tdx.json"))
    archive = str(cli.folder / "fleet.json")
    cli.ok("collateral", "export", archive)
    told = cli.json("collateral", "import", archive)
    assert {item["outcome"] for item in told} == {"held"}


def test_what_is_older_is_refused_with_what_to_do(cli: Cli) -> None:
    newer = file(cli, files.tcb_info(evaluation_number=30), "newer")
    older = file(cli, files.tcb_info(evaluation_number=29), "older")
    cli.ok("collateral", "import", newer)
    refused = cli.refused("collateral", "import", older)
    assert "collateral_rolled_back" in refused
    assert "a floor is never lowered" in refused


def test_a_bundle_with_something_older_in_it_fails_after_taking_the_rest(cli: Cli) -> None:
    cli.ok("collateral", "import", file(cli, files.tcb_info(evaluation_number=30), "newer"))
    result = cli("collateral", "import", file(cli, files.bundle(), "bundle"))
    assert result.exit_code == 1
    assert "1 of 4 pieces were refused" in result.stderr
    assert result.stdout.count("stored") == 3
    assert len(cli.json("collateral", "list")) == 4


def test_a_name_is_said_for_one_file(cli: Cli) -> None:
    made = snp_fixtures.hierarchy()
    cli.ok("collateral", "import", file(cli, files.pem(made.asvk, made.ark), "chain"))
    crl = file(cli, files.amd_crl(), "crl")
    cli.ok("collateral", "import", "--as", "amd-crl:Milan/vlek", crl)
    assert "invalid_request" in cli.refused("collateral", "import", "--as", "nonsense", crl)
    told = cli.refused("collateral", "import", "--as", "a:b", crl, crl, code=2)
    assert "--as names one file" in told


def test_the_forecast_names_the_day_the_cause_and_the_cliff(cli: Cli) -> None:
    soon = START + timedelta(days=2)
    cli.ok("collateral", "import", file(cli, files.bundle(next_update=soon), "tdx.json"))
    for name in ("one", "two"):
        resting(cli.plane, name)
    told = cli.ok("collateral", "forecast", "--days", "5")
    assert "2026-11-25T12:00:00Z" in told
    assert "sealward collateral import" in told
    found = cli.json("collateral", "forecast", "--days", "5")
    assert [(item["nodes"], item["leases"]) for item in found["endings"]] == [(2, 2)]
    assert len(found["node_endings"]) == 2


def test_a_proposal_names_the_nodes_that_it_rates_otherwise(cli: Cli) -> None:
    cli.ok("collateral", "import", file(cli, files.bundle(), "tdx.json"))
    node = resting(cli.plane, "one")
    proposed = file(
        cli,
        files.tcb_info(
            "OutOfDate", ("INTEL-SA-01",), evaluation_number=21, issued=START - timedelta(hours=1)
        ),
        "new.json",
    )
    told = cli.ok("collateral", "forecast", "--proposed", proposed)
    for text in (node.node_id, "UpToDate", "OutOfDate", "INTEL-SA-01"):
        assert text in told
    found = cli.json("collateral", "forecast", "--proposed", proposed)
    assert found["examined"] == 1
    assert json.dumps(found["shifts"]).count(node.node_id) == 1
