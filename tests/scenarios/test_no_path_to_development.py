"""No path leads from a production configuration to a development root (F29): all of them are tried.

tests/contract/test_ways_in.py walks the program for every way in, and says which of these tests
tries it. What is tried is real: evidence that `sealward-devkit` mints, against an installation
whose administrator did everything else to welcome it (fakes/production_plane.py), with the
development kit installed beside it all the while.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import ssl
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from conftest import require_part
from fakes import snp_lookalike, swtpm, tdx_world
from fakes.admin_plane import AppClient, bearer
from fakes.control_plane import TRUST_DOMAIN as DEVELOPMENT_DOMAIN
from fakes.control_plane import (
    WORKLOAD,
    World,
    activate,
    chip,
    create_workload,
    provider_chip,
    settings,
    world,
)
from fakes.fleet import fleet, gpu, manifests
from fakes.fleet import roots as fleet_roots
from fakes.instances import Instance, admitted, leased
from fakes.minted_kinds import MINTED as MINTED_KINDS
from fakes.nvidia_devices import DRIVER, VBIOS, gpu_blocks
from fakes.policies import ALLOW_ALL
from fakes.production_plane import (
    TRUST_DOMAIN,
    client,
    pem_file,
    production,
    require_refused,
    welcoming,
)
from fakes.snp_fixtures import mint
from sealward_devkit.nvidia import report
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.snp.products import Product
from sealward_devkit.snp.report import SigningKey

from sealward.controlplane import bootstrap
from sealward.controlplane.adapters.system_clock import SystemClock
from sealward.controlplane.cli.serve import serve
from sealward.controlplane.cli.verify import verify
from sealward.controlplane.config import InvalidSettings
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.policies import PolicyKind
from sealward.protos.trust import TrustConfiguration
from sealward.verifier import registry
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats import evidence as media_types
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealward_devkit.platform import Platform

COPIED = "test_a_data_folder_of_a_development_installation_serves_no_production"
FORGED = "test_a_forged_marker_brings_no_root_along"
DATA_FOLDER = {
    "sealward.db": FORGED,
    "keys": COPIED,
    "server-root.pem": "the control plane's own certificate",
    "node-root.pem": COPIED,
    "trust.json": "written anew at every start, from the settings",
}


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with welcoming(tmp_path_factory.mktemp("production")) as opened:
        yield opened


# --- evidence ------------------------------------------------------------------------------------


def today() -> Validity:
    now = SystemClock().now().replace(microsecond=0)
    return Validity(now - timedelta(hours=1), now + timedelta(days=1))


def lookalike(key: SigningKey, *, marked: bool) -> Platform:
    return snp_lookalike.lookalike(Product.MILAN, key, today(), marked=marked)


MINTED = {
    "a chip of the development root": chip,
    "a provider of the development root": provider_chip,
    "a chip under the vendor's names": lambda: lookalike(SigningKey.VCEK, marked=False),
    "a provider under the vendor's names": lambda: lookalike(SigningKey.VLEK, marked=False),
    "a chip under the vendor's names, marked": lambda: lookalike(SigningKey.VCEK, marked=True),
}


@pytest.mark.parametrize("minted", MINTED)
def test_minted_evidence_is_refused(prod: World, minted: str) -> None:
    """As an attester of the development kit sends it: root included, join token or not."""
    platform = MINTED[minted]()
    if platform.platform_id is not None:
        prod.plane.admin.platforms.allow(prod.admin, platform.platform_id)
    token = prod.plane.admin.join_tokens.create(prod.admin, lifetime=timedelta(hours=1)).text
    for join_token in ("", token):
        instance = Instance(prod.plane.trust, platform=platform)
        assert "root_not_pinned" in require_refused(prod, instance, join_token=join_token)


def test_the_installation_that_refuses_would_admit_under_its_root(tmp_path: Path) -> None:
    """So it is the root that refuses: the same values, in a development installation."""
    with world(tmp_path) as here:
        activate(here.plane, here.admin, PolicyKind.RELEASE, ALLOW_ALL)
        assert len(leased(here).held) == 1


REFUSED_BY = {
    **dict.fromkeys(
        ("TDX_EVIDENCE", "SGX_EVIDENCE", "NITRO_EVIDENCE", "AZURE_EVIDENCE", "NVIDIA_EVIDENCE"),
        "root_not_pinned",
    ),
    **dict.fromkeys(("GOOGLE_EVIDENCE", "HYGON_EVIDENCE"), "root_not_pinned"),
    # No certificate stands behind a token: without a key of the tenant nothing does.
    **dict.fromkeys(("CCA_EVIDENCE", "PSA_EVIDENCE"), "endorsement_missing"),
}


@pytest.mark.parametrize("kind", MINTED_KINDS)
def test_minted_evidence_of_other_kinds_is_refused(prod: World, kind: str) -> None:
    """Under roots of the development kit or of a test, with a join token that would let it in."""
    token = prod.plane.admin.join_tokens.create(prod.admin, lifetime=timedelta(hours=1)).text
    instance = MINTED_KINDS[kind](prod.plane.trust)
    assert REFUSED_BY[kind] in require_refused(prod, instance, join_token=token)


@pytest.mark.parametrize("kind", ["TDX_EVIDENCE", "NITRO_EVIDENCE", "NVIDIA_EVIDENCE"])
def test_the_same_evidence_is_admitted_under_its_root(tmp_path: Path, kind: str) -> None:
    """So it is the root that refuses: with the kit's roots, and nothing else about it changed."""
    with fleet(tmp_path) as here:
        instance = MINTED_KINDS[kind](here.plane.trust)
        assert instance.enroll(here).code == ""


