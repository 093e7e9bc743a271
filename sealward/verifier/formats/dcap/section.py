"""What only Intel's platforms say: the "intel" section of claims.

`host_data` among the common claims is MRCONFIGID where that is 32 bytes and zeros behind: a SHA-256
digest, as the host writes the digest of the trust configuration at a TD's launch. Whatever else
stands in the field is here, in `td.mr_config_id`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from sealward.verifier.formats.dcap.td_report import TdReport

if TYPE_CHECKING:
    from sealward.verifier.formats.dcap.enclave_report import EnclaveReport
    from sealward.verifier.formats.dcap.quote import Body
    from sealward.verifier.formats.dcap.tcb_info import Rating
    from sealward.verifier.formats.dcap.verify import VerifiedQuote
    from sealward.verifier.rats.claims import Json


@dataclass(frozen=True, slots=True)
class IntelSection:
    """Claims of one verified quote that other formats do not have."""

    name: ClassVar[str] = "intel"

    verified: VerifiedQuote = field(repr=False)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form: `td` or `enclave` is null, by what the quote is of."""
        verified = self.verified
        signed, result = verified.signed, verified.result
        pck = signed.endorsed.pck
        return {
            "fmspc": pck.fmspc.hex(),
            "pceid": pck.pceid.hex(),
            "pck_ca": signed.endorsed.path.pck_ca.value,
            "sgx_type": pck.sgx_type,
            "dynamic_platform": pck.dynamic_platform,
            "cached_keys": pck.cached_keys,
            "tcb_evaluation_data_number": verified.info.value.evaluation_number,
            "qe_evaluation_data_number": verified.identity.value.evaluation_number,
            "platform_status": result.platform.status.value,
            "tcb_date": _day(result.platform),
            "relaunch_advised": result.relaunch_advised,
            "qe": {
                "svn": signed.tcb.qe_svn,
                "status": result.qe.status.value,
                "date": _day(result.qe),
            },
            "module": _module(verified),
            **_body(signed.quote.body),
        }


def _day(rating: Rating) -> str:
    return rating.date.isoformat().replace("+00:00", "Z")


def _module(verified: VerifiedQuote) -> Json:
    """Return the rating of a module that has a version of its own, else null."""
    module, launched = verified.result.module, verified.signed.tcb.tee_tcb_svn
    if module is None or launched is None:
        return None
    return {
        "id": verified.result.module_id,
        "svn": launched[0],
        "status": module.status.value,
        "date": _day(module),
    }


def _body(body: Body) -> dict[str, Json]:
    # Both names are always there, so that a policy can test one for null.
    if isinstance(body, TdReport):
        return {"td": _td(body), "enclave": None}
    return {"td": None, "enclave": _enclave(body)}


def _td(report: TdReport) -> dict[str, Json]:
    service = report.mr_service_td
    return {
        "attributes": report.td_attributes.hex(),
        "flags": dict(report.flags),
        "xfam": report.xfam.hex(),
        "mr_seam": report.mr_seam.hex(),
        "mr_signer_seam": report.mr_signer_seam.hex(),
        "seam_attributes": report.seam_attributes.hex(),
        "mr_config_id": report.mr_config_id.hex(),
        "mr_owner": report.mr_owner.hex(),
        "mr_owner_config": report.mr_owner_config.hex(),
        "mr_service_td": None if service is None else service.hex(),
    }


def _enclave(report: EnclaveReport) -> dict[str, Json]:
    return {
        "attributes": report.attributes.hex(),
        "flags": dict(report.flags),
        "misc_select": report.misc_select.hex(),
        "isv_prod_id": report.isv_prod_id,
        "isv_svn": report.isv_svn,
        "isv_ext_prod_id": report.isv_ext_prod_id.hex(),
        "isv_family_id": report.isv_family_id.hex(),
        "config_id": report.config_id.hex(),
        "config_svn": report.config_svn,
    }
