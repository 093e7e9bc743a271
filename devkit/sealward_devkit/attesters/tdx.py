"""A trust domain in software: genuine TDX quotes of a development machine.

What a host fixes at launch (MRTD, MRCONFIGID, attributes) and what the boot measured (RTMRs) is
configuration read once. The quoting enclave makes its key at construction, as after a boot. A quote
names no instance: a second start of the same image is told apart by its keys alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cbor2

from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Evidence,
    require_report_data,
)
from sealward.verifier.rats.evidence import TDX_EVIDENCE, Record, encode
from sealward_devkit import files
from sealward_devkit.attesters import settings
from sealward_devkit.dcap.boot import MODULE
from sealward_devkit.dcap.collateral import DEFAULT_TEE_TCB_SVN
from sealward_devkit.dcap.directories import load_platform
from sealward_devkit.dcap.platform import Tee, new_quoting_enclave
from sealward_devkit.dcap.quote import Shape, mint_quote
from sealward_devkit.dcap.reports import SEPT_VE_DISABLE, TdReport
from sealward_devkit.files import DevelopmentFilesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealward_devkit.dcap.platform import Platform
    from sealward_devkit.pki.keys import RandomBytes

_DIGEST: Final = 48
_SHAPES: Final = {4: Shape.TDX_4, 5: Shape.TDX_5_TD15}
_REQUIRED: Final = ("platform", "mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mr_config_id")
_KNOWN: Final = frozenset({*_REQUIRED, "event_log", "td_attributes", "quote_version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The launch and boot of one trust domain, and the log of the boot where there is one."""

    report: TdReport
    shape: Shape
    event_log: bytes | None = field(default=None, repr=False)


class SoftwareTdx:
    """A trust domain in software on the machine of a platform directory."""

    kind: Final = "tdx"

    def __init__(self, directory: Path, domain: Domain, random_bytes: RandomBytes) -> None:
        self._directory: Final = directory
        self._domain: Final = domain
        self._enclave: Final = new_quoting_enclave(Tee.TDX, random_bytes)
        self._platform: Platform | None = None

    def probe(self) -> Availability:
        """Available when the platform directory can be read."""
        try:
            self._load()
        except AttesterUnavailable as error:
            return Availability(available=False, why=str(error))
        name = f"development TDX platform {self._directory}"
        return Availability(available=True, why=f"{name}: software, never for production.")

    def collect(self, report_data: bytes) -> Evidence:
        """A quote over `report_data` (64 bytes), and the event log.

        Raises:
            AttesterUnavailable: the platform directory cannot be read.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        report = replace(self._domain.report, report_data=report_data)
        quote = mint_quote(self._domain.shape, report, self._load(), self._enclave)
        payload = cbor2.dumps({1: quote, 2: self._domain.event_log}, canonical=True)
        return Evidence(encode(Record(TDX_EVIDENCE, payload)))

    def _load(self) -> Platform:
        """The platform, read once: a machine does not change under a running guest."""
        if self._platform is None:
            try:
                self._platform = load_platform(self._directory)
            except DevelopmentFilesError as error:
                raise AttesterUnavailable(f"{error}.") from error
        return self._platform


def from_settings(given: Mapping[str, object]) -> SoftwareTdx:
    """Build it from its settings.

    Settings: `platform` (directory), `mr_td`, `rtmr0` to `rtmr3` and `mr_config_id` (96 hex digits
    each), and optionally `event_log` (file of the CCEL), `td_attributes` and `quote_version` (4 or
    5; integers).

    Raises:
        AttesterUnavailable: a setting is missing, unknown or of the wrong type or size, or the
            event log cannot be read.
    """
    settings.require_known(given, _KNOWN)
    report = TdReport(
        tee_tcb_svn=DEFAULT_TEE_TCB_SVN,
        tee_tcb_svn2=DEFAULT_TEE_TCB_SVN,
        mr_seam=MODULE,
        mr_td=settings.digest(given, "mr_td", _DIGEST),
        mr_config_id=settings.digest(given, "mr_config_id", _DIGEST),
        rtmrs=tuple(settings.digest(given, f"rtmr{number}", _DIGEST) for number in range(4)),
        td_attributes=settings.integer(given, "td_attributes", SEPT_VE_DISABLE, range(1 << 64)),
    )
    version = settings.integer(given, "quote_version", max(_SHAPES), range(4, 6))
    domain = Domain(report=report, shape=_SHAPES[version], event_log=_event_log(given))
    return SoftwareTdx(Path(settings.text(given, "platform")), domain, secrets.token_bytes)


def _event_log(given: Mapping[str, object]) -> bytes | None:
    if "event_log" not in given:
        return None
    try:
        return files.read(Path(settings.text(given, "event_log")))
    except DevelopmentFilesError as error:
        raise AttesterUnavailable(f"{error}.") from error
