"""TCB info and QE identity: what Intel says of every TCB of a product, as values.

Intel PCS API v4: TCB info version 3, QE identity version 2. The first level that fits is the
answer (`tcb.py`), so levels are put in the order in which Intel's library takes them: descending by
SGX components, then PCESVN, then TDX components; of enclaves and modules by security version. What
Intel publishes stands so already. Nothing is verified here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, ClassVar, Final

from sealward.verifier.formats.dcap.statement import Members, members
from sealward.verifier.rats.errors import MalformedEvidence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAX_LEVELS: Final = 256
MAX_MODULES: Final = 64

_COMPONENTS: Final = 16
_MAX_COMPONENT: Final = 255
_MAX_EVALUATION_NUMBER: Final = (1 << 31) - 1
_TCB_INFO_VERSION: Final = 3
_QE_IDENTITY_VERSION: Final = 2
_PLAIN_TCB_TYPE: Final = 0


@unique
class Tee(StrEnum):
    """Which of the two a statement is about; the value is the one of collateral keys."""

    SGX = "sgx"
    TDX = "tdx"


@unique
class TcbStatus(StrEnum):
    """What Intel says of a TCB level; the last two only come of two levels (`tcb.py`)."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"


_RELAUNCH: Final = (
    TcbStatus.TD_RELAUNCH_ADVISED,
    TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
)
_PUBLISHED: Final = {status.value: status for status in TcbStatus if status not in _RELAUNCH}
_OF_PARTS: Final = {  # Intel gives modules and quoting enclaves these alone
    status.value: status
    for status in (TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE, TcbStatus.REVOKED)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What Intel says of one level.

    Attributes:
        date: of the level; who bought later patches has a later one.
        advisories: those that apply at this level.
    """

    status: TcbStatus
    date: datetime
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbLevel:
    """The least TCB that a rating is for.

    Attributes:
        sgx: 16 SVNs.
        tdx: 16 SVNs; empty in TCB info for SGX.
    """

    sgx: tuple[int, ...]
    pcesvn: int
    tdx: tuple[int, ...]
    rating: Rating


@dataclass(frozen=True, slots=True, kw_only=True)
class SvnLevel:
    """The least security version of an enclave or a module that a rating is for."""

    isvsvn: int
    rating: Rating


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One line of TDX modules.

    Attributes:
        id: "TDX_<major version, 2 hex digits>", or empty for the modules of before versions.
        mrsigner: 48 bytes, zero for Intel's.
        attributes, mask: 8 bytes each, as in the TD report.
        levels: none for the modules of before versions: their TCB is in the platform's levels.
    """

    id: str
    mrsigner: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[SvnLevel, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbInfo:
    """TCB info of one FMSPC.

    Attributes:
        issued, next_update: aware UTC instants between which it holds.
        fmspc: 6 bytes.
        pceid: 2 bytes.
        evaluation_number: tcbEvaluationDataNumber, which grows with each TCB recovery.
        module: modules of version 0; None for SGX.
        modules: the others.
    """

    tee: Tee
    issued: datetime
    next_update: datetime
    fmspc: bytes
    pceid: bytes
    evaluation_number: int
    levels: tuple[TcbLevel, ...] = field(repr=False)
    module: Module | None
    modules: tuple[Module, ...] = field(repr=False)
    name: ClassVar[str] = "TCB info"


@dataclass(frozen=True, slots=True, kw_only=True)
class QeIdentity:
    """What a quoting enclave's report must say.

    Attributes:
        miscselect, miscselect_mask: 4 bytes, as in the report.
        attributes, attributes_mask: 16 bytes, as in the report.
        mrsigner: 32 bytes.
    """

    tee: Tee
    issued: datetime
    next_update: datetime
    evaluation_number: int
    miscselect: bytes
    miscselect_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mrsigner: bytes
    isvprodid: int
    levels: tuple[SvnLevel, ...] = field(repr=False)
    name: ClassVar[str] = "QE identity"


_TCB_INFO_IDS: Final = {"SGX": Tee.SGX, "TDX": Tee.TDX}
_QE_IDS: Final = {"QE": Tee.SGX, "TD_QE": Tee.TDX}


def parse_tcb_info(text: bytes) -> TcbInfo:
    """Read the text of a TCB info statement.

    Raises:
        MalformedEvidence: not version 3, or a member is not what it must be.
    """
    found = members(text, "TCB info")
    tee = _TCB_INFO_IDS.get(found.text("id"))
    if tee is None:
        raise MalformedEvidence(0, "TCB info: neither of SGX nor of TDX")
    found.only("version", found.number, (_TCB_INFO_VERSION,))
    found.only("tcbType", found.number, (_PLAIN_TCB_TYPE,))
    tdx = tee is Tee.TDX
    listed = (
        found.items("tdxModuleIdentities", least=0, most=MAX_MODULES)
        if _has_modules(found, tdx)
        else ()
    )
    modules = tuple(_module(item, named=True) for item in listed)
    if len({module.id for module in modules}) != len(modules):
        raise MalformedEvidence(0, "TCB info: a module stands twice")
    return TcbInfo(
        tee=tee,
        issued=found.instant("issueDate"),
        next_update=found.instant("nextUpdate"),
        fmspc=found.octets("fmspc", 6),
        pceid=found.octets("pceId", 2),
        evaluation_number=_evaluation_number(found),
        levels=_levels(found, tdx=tdx),
        module=_module(found.member("tdxModule"), named=False) if tdx else None,
        modules=modules,
    )


def parse_qe_identity(text: bytes) -> QeIdentity:
    """Read the text of a QE identity statement.

    Raises:
        MalformedEvidence: not version 2, or a member is not what it must be.
    """
    found = members(text, "QE identity")
    tee = _QE_IDS.get(found.text("id"))
    if tee is None:
        raise MalformedEvidence(0, "QE identity: neither of QE nor of TD_QE")
    found.only("version", found.number, (_QE_IDENTITY_VERSION,))
    return QeIdentity(
        tee=tee,
        issued=found.instant("issueDate"),
        next_update=found.instant("nextUpdate"),
        evaluation_number=_evaluation_number(found),
        miscselect=found.octets("miscselect", 4),
        miscselect_mask=found.octets("miscselectMask", 4),
        attributes=found.octets("attributes", 16),
        attributes_mask=found.octets("attributesMask", 16),
        mrsigner=found.octets("mrsigner", 32),
        isvprodid=found.number("isvprodid"),
        levels=_svn_levels(found),
    )


def _has_modules(found: Members, tdx: bool) -> bool:  # noqa: FBT001 - read at its one call
    return tdx and "tdxModuleIdentities" in found


def _evaluation_number(found: Members) -> int:
    return found.number("tcbEvaluationDataNumber", most=_MAX_EVALUATION_NUMBER)


def _levels(found: Members, *, tdx: bool) -> tuple[TcbLevel, ...]:
    levels = [_level(item, tdx=tdx) for item in found.items("tcbLevels", most=MAX_LEVELS)]
    levels.sort(key=lambda level: (level.sgx, level.pcesvn, level.tdx), reverse=True)
    return tuple(levels)


def _level(item: Members, *, tdx: bool) -> TcbLevel:
    tcb = item.member("tcb")
    return TcbLevel(
        sgx=_components(tcb, "sgxtcbcomponents"),
        pcesvn=tcb.number("pcesvn"),
        tdx=_components(tcb, "tdxtcbcomponents") if tdx else (),
        rating=_rating(item, _PUBLISHED),
    )


def _components(tcb: Members, name: str) -> tuple[int, ...]:
    items = tcb.items(name, most=_COMPONENTS)
    if len(items) != _COMPONENTS:
        raise MalformedEvidence(0, f"TCB info: {name} are not {_COMPONENTS}")
    return tuple(item.number("svn", most=_MAX_COMPONENT) for item in items)


def _module(item: Members, *, named: bool) -> Module:
    return Module(
        id=item.text("id").upper() if named else "",
        mrsigner=item.octets("mrsigner", 48),
        attributes=item.octets("attributes", 8),
        mask=item.octets("attributesMask", 8),
        levels=_svn_levels(item) if named else (),
    )


def _svn_levels(item: Members) -> tuple[SvnLevel, ...]:
    levels = [
        SvnLevel(isvsvn=level.member("tcb").number("isvsvn"), rating=_rating(level, _OF_PARTS))
        for level in item.items("tcbLevels", most=MAX_LEVELS)
    ]
    levels.sort(key=lambda level: level.isvsvn, reverse=True)
    return tuple(levels)


def _rating(item: Members, statuses: Mapping[str, TcbStatus]) -> Rating:
    status = statuses.get(item.text("tcbStatus"))
    if status is None:
        raise MalformedEvidence(0, f"TCB status {item.text('tcbStatus')[:40]!r} is not known here")
    return Rating(
        status=status, date=item.instant("tcbDate"), advisories=item.advisories("advisoryIDs")
    )
