"""TDREPORT, what a TDX module hands to its guest (Intel TDX Module ABI, REPORTMACSTRUCT).

    offset  field
    0       type 0x81, subtype 0, version 0 or 1, reserved; then reserved 12
    16      CPU_SVN 16
    32      SHA-384 of TEE_TCB_INFO, 48        80   SHA-384 of TDINFO, 48
    128     report_data 64                     192  reserved 32
    224     MAC 32                             256  TEE_TCB_INFO 239, reserved 17
    512     TDINFO 512: attributes 8, XFAM 8, MRTD 48, MRCONFIGID 48, MROWNER 48,
            MROWNERCONFIG 48, RTMR0 to RTMR3 4x48, SERVTD_HASH 48, reserved 64

The MAC is for the processor that made it: nobody else can check it, and it is not looked at. A
TDREPORT proves nothing remotely. Its hashes only show that it has not been put together from two;
a quote of the same state must vouch for it (composite/azure_vtpm.py).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire.reader import Reader
from sealward.verifier.wire.tcg_hash import HashAlg

SIZE: Final = 1024

_WHAT: Final = "TDREPORT"
_TYPE: Final = 0x81
_VERSIONS: Final = (0, 1)  # 1 says that SERVTD_HASH has a meaning
_TCB_INFO_SIZE: Final = 239
_TCB_INFO_RESERVED: Final = 17
_INFO_SIZE: Final = 512
# Attributes to RTMR3, in the order and the sizes that a TD quote's body has them in too.
STATE_SIZE: Final = 8 + 8 + 4 * 48 + 4 * 48
_HASH: Final = HashAlg.SHA384


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """A parsed TDREPORT whose two hashes hold.

    Attributes:
        report_data: 64 bytes.
        tcb_info: TEE_TCB_INFO, 239 bytes.
        state: attributes, XFAM, MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG and the RTMRs as one: 400
            bytes.
    """

    report_data: bytes
    tcb_info: bytes = field(repr=False)
    state: bytes = field(repr=False)


def parse(data: bytes) -> TdReport:
    """Read a TDREPORT and check its hashes.

    Raises:
        MalformedEvidence: another size or type, or reserved bytes set.
        RefusedEvidence: PARTS_MISMATCH for a hash that is not that of its part.
    """
    reader = Reader(data)
    kind, subtype, version = (reader.u8(_WHAT) for _ in range(3))
    if kind != _TYPE or subtype != 0 or version not in _VERSIONS:
        raise MalformedEvidence(0, f"{_WHAT}: not of the type 0x81, subtype 0, version 0 or 1")
    reader.must_be_zero(1 + 12, _WHAT)
    reader.take(16, "CPU_SVN")
    tcb_info_hash, info_hash = reader.take(_HASH.size, _WHAT), reader.take(_HASH.size, _WHAT)
    report_data = reader.take(64, "report_data")
    reader.must_be_zero(32, _WHAT)
    reader.take(32, "MAC")
    tcb_info = reader.take(_TCB_INFO_SIZE, "TEE_TCB_INFO")
    reader.must_be_zero(_TCB_INFO_RESERVED, _WHAT)
    info = reader.take(_INFO_SIZE, "TDINFO")
    reader.finish()
    _check("TEE_TCB_INFO", tcb_info, tcb_info_hash)
    _check("TDINFO", info, info_hash)
    state = Reader(info).take(STATE_SIZE, "TDINFO")
    return TdReport(report_data=report_data, tcb_info=tcb_info, state=state)


def _check(what: str, data: bytes, expected: bytes) -> None:
    actual = _HASH.digest(data)
    if not hmac.compare_digest(actual, expected):
        raise RefusedEvidence(
            Code.PARTS_MISMATCH,
            f"the TDREPORT's hash of {what} is not that of its own {what}",
            claim="azure",
            expected=expected.hex(),
            actual=actual.hex(),
        )