def test_a_minted_gpu_is_none_beside_any_machine() -> None:
    """Its own root decides, whatever vouches for the machine: here it stands alone, as files."""
    one = gpu()
    content = report.gpu_content(one, driver=DRIVER, vbios=VBIOS, blocks=gpu_blocks())
    pieces = [report.mint(one, content, bytes(32), bytes(32)), report.chain(one), *manifests()]
    items = [item for piece in pieces for item in registry.recognise(piece)]
    for roots, refused in ((), "root_not_pinned"), (fleet_roots(), None):
        known = tuple(import_root(root, now=SystemClock().now()) for root in roots)
        anchors = TrustAnchors(development_roots=known)
        context = registry.Context(anchors, SystemClock().now(), ChainCache())
        if refused is None:
            assert registry.authenticate_items(items, context).claims.development
        else:
            with pytest.raises(RefusedEvidence, match=refused):
                registry.authenticate_items(items, context)


@pytest.mark.parametrize("kind", [*MINTED_KINDS, "TPM_EVIDENCE", "OF_NO_VERIFIER"])
def test_evidence_by_another_name_is_refused(prod: World, kind: str) -> None:
    """Genuine minted evidence, called what it is not: each verifier reads its own format only."""
    instance = Misnamed(prod.plane.trust, platform=chip())
    unknown = "application/vnd.sealward.unknown-evidence+cbor"
    instance.media_type = getattr(media_types, kind, unknown)
    before = prod.content(without=("spent_challenges", "attempts"))
    with pytest.raises(Refused) as caught:
        instance.enroll(prod)
    expected = Code.evidence_malformed
    if kind == "OF_NO_VERIFIER":
        expected = Code.evidence_refused
        assert "unsupported_format" in caught.value.detail
    if kind == "TPM_EVIDENCE":
        expected = Code.credential_missing  # which is asked for before anything is parsed
    assert caught.value.code is expected
    assert prod.content(without=("spent_challenges", "attempts")) == before


