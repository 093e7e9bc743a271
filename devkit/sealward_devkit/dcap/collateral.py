"""What judges quotes: TCB info, QE identity and revocation lists, as Intel's PCS v4 gives them.

A `TcbInfo` is one generation of knowledge about one platform type; a second one has other levels, a
later issue date and a higher evaluation number, and everything else as before. Signatures are raw
ECDSA over the exact text of the inner document (evidence-formats section 3), which is written here
as Intel writes it: no white space, members in Intel's order.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealward_devkit.dcap.hierarchy import PCE_ID_SIZE, PLATFORM_CA
from sealward_devkit.dcap.platform import (
    DEFAULT_FMSPC,
    DEFAULT_PCE_SVN,
    DEFAULT_SVNS,
    Tee,
)
from sealward_devkit.dcap.quote import raw_signature
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.pki.revocation import revocation_list

if TYPE_CHECKING:
    from datetime import datetime

    from sealward_devkit.dcap.hierarchy import Hierarchy

LIFE: Final = timedelta(days=30)  # of what the PCS signs; a root's own life may end it earlier
EVALUATION_NUMBER: Final = 20  # as of the end of 2026
UP_TO_DATE: Final = "UpToDate"

# tee_tcb_svn as today's module 1.5 shows it: minor, major, then the SEAM loader's microcode.
DEFAULT_TEE_TCB_SVN: Final = bytes((6, 1, 3)).ljust(16, b"\0")
_DEFAULT_TDX_COMPONENTS: Final = (5, 0, 3) + (0,) * 13
_NOBODY: Final = bytes(48)  # MRSIGNERSEAM of Intel's own module
_ALL_ONES: Final = "FF" * 8
_QE_MASK: Final = "FBFFFFFFFFFFFFFF0000000000000000"  # all but whether it may be debugged by hand
_QE_ATTRIBUTES: Final = "11000000000000000000000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A TCB level: reached by a platform that has each number at least.

    `sgx` and `tdx` are 16 security version numbers; `tdx` is None where quotes are SGX's.
    """

    sgx: tuple[int, ...] = DEFAULT_SVNS
    pce_svn: int = DEFAULT_PCE_SVN
    tdx: tuple[int, ...] | None = _DEFAULT_TDX_COMPONENTS
    date: datetime
    status: str = UP_TO_DATE
    advisories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SvnLevel:
    """A level of a TDX module or of a quoting enclave, which have one number."""

    svn: int
    date: datetime
    status: str = UP_TO_DATE
    advisories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """Identity of one major version of the TDX module."""

    major: int
    levels: tuple[SvnLevel, ...]
    signer: bytes = _NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbInfo:
    """TCB info, version 3, of one FMSPC. Levels stand best first."""

    tee: Tee
    issued: datetime
    next_update: datetime
    levels: tuple[Level, ...]
    modules: tuple[Module, ...] = ()
    fmspc: bytes = DEFAULT_FMSPC
    pce_id: bytes = bytes(PCE_ID_SIZE)
    evaluation_number: int = EVALUATION_NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class QeIdentity:
    """Identity of a quoting enclave, version 2. Levels stand best first."""

    tee: Tee
    issued: datetime
    next_update: datetime
    levels: tuple[SvnLevel, ...]
    evaluation_number: int = EVALUATION_NUMBER
    signer: bytes | None = None  # Intel's unless given


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """All that a verifier needs beside a quote; chains in PEM, lists in DER, texts as signed."""

    pck_crl_issuer_chain: str
    root_ca_crl: bytes = field(repr=False)
    pck_crl: bytes = field(repr=False)
    tcb_info_issuer_chain: str
    tcb_info: str
    tcb_info_signature: bytes
    qe_identity_issuer_chain: str
    qe_identity: str
    qe_identity_signature: bytes

    def to_json(self) -> str:
        """The bundle in the form that dcap-qvl and `sealward collateral import` read."""
        members = {
            "pck_crl_issuer_chain": self.pck_crl_issuer_chain,
            "root_ca_crl": self.root_ca_crl.hex(),
            "pck_crl": self.pck_crl.hex(),
            "tcb_info_issuer_chain": self.tcb_info_issuer_chain,
            "tcb_info": self.tcb_info,
            "tcb_info_signature": self.tcb_info_signature.hex(),
            "qe_identity_issuer_chain": self.qe_identity_issuer_chain,
            "qe_identity": self.qe_identity,
            "qe_identity_signature": self.qe_identity_signature.hex(),
        }
        return json.dumps(members, indent=2)


def current_tcb_info(tee: Tee, issued: datetime) -> TcbInfo:
    """One generation by which a platform of `new_platform` is up to date, and an older is not."""
    tdx = tee is Tee.TDX
    past = issued - timedelta(days=200)
    levels = (
        Level(date=past, tdx=_DEFAULT_TDX_COMPONENTS if tdx else None),
        Level(
            sgx=(2, 2, 2, 2, 3, 1, 0, 5) + (0,) * 8,
            pce_svn=5,
            tdx=(3,) + (0,) * 15 if tdx else None,
            date=past - timedelta(days=365),
            status="OutOfDate",
            advisories=("INTEL-SA-00000",),
        ),
    )
    module = Module(
        major=1,
        levels=(
            SvnLevel(svn=6, date=past),
            SvnLevel(svn=4, date=past - timedelta(days=365), status="OutOfDate"),
        ),
    )
    return TcbInfo(
        tee=tee,
        issued=issued,
        next_update=issued + LIFE,
        levels=levels,
        modules=(module,) if tdx else (),
    )


