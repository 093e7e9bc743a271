"""Fetching: one request for each key, within budgets, verified like any import."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from fakes import collateral_files as files
from fakes import dcap_fixtures, snp_fixtures
from fakes.admin_plane import AdminPlane
from fakes.state import a_node, an_evidence
from fakes.vendor_services import Answer, VendorHost, vendor_host

from sealward.controlplane.adapters.collateral.remote import ServiceUrls, VendorServices
from sealward.controlplane.domain.nodes import ReferenceMatch
from sealward.controlplane.services.collateral_desk import Answer as Told
from sealward.controlplane.services.collateral_desk import Lane
from sealward.controlplane.services.collateral_fetching import (
    MOST_OF_ONE,
    Fetched,
    FetchFailed,
    Fetching,
)
from sealward.verifier.rats.collateral import Key, Kind

BUDGETS = {Lane.joining: 3, Lane.renewal: 5}
CHAIN = Key(Kind.AMD_CHAIN, "Milan/vcek")
CRL = Key(Kind.AMD_CRL, "Milan/vcek")
FMSPC = dcap_fixtures.platform().facts.fmspc.hex()
TCB_INFO = Key(Kind.INTEL_TCB_INFO, f"tdx/{FMSPC}")
PCK_CRL = Key(Kind.INTEL_PCK_CRL, "platform")
QE = Key(Kind.INTEL_QE_IDENTITY, "tdx")
ROOT_CRL = Key(Kind.INTEL_ROOT_CRL, "root")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[VendorHost]:
    with vendor_host(tmp_path) as opened:
        yield opened


@pytest.fixture
def services(host: VendorHost) -> Iterator[VendorServices]:
    urls = ServiceUrls(
        amd=host.url,
        intel=host.url,
        intel_root_crl=f"{host.url}/IntelSGXRootCA.der",
        nvidia_rim=host.url,
    )
    made = VendorServices(urls, tls=ssl.create_default_context(cafile=str(host.ca)))
    yield made
    made.close()


@pytest.fixture
def fetching(plane: AdminPlane, services: VendorServices) -> Fetching:
    return Fetching(store=files.store(plane), remote=services, budgets=BUDGETS, jitter=lambda: 0.5)


def held(plane: AdminPlane, key: Key) -> bool:
    return plane.database.read(lambda tx: tx.collateral.current(key)) is not None


def test_amd_answers_chain_key_and_list(
    plane: AdminPlane, host: VendorHost, fetching: Fetching
) -> None:
    chip = snp_fixtures.platform()
    tcb = bytes((chip.tcb.bootloader, chip.tcb.tee, 0, 0, 0, 0, chip.tcb.snp, chip.tcb.microcode))
    vek = Key(Kind.AMD_VEK, f"Milan/{chip.chip_id.hex()}/{tcb.hex()}")
    query = f"blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL={chip.tcb.microcode}"
    host.answers = {
        "/vcek/v1/Milan/cert_chain": Answer(files.amd_chain()),
        "/vcek/v1/Milan/crl": Answer(files.amd_crl()),
        f"/vcek/v1/Milan/{chip.chip_id.hex()}?{query}": Answer(chip.vek),
    }
    for key in (CHAIN, vek, CRL):
        assert fetching.request(key, Lane.joining) is Told.coming
    assert fetching.turn() == 3
    assert all(held(plane, key) for key in (CHAIN, vek, CRL))


def test_intel_answers_statements_and_lists_with_chains_in_escaped_headers(
    plane: AdminPlane, host: VendorHost, fetching: Fetching
) -> None:
    made = dcap_fixtures.collateral()
    info = f'{{"tcbInfo":{made.tcb_info},"signature":"{made.tcb_info_signature.hex()}"}}'
    identity = (
        f'{{"enclaveIdentity":{made.qe_identity},"signature":"{made.qe_identity_signature.hex()}"}}'
    )
    host.answers = {
        f"/tdx/certification/v4/tcb?fmspc={FMSPC}": Answer(
            info.encode(), {"TCB-Info-Issuer-Chain": quote(made.tcb_info_issuer_chain)}
        ),
        "/tdx/certification/v4/qe/identity": Answer(
            identity.encode(),
            {"SGX-Enclave-Identity-Issuer-Chain": quote(made.qe_identity_issuer_chain)},
        ),
        "/sgx/certification/v4/pckcrl?ca=platform&encoding=der": Answer(
            made.pck_crl, {"SGX-PCK-CRL-Issuer-Chain": quote(made.pck_crl_issuer_chain)}
        ),
        "/IntelSGXRootCA.der": Answer(made.root_ca_crl),
    }
    for key in (TCB_INFO, QE, PCK_CRL, ROOT_CRL):
        assert fetching.request(key, Lane.renewal) is Told.coming
    assert fetching.turn() == 4
    assert all(held(plane, key) for key in (TCB_INFO, QE, PCK_CRL, ROOT_CRL))


def test_many_that_wait_for_one_key_are_one_request(host: VendorHost, fetching: Fetching) -> None:
    host.answers = {"/vcek/v1/Milan/cert_chain": Answer(files.amd_chain())}
    assert {fetching.request(CHAIN, Lane.joining) for _ in range(50)} == {Told.coming}
    assert fetching.turn() == 1
    assert host.asked == ["/vcek/v1/Milan/cert_chain"]


def test_a_failure_is_tried_again_later_and_later_still(
    plane: AdminPlane, host: VendorHost, fetching: Fetching
) -> None:
    waits = []
    fetching.request(CHAIN, Lane.renewal)
    for _ in range(4):
        assert fetching.turn() == 0
        waited = 0.0
        while fetching.request(CHAIN, Lane.renewal) is Told.backing_off:
            plane.clock.advance(timedelta(seconds=0.5))
            waited += 0.5
        waits.append(waited)
    assert waits == [2.0, 4.0, 8.0, 16.0]
    assert len(host.asked) == 4


def test_joining_platforms_never_spend_the_budget_of_renewals(fetching: Fetching) -> None:
    """F30."""

    def chip(number: int) -> Key:
        return Key(Kind.AMD_VEK, f"Milan/{number:0128x}/{0:016x}")

    asked = [fetching.request(chip(number), Lane.joining) for number in range(20)]
    assert asked == [Told.coming] * 3 + [Told.over_budget] * 17
    renewals = [fetching.request(chip(100 + number), Lane.renewal) for number in range(6)]
    assert renewals == [Told.coming] * 5 + [Told.over_budget]


def test_one_node_or_chip_never_spends_what_others_need(
    plane: AdminPlane, services: VendorServices
) -> None:
    """F30: whoever has one admitted node may name any chip, and a chip any TCB."""
    most = dict.fromkeys(Lane, 600)
    made = Fetching(store=files.store(plane), remote=services, budgets=most, jitter=lambda: 0.5)
    for lane in Lane:
        tcb = lane.value.encode().hex()[:14]
        names = [f"Milan/{number:0128x}/00{tcb}" for number in range(100)]
        asked = [made.request(Key(Kind.AMD_VEK, name), lane, lane.value) for name in names]
        assert asked.count(Told.coming) == MOST_OF_ONE
        assert asked.count(Told.over_budget) == 100 - MOST_OF_ONE
    assert made.request(CHAIN, Lane.joining, "another") is Told.coming
    assert made.request(CRL, Lane.renewal) is Told.coming


def test_a_budget_fills_again(plane: AdminPlane, fetching: Fetching) -> None:
    for number in range(4):
        fetching.request(Key(Kind.AMD_VEK, f"Milan/{number:0128x}/{0:016x}"), Lane.joining)
    plane.clock.advance(timedelta(minutes=21))
    assert fetching.request(CHAIN, Lane.joining) is Told.coming


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"", status=404),
        Answer(b"", status=302, headers={"Location": "https://127.0.0.1:1/"}),
        Answer(b"0" * (1 << 20)),
        Answer(b"not a chain"),
    ],
    ids=["missing", "redirect", "too large", "something else"],
)
def test_what_is_not_the_piece_is_a_failure_and_changes_nothing(
    plane: AdminPlane, host: VendorHost, fetching: Fetching, answer: Answer
) -> None:
    host.answers = {"/vcek/v1/Milan/cert_chain": answer}
    before = plane.everything_stored()
    fetching.request(CHAIN, Lane.joining)
    assert fetching.turn() == 0
    assert plane.everything_stored() == before
    assert fetching.request(CHAIN, Lane.joining) is Told.backing_off


def test_a_server_that_nobody_vouches_for_is_not_believed(host: VendorHost) -> None:
    urls = ServiceUrls(amd=host.url, intel=None, intel_root_crl=None, nvidia_rim=None)
    stranger = VendorServices(urls, tls=ssl.create_default_context())
    with pytest.raises(FetchFailed, match="certificate verify failed"):
        stranger.fetch(CHAIN)
    stranger.close()
    assert host.asked == []


def test_what_no_service_publishes_is_said_so(host: VendorHost, fetching: Fetching) -> None:
    ocsp = Key(Kind.NVIDIA_OCSP, "00" * 32)
    assert fetching.request(ocsp, Lane.renewal) is Told.unavailable
    only_amd = ServiceUrls(amd=host.url, intel=None, intel_root_crl=None, nvidia_rim=None)
    services = VendorServices(only_amd, tls=ssl.create_default_context())
    assert not services.publishes(TCB_INFO)
    assert services.renews() == {Kind.AMD_CRL}
    services.close()


def test_a_manifest_comes_in_an_envelope_of_json(
    host: VendorHost, services: VendorServices
) -> None:
    rim = Key(Kind.NVIDIA_RIM, "NV_GPU_DRIVER_GH100_550.144.03")
    host.answers = {
        f"/v1/rim/{rim.name}": Answer(b'{"id":"x","rim":"PFNvZnR3YXJlLz4=","sha256":""}')
    }
    assert services.fetch(rim) == Fetched(b"<Software/>")
    host.answers = {f"/v1/rim/{rim.name}": Answer(b'{"rim":1}')}
    with pytest.raises(FetchFailed):
        services.fetch(rim)


def test_what_nodes_rest_on_is_renewed_from_half_of_its_validity(
    plane: AdminPlane, host: VendorHost, fetching: Fetching
) -> None:
    store = files.store(plane)
    store.take_fetched(CHAIN, files.amd_chain())
    store.take_fetched(CRL, files.amd_crl(issued_days=0.5))  # of three days
    plane.database.write(lambda tx: tx.nodes.add(a_node()))
    fetching.turn()
    plane.clock.advance(timedelta(hours=25))
    fetching.turn()
    assert host.asked == [], "no evidence rests on it"
    resting = replace(an_evidence(), matches=(ReferenceMatch("collateral", str(CRL)),))
    plane.database.write(lambda tx: tx.evidence.put(resting))
    host.answers = {"/vcek/v1/Milan/crl": Answer(files.amd_crl(number=2, issued_days=-1))}
    plane.clock.advance(timedelta(minutes=2))
    assert fetching.turn() == 1
    plane.clock.advance(timedelta(minutes=2))
    assert fetching.turn() == 0
    assert host.asked == ["/vcek/v1/Milan/crl"]


def test_a_service_that_publishes_nothing_newer_is_not_asked_every_minute(
    plane: AdminPlane, host: VendorHost, fetching: Fetching
) -> None:
    store = files.store(plane)
    store.take_fetched(CHAIN, files.amd_chain())
    crl = files.amd_crl(issued_days=0.5)
    store.take_fetched(CRL, crl)
    plane.database.write(lambda tx: tx.nodes.add(a_node()))
    resting = replace(an_evidence(), matches=(ReferenceMatch("collateral", str(CRL)),))
    plane.database.write(lambda tx: tx.evidence.put(resting))
    host.answers = {"/vcek/v1/Milan/crl": Answer(crl)}
    plane.clock.advance(timedelta(hours=25))
    for _ in range(30):
        fetching.turn()
        plane.clock.advance(timedelta(minutes=1.5))
    assert len(host.asked) == 1