class Misnamed(Instance):
    """Calls its evidence by another name."""

    media_type = ""

    def evidence(self, encoded: bytes, **guest: Any) -> bytes:  # noqa: ANN401 - as in Instance
        record = media_types.decode(super().evidence(encoded, **guest))
        assert isinstance(record, media_types.Record)
        return media_types.encode(replace(record, media_type=self.media_type))


# --- the installation's settings and files -------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pem_file(tmp_path / "root.pem", chip().root)


def arguments(folder: Path, **changes: str) -> list[str]:
    chosen = {"--data": str(folder / "plane"), "--trust-domain": TRUST_DOMAIN} | changes
    ports = ("--rest", "--enrollment", "--agents")
    return [
        *(f"{name}={value}" for name, value in chosen.items()),
        *(f"{p}=127.0.0.1:0" for p in ports),
    ]


def test_no_option_of_serve_brings_a_root_into_production(tmp_path: Path, root: Path) -> None:
    """Alone and together, and nothing is made on disk: what is refused has not begun."""
    refused = {
        "a root": [*arguments(tmp_path), f"--development-root={root}"],
        "the mode": [*arguments(tmp_path), "--development"],
        "mode and root": [*arguments(tmp_path), "--development", f"--development-root={root}"],
        "the name alone": arguments(tmp_path, **{"--trust-domain": DEVELOPMENT_DOMAIN}),
        "root and listening": [
            *arguments(tmp_path),
            f"--development-root={root}",
            "--development-listen-anywhere",
        ],
    }
    for what, given in refused.items():
        result = CliRunner().invoke(serve, given)
        assert (what, result.exit_code) == (what, click.UsageError.exit_code), result.output
        assert "development" in result.output
    assert not (tmp_path / "plane").exists()


def test_settings_made_by_other_code_are_refused_as_well(tmp_path: Path, root: Path) -> None:
    """`serve` checks before it builds; what builds checks too."""
    wrong = replace(production(tmp_path / "plane"), development_roots=(root,))
    with pytest.raises(InvalidSettings, match="--development"):
        bootstrap.build(wrong, ring=lambda _: None)


def test_the_environment_changes_nothing(tmp_path: Path, root: Path) -> None:
    """Whatever a variable for an option might be called, the options are as without it."""
    prefixes = ("SEALWARD_", "SEALWARD_SERVE_")
    names = {f"{prefix}{o.name}".upper() for o in serve.params for prefix in prefixes}
    values = dict.fromkeys(names, "1") | {
        name: str(root) for name in names if "ROOT" in name or "ENDORSEMENTS" in name
    }
    plain = serve.make_context("serve", arguments(tmp_path)).params
    before = dict(os.environ)
    os.environ.update(values)
    try:
        given = serve.make_context("serve", arguments(tmp_path)).params
    finally:
        for name in values:
            del os.environ[name]
    assert given == plain
    assert dict(os.environ) == before


def test_a_folder_of_endorsements_completes_chains_and_ends_none(tmp_path: Path) -> None:
    """The whole development chain lies where vendors' CA certificates are expected."""
    folder = tmp_path / "endorsements"
    folder.mkdir()
    fake = lookalike(SigningKey.VCEK, marked=False)
    for name, platform in (("development", chip()), ("vendor", fake)):
        pem_file(folder / f"{name}.pem", platform.root, platform.intermediate)
    with welcoming(tmp_path, endorsements=folder) as here:
        for platform in (chip(), fake):
            assert "root_not_pinned" in require_refused(
                here, Instance(here.plane.trust, platform=platform)
            )


def test_every_file_of_an_installation_is_known(prod: World) -> None:
    found = {path.name for path in prod.plane.settings.data.iterdir()}
    assert {name for name in found if not name.startswith("sealward.db-")} == set(DATA_FOLDER)
    assert {said for said in DATA_FOLDER.values() if said.startswith("test_")} <= set(globals())


