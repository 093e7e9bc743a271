"""What dcap-qvl 0.7.0 says of minted quotes is what we say: statuses, levels and advisories."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from fakes import dcap_fixtures, snp_fixtures
from fakes.dcap_verification import check, statements, theirs
from fakes.snp_fixtures import NOW
from sealward_devkit.dcap.collateral import Collateral, Level, Module, SvnLevel
from sealward_devkit.dcap.platform import Platform, new_platform
from sealward_devkit.dcap.quote import Shape

from sealward.verifier.rats.errors import VerifierError

STATUSES = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
)
PARTS = ("UpToDate", "OutOfDate")


def judged(status: str, module: str, qe: str) -> Collateral:
    info = dcap_fixtures.tcb_info()
    return statements(
        {
            "levels": (replace(info.levels[0], status=status, advisories=("INTEL-SA-1",)),),
            "modules": (
                Module(
                    major=1,
                    levels=(SvnLevel(svn=1, date=NOW, status=module, advisories=("INTEL-SA-2",)),),
                ),
            ),
        },
        {"levels": (SvnLevel(svn=1, date=NOW, status=qe, advisories=("INTEL-SA-3",)),)},
    )


@pytest.mark.parametrize(("status", "module", "qe"), [*product(STATUSES, PARTS, PARTS)])
def test_dcap_qvl_converges_every_triple_of_statuses_as_we_do(
    status: str, module: str, qe: str
) -> None:
    minted = dcap_fixtures.mint_tdx()
    said = judged(status, module, qe)
    other = theirs(minted.quote, said)
    ours = check(minted.quote, said).result
    assert ours.status == other.status
    assert sorted(ours.advisories) == sorted(other.advisory_ids)


RUNNING = [
    *product(("UpToDate", "OutOfDate"), ("UpToDate", "OutOfDate"), STATUSES),
]


@pytest.mark.parametrize(("launched", "running", "status"), RUNNING)
def test_dcap_qvl_advises_to_launch_again_when_we_do(
    launched: str, running: str, status: str
) -> None:
    info = dcap_fixtures.tcb_info()
    module = Module(
        major=1,
        levels=(
            SvnLevel(svn=9, date=NOW, status=running),
            SvnLevel(svn=2, date=NOW, status=launched, advisories=("INTEL-SA-2",)),
        ),
    )
    said = statements({"levels": (replace(info.levels[0], status=status),), "modules": (module,)})
    first = dcap_fixtures.TD.tee_tcb_svn
    minted = dcap_fixtures.mint_tdx(
        shape=Shape.TDX_5_TD15,
        tee_tcb_svn=bytes((2, 1, *first[2:])),
        tee_tcb_svn2=bytes((9, 1, *first[2:])),
    )
    other = theirs(minted.quote, said)
    ours = check(minted.quote, said).result
    assert ours.status == other.status
    assert set(ours.advisories) == set(other.advisory_ids)


@pytest.mark.parametrize("seed", range(48))
def test_dcap_qvl_matches_platforms_to_levels_as_we_do(seed: int) -> None:
    """Random TCBs against random levels: the same status, or no level for both."""
    draw = snp_fixtures.stream(f"levels {seed}")

    def svns(most: int) -> tuple[int, ...]:
        return tuple(byte % most for byte in draw(16))

    machine: Platform = _machine(tuple(svns(4)), draw(1)[0] % 4)
    levels = tuple(
        Level(
            sgx=tuple(min(part) for part in zip(svns(4), svns(4), svns(3), strict=True)),
            pce_svn=draw(1)[0] % 3,
            tdx=tuple(min(part) for part in zip(svns(4), svns(4), svns(3), strict=True)),
            date=NOW,
            status=STATUSES[draw(1)[0] % len(STATUSES)],
        )
        for _ in range(8)
    )
    lowest = Level(
        sgx=(0,) * 16, pce_svn=0, tdx=(0,) * 16, date=NOW, status="OutOfDate", advisories=("X-1",)
    )
    tee_tcb_svn = bytes((draw(1)[0] % 4, draw(1)[0] % 2, *svns(4)[2:]))
    module = Module(major=1, levels=_in_disorder(draw(4)))
    changes: dict[str, Any] = {"levels": (*levels, lowest)[seed % 2 :], "modules": (module,)}
    said = statements(changes, {"levels": _in_disorder(draw(4))})
    data = dcap_fixtures.mint_tdx(machine, tee_tcb_svn=tee_tcb_svn).quote
    try:
        expected: str | None = theirs(data, said).status
    except ValueError:
        expected = None
    try:
        actual: str | None = check(data, said).result.status
    except VerifierError:
        actual = None
    assert actual == expected


def _in_disorder(draw: bytes) -> tuple[SvnLevel, ...]:
    """Return levels as Intel never publishes them, the lowest somewhere among them."""
    return tuple(SvnLevel(svn=byte % 4, date=NOW, status=PARTS[byte >> 7]) for byte in draw)


def _machine(svns: tuple[int, ...], pce_svn: int) -> Platform:
    return new_platform(
        dcap_fixtures.hierarchy(), snp_fixtures.stream("machine"), svns=svns, pce_svn=pce_svn
    )
