"""What ends when, and what a second generation of TCB info changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes import collateral_files as files
from fakes.admin_plane import AdminPlane, bearer
from fakes.resting_nodes import resting
from fakes.snp_fixtures import NOW, VALIDITY
from fakes.state import a_node

from sealward.controlplane.domain.collateral_forecast import Mend
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import Principal, Role

ADMIN = Principal(principal_id="p-ada", name="ada", roles=(Role.admin,), created=NOW)
VIEWER = Principal(principal_id="p-vic", name="vic", roles=(Role.viewer,), created=NOW)
SOON = NOW + timedelta(days=2)


def import_generation(plane: AdminPlane, **changes: object) -> None:
    files.store(plane).import_file(ADMIN, files.bundle(**changes))


def test_a_cliff_is_told_with_its_cause_and_how_many_end_at_it(plane: AdminPlane) -> None:
    import_generation(plane, next_update=SOON)
    for name in ("one", "two", "three"):
        resting(plane, name, leases=2)
    outlook = files.forecasts(plane).outlook(ADMIN, days=3)
    assert (outlook.nodes, outlook.ending, outlook.unknown) == (3, 3, 0)
    (cliff,) = outlook.cliffs
    assert (cliff.at, cliff.nodes, cliff.leases) == (SOON, 3, 6)
    # Minted to date as the TCB info does: of two ends at one instant the list's is named.
    assert cliff.component in {"intel-pck-crl:platform", "intel-tcb-info:tdx/b0c06f000000"}
    assert cliff.mend is Mend.import_newer
    assert "sealward collateral import" in cliff.hint


def test_what_ends_later_than_asked_for_is_left_out(plane: AdminPlane) -> None:
    import_generation(plane, next_update=SOON)
    resting(plane, "one")
    assert files.forecasts(plane).outlook(ADMIN, days=1).cliffs == ()
    assert files.forecasts(plane).nodes(ADMIN, days=1, limit=9, after=None).items == ()
    page = files.forecasts(plane).nodes(ADMIN, days=2, limit=9, after=None)
    assert [(one.at, one.leases) for one in page.items] == [(SOON, 1)]


def test_a_piece_that_was_renewed_since_counts_by_its_newer_dates(plane: AdminPlane) -> None:
    import_generation(plane, next_update=SOON)
    resting(plane, "one")
    later = NOW + timedelta(days=20)
    import_generation(plane, next_update=later, evaluation_number=21)
    (cliff,) = files.forecasts(plane).outlook(ADMIN, days=30).cliffs
    assert cliff.at == VALIDITY.not_after, "now the list of the root is what ends first"
    assert cliff.component == "intel-root-crl:root"


def test_a_node_without_dates_on_record_is_counted_and_not_guessed(plane: AdminPlane) -> None:
    plane.database.write(lambda tx: tx.nodes.add(a_node()))
    outlook = files.forecasts(plane).outlook(ADMIN, days=30)
    assert (outlook.nodes, outlook.ending, outlook.unknown) == (1, 0, 1)


def test_a_second_generation_says_which_nodes_it_rates_otherwise(plane: AdminPlane) -> None:
    import_generation(plane)
    nodes = [resting(plane, name) for name in ("one", "two")]
    proposed = files.tcb_info(
        "OutOfDate", ("INTEL-SA-01234",), evaluation_number=21, issued=NOW - timedelta(hours=1)
    )
    before = plane.everything_stored()
    proposal = files.forecasts(plane).proposal(ADMIN, proposed)
    assert plane.everything_stored() == before, "a proposal is not stored"
    assert proposal.examined == 2
    assert {shift.node_id for shift in proposal.shifts} == {node.node_id for node in nodes}
    for shift in proposal.shifts:
        assert (shift.before, shift.after) == ("UpToDate", "OutOfDate")
        assert shift.advisories == ("INTEL-SA-01234",)
        assert shift.leases == 1


def test_a_generation_that_rates_nothing_otherwise_shifts_nothing(plane: AdminPlane) -> None:
    import_generation(plane)
    resting(plane, "one")
    proposal = files.forecasts(plane).proposal(
        ADMIN, files.tcb_info(evaluation_number=21, issued=NOW - timedelta(hours=1))
    )
    assert (proposal.examined, proposal.shifts) == (1, ())


def test_a_proposal_below_the_floor_is_refused(plane: AdminPlane) -> None:
    import_generation(plane, evaluation_number=30)
    with pytest.raises(Refused) as caught:
        files.forecasts(plane).proposal(ADMIN, files.tcb_info(evaluation_number=29))
    assert caught.value.code is Code.collateral_rolled_back


def test_a_proposal_verifies_a_whole_fleet_and_is_not_a_viewers(plane: AdminPlane) -> None:
    """F30."""
    with pytest.raises(Refused) as caught:
        files.forecasts(plane).proposal(VIEWER, files.tcb_info())
    assert caught.value.code is Code.forbidden


def test_the_api_tells_the_same(plane: AdminPlane) -> None:
    import_generation(plane, next_update=SOON)
    resting(plane, "one")
    headers = bearer(plane.administrator().text)
    told = plane.client.get("/v1/collateral/forecast?days=3", headers=headers).json()
    assert (told["nodes"], told["ending"], told["endings"][0]["leases"]) == (1, 1, 1)
    nodes = plane.client.get("/v1/collateral/forecast/nodes?days=3", headers=headers).json()
    assert [item["mend"] for item in nodes["items"]] == ["import_newer"]
    assert plane.client.get("/v1/collateral/forecast?days=0", headers=headers).status_code == 422
