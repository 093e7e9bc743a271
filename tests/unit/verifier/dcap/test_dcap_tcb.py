"""The status of a TCB, rule by rule, and by which rule it changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from sealward.verifier.formats.dcap import tcb
from sealward.verifier.formats.dcap.tcb import PlatformTcb, TcbResult
from sealward.verifier.formats.dcap.tcb_info import (
    Module,
    QeIdentity,
    Rating,
    SvnLevel,
    TcbInfo,
    TcbLevel,
    TcbStatus,
    Tee,
)
from sealward.verifier.rats.errors import Code, RefusedEvidence

THEN = datetime(2026, 1, 1, tzinfo=UTC)
ZERO = (0,) * 16
GOOD = TcbStatus.UP_TO_DATE
OLD = TcbStatus.OUT_OF_DATE


def rating(status: TcbStatus = GOOD, *advisories: str) -> Rating:
    return Rating(status=status, date=THEN, advisories=advisories)


def at(position: int, value: int) -> tuple[int, ...]:
    return (*ZERO[:position], value, *ZERO[position + 1 :])


def level(
    status: TcbStatus = GOOD,
    *,
    sgx: tuple[int, ...] = ZERO,
    pcesvn: int = 0,
    tdx: tuple[int, ...] = ZERO,
    advisories: tuple[str, ...] = (),
) -> TcbLevel:
    return TcbLevel(sgx=sgx, pcesvn=pcesvn, tdx=tdx, rating=rating(status, *advisories))


def svn_level(isvsvn: int, status: TcbStatus = GOOD, *advisories: str) -> SvnLevel:
    return SvnLevel(isvsvn=isvsvn, rating=rating(status, *advisories))


def module(number: int, *levels: SvnLevel) -> Module:
    return Module(
        id=f"TDX_{number:02X}" if number else "",
        mrsigner=bytes(48),
        attributes=bytes(8),
        mask=b"\xff" * 8,
        levels=levels,
    )


def info(*levels: TcbLevel, modules: tuple[Module, ...] = (), tee: Tee = Tee.TDX) -> TcbInfo:
    return TcbInfo(
        tee=tee,
        issued=THEN,
        next_update=THEN,
        fmspc=bytes(6),
        pceid=bytes(2),
        evaluation_number=1,
        levels=levels,
        module=module(0) if tee is Tee.TDX else None,
        modules=modules,
    )


def identity(*levels: SvnLevel, tee: Tee = Tee.TDX) -> QeIdentity:
    return QeIdentity(
        tee=tee,
        issued=THEN,
        next_update=THEN,
        evaluation_number=1,
        miscselect=bytes(4),
        miscselect_mask=bytes(4),
        attributes=bytes(16),
        attributes_mask=bytes(16),
        mrsigner=bytes(32),
        isvprodid=2,
        levels=levels or (svn_level(0),),
    )


def tdx(*first: int) -> bytes:
    return bytes(first).ljust(16, b"\0")


def platform(**changes: Any) -> PlatformTcb:  # noqa: ANN401 - any field
    whole = PlatformTcb(components=ZERO, pcesvn=0, qe_svn=0, tee_tcb_svn=tdx())
    return replace(whole, **changes)


def refusal(*args: Any) -> RefusedEvidence:  # noqa: ANN401 - of `appraise`
    with pytest.raises(RefusedEvidence) as caught:
        tcb.appraise(*args)
    return caught.value


def test_the_first_level_that_fits_is_the_answer_even_when_a_later_one_is_kinder() -> None:
    found = tcb.appraise(info(level(OLD, advisories=("A",)), level(GOOD)), identity(), platform())
    assert (found.status, found.advisories) == (OLD, ("A",))


@pytest.mark.parametrize("position", range(16))
def test_each_sgx_component_counts_by_itself(position: int) -> None:
    statements = info(level(GOOD, sgx=at(position, 3)), level(OLD)), identity()
    for value, expected in ((2, OLD), (3, GOOD), (255, GOOD)):
        found = tcb.appraise(*statements, platform(components=at(position, value)))
        assert found.status is expected
    high = tuple(255 if number != position else 2 for number in range(16))
    assert tcb.appraise(*statements, platform(components=high)).status is OLD


@pytest.mark.parametrize("position", range(16))
def test_each_tdx_component_counts_unless_a_module_with_a_version_owns_it(position: int) -> None:
    statements = (
        info(
            level(GOOD, tdx=at(position, 3)),
            level(OLD),
            modules=(module(1, svn_level(0)), module(2, svn_level(0))),
        ),
        identity(),
    )
    versioned = bytearray(tdx(0, 2))
    owned = position < 2
    found = tcb.appraise(*statements, platform(tee_tcb_svn=bytes(versioned)))
    assert found.status is (GOOD if owned else OLD)
    if position != 1:  # without a version there is nothing to own it
        for value, expected in ((2, OLD), (3, GOOD)):
            svn = bytes(at(position, value))
            assert tcb.appraise(*statements, platform(tee_tcb_svn=svn)).status is expected


def test_the_pcesvn_counts() -> None:
    statements = info(level(GOOD, pcesvn=11), level(OLD, pcesvn=5)), identity()
    for pcesvn, expected in ((11, GOOD), (10, OLD), (5, OLD)):
        assert tcb.appraise(*statements, platform(pcesvn=pcesvn)).status is expected
    assert refusal(*statements, platform(pcesvn=4)).code is Code.TCB_LEVEL_UNMATCHED


def test_no_level_is_a_refusal_that_names_what_is_too_low() -> None:
    statements = info(level(GOOD, sgx=at(0, 9)), level(OLD, sgx=at(7, 5), pcesvn=2)), identity()
    refused = refusal(*statements, platform(components=at(7, 4), pcesvn=1))
    assert refused.code is Code.TCB_LEVEL_UNMATCHED
    assert refused.actual == "sgx08 4 < 5, pcesvn 1 < 2"


def test_a_module_is_rated_by_its_own_line() -> None:
    statements = (
        info(
            level(),
            modules=(
                module(1, svn_level(6), svn_level(4, OLD, "M1")),
                module(3, svn_level(2)),
            ),
        ),
        identity(),
    )
    for svn, status, line in (
        (tdx(6, 1), GOOD, "TDX_01"),
        (tdx(5, 1), OLD, "TDX_01"),
        (tdx(4, 1), OLD, "TDX_01"),
        (tdx(2, 3), GOOD, "TDX_03"),
    ):
        found = tcb.appraise(*statements, platform(tee_tcb_svn=svn))
        assert (found.status, found.module_id) == (status, line)
    assert tcb.appraise(*statements, platform(tee_tcb_svn=tdx(6, 0))).module is None
    low = refusal(*statements, platform(tee_tcb_svn=tdx(3, 1)))
    assert (low.code, low.claim) == (Code.TCB_LEVEL_UNMATCHED, "intel.module.svn")
    unknown = refusal(*statements, platform(tee_tcb_svn=tdx(9, 2)))
    assert (unknown.code, unknown.actual) == (Code.TDX_MODULE_MISMATCH, "TDX_02")


def test_the_quoting_enclave_is_rated_too_and_too_low_is_a_refusal() -> None:
    said = identity(svn_level(6), svn_level(4, OLD, "Q"))
    found = tcb.appraise(info(level(advisories=("P",))), said, platform(qe_svn=5))
    assert (found.status, found.qe.status, found.advisories) == (OLD, OLD, ("P", "Q"))
    low = refusal(info(level()), said, platform(qe_svn=3))
    assert (low.code, low.claim) == (Code.TCB_LEVEL_UNMATCHED, "intel.qe.svn")


PUBLISHED = [status for status in TcbStatus if not status.startswith("TDRelaunch")]


@pytest.mark.parametrize(("platform_status", "part"), [*product(PUBLISHED, (GOOD, OLD))])
def test_a_part_that_is_out_of_date_takes_no_configuration_away(
    platform_status: TcbStatus, part: TcbStatus
) -> None:
    found = tcb.converge(platform_status, [GOOD, part])
    if part is GOOD:
        assert found is platform_status
    else:
        assert ("Configuration" in found) is ("Configuration" in platform_status)
        assert found.startswith(("OutOfDate", "Revoked"))
        assert (found is TcbStatus.REVOKED) is (platform_status is TcbStatus.REVOKED)


@pytest.mark.parametrize("platform_status", PUBLISHED)
def test_a_revoked_part_revokes_all(platform_status: TcbStatus) -> None:
    assert tcb.converge(platform_status, [OLD, TcbStatus.REVOKED]) is TcbStatus.REVOKED


def relaunch(
    launched: TcbStatus, running: TcbStatus, platform_status: TcbStatus = GOOD
) -> TcbResult:
    """Rate a TD whose module was updated under it from security version 1 to 2."""
    line = module(1, svn_level(2, running, "NOW"), svn_level(1, launched, "THEN"))
    svns = {"tee_tcb_svn": tdx(1, 1), "tee_tcb_svn2": tdx(2, 1)}
    return tcb.appraise(info(level(platform_status), modules=(line,)), identity(), platform(**svns))


def test_a_td_on_a_module_that_was_updated_under_it_should_be_launched_again() -> None:
    found = relaunch(OLD, GOOD)
    assert found.status is TcbStatus.TD_RELAUNCH_ADVISED
    assert found.relaunch_advised
    assert found.advisories == ("THEN", "NOW")
    assert found.module is not None
    assert found.module.status is OLD
    configure = relaunch(OLD, GOOD, TcbStatus.CONFIGURATION_NEEDED)
    assert configure.status is TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED


@pytest.mark.parametrize(
    ("launched", "running", "status"),
    [
        (GOOD, OLD, GOOD),
        (OLD, OLD, OLD),
        (GOOD, GOOD, GOOD),
        (TcbStatus.REVOKED, GOOD, TcbStatus.REVOKED),
        (OLD, TcbStatus.REVOKED, TcbStatus.REVOKED),
        (GOOD, TcbStatus.REVOKED, TcbStatus.REVOKED),
    ],
)
def test_else_the_tcb_at_launch_is_what_counts(
    launched: TcbStatus, running: TcbStatus, status: TcbStatus
) -> None:
    found = relaunch(launched, running)
    assert (found.status, found.relaunch_advised) == (status, False)


def test_a_td_on_a_module_that_nobody_rates_is_refused() -> None:
    line = module(1, svn_level(1))
    svns = {"tee_tcb_svn": tdx(1, 1), "tee_tcb_svn2": tdx(1, 7)}
    refused = refusal(info(level(), modules=(line,)), identity(), platform(**svns))
    assert refused.code is Code.TDX_MODULE_MISMATCH


def test_statements_about_the_other_tee_are_refused() -> None:
    sgx_info, sgx_identity = info(level(tdx=()), tee=Tee.SGX), identity(tee=Tee.SGX)
    enclave = platform(tee_tcb_svn=None)
    assert tcb.appraise(sgx_info, sgx_identity, enclave).status is GOOD
    for args in (
        (sgx_info, sgx_identity, platform()),
        (info(level()), sgx_identity, platform()),
        (info(level()), identity(), enclave),
    ):
        assert refusal(*args).code is Code.COLLATERAL_MISMATCH


def test_two_generations_of_statements_tell_what_a_forecast_needs() -> None:
    """The same platform under today's statement and under tomorrow's, and what would mend it."""
    today = info(level(GOOD, sgx=at(0, 3)), level(OLD))
    tomorrow = info(level(GOOD, sgx=at(0, 4)), level(OLD, sgx=at(0, 3), advisories=("SA",)))
    now, next_month = platform(components=at(0, 3)), platform(components=at(0, 4))
    assert tcb.appraise(today, identity(), now).status is GOOD
    assert tcb.appraise(tomorrow, identity(), now).advisories == ("SA",)
    assert tcb.appraise(tomorrow, identity(), next_month).status is GOOD