def test_a_data_folder_of_a_development_installation_serves_no_production(tmp_path: Path) -> None:
    """Nor the reverse; and of its files alone the keys may be taken, with which nobody gets in."""
    with world(tmp_path / "one") as here:
        instance = leased(here)
    data = tmp_path / "one" / "plane"
    with pytest.raises(Refused) as caught:
        bootstrap.build(production(data), ring=lambda _: None)
    assert caught.value.code is Code.wrong_database
    taken = tmp_path / "two" / "plane"
    shutil.copytree(
        data, taken, ignore=lambda *_: {"sealward.db", "sealward.db-wal", "sealward.db-shm"}
    )
    with welcoming(tmp_path / "two") as other:
        instance.trust = other.plane.trust
        require_refused(other, instance)
        with pytest.raises(Refused) as caught:
            instance.attest(other)
        assert caught.value.code is Code.evidence_refused


def test_a_forged_marker_brings_no_root_along(tmp_path: Path) -> None:
    """Who writes the database gets its rows: no root is in them, so no lease is renewed."""
    with world(tmp_path) as here:
        instance = leased(here)
    data = tmp_path / "plane"
    with closing(sqlite3.connect(data / "sealward.db")) as forged:
        forged.execute(
            "UPDATE system_marker SET kind = 'production', trust_domain = ?", (TRUST_DOMAIN,)
        )
        forged.commit()
    for file in ("server-root.pem", "node-root.pem"):
        (data / file).unlink()
    plane = bootstrap.build(production(data), ring=lambda _: None)
    try:
        admin = plane.admin.principals.authenticate((tmp_path / "token").read_text())
        other = World(plane=plane, clock=here.clock, admin=admin, token="")
        assert all(
            node.development for node in plane.admin.nodes.page(admin, limit=9, after=None).items
        )
        instance.trust = plane.trust
        with pytest.raises(Refused) as caught:
            instance.attest(other)
        assert caught.value.code is Code.evidence_refused
        require_refused(other)
    finally:
        plane.close()


# --- what an administrator can import ------------------------------------------------------------


@pytest.fixture
def http(prod: World) -> Iterator[AppClient]:
    with client(prod) as opened:
        yield opened


def added(http: AppClient, here: World, certificate: bytes, *, development: bool) -> str:
    """Add a trust anchor over HTTP; return the code of its refusal, or ""."""
    response = http.post(
        "/v1/trust-anchors",
        params={"development": str(development).lower()},
        content=certificate,
        headers={**bearer(here.token), "content-type": "application/octet-stream"},
    )
    return "" if response.is_success else response.json()["code"]


def test_a_development_root_is_no_anchor_of_tpms_in_production(
    prod: World, http: AppClient
) -> None:
    """Neither as what it is nor as something else, under our names or the vendor's."""
    for platform in (
        chip(),
        provider_chip(),
        lookalike(SigningKey.VCEK, marked=False),
        lookalike(SigningKey.VCEK, marked=True),
    ):
        for certificate in (platform.root, platform.intermediate):
            assert added(http, prod, certificate, development=True) == "development_refused"
            assert added(http, prod, certificate, development=False) == "trust_anchor_invalid"


def test_the_ca_of_a_software_tpm_is_no_anchor_in_production(
    prod: World, http: AppClient, tmp_path: Path
) -> None:
    """Neither the root that swtpm_localca makes nor what it signs endorsement keys with."""
    if reason := swtpm.missing():
        require_part(reason)
    swtpm.manufacture(tmp_path)
    names = ("swtpm-localca-rootca-cert.pem", "issuercert.pem")
    for name in names:
        certificate = ssl.PEM_cert_to_DER_cert((tmp_path / "ca" / name).read_text())
        assert added(http, prod, certificate, development=True) == "development_refused"
        assert added(http, prod, certificate, development=False) == "trust_anchor_invalid"