def judging(info: TcbInfo, status: str, advisories: tuple[str, ...] = ()) -> TcbInfo:
    """The generation by which the best level of `info` has this status.

    Where that is not up to date, a level stands above it which no platform made here reaches: that
    is what Intel publishes when there is an update to install.
    """
    best, *rest = info.levels
    judged = replace(best, status=status, advisories=advisories)
    if status == UP_TO_DATE:
        return replace(info, levels=(judged, *rest))
    above = replace(best, sgx=(best.sgx[0] + 1, *best.sgx[1:]), date=info.issued)
    return replace(info, levels=(above, judged, *rest))


def current_qe_identity(tee: Tee, issued: datetime) -> QeIdentity:
    """The identity of today's quoting enclave, with one older level."""
    past = issued - timedelta(days=200)
    return QeIdentity(
        tee=tee,
        issued=issued,
        next_update=issued + LIFE,
        levels=(
            SvnLevel(svn=tee.qe.svn, date=past),
            SvnLevel(svn=1, date=past - timedelta(days=365), status="OutOfDate"),
        ),
    )


def mint_collateral(
    hierarchy: Hierarchy,
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
    *,
    revoked: tuple[int, ...] = (),
) -> Collateral:
    """Sign both documents and the platform CA's list, which dates as the TCB info does.

    `revoked` are serial numbers of PCK certificates.
    """
    signing = _pem(hierarchy.tcb_signing, hierarchy.root)
    info, identity = tcb_info_text(tcb_info), qe_identity_text(qe_identity)
    updates = Validity(tcb_info.issued, tcb_info.next_update)
    key = hierarchy.tcb_signing_key
    return Collateral(
        pck_crl_issuer_chain=_pem(hierarchy.platform_ca, hierarchy.root),
        root_ca_crl=hierarchy.root_crl,
        pck_crl=revocation_list(PLATFORM_CA, hierarchy.platform_ca_key, updates, revoked=revoked),
        tcb_info_issuer_chain=signing,
        tcb_info=info,
        tcb_info_signature=raw_signature(info.encode(), key),
        qe_identity_issuer_chain=signing,
        qe_identity=identity,
        qe_identity_signature=raw_signature(identity.encode(), key),
    )


def tcb_info_text(info: TcbInfo) -> str:
    """The document `tcbInfo` of the PCS, as it is signed."""
    document: dict[str, object] = {
        "id": info.tee.id,
        "version": 3,
        "issueDate": _date(info.issued),
        "nextUpdate": _date(info.next_update),
        "fmspc": info.fmspc.hex().upper(),
        "pceId": info.pce_id.hex().upper(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": info.evaluation_number,
    }
    if info.tee is Tee.TDX:
        document["tdxModule"] = _signer(_NOBODY)
        document["tdxModuleIdentities"] = [
            {
                "id": f"TDX_{module.major:02X}",
                **_signer(module.signer),
                "tcbLevels": [_svn_level(level) for level in module.levels],
            }
            for module in info.modules
        ]
    document["tcbLevels"] = [_level(level) for level in info.levels]
    return _text(document)


def qe_identity_text(identity: QeIdentity) -> str:
    """The document `enclaveIdentity` of the PCS, as it is signed."""
    signer = identity.tee.qe.signer if identity.signer is None else identity.signer
    return _text(
        {
            "id": identity.tee.qe.id,
            "version": 2,
            "issueDate": _date(identity.issued),
            "nextUpdate": _date(identity.next_update),
            "tcbEvaluationDataNumber": identity.evaluation_number,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": _QE_ATTRIBUTES,
            "attributesMask": _QE_MASK,
            "mrsigner": signer.hex().upper(),
            "isvprodid": identity.tee.qe.product,
            "tcbLevels": [_svn_level(level) for level in identity.levels],
        }
    )


def _level(level: Level) -> dict[str, object]:
    tcb: dict[str, object] = {
        "sgxtcbcomponents": [{"svn": svn} for svn in level.sgx],
        "pcesvn": level.pce_svn,
    }
    if level.tdx is not None:
        tcb["tdxtcbcomponents"] = [{"svn": svn} for svn in level.tdx]
    return {"tcb": tcb, **_judged(level)}


def _svn_level(level: SvnLevel) -> dict[str, object]:
    return {"tcb": {"isvsvn": level.svn}, **_judged(level)}


def _judged(level: Level | SvnLevel) -> dict[str, object]:
    judged: dict[str, object] = {"tcbDate": _date(level.date), "tcbStatus": level.status}
    if level.advisories:
        judged["advisoryIDs"] = list(level.advisories)
    return judged


def _signer(signer: bytes) -> dict[str, object]:
    return {
        "mrsigner": signer.hex().upper(),
        "attributes": "00" * 8,
        "attributesMask": _ALL_ONES,
    }


def _date(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(document: dict[str, object]) -> str:
    return json.dumps(document, separators=(",", ":"))


def _pem(*certificates: bytes) -> str:
    return "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in certificates)
