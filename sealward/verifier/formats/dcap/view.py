"""The format's own fields as plain JSON, for people and tools: every field of quote and PCK.

Policies see the normalised claims instead (`rats.claims`). Byte fields are lower-case hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.dcap import enclave_report, td_report
from sealward.verifier.formats.dcap.td_report import TdReport

if TYPE_CHECKING:
    from sealward.verifier.formats.dcap.collateral import Edition
    from sealward.verifier.formats.dcap.enclave_report import EnclaveReport
    from sealward.verifier.formats.dcap.pck import Pck
    from sealward.verifier.formats.dcap.quote import Quote
    from sealward.verifier.formats.dcap.tcb import TcbResult
    from sealward.verifier.formats.dcap.verify import VerifiedQuote
    from sealward.verifier.rats.claims import Json

_ENCLAVE_FIELDS: Final = tuple(
    name for name, _, _ in enclave_report.FIELDS if not name.startswith("reserved_")
)
_TD_FIELDS: Final = tuple(name for name, _, _ in td_report.FIELDS_1_5)


def describe(verified: VerifiedQuote) -> dict[str, Json]:
    """Return everything that was verified."""
    signed = verified.signed
    chain: list[Json] = [*signed.endorsed.path.names]
    editions: list[Json] = [describe_edition(edition) for edition in verified.editions]
    return {
        **describe_quote(signed.quote),
        "pck": describe_pck(signed.endorsed.pck),
        "pck_ca": signed.endorsed.path.pck_ca.value,
        "chain": chain,
        "tcb": describe_result(verified.result),
        "collateral": editions,
    }


def describe_quote(quote: Quote) -> dict[str, Json]:
    """Return the fields of a quote; nothing of it need be verified."""
    header = quote.header
    return {
        "header": {
            "version": header.version,
            "tee_type": header.tee_type.name.lower(),
            "qe_svn": header.qe_svn,
            "pce_svn": header.pce_svn,
            "user_data": header.user_data.hex(),
            "padding": quote.padding,
        },
        "body": _td(quote.body) if isinstance(quote.body, TdReport) else _enclave(quote.body),
        "qe_report": _enclave(quote.certification.qe_report),
    }


def describe_pck(pck: Pck) -> dict[str, Json]:
    """Return what a PCK certificate says; what its CA does not say is left out."""
    components: list[Json] = [*pck.components]
    instance = pck.platform_instance_id
    view: dict[str, Json | None] = {
        "ppid": pck.ppid.hex(),
        "tcb_components": components,
        "pcesvn": pck.pcesvn,
        "cpusvn": pck.cpusvn.hex(),
        "pceid": pck.pceid.hex(),
        "fmspc": pck.fmspc.hex(),
        "sgx_type": pck.sgx_type,
        "platform_instance_id": None if instance is None else instance.hex(),
        "dynamic_platform": pck.dynamic_platform,
        "cached_keys": pck.cached_keys,
        "smt_enabled": pck.smt_enabled,
    }
    return {name: value for name, value in view.items() if value is not None}


def describe_result(result: TcbResult) -> dict[str, Json]:
    """Return the status of a TCB and of its parts."""
    advisories: list[Json] = [*result.advisories]
    return {
        "status": result.status.value,
        "platform_status": result.platform.status.value,
        "platform_date": result.platform.date.isoformat().replace("+00:00", "Z"),
        "module_id": result.module_id,
        "module_status": None if result.module is None else result.module.status.value,
        "qe_status": result.qe.status.value,
        "advisories": advisories,
        "relaunch_advised": result.relaunch_advised,
    }


def describe_edition(edition: Edition) -> dict[str, Json]:
    """Return which issue of a piece of collateral was used."""
    return {
        "key": str(edition.key),
        "number": edition.number,
        "issued": edition.issued.isoformat().replace("+00:00", "Z"),
        "next_update": edition.next_update.isoformat().replace("+00:00", "Z"),
    }


def _td(report: TdReport) -> dict[str, Json]:
    view: dict[str, Json] = {"flags": dict(report.flags)}
    for name in _TD_FIELDS:
        value: bytes | None = getattr(report, name)
        if value is not None:
            view[name] = value.hex()
    return view


def _enclave(report: EnclaveReport) -> dict[str, Json]:
    view: dict[str, Json] = {"flags": dict(report.flags)}
    for name in _ENCLAVE_FIELDS:
        value: bytes | int = getattr(report, name)
        view[name] = value.hex() if isinstance(value, bytes) else value
    return view
