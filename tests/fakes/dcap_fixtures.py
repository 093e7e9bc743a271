"""Development TDX and SGX evidence in memory, for every suite that needs some; valid at `NOW`.

evidence = mint_tdx(report_data=bytes(64), mr_td=MR_TD)
evidence.quote, evidence.collateral            # bytes, and an object with `to_json()`
hierarchy().root                               # DER: what to import as a development root
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from fakes.snp_fixtures import NOW, VALIDITY, stream
from sealward_devkit.dcap.collateral import (
    DEFAULT_TEE_TCB_SVN,
    Collateral,
    QeIdentity,
    TcbInfo,
    current_qe_identity,
    current_tcb_info,
    mint_collateral,
)
from sealward_devkit.dcap.hierarchy import Hierarchy, generate_root_keys, mint_hierarchy
from sealward_devkit.dcap.platform import Platform, QuotingEnclave, Tee, new_platform
from sealward_devkit.dcap.platform import new_quoting_enclave as _new_enclave
from sealward_devkit.dcap.quote import Patch, Shape, mint_quote
from sealward_devkit.dcap.reports import EnclaveReport, TdReport

if TYPE_CHECKING:
    from sealward_devkit.dcap.hierarchy import RootKeys

MR_TD: Final = bytes.fromhex("a7" * 48)
TD: Final = TdReport(
    tee_tcb_svn=DEFAULT_TEE_TCB_SVN,
    mr_seam=b"\x5e" * 48,
    mr_td=MR_TD,
    rtmrs=tuple(bytes((0xB0 + number,)) * 48 for number in range(4)),
    tee_tcb_svn2=DEFAULT_TEE_TCB_SVN,
)
ENCLAVE: Final = EnclaveReport(
    cpu_svn=bytes(16), mr_enclave=b"\xe1" * 32, mr_signer=b"\x51" * 32, isv_prod_id=7, isv_svn=3
)

__all__ = ["NOW", "VALIDITY"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A quote and the collateral that judges it at `NOW`."""

    quote: bytes
    collateral: Collateral


def root_keys() -> RootKeys:
    """The keys behind `hierarchy()`, for tests that sign something else with them."""
    return generate_root_keys(stream("dcap root"))


@cache
def hierarchy() -> Hierarchy:
    """The development hierarchy, valid during `VALIDITY`."""
    return mint_hierarchy(root_keys(), VALIDITY)


@cache
def platform(name: str = "first") -> Platform:
    """A machine; another name is another machine of the same root and type."""
    return new_platform(hierarchy(), stream(f"dcap platform {name}"))


@cache
def enclave(tee: Tee) -> QuotingEnclave:
    """The quoting enclave of a boot."""
    return _new_enclave(tee, stream(f"dcap enclave {tee.id}"))


def tcb_info(tee: Tee = Tee.TDX, **changes: Any) -> TcbInfo:  # noqa: ANN401 - any field
    """TCB info issued at the start of `VALIDITY`, with some fields changed."""
    return replace(current_tcb_info(tee, VALIDITY.not_before), **changes)


def qe_identity(tee: Tee = Tee.TDX, **changes: Any) -> QeIdentity:  # noqa: ANN401 - any field
    """A QE identity issued at the start of `VALIDITY`, with some fields changed."""
    return replace(current_qe_identity(tee, VALIDITY.not_before), **changes)


@cache
def collateral(tee: Tee = Tee.TDX) -> Collateral:
    """Today's collateral."""
    return mint_collateral(hierarchy(), tcb_info(tee), qe_identity(tee))


def mint_tdx(
    machine: Platform | None = None,
    *patches: Patch,
    shape: Shape = Shape.TDX_4,
    **changes: Any,  # noqa: ANN401 - any field of TdReport
) -> Minted:
    """A quote of a typical trust domain with some fields changed."""
    machine = platform() if machine is None else machine
    quote = mint_quote(shape, replace(TD, **changes), machine, enclave(Tee.TDX), *patches)
    return Minted(quote=quote, collateral=collateral(Tee.TDX))


def mint_sgx(
    machine: Platform | None = None,
    *patches: Patch,
    **changes: Any,  # noqa: ANN401 - any field of EnclaveReport
) -> Minted:
    """A quote of a typical enclave with some fields changed."""
    machine = platform() if machine is None else machine
    report = replace(ENCLAVE, **changes)
    quote = mint_quote(Shape.SGX_3, report, machine, enclave(Tee.SGX), *patches)
    return Minted(quote=quote, collateral=collateral(Tee.SGX))
