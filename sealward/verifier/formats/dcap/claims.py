"""Turns a verified quote into normalised claims, with the verifier's verdicts on them.

`product` is "TDX 1.0" or "TDX 1.5", by the version of the TD report (a module of 1.5 makes either,
by the quoting enclave it serves), or "SGX".

`instance_value` is SHA-256 over the constants of the launch and the platform, for a quote names no
instance: TDs of one image on one platform share it, and their keys tell them apart.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.dcap.section import IntelSection
from sealward.verifier.formats.dcap.tcb_info import TcbStatus
from sealward.verifier.formats.dcap.td_report import TdReport
from sealward.verifier.rats import distrust
from sealward.verifier.rats.claims import (
    Claims,
    Clock,
    Collateral,
    Measurement,
    Scope,
    Scopes,
    SecurityVersions,
    Tee,
)
from sealward.verifier.rats.result import Verdict, VerdictCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealward.verifier.formats.dcap.enclave_report import EnclaveReport
    from sealward.verifier.formats.dcap.pck import Pck
    from sealward.verifier.formats.dcap.quote import Body
    from sealward.verifier.formats.dcap.verify import SignedQuote, VerifiedQuote
    from sealward.verifier.rats.distrust import DistrustEntry

_DIGEST: Final = 32
_COMMON: Final = {
    "tee": Scope.LAUNCH,
    "format_version": Scope.RUNTIME,
    "product": Scope.LAUNCH,
    "instance_value": Scope.LAUNCH,
    "platform_id": Scope.LAUNCH,
    "platform_masked": Scope.RUNTIME,
    "provider": Scope.RUNTIME,
    "report_data": Scope.RUNTIME,
    "host_data": Scope.LAUNCH,
    "id_key_digest": Scope.LAUNCH,
    "author_key_digest": Scope.LAUNCH,
    "family_id": Scope.LAUNCH,
    "image_id": Scope.LAUNCH,
    "guest_svn": Scope.LAUNCH,
    "launch_policy": Scope.LAUNCH,
    "vmpl": Scope.RUNTIME,
    "platform": Scope.RUNTIME,
    "debug": Scope.LAUNCH,
    "migratable": Scope.LAUNCH,
    "smt": Scope.RUNTIME,
    "tcb.reported": Scope.RUNTIME,
    "tcb_status": Scope.RUNTIME,
    "advisories": Scope.RUNTIME,
    "memory_encrypted": Scope.LAUNCH,
    "provider_in_tcb": Scope.LAUNCH,
    "clock": Scope.RUNTIME,
    "collateral": Scope.RUNTIME,
    "development": Scope.RUNTIME,
    "intel": Scope.RUNTIME,
    "intel.td": Scope.LAUNCH,
    "intel.enclave": Scope.LAUNCH,
}
# Registers grow from boot on; MRTD, in the same list, is a constant of the launch.
SCOPES_1_0: Final = Scopes(_COMMON | {"measurements": Scope.BOOT})
SCOPES_1_5: Final = Scopes(_COMMON | {"measurements": Scope.BOOT, "tcb.current": Scope.RUNTIME})
SCOPES_SGX: Final = Scopes(_COMMON | {"measurements": Scope.LAUNCH})

_SGX_NAMES: Final = tuple(f"sgx{number:02d}" for number in range(1, 17))
_TDX_NAMES: Final = tuple(f"tdx{number:02d}" for number in range(1, 17))


def normalise(
    verified: VerifiedQuote, *, now: datetime, distrusted: Iterable[DistrustEntry] = ()
) -> Claims:
    """Return the claims of a verified quote.

    Args:
        verified: what `verify.authenticate` returned.
        now: the instant it was authenticated at, aware UTC; every claim's `as_of`.
        distrusted: the distrust list.
    """
    signed, result = verified.signed, verified.result
    body, pck = signed.quote.body, signed.endorsed.pck
    td = body if isinstance(body, TdReport) else None
    enclave = None if isinstance(body, TdReport) else body
    claims = Claims(
        tee=Tee.TDX if td else Tee.SGX,
        format_version=signed.quote.header.version,
        product=f"TDX {td.version}" if td else "SGX",
        instance_value=_instance(body, pck),
        platform_id=platform_id(pck),
        report_data=body.report_data.hex(),
        measurements=_measurements(body),
        host_data=_host_data(td),
        family_id=enclave.isv_family_id.hex() if enclave else None,
        image_id=enclave.isv_ext_prod_id.hex() if enclave else None,
        guest_svn=enclave.isv_svn if enclave else None,
        debug=body.debug,
        migratable=td is not None and td.migratable,
        smt=pck.smt_enabled,
        tcb=_tcb(signed),
        memory_encrypted=True,
        provider_in_tcb=False,
        # The TDX module virtualises the TSC; an enclave has no clock but the host's.
        clock=Clock.PROTECTED if td else Clock.HOST,
        collateral=_collateral(verified),
        development=signed.endorsed.path.development,
        evidence_sha256=signed.evidence_sha256,
        signed_sha256=signed.signed_sha256,
        as_of=now,
        verdicts=_verdicts(verified),
        scopes=_scopes(td),
        tcb_status=result.status.value,
        advisories=result.advisories,
        sections=(IntelSection(verified),),
    )
    return distrust.apply(claims, distrusted)


def platform_id(pck: Pck) -> str:
    """Return the platform as its PCK names it: the instance id of a whole platform, or the PPID."""
    if pck.platform_instance_id is not None:
        return f"intel:piid:{pck.platform_instance_id.hex()}"
    return f"intel:ppid:{pck.ppid.hex()}"


def _scopes(td: TdReport | None) -> Scopes:
    if td is None:
        return SCOPES_SGX
    return SCOPES_1_0 if td.tee_tcb_svn2 is None else SCOPES_1_5


def _instance(body: Body, pck: Pck) -> str:
    constants: tuple[bytes, ...]
    if isinstance(body, TdReport):
        constants = (
            body.td_attributes,
            body.xfam,
            body.mr_td,
            body.mr_config_id,
            body.mr_owner,
            body.mr_owner_config,
        )
    else:
        constants = (
            body.attributes,
            body.misc_select,
            body.mr_enclave,
            body.mr_signer,
            body.config_id,
            body.isv_family_id,
        )
    # Every part has a fixed size in its kind of report, so the whole has one reading.
    whole = b"".join((platform_id(pck).encode("ascii"), *constants))
    return hashlib.sha256(whole).hexdigest()


def _measurements(body: Body) -> tuple[Measurement, ...]:
    if isinstance(body, TdReport):
        return (
            Measurement("mrtd", "sha384", body.mr_td.hex()),
            *(
                Measurement(f"rtmr{number}", "sha384", value.hex())
                for number, value in enumerate(body.rtmrs)
            ),
        )
    return _enclave_measurements(body)


def _enclave_measurements(report: EnclaveReport) -> tuple[Measurement, ...]:
    return (
        Measurement("mrenclave", "sha256", report.mr_enclave.hex()),
        Measurement("mrsigner", "sha256", report.mr_signer.hex()),
    )


def _host_data(td: TdReport | None) -> str | None:
    """Return MRCONFIGID where it is a SHA-256 digest and zeros; else it is in the section alone."""
    if td is None:
        return None
    whole = td.mr_config_id.hex()
    digest, rest = whole[: 2 * _DIGEST], whole[2 * _DIGEST :]
    return None if rest.strip("0") else digest


def _tcb(signed: SignedQuote) -> tuple[SecurityVersions, ...]:
    tcb = signed.tcb
    platform = (*zip(_SGX_NAMES, tcb.components, strict=True), ("pcesvn", tcb.pcesvn))
    if tcb.tee_tcb_svn is None:
        return (SecurityVersions("reported", platform),)
    reported = SecurityVersions(
        "reported", (*platform, *zip(_TDX_NAMES, tcb.tee_tcb_svn, strict=True))
    )
    if tcb.tee_tcb_svn2 is None:
        return (reported,)
    current = (*platform, *zip(_TDX_NAMES, tcb.tee_tcb_svn2, strict=True))
    return reported, SecurityVersions("current", current)


def _collateral(verified: VerifiedQuote) -> Collateral:
    """Return the life of all that was relied on; revocation is always checked."""
    path = verified.signed.endorsed.path
    starts = [path.window.not_before]
    limits = [
        (name, certificate.not_after)
        for name, certificate in zip(("pck", "pck_ca", "root"), path.certificates, strict=True)
    ]
    for name, signed in (("tcb_info", verified.info), ("qe_identity", verified.identity)):
        starts += [signed.value.issued, signed.signer.window.not_before]
        limits.append((name, signed.value.next_update))
        limits.append((f"{name}_signer", signed.signer.leaf.not_after))
    for name, crl in (("pck_crl", verified.lists.pck), ("root_crl", verified.lists.root)):
        starts.append(crl.this_update)
        limits.append((name, crl.next_update))
    return Collateral(
        not_before=max(starts),
        not_after=min(end for _, end in limits),
        revocation="checked",
        limits=tuple(limits),
    )


def _verdicts(verified: VerifiedQuote) -> tuple[Verdict, ...]:
    """Return what is held against a genuine quote (security-requirements F20b)."""
    body = verified.signed.quote.body
    verdicts: list[Verdict] = []
    if body.debug:
        verdicts.append(_verdict(VerdictCode.DEBUG_ENABLED, "debug"))
    if isinstance(body, TdReport) and body.migratable:
        verdicts.append(_verdict(VerdictCode.MIGRATION_ENABLED, "migratable"))
    if verified.result.status is TcbStatus.REVOKED:
        verdicts.append(
            _verdict(
                VerdictCode.TCB_REVOKED,
                "tcb_status",
                expected="a TCB that Intel has not revoked",
                actual=TcbStatus.REVOKED,
            )
        )
    if verified.signed.endorsed.path.development:
        verdicts.append(_verdict(VerdictCode.DEVELOPMENT_ROOT, "development"))
    return tuple(verdicts)


def _verdict(
    code: VerdictCode, claim: str, *, expected: str = "false", actual: str = "true"
) -> Verdict:
    return Verdict(code=code, claim=claim, expected=expected, actual=actual)
