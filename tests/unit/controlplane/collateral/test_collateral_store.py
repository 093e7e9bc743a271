"""What is accepted, what is refused, and what a change sets off."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from fakes import collateral_files as files
from fakes import snp_fixtures
from fakes.admin_plane import AdminPlane
from fakes.snp_fixtures import NOW

from sealward.controlplane.api.collateral import CollateralView
from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.collateral import CollateralState
from sealward.controlplane.domain.errors import Code, DomainError, Refused
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.services import collateral_archive
from sealward.controlplane.services.collateral import CollateralStore, Outcome
from sealward.verifier.rats.collateral import Key, Kind

ADMIN = Principal(principal_id="p-ada", name="ada", roles=(Role.admin,), created=NOW)


def refused(plane: AdminPlane, store: CollateralStore, data: bytes) -> DomainError:
    before = plane.everything_stored()
    with pytest.raises(DomainError) as caught:
        store.import_file(ADMIN, data)
    assert plane.everything_stored() == before
    assert caught.value.hint
    return caught.value


def tcb_key(plane: AdminPlane) -> Key:
    page = plane.database.read(lambda tx: tx.collateral.page(limit=10, kind=Kind.INTEL_TCB_INFO))
    return page.items[0].key


def epochs(plane: AdminPlane, key: Key) -> int:
    scope = fences.collateral(key)
    return plane.database.read(lambda tx: tx.epochs.read((scope,)))[scope]


def test_a_bundle_of_intel_is_four_pieces_each_under_its_key(plane: AdminPlane) -> None:
    results = files.store(plane).import_file(ADMIN, files.bundle())
    assert [str(result.key.kind) for result in results] == [
        "intel-tcb-info",
        "intel-qe-identity",
        "intel-pck-crl",
        "intel-root-crl",
    ]
    assert {result.outcome for result in results} == {Outcome.stored}
    held = files.store(plane).page(ADMIN, limit=10, after=None).items
    assert {piece.state for piece in held} == {CollateralState.current}
    assert all(piece.development for piece in held)


def test_a_chain_comes_before_the_keys_and_lists_that_it_vouches_for(plane: AdminPlane) -> None:
    store = files.store(plane)
    chip = snp_fixtures.platform()
    for data in (chip.vek, files.amd_crl()):
        error = refused(plane, store, data)
        assert (error.code, error.hint) == (
            Code.collateral_invalid,
            "import the chain of its product line first: /vcek/v1/<line>/cert_chain",
        )
    keys = [
        store.import_file(ADMIN, data)[0].key
        for data in (files.amd_chain(), chip.vek, files.amd_crl())
    ]
    tcb = chip.tcb
    levels = bytes((tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode)).hex()
    assert list(map(str, keys)) == [
        "amd-chain:Milan/vcek",
        f"amd-vek:Milan/{chip.chip_id.hex()}/{levels}",
        "amd-crl:Milan/vcek",
    ]


def test_a_vcek_in_front_of_its_chain_needs_nothing_else(plane: AdminPlane) -> None:
    chip = snp_fixtures.platform()
    whole = files.pem(chip.vek, chip.intermediate, chip.root)
    results = files.store(plane).import_file(ADMIN, whole)
    assert [result.key.kind for result in results] == [Kind.AMD_CHAIN, Kind.AMD_VEK]


def test_the_list_of_vleks_is_one_when_it_is_said(plane: AdminPlane) -> None:
    store = files.store(plane)
    made = snp_fixtures.hierarchy()
    store.import_file(ADMIN, files.pem(made.asvk, made.ark))
    named = Key(Kind.AMD_CRL, "Milan/vlek")
    assert store.import_file(ADMIN, files.amd_crl(), named=named)[0].key == named


def test_one_list_under_two_names_stands_under_both(plane: AdminPlane) -> None:
    """Else who says the other name would take the first list away, and no fence would move."""
    store = files.store(plane)
    made = snp_fixtures.hierarchy()
    store.import_file(ADMIN, files.amd_chain())
    store.import_file(ADMIN, files.pem(made.asvk, made.ark))
    data = files.amd_crl()
    names = [Key(Kind.AMD_CRL, f"Milan/{kind}") for kind in ("vcek", "vlek")]
    for name in names:
        store.import_file(ADMIN, data, named=name)
    held = [plane.database.read(lambda tx: tx.collateral.current(name)) for name in names]  # noqa: B023 - runs at once
    assert [piece is not None and piece.content == data for piece in held] == [True, True]
    newer = files.amd_crl(number=2, issued_days=0.25)
    store.import_file(ADMIN, newer, named=names[0])
    digest = hashlib.sha256(data).hexdigest()
    piece, _ = store.get(ADMIN, digest)
    assert (piece.key, piece.state) == (names[1], CollateralState.current)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"0" * 100,
        b"-----BEGIN CERTIFICATE-----\n",
        b'{"tcbInfo":{},"signature":"00"}',
        b'{"format":"sealward-collateral/2","items":[]}',
        b'{"format":"sealward-collateral/1","items":[{}]}',
        b"<SoftwareIdentity ",
    ],
)
def test_what_is_no_collateral_is_refused_and_nothing_changes(
    plane: AdminPlane, data: bytes
) -> None:
    assert refused(plane, files.store(plane), data).code is Code.collateral_invalid


@pytest.mark.parametrize("at", [40, 200, 900])
def test_a_changed_byte_of_a_signed_piece_poisons_nothing(plane: AdminPlane, at: int) -> None:
    data = files.tcb_info()
    assert at < data.index(b"-----BEGIN")
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert refused(plane, files.store(plane), changed).code is Code.collateral_invalid


def test_development_roots_mean_nothing_in_production(plane: AdminPlane) -> None:
    """F29: the store of an installation without development roots takes none of it."""
    error = refused(plane, plane.services.collateral, files.bundle())
    assert error.code is Code.collateral_invalid
    assert error.detail.startswith("root_not_pinned: ")


def test_collateral_of_real_vendors_is_taken_at_its_own_instant_and_not_later(
    plane: AdminPlane, vectors_dir: Path
) -> None:
    data = (vectors_dir / "dcap-collateral" / "tdx-90c06f000000-2026-02.json").read_bytes()
    assert refused(plane, plane.services.collateral, data).code is Code.collateral_expired
    plane.clock.advance(timedelta(days=-250))  # 2026-03-18
    results = plane.services.collateral.import_file(ADMIN, data)
    assert [result.outcome for result in results] == [Outcome.stored] * 4
    assert not any(
        piece.development
        for piece in plane.services.collateral.page(ADMIN, limit=9, after=None).items
    )


def test_the_same_bytes_again_are_held_and_change_nothing(plane: AdminPlane) -> None:
    store = files.store(plane)
    store.import_file(ADMIN, files.bundle())
    before = plane.everything_stored()
    again = store.import_file(ADMIN, files.bundle())
    outcomes = {result.outcome for result in again}
    # ECDSA signatures differ from minting to minting: only the root's list is the same bytes.
    assert Outcome.held in outcomes
    assert plane.everything_stored() != before
    data = files.tcb_info(evaluation_number=30)
    store.import_file(ADMIN, data)
    before = plane.everything_stored()
    assert store.import_file(ADMIN, data)[0].outcome is Outcome.held
    assert plane.everything_stored() == before


def test_a_lower_number_or_an_earlier_issue_date_is_refused_whoever_brings_it(
    plane: AdminPlane,
) -> None:
    """F19."""
    store = files.store(plane)
    store.import_file(ADMIN, files.tcb_info(evaluation_number=21))
    key = tcb_key(plane)
    older = files.tcb_info(evaluation_number=20, issued=NOW)
    earlier = files.tcb_info(
        evaluation_number=22, issued=files.VALIDITY.not_before - timedelta(hours=1)
    )
    for data in (older, earlier):
        assert refused(plane, store, data).code is Code.collateral_rolled_back
        with pytest.raises(Refused) as caught:
            store.take_fetched(key, data)
        assert caught.value.code is Code.collateral_rolled_back


def test_a_floor_outlives_the_pieces_that_set_it(plane: AdminPlane) -> None:
    store = files.store(plane)
    store.import_file(ADMIN, files.tcb_info(evaluation_number=25))
    key = tcb_key(plane)

    def forget(tx: object) -> None:
        tx.collateral.forget((tx.collateral.current(key),))

    plane.database.write(forget)
    error = refused(plane, store, files.tcb_info(evaluation_number=24))
    assert error.code is Code.collateral_rolled_back


def test_an_old_list_in_a_bundle_keeps_nobody_from_the_newer_statement(plane: AdminPlane) -> None:
    store = files.store(plane)
    store.import_file(ADMIN, files.amd_chain())
    store.import_file(ADMIN, files.amd_crl(number=7))
    assert refused(plane, store, files.amd_crl(number=6)).code is Code.collateral_rolled_back
    assert store.import_file(ADMIN, files.amd_crl(number=8))[0].outcome is Outcome.stored


def test_an_expired_piece_is_not_accepted_and_one_that_expires_is_shown_so(
    plane: AdminPlane,
) -> None:
    store = files.store(plane)
    store.import_file(ADMIN, files.amd_chain())
    assert refused(plane, store, files.amd_crl(issued_days=4)).code is Code.collateral_expired
    store.import_file(ADMIN, files.amd_crl())
    token = plane.administrator().text
    headers = {"Authorization": f"Bearer {token}"}
    path = "/v1/collateral?kind=amd-crl"
    assert not plane.client.get(path, headers=headers).json()["items"][0]["expired"]
    plane.clock.advance(timedelta(days=2, hours=13))
    piece = store.page(ADMIN, limit=9, after=None, kind=Kind.AMD_CRL).items[0]
    assert CollateralView.of(piece, plane.clock.now()).expired


def test_every_accepted_change_is_an_entry_and_moves_the_fence_of_its_key(
    plane: AdminPlane,
) -> None:
    alice = plane.administrator().principal
    store = files.store(plane)
    store.import_file(alice, files.tcb_info(evaluation_number=20))
    key = tcb_key(plane)
    store.import_file(alice, files.tcb_info(evaluation_number=21))
    assert epochs(plane, key) == 2
    sweeps = plane.database.read(lambda tx: tx.sweeps.running())
    assert [sweep.scope for sweep in sweeps] == [fences.collateral(key)] * 2
    assert plane.wake.calls == 2
    bodies = [
        json.loads(entry.body)  # noqa: TID251 - our own canonical text
        for entry in plane.services.audit_log.page(alice, limit=100, after=None).items
        if entry.kind is AuditKind.collateral_accepted
    ]
    first, second = sorted(bodies, key=lambda body: body["number"])
    for body, number in ((first, "20"), (second, "21")):
        assert (body["number"], body["by"]["name"], body["source"]) == (number, "alice", "import")
    assert second["replaces"] == first["digest"]


def test_an_endorsement_key_moves_its_fence_and_takes_nothing_away(plane: AdminPlane) -> None:
    store = files.store(plane)
    store.import_file(ADMIN, files.amd_chain())
    key = store.import_file(ADMIN, snp_fixtures.platform().vek)[0].key
    assert epochs(plane, key) == 1
    assert plane.database.read(lambda tx: tx.sweeps.running()) == ()


def test_a_few_older_pieces_of_a_key_stay_and_no_more(plane: AdminPlane) -> None:
    store = files.store(plane)
    for number in range(20, 27):
        plane.clock.advance(timedelta(seconds=1))
        store.import_file(ADMIN, files.tcb_info(evaluation_number=number))
    held = store.page(ADMIN, limit=20, after=None).items
    assert sorted((piece.number, str(piece.state)) for piece in held) == [
        (23, "superseded"),
        (24, "superseded"),
        (25, "superseded"),
        (26, "current"),
    ]


def test_an_archive_of_one_installation_fills_another(
    plane: AdminPlane, tmp_path_factory: pytest.TempPathFactory, template: Path
) -> None:
    from fakes.admin_plane import admin_plane  # noqa: PLC0415 - a second installation, here only

    store = files.store(plane)
    store.import_file(ADMIN, files.amd_chain())
    store.import_file(ADMIN, snp_fixtures.platform().vek)
    store.import_file(ADMIN, files.amd_crl())
    store.import_file(ADMIN, files.bundle())
    archive = store.export(ADMIN)
    with admin_plane(tmp_path_factory.mktemp("elsewhere"), template) as other:
        results = files.store(other).import_file(ADMIN, archive)
        assert [result.outcome for result in results] == [Outcome.stored] * 7
        assert files.store(other).export(ADMIN) == archive


def test_an_archive_that_calls_a_piece_something_else_is_refused_whole(plane: AdminPlane) -> None:
    store = files.store(plane)
    store.import_file(ADMIN, files.amd_chain())
    store.import_file(ADMIN, files.bundle())
    archive = store.export(ADMIN)
    renamed = archive.replace(
        b'"kind":"intel-qe-identity","name":"tdx"', b'"kind":"intel-qe-identity","name":"sgx"'
    )
    assert renamed != archive
    assert refused(plane, store, renamed).code is Code.collateral_invalid
    twice = collateral_archive.write(
        plane.database.read(lambda tx: tx.collateral.page(limit=1)).items * 2
    )
    assert refused(plane, store, twice).code is Code.collateral_invalid


def test_a_fetched_piece_must_be_the_one_that_was_asked_for(plane: AdminPlane) -> None:
    store = files.store(plane)
    with pytest.raises(Refused) as caught:
        store.take_fetched(Key(Kind.INTEL_TCB_INFO, "tdx/000000000000"), files.tcb_info())
    assert caught.value.code is Code.collateral_invalid
