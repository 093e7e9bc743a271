"""The load beside revocations: renewals of other nodes, counted where they fell."""

from __future__ import annotations

from benchmarks.revocation import Beside, Revocation


def revocation(asked: float) -> Revocation:
    return Revocation(asked=asked, answered=asked + 0.25, refused=asked + 0.5, served=(0.01,))


def beside(*renewals: tuple[float, float]) -> Beside:
    """Beside three revocations, from 10 s to 12.5 s."""
    record = {"renewals": [[*span] for span in renewals], "unavailable": 2}
    return Beside.of(record, [revocation(10.0), revocation(11.0), revocation(12.0)])


def test_only_renewals_of_the_run_count() -> None:
    found = beside((9.0, 9.9), (9.9, 10.1), (10.6, 10.9), (12.4, 13.0), (12.5, 12.6))
    assert found.renewals == ((9.9, 10.1), (10.6, 10.9), (12.4, 13.0))
    assert found.seconds == 2.5
    assert found.unavailable == 2


def test_a_renewal_meets_a_revocation_that_it_overlaps() -> None:
    assert beside((9.9, 10.1), (10.2, 10.3), (10.6, 10.9)).revocations_met == 1
    assert beside((10.4, 12.1)).revocations_met == 3


def test_the_rate_stands_beside_median_and_p99() -> None:
    [row] = beside((10.0, 10.02), (10.1, 10.14), (10.2, 10.22)).rows([0.001])
    assert (row["median"], row["p99"], row["per_second"]) == (20.0, 40.0, 1.2)


def test_a_run_without_renewals_says_so() -> None:
    found = beside()
    assert found.rows([0.001]) == []
    assert "0 renewals fell into the 2 s of the run, 0.0 a second" in found.note()
