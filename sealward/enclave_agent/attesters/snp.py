"""SEV-SNP evidence of this guest: configfs-tsm where the kernel has it, else /dev/sev-guest.

The host's certificate table goes to the verifier as it came (docs/specs/evidence-envelope.md): its
content is the host's, and taking it apart is not the agent's business.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters import sev_guest
from sealward.enclave_agent.attesters.configfs_tsm import SEV_GUEST, Configfs, ConfigfsTsm
from sealward.enclave_agent.attesters.devices import CharacterDevice
from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Evidence,
    require_no_settings,
    require_report_data,
)
from sealward.enclave_agent.attesters.sev_guest import SevGuest
from sealward.verifier.rats.evidence import SNP_EVIDENCE, Record, encode
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPORT: Final = 1
_TABLE: Final = 3


class SnpAttester:
    """Collects reports over whichever interface can be used."""

    kind: Final = "snp"

    def __init__(self, configfs: ConfigfsTsm, device: SevGuest) -> None:
        self._configfs: Final = configfs
        self._device: Final = device

    def probe(self) -> Availability:
        """Say which interface can be used, or of both why not."""
        if (configfs := self._configfs.obstacle()) is None:
            return Availability(available=True, why="Reports come from configfs-tsm.")
        if (device := self._device.obstacle()) is None:
            return Availability(available=True, why=f"Reports come from {sev_guest.PATH}.")
        return Availability(available=False, why=f"No SEV-SNP report: {configfs}; {device}.")

    def collect(self, report_data: bytes) -> Evidence:
        """A report over `report_data` (64 bytes), and the host's certificate table.

        Raises:
            AttesterUnavailable: no evidence can be had here.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        if self._configfs.obstacle() is None:
            made = self._configfs.report(report_data, auxiliary=True)
            return _evidence(made.outblob, made.auxblob)
        if self._device.obstacle() is None:
            extended = self._device.report(report_data)
            return _evidence(extended.report, extended.table)
        raise AttesterUnavailable(self.probe().why)


def _evidence(report: bytes, table: bytes) -> Evidence:
    if len(report) != sev_guest.REPORT_SIZE:
        raise AttesterUnavailable(
            f"The kernel's report has {len(report)} bytes, and {sev_guest.REPORT_SIZE} are known."
        )
    # A host without certificates leaves the buffer as it was: that is no table, not an empty one.
    payload = cbor.encode({_REPORT: report, _TABLE: table if any(table) else b""})
    return Evidence(encode(Record(SNP_EVIDENCE, payload)))


def from_settings(settings: Mapping[str, object]) -> SnpAttester:
    """The entry point `snp`; it has no settings.

    Raises:
        AttesterUnavailable: a setting is given.
    """
    require_no_settings(settings)
    configfs = ConfigfsTsm(
        SEV_GUEST, Configfs(), random_bytes=secrets.token_bytes, sleep=time.sleep
    )
    return SnpAttester(configfs, SevGuest(CharacterDevice(sev_guest.PATH), sleep=time.sleep))
