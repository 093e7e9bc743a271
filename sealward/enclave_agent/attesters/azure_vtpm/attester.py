"""Evidence of an Azure confidential VM: hardware report, quote by the key that it names, the rest.

Fresh is the quote, whose extraData is the first half of the binding's digest, and the hardware
report, whose claims carry all of it. That the report names the quoting key, and all else, a
verifier checks; here are only looked for the signs of having got something else than asked.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.azure_vtpm import hcl, metadata
from sealward.enclave_agent.attesters.azure_vtpm.hcl import HclReport, Tee
from sealward.enclave_agent.attesters.azure_vtpm.metadata import MetadataError, MetadataService
from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Evidence,
    require_no_settings,
    require_report_data,
)
from sealward.enclave_agent.attesters.tpm import errors, event_log, nv, quote
from sealward.enclave_agent.attesters.tpm import settings as tpm_settings
from sealward.enclave_agent.attesters.tpm.answers import Loaded
from sealward.enclave_agent.attesters.tpm.commands import Tpm
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.transport import CharacterDevice
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.evidence import AZURE_EVIDENCE, Record, encode
from sealward.verifier.wire import cbor
from sealward.verifier.wire.der import SEQUENCE, DerReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sealward.enclave_agent.attesters.tpm.codec import PcrBank, PcrSelection
    from sealward.enclave_agent.attesters.tpm.transport import TpmTransport

KEY_HANDLE: Final = 0x81000003
CERTIFICATE_INDEX: Final = 0x01C101D0
MAX_CERTIFICATE: Final = 4096  # the index's size

_SETTINGS: Final = frozenset({"pcrs", "event_log"})  # of tpm/settings.py; the rest is Azure's

# Members of the payload (docs/specs/evidence-envelope.md, section 8).
_REPORT: Final = 1
_QUOTE: Final = 2
_SIGNATURE: Final = 3
_KEY: Final = 4
_VALUES: Final = 5
_LOG: Final = 6
_KEY_CERTIFICATE: Final = 7
_TD_QUOTE: Final = 8
_CHIP_CERTIFICATES: Final = 9


class AzureAttester:
    """Collects what the vTPM, the paravisor and the metadata service give."""

    kind: Final = "azure"

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[TpmTransport]],
        service: MetadataService,
        *,
        selections: tuple[PcrSelection, ...],
        log: Path,
        random_bytes: Callable[[int], bytes],
        sleep: Callable[[float], None],
    ) -> None:
        """`connect` opens the TPM or raises TpmError; `log` is the firmware's event log."""
        self._connect: Final = connect
        self._service: Final = service
        self._selections: Final = selections
        self._log: Final = log
        self._random_bytes: Final = random_bytes
        self._sleep: Final = sleep

    def probe(self) -> Availability:
        """Say what reports are of here, or why there is no evidence; no report is made."""
        try:
            with self._speaking() as tpm:
                tee = hcl.peek(tpm)
                _read_key(tpm)
            log = event_log.told(self._log)
        except TpmError as error:
            return Availability(available=False, why=_why(error))
        except AttesterUnavailable as error:
            return Availability(available=False, why=str(error))
        if tee is Tee.TDX and (obstacle := self._service.obstacle()) is not None:
            return Availability(available=False, why=f"No Azure evidence: {obstacle}.")
        return Availability(
            available=True,
            why=f"Quotes and {tee.label} reports come from Azure's vTPM, with {log}.",
        )

    def collect(self, report_data: bytes) -> Evidence:
        """A hardware report and a quote over `report_data` (64 bytes), and what explains them.

        Raises:
            AttesterUnavailable: no evidence can be had here.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        log = event_log.read_if_any(self._log)
        try:
            with self._speaking() as tpm:
                report = hcl.fresh(tpm, report_data, sleep=self._sleep)
                key = _read_key(tpm)
                nonce = report_data[: quote.NONCE_SIZE]
                quoted = quote.collect(tpm, key, self._selections, nonce=nonce)
                certificate = _certificate(tpm)
        except TpmError as error:
            raise AttesterUnavailable(_why(error)) from error
        payload: dict[int, cbor.Encodable] = {
            _REPORT: report.content,
            _QUOTE: quoted.message,
            _SIGNATURE: quoted.signature,
            _KEY: key.public.area,
            _VALUES: [_bank(bank) for bank in quoted.pcrs],
            _LOG: log,
            _KEY_CERTIFICATE: certificate,
            _TD_QUOTE: self._td_quote(report) if report.tee is Tee.TDX else None,
            _CHIP_CERTIFICATES: self._certificates() if report.tee is Tee.SEV_SNP else None,
        }
        return Evidence(encode(Record(AZURE_EVIDENCE, cbor.encode(payload))))

    @contextmanager
    def _speaking(self) -> Iterator[Tpm]:
        with self._connect() as transport:
            yield Tpm(transport, random_bytes=self._random_bytes, sleep=self._sleep)

    def _td_quote(self, report: HclReport) -> bytes:
        """Return the quote of this report's TDREPORT, without which it proves nothing remotely."""
        try:
            made = self._service.td_quote(report.hardware)
        except MetadataError as error:
            raise AttesterUnavailable(f"No TD quote: {error}.") from error
        if report.bound not in made:
            raise AttesterUnavailable("Azure's metadata service quoted another TD report.")
        return made

    def _certificates(self) -> bytes | None:
        """Return the chip's certificates, or None: a verifier can have them from elsewhere."""
        try:
            return self._service.certificates()
        except MetadataError:
            return None


def _read_key(tpm: Tpm) -> Loaded:
    """Return the attestation key that Azure keeps in the vTPM."""
    try:
        return Loaded(KEY_HANDLE, tpm.read_public(KEY_HANDLE))
    except TpmError as error:
        if not error.says(errors.HANDLE):
            raise
        raise TpmError(
            error.code,
            f"The vTPM holds no attestation key at {KEY_HANDLE:#010x} (something removed Azure's; "
            "a restart of the VM makes it again).",
        ) from error


def _certificate(tpm: Tpm) -> bytes | None:
    """Return the key's certificate (DER), or None where Azure has left none that can be read.

    It says that Azure knows the key; that the hardware vouches for it, the report says.
    """
    found = nv.find(tpm, CERTIFICATE_INDEX)
    if found is None:
        return None
    try:
        content = nv.read(tpm, found, most=MAX_CERTIFICATE)
    except TpmError as error:
        if error.code is None:  # the TPM is lost, or the index is none of Azure's
            raise
        return None
    try:
        return DerReader(content).element("certificate", SEQUENCE).der
    except MalformedEvidence:
        return None


def _bank(bank: PcrBank) -> cbor.Encodable:
    return [int(bank.bank), [[index, digest] for index, digest in bank.values]]


def _why(error: TpmError) -> str:
    return f"No Azure evidence: {error.sentence[:1].lower()}{error.sentence[1:]}"


def from_settings(settings: Mapping[str, object]) -> AzureAttester:
    """The entry point `azure`; it has the settings `pcrs` and `event_log` of the attester `tpm`.

    Raises:
        AttesterUnavailable: another setting is given, or one that cannot be used.
    """
    require_no_settings({name: settings[name] for name in settings if name not in _SETTINGS})
    chosen = tpm_settings.read(settings)
    return AzureAttester(
        CharacterDevice,
        metadata.of_this_machine(sleep=time.sleep),
        selections=chosen.selections,
        log=chosen.event_log,
        random_bytes=secrets.token_bytes,
        sleep=time.sleep,
    )
