"""The status of a TCB under Intel's statements: pure arithmetic, with no signature and no clock.

Intel "TDX DCAP quote verification" section 4.1.2.5, numbered procedure of `appraise`:

    (1) the platform's level is the first whose 16 SGX components and PCESVN are at most the PCK's
        and, for TDX, whose 16 TDX components are at most those of the TD; where the module has a
        version of its own (byte 1 of TEE_TCB_SVN) components 0 and 1 are its and are not compared;
    (2) such a module has a line "TDX_<version>", and its level is the first whose security version
        is at most byte 0;
    (3) the quoting enclave's level is the first whose security version is at most its own;
    (4) the result is the platform's status, lowered by parts that are out of date or revoked;
    (5) a TD of report version 1.5 also says the TCB that runs now: where that alone is not out of
        date, launching the TD again would mend the status, and the status says so.

No level that fits means that Intel says nothing of this TCB: refused, and not taken for the worst.

A forecast calls `appraise` with two generations of statements for the TCB of one platform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.dcap.tcb_info import Module, TcbStatus, Tee
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealward.verifier.formats.dcap.tcb_info import QeIdentity, Rating, SvnLevel, TcbInfo

_MODULE_VERSION: Final = 1
_MODULE_SVN: Final = 0
_COMPONENTS_OF_A_MODULE: Final = 2

_LOWERED: Final = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
_OLD: Final = (TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED)
_NEEDS_CONFIGURATION: Final = (
    TcbStatus.CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformTcb:
    """The TCB of one platform, as its PCK and its reports say it.

    Attributes:
        components: 16 SVNs of the PCK.
        pcesvn: of the PCK.
        qe_svn: security version of the quoting enclave.
        tee_tcb_svn: 16 bytes at the TD's launch; None for SGX.
        tee_tcb_svn2: 16 bytes now; None for SGX and for TD reports of version 1.0.
    """

    components: tuple[int, ...]
    pcesvn: int
    qe_svn: int
    tee_tcb_svn: bytes | None = None
    tee_tcb_svn2: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbResult:
    """What Intel's statements say of a TCB.

    Attributes:
        status: the result of the parts.
        platform, qe: ratings of the levels that fit.
        module: rating of the TDX module's level, None where the platform's level includes it.
        module_id: "TDX_<version>", None as `module` is.
        advisories: of all parts, each once, the platform's first.
        relaunch_advised: launching the TD again would mend the status.
    """

    status: TcbStatus
    platform: Rating
    module: Rating | None
    module_id: str | None
    qe: Rating
    advisories: tuple[str, ...]
    relaunch_advised: bool = False


def appraise(info: TcbInfo, identity: QeIdentity, tcb: PlatformTcb) -> TcbResult:
    """Run the procedure above.

    Raises:
        RefusedEvidence: TCB_LEVEL_UNMATCHED; TDX_MODULE_MISMATCH for a module of unknown version;
            COLLATERAL_MISMATCH for statements about the other TEE.
    """
    _check_subject(info, identity, tcb)
    launched = _appraise(info, identity, tcb, tcb.tee_tcb_svn)
    if tcb.tee_tcb_svn2 is None:
        return launched
    running = _appraise(info, identity, tcb, tcb.tee_tcb_svn2)  # (5)
    if running.status is TcbStatus.REVOKED:
        return running  # whatever it was launched on: Intel's rule is silent, and this is the end
    if launched.status not in _OLD or running.status not in _LOWERED:
        return launched
    configure = {launched.status, running.status} & set(_NEEDS_CONFIGURATION)
    return TcbResult(
        status=TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
        if configure
        else TcbStatus.TD_RELAUNCH_ADVISED,
        platform=launched.platform,
        module=launched.module,
        module_id=launched.module_id,
        qe=launched.qe,
        advisories=_union(launched.advisories, running.advisories),
        relaunch_advised=True,
    )


def _check_subject(info: TcbInfo, identity: QeIdentity, tcb: PlatformTcb) -> None:
    wanted = Tee.SGX if tcb.tee_tcb_svn is None else Tee.TDX
    for what, tee in (("TCB info", info.tee), ("QE identity", identity.tee)):
        if tee is not wanted:
            raise RefusedEvidence(
                Code.COLLATERAL_MISMATCH,
                f"the {what} is about another TEE than the quote",
                expected=wanted,
                actual=tee,
            )


def _appraise(
    info: TcbInfo, identity: QeIdentity, tcb: PlatformTcb, tdx: bytes | None
) -> TcbResult:
    """Steps 1 to 4, for the TCB at launch or for the one that runs."""
    platform = _platform(info, tcb, tdx)  # (1)
    module, module_id = None, None
    if tdx is not None and tdx[_MODULE_VERSION] > 0:  # (2)
        line = module_line(info, tdx)
        module_id = line.id
        module = _first(line.levels, tdx[_MODULE_SVN], "the TDX module", "intel.module.svn")
    qe = _first(identity.levels, tcb.qe_svn, "the quoting enclave", "intel.qe.svn")  # (3)
    parts = [rating for rating in (module, qe) if rating is not None]
    return TcbResult(
        status=converge(platform.status, (part.status for part in parts)),  # (4)
        platform=platform,
        module=module,
        module_id=module_id,
        qe=qe,
        advisories=_union(platform.advisories, *(part.advisories for part in parts)),
    )


def converge(platform: TcbStatus, parts: Iterable[TcbStatus]) -> TcbStatus:
    """Return the platform's status lowered by its parts' (Intel's rule, not a mere maximum).

    A part that is out of date takes nothing away of what the platform's configuration needs.
    """
    statuses = set(parts)
    if TcbStatus.REVOKED in statuses:
        return TcbStatus.REVOKED
    if TcbStatus.OUT_OF_DATE in statuses:
        return _LOWERED.get(platform, platform)
    return platform


def module_line(info: TcbInfo, tee_tcb_svn: bytes) -> Module:
    """Return the line of modules that a TCB names; the unversioned one for version 0.

    Raises:
        RefusedEvidence: TDX_MODULE_MISMATCH, when Intel's statement does not know it.
    """
    version = tee_tcb_svn[_MODULE_VERSION]
    wanted = f"TDX_{version:02X}" if version else ""
    candidates = info.modules if version or info.module is None else (info.module,)
    for module in candidates:
        if module.id == wanted:
            return module
    raise RefusedEvidence(
        Code.TDX_MODULE_MISMATCH,
        "Intel's TCB info does not know this version of the TDX module",
        claim="intel.module.id",
        expected=", ".join(module.id for module in info.modules) or "no version",
        actual=wanted,
        hint="fetch current TCB info",
    )


def _platform(info: TcbInfo, tcb: PlatformTcb, tdx: bytes | None) -> Rating:
    start = _COMPONENTS_OF_A_MODULE if tdx is not None and tdx[_MODULE_VERSION] > 0 else 0
    for level in info.levels:
        if (
            tcb.pcesvn >= level.pcesvn
            and _reaches(tcb.components, level.sgx)
            and (tdx is None or _reaches(tdx[start:], level.tdx[start:]))
        ):
            return level.rating
    raise _unmatched(info, tcb, tdx, start)


def _reaches(have: Iterable[int], least: Iterable[int]) -> bool:
    return all(mine >= theirs for mine, theirs in zip(have, least, strict=True))


def _unmatched(info: TcbInfo, tcb: PlatformTcb, tdx: bytes | None, start: int) -> RefusedEvidence:
    """Name what the lowest level asks for: what must be updated before anything else."""
    lowest = info.levels[-1]
    missing = [
        f"sgx{number:02d} {mine} < {least}"
        for number, (mine, least) in enumerate(zip(tcb.components, lowest.sgx, strict=True), 1)
        if mine < least
    ]
    if tcb.pcesvn < lowest.pcesvn:
        missing.append(f"pcesvn {tcb.pcesvn} < {lowest.pcesvn}")
    if tdx is not None:
        missing += [
            f"tdx{number:02d} {mine} < {least}"
            for number, (mine, least) in enumerate(zip(tdx, lowest.tdx, strict=True), 1)
            if number > start and mine < least
        ]
    return RefusedEvidence(
        Code.TCB_LEVEL_UNMATCHED,
        "the platform's TCB is below every level that Intel still rates",
        claim="tcb.reported",
        expected="at least the lowest level of the TCB info",
        actual=", ".join(missing) or "no level fits",
        hint="update the platform's firmware, and have it certified anew",
    )


def _first(levels: tuple[SvnLevel, ...], svn: int, what: str, claim: str) -> Rating:
    for level in levels:
        if level.isvsvn <= svn:
            return level.rating
    raise RefusedEvidence(
        Code.TCB_LEVEL_UNMATCHED,
        f"the security version of {what} is below every level that Intel still rates",
        claim=claim,
        expected=f"at least {levels[-1].isvsvn}",
        actual=str(svn),
        hint=f"update {what}",
    )


def _union(*lists: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for items in lists for item in items))
