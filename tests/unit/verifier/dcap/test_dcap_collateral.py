"""Intel's statements: how they are framed, what they must say, and what is looked up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes import dcap_fixtures, dcap_vectors
from sealward_devkit.dcap.collateral import qe_identity_text, tcb_info_text
from sealward_devkit.dcap.platform import Tee
from sealward_devkit.pki.revocation import revocation_list

from sealward.verifier.formats.dcap import collateral, pck, statement, tcb_info
from sealward.verifier.formats.dcap.issuers import PckCa
from sealward.verifier.formats.dcap.tcb_info import TcbStatus
from sealward.verifier.pki import certificate
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import MalformedEvidence

INFO = tcb_info_text(dcap_fixtures.tcb_info())
QE = qe_identity_text(dcap_fixtures.qe_identity())
SIGNATURE = "ab" * 64


def changed(text: str, **changes: object) -> bytes:
    """A statement with members changed; None leaves one out."""
    document: dict[str, Any] = json.loads(text)  # noqa: TID251 - our own text
    document |= changes
    kept = {name: value for name, value in document.items() if value is not None}
    return json.dumps(kept).encode()


def test_a_statement_s_signed_text_is_cut_out_as_it_stands() -> None:
    text = '{"id":"TDX",  "fmspc" :\t"00"}'
    whole = statement.join("tcbInfo", text, SIGNATURE, "-----BEGIN CERTIFICATE-----\nx\n")
    framed = statement.split(whole)
    assert (framed.member, framed.text) == ("tcbInfo", text.encode())
    assert framed.signature == b"\xab" * 64
    assert framed.chain == b"-----BEGIN CERTIFICATE-----\nx\n"
    bare = statement.split(statement.join("enclaveIdentity", "{}", SIGNATURE, ""))
    assert (bare.member, bare.chain) == ("enclaveIdentity", b"")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        f'{{"tcbInfo":{{}},"signature":"{SIGNATURE[2:]}"}}',
        f'{{"tcbInfo":{{}},"signature":"{SIGNATURE}00"}}',
        f'{{"tcbInfo":[],"signature":"{SIGNATURE}"}}',
        f'{{"tcbInfo":{{}},"signature":"{SIGNATURE}","x":1}}',
        f'{{"signature":"{SIGNATURE}","tcbInfo":{{}}}}',
        f'{{"other":{{}},"signature":"{SIGNATURE}"}}',
        f' {{"tcbInfo":{{}},"signature":"{SIGNATURE}"}}',
        f'{{"tcbInfo":{{}},"signature":"{"zz" * 64}"}}',
    ],
)
def test_any_other_frame_is_refused(body: str) -> None:
    with pytest.raises(MalformedEvidence):
        statement.split(body.encode())


def test_two_statements_in_one_frame_are_not_one() -> None:
    """The signed text must be one object: a frame within it would be a second reading."""
    inner = f'{{}},"signature":"{SIGNATURE}","x":{{}}'
    framed = statement.split(statement.join("tcbInfo", inner, SIGNATURE, ""))
    with pytest.raises(MalformedEvidence):
        tcb_info.parse_tcb_info(framed.text)


def test_a_statement_beyond_its_budget_is_not_read() -> None:
    with pytest.raises(MalformedEvidence, match="at most"):
        statement.split(bytes(statement.MAX_STATEMENT_BYTES + 1))


def test_tcb_info_is_read_whole() -> None:
    found = tcb_info.parse_tcb_info(INFO.encode())
    said = dcap_fixtures.tcb_info()
    assert (found.fmspc, found.pceid) == (said.fmspc, said.pce_id)
    assert (found.issued, found.next_update) == (said.issued, said.next_update)
    assert found.evaluation_number == said.evaluation_number
    assert [level.sgx for level in found.levels] == [level.sgx for level in said.levels]
    assert [level.rating.status for level in found.levels] == ["UpToDate", "OutOfDate"]
    assert found.levels[1].rating.advisories == ("INTEL-SA-00000",)
    assert [module.id for module in found.modules] == ["TDX_01"]


def test_members_that_nobody_knows_are_left_alone() -> None:
    assert tcb_info.parse_tcb_info(changed(INFO, somethingNew=[1])).fmspc
    assert tcb_info.parse_qe_identity(changed(QE, somethingNew={})).mrsigner


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "QVE"},
        {"id": None},
        {"version": 2},
        {"version": 3.0},
        {"version": True},
        {"tcbType": 1},
        {"fmspc": "00"},
        {"fmspc": "zz0000000000"},
        {"pceId": None},
        {"issueDate": "2026-01-01"},
        {"issueDate": "2026-13-01T00:00:00Z"},
        {"issueDate": "2026-01-01T00:00:00+00:00"},
        {"nextUpdate": 7},
        {"tcbEvaluationDataNumber": -1},
        {"tcbEvaluationDataNumber": 1 << 31},
        {"tcbLevels": []},
        {"tcbLevels": {}},
        {"tcbLevels": [7]},
        {"tdxModule": None},
        {"tdxModuleIdentities": 7},
    ],
    ids=str,
)
def test_tcb_info_of_another_shape_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedEvidence):
        tcb_info.parse_tcb_info(changed(INFO, **changes))


def level(**changes: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(INFO)["tcbLevels"][0]  # noqa: TID251 - our own text
    return document | changes


@pytest.mark.parametrize(
    "broken",
    [
        level(tcbStatus="Fine"),
        level(tcbStatus="TDRelaunchAdvised"),
        level(tcbDate="yesterday"),
        level(advisoryIDs="INTEL-SA-00001"),
        level(advisoryIDs=["\x1b[31m"]),
        level(advisoryIDs=["A"] * 257),
        level(tcb={}),
        level(tcb=level()["tcb"] | {"pcesvn": 65536}),
        level(tcb=level()["tcb"] | {"sgxtcbcomponents": [{"svn": 1}] * 15}),
        level(tcb=level()["tcb"] | {"sgxtcbcomponents": [{"svn": 256}] * 16}),
        level(tcb=level()["tcb"] | {"tdxtcbcomponents": [{"svn": 1}] * 17}),
    ],
)
def test_a_level_of_another_shape_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvidence):
        tcb_info.parse_tcb_info(changed(INFO, tcbLevels=[broken]))


def test_a_module_stands_once() -> None:
    twice = json.loads(INFO)["tdxModuleIdentities"] * 2  # noqa: TID251 - our own text
    with pytest.raises(MalformedEvidence, match="twice"):
        tcb_info.parse_tcb_info(changed(INFO, tdxModuleIdentities=twice))


def test_statements_of_before_module_versions_have_none() -> None:
    found = tcb_info.parse_tcb_info(changed(INFO, tdxModuleIdentities=None))
    assert found.modules == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "QVE"},
        {"version": 1},
        {"miscselect": "00"},
        {"attributesMask": "FF"},
        {"mrsigner": None},
        {"isvprodid": 65536},
        {"tcbLevels": []},
        {"tcbLevels": [{"tcb": {"isvsvn": 1}, "tcbDate": "2026-01-01T00:00:00Z"}]},
    ],
    ids=str,
)
def test_a_qe_identity_of_another_shape_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedEvidence):
        tcb_info.parse_qe_identity(changed(QE, **changes))


def test_levels_are_taken_in_descending_order_whatever_the_order_of_the_text() -> None:
    levels = json.loads(INFO)["tcbLevels"]  # noqa: TID251 - our own text
    found = tcb_info.parse_tcb_info(changed(INFO, tcbLevels=levels[::-1]))
    assert found == tcb_info.parse_tcb_info(INFO.encode())


def test_a_bundle_is_taken_apart_and_its_pieces_are_named() -> None:
    bundle = dcap_fixtures.collateral(Tee.TDX).to_json().encode()
    assert collateral.is_bundle(bundle)
    fmspc = dcap_fixtures.tcb_info().fmspc
    assert tuple(dcap_vectors.pieces(bundle)) == collateral.keys(
        tcb_info.Tee.TDX, fmspc, PckCa.PLATFORM
    )


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity_signature", "pck_crl", "root_ca_crl"])
def test_a_bundle_that_lacks_a_part_is_refused(name: str) -> None:
    bundle = changed(dcap_fixtures.collateral(Tee.TDX).to_json(), **{name: None})
    with pytest.raises(MalformedEvidence):
        collateral.bundle(bundle)
    odd = changed(dcap_fixtures.collateral(Tee.TDX).to_json(), **{name: "0"})
    with pytest.raises(MalformedEvidence):
        dcap_vectors.pieces(odd)


def test_an_edition_is_read_of_every_kind_of_piece() -> None:
    pieces = dcap_vectors.pieces(dcap_fixtures.collateral(Tee.SGX).to_json().encode())
    editions = [collateral.edition_of(data) for data in pieces.values()]
    assert [edition.key for edition in editions] == list(pieces)
    assert editions[0].number == dcap_fixtures.tcb_info(Tee.SGX).evaluation_number
    assert editions[2].key == Key(Kind.INTEL_PCK_CRL, "platform")
    now = datetime(2100, 1, 1, tzinfo=UTC)
    assert all(edition.issued < edition.next_update < now for edition in editions)


def test_a_list_of_another_vendor_is_no_collateral_of_intel_s() -> None:
    key = dcap_fixtures.root_keys().root
    other = revocation_list("ARK-Milan", key, dcap_fixtures.VALIDITY)
    with pytest.raises(MalformedEvidence, match="none that Intel"):
        collateral.key_of(other)


def test_statuses_of_relaunch_are_never_published() -> None:
    for status in (
        TcbStatus.TD_RELAUNCH_ADVISED,
        TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
    ):
        with pytest.raises(MalformedEvidence):
            tcb_info.parse_tcb_info(changed(INFO, tcbLevels=[level(tcbStatus=status.value)]))


def test_the_pck_extension_says_what_the_minter_wrote() -> None:
    machine = dcap_fixtures.platform()
    found = pck.parse(certificate.parse(machine.pck))
    facts = machine.facts
    assert (found.ppid, found.fmspc, found.pceid) == (facts.ppid, facts.fmspc, facts.pce_id)
    assert (found.components, found.pcesvn) == (facts.svns, facts.pce_svn)
    assert found.platform_instance_id == facts.platform_instance_id


def test_a_certificate_without_the_extension_is_no_pck() -> None:
    ca = certificate.parse(dcap_fixtures.hierarchy().platform_ca)
    assert not pck.is_pck(ca)
    with pytest.raises(MalformedEvidence, match="SGX extension is missing"):
        pck.parse(ca)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("0a0101", "0a0103", "type of SGX"),
        ("0a0101", "0a01ff", "type of SGX"),
        ("2a864886f84d010d0101", "2a864886f84d010d0103", "another member"),
        ("2a864886f84d010d010201020103", "2a864886f84d010d0102010201ff", "is not 0 to 255"),
        ("2a864886f84d010d0103", "2a864886f84d010d0104", "another member"),
        ("2a864886f84d010d0106", "2a864886f84d010d0108", "another member"),
        ("2a864886f84d010d0107020101ff", "2a864886f84d010d010702010101", "neither 00 nor FF"),
    ],
)
def test_a_pck_extension_of_another_shape_is_refused(old: str, new: str, match: str) -> None:
    leaf = certificate.parse(dcap_fixtures.platform().pck)
    extension = leaf.extension(pck.OID)
    assert extension is not None
    whole = extension.value.hex()
    if old not in whole:
        pytest.fail(f"{old} is not in the minter's extension: {whole}")
    broken = bytes.fromhex(whole.replace(old, new, 1))
    others = tuple(item for item in leaf.extensions if item.oid != pck.OID)
    damaged = replace(leaf, extensions=(*others, replace(extension, value=broken)))
    with pytest.raises(MalformedEvidence, match=match):
        pck.parse(damaged)