def test_collateral_under_a_development_root_is_not_taken(prod: World, http: AppClient) -> None:
    """What would call a minted platform up to date, or minted firmware known."""
    header = {**bearer(prod.token), "content-type": "application/octet-stream"}
    for piece in (tdx_world.generation(), *manifests(), chip().vek):
        response = http.post("/v1/collateral", content=piece, headers=header)
        assert (response.is_success, response.json()["code"]) == (False, "collateral_invalid")
        proposed = http.post("/v1/collateral/forecast/proposed", content=piece, headers=header)
        assert not proposed.is_success


# --- the other sides -----------------------------------------------------------------------------


def test_verify_trusts_only_what_it_is_told_and_says_so(tmp_path: Path) -> None:
    """Offline: no root by itself, the development root by name and labelled, a look-alike never."""
    fake = lookalike(SigningKey.VCEK, marked=False)
    files = {}
    for name, platform in (("development", chip()), ("vendor", fake)):
        (tmp_path / f"{name}.bin").write_bytes(mint(platform).report)
        chain = (platform.vek, platform.intermediate, platform.root)
        files[name] = [
            str(tmp_path / f"{name}.bin"),
            str(pem_file(tmp_path / f"{name}.pem", *chain)),
        ]
        pem_file(tmp_path / f"{name}-root.pem", platform.root)

    def run(*given: str) -> tuple[int, str]:
        result = CliRunner().invoke(verify, given)
        return result.exit_code, result.output

    for name, given in files.items():
        for trusted in ((), (f"--ek-root={tmp_path / name}-root.pem",)):
            status, said = run(*trusted, *given)
            assert (status, "root_not_pinned" in said) == (1, True), said
    status, said = run(f"--development-root={tmp_path / 'vendor-root.pem'}", *files["vendor"])
    assert (status, "root_imitates_vendor" in said) == (1, True), said
    status, said = run(
        f"--development-root={tmp_path / 'development-root.pem'}", *files["development"]
    )
    assert (status, "under a DEVELOPMENT root" in said) == (0, True), said


def test_a_vendors_names_are_no_development_root_anywhere(tmp_path: Path) -> None:
    """Marked or not: a development installation imports none, so nobody learns to trust one."""
    for marked in (False, True):
        fake = pem_file(tmp_path / f"{marked}.pem", lookalike(SigningKey.VCEK, marked=marked).root)
        with pytest.raises(Exception, match="vendor"):
            bootstrap.build(settings(tmp_path / f"{marked}", fake), ring=lambda _: None)


def test_a_trust_configuration_cannot_be_half_development(prod: World) -> None:
    """An agent believes the file that its launch measured, and none that contradicts itself."""
    trust = prod.plane.trust
    assert not trust.development
    for wrong in (
        replace(trust, development=True),
        replace(trust, trust_domain=DEVELOPMENT_DOMAIN),
    ):
        with pytest.raises(MalformedEvidence, match="disagree"):
            TrustConfiguration.decode(wrong.encode())


def test_an_agent_of_one_installation_is_refused_by_the_other(tmp_path: Path, prod: World) -> None:
    """Both ways round, were it to reach the other's listener: evidence names whom it is for."""
    with world(tmp_path) as here:
        astray = Instance(here.plane.trust)
        with pytest.raises(Refused) as caught:
            astray.enroll(prod)
        assert caught.value.code is Code.audience_mismatch
        with pytest.raises(Refused) as caught:
            Instance(prod.plane.trust).enroll(here)
        assert caught.value.code is Code.audience_mismatch


def test_a_production_workload_is_not_released_in_a_development_installation(
    tmp_path: Path,
) -> None:
    """Whatever the policy says."""
    with world(tmp_path) as here:
        create_workload(here.plane, here.admin, "serious", production=True)
        activate(here.plane, here.admin, PolicyKind.RELEASE, ALLOW_ALL)
        answer = admitted(here).attest(here, (WORKLOAD, "serious"))
        assert [(d.workload, d.code) for d in answer.denials] == [
            ("serious", "development_refused")
        ]
