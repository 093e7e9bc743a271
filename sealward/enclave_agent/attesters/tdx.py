"""TDX evidence of this guest: a quote from configfs-tsm, and the firmware's event log."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.configfs_tsm import TDX_GUEST, Configfs, ConfigfsTsm
from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Evidence,
    require_no_settings,
    require_report_data,
)
from sealward.verifier.rats.evidence import TDX_EVIDENCE, Record, encode
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENT_LOG: Final = Path("/sys/firmware/acpi/tables/data/CCEL")
MAX_EVENT_LOG: Final = 128 * 1024  # firmware reserves 64 KiB

_QUOTE: Final = 1
_LOG: Final = 2


class TdxAttester:
    """Collects quotes."""

    kind: Final = "tdx"

    def __init__(self, configfs: ConfigfsTsm, event_log: Path) -> None:
        self._configfs: Final = configfs
        self._event_log: Final = event_log

    def probe(self) -> Availability:
        """Say whether configfs-tsm gives quotes, or why not."""
        if (obstacle := self._configfs.obstacle()) is None:
            return Availability(available=True, why="Quotes come from configfs-tsm.")
        return Availability(available=False, why=f"No TDX quote: {obstacle}.")

    def collect(self, report_data: bytes) -> Evidence:
        """A quote over `report_data` (64 bytes), and the event log where there is one to read.

        Raises:
            AttesterUnavailable: no evidence can be had here.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        quote = self._configfs.report(report_data, auxiliary=False).outblob
        payload = cbor.encode({_QUOTE: quote, _LOG: self._read_log()})
        return Evidence(encode(Record(TDX_EVIDENCE, payload)))

    def _read_log(self) -> bytes | None:
        """Return the log, or None where the firmware made none or only root may read it.

        The log is no evidence by itself: it explains RTMR values, which the quote vouches for.
        """
        try:
            with self._event_log.open("rb") as file:
                log = file.read(MAX_EVENT_LOG + 1)
        except OSError:
            return None
        if len(log) > MAX_EVENT_LOG:
            raise AttesterUnavailable(
                f"{self._event_log} is longer than the {MAX_EVENT_LOG} bytes that are sent."
            )
        return log


def from_settings(settings: Mapping[str, object]) -> TdxAttester:
    """The entry point `tdx`; it has no settings.

    Raises:
        AttesterUnavailable: a setting is given.
    """
    require_no_settings(settings)
    configfs = ConfigfsTsm(
        TDX_GUEST, Configfs(), random_bytes=secrets.token_bytes, sleep=time.sleep
    )
    return TdxAttester(configfs, EVENT_LOG)
