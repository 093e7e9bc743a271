"""TPM evidence of this machine: a quote, what it is over, and a lock for the answer.

docs/specs/tpm-node.md is what this is one side of. The TPM is asked by one caller at a time and
nothing is left in it in between, so a TPM in software serves other clients as well.
"""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Credential,
    Evidence,
    KeyToProve,
    require_report_data,
)
from sealward.enclave_agent.attesters.tpm import (
    event_log,
    identity,
    keys,
    lock,
    measurement_list,
    quote,
    settings,
)
from sealward.enclave_agent.attesters.tpm.commands import Tpm
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.transport import CharacterDevice, Socket
from sealward.protos.tpm_node import SECRET_BYTES
from sealward.verifier.rats.evidence import TPM_EVIDENCE, Record, encode
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sealward.enclave_agent.attesters.tpm.identity import Identity
    from sealward.enclave_agent.attesters.tpm.lock import LockObject
    from sealward.enclave_agent.attesters.tpm.quote import Quote
    from sealward.enclave_agent.attesters.tpm.settings import Settings
    from sealward.enclave_agent.attesters.tpm.transport import TpmTransport

Connect: TypeAlias = "Callable[[], AbstractContextManager[TpmTransport]]"


@dataclass(frozen=True, slots=True)
class TpmLock:
    """`Lock` of one piece of evidence."""

    _object: LockObject = field(repr=False)
    _open: Callable[[LockObject, Credential], bytes] = field(repr=False)

    def open(self, credential: Credential) -> bytes:
        """Return the secret (32 bytes), if the PCRs are those of the evidence.

        Raises:
            AttesterUnavailable: they are not, the credential was made for another lock, or the TPM
                fails.
        """
        return self._open(self._object, credential)


class TpmAttester:
    """Collects quotes; its attestation key is made once and lives as long as the process."""

    kind: Final = "tpm"

    def __init__(
        self,
        chosen: Settings,
        connect: Connect,
        *,
        random_bytes: Callable[[int], bytes],
        sleep: Callable[[float], None],
    ) -> None:
        self._settings: Final = chosen
        self._connect: Final = connect
        self._random_bytes: Final = random_bytes
        self._sleep: Final = sleep
        self._one_caller: Final = threading.Lock()
        self._identity: Identity | None = None
        self._lock: LockObject | None = None

    def probe(self) -> Availability:
        """Say whether quotes can be had and which logs go with them; no key is made."""
        chosen = self._settings
        try:
            with self._speaking() as tpm:
                kind = identity.endorsement(tpm, chosen.endorsement_key).kind
                quote.read_pcrs(tpm, chosen.selections)
            logs = f"with {event_log.told(self._settings.event_log)}{self._told_list()}"
        except AttesterUnavailable as error:
            return Availability(available=False, why=str(error))
        why = f"Quotes come from {chosen.where}, endorsed by its {kind} key, {logs}."
        return Availability(available=True, why=why)

    def collect(self, report_data: bytes) -> Evidence:
        """A quote over the first 32 bytes of `report_data`, and a lock for the state it shows.

        Raises:
            AttesterUnavailable: no evidence can be had here.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        log = event_log.read_if_any(self._settings.event_log)
        with self._speaking() as tpm:
            who = self._known(tpm)
            with keys.loaded(tpm, who.key, who.hierarchy) as key:
                nonce = report_data[: quote.NONCE_SIZE]
                made = quote.collect(tpm, key, self._settings.selections, nonce=nonce)
            locked, state = self._lock, lock.lasting(made.pcrs)
            if locked is None or locked.pcrs != state:
                locked = self._lock = lock.make(tpm, state, who.hierarchy)
        ima = self._settings.ima
        measured = None if ima is None else measurement_list.read(ima)  # after the quote
        record = Record(TPM_EVIDENCE, _payload(made, who, log, locked))
        return Evidence(encode(record), TpmLock(locked, self._open), measured)

    def credential_request(self) -> KeyToProve:
        """Return what a credential is made for; the first call makes the attestation key.

        Raises:
            AttesterUnavailable: there is no certificate or no such key, or the TPM fails.
        """
        with self._speaking() as tpm:
            who = self._known(tpm)
        return KeyToProve(who.key.public.area, who.ek_public, who.endorsement.certificate)

    def activate(self, credential: Credential) -> bytes:
        """Return the secret (32 bytes) of a credential for the attestation key.

        Raises:
            AttesterUnavailable: it was made for another, is none at all, or the TPM fails.
        """
        with self._speaking() as tpm:
            who = self._known(tpm)
            with (
                keys.loaded(tpm, who.key, who.hierarchy) as key,
                keys.endorsement_key(tpm, who.endorsement.kind) as endorsement,
            ):
                secret = keys.activate_credential(
                    tpm,
                    key,
                    endorsement,
                    id_object=credential.id_object,
                    encrypted_secret=credential.encrypted_secret,
                )
        return _sized(secret)

    def changed(self) -> bool:
        """Say whether a quoted PCR has another value by now, PCR 10 left out.

        The values are compared and not the TPM's update counter, for the reasons in quote.py.

        Raises:
            AttesterUnavailable: the TPM fails.
        """
        if self._lock is None:
            return False
        attested = self._lock.pcrs
        with self._speaking() as tpm:
            return quote.read_pcrs(tpm, tuple(bank.selection for bank in attested)) != attested

    def _open(self, locked: LockObject, credential: Credential) -> bytes:
        with self._speaking() as tpm:
            kind = self._known(tpm).endorsement.kind
            return _sized(lock.open_credential(tpm, locked, kind, credential))

    def _known(self, tpm: Tpm) -> Identity:
        if self._identity is None:
            chosen = self._settings
            self._identity = identity.make(tpm, chosen.key, chosen.endorsement_key)
        return self._identity

    def _told_list(self) -> str:
        ima = self._settings.ima
        if ima is None:
            return ""
        measurement_list.read(ima).behind(0)  # an enrolment sends all of it
        return " and the kernel's measurement list"

    @contextmanager
    def _speaking(self) -> Iterator[Tpm]:
        """Have the TPM to ourselves, as far as this process goes."""
        try:
            with self._one_caller, self._connect() as transport:
                yield Tpm(transport, random_bytes=self._random_bytes, sleep=self._sleep)
        except TpmError as error:
            raise AttesterUnavailable(error.sentence) from error


def _payload(made: Quote, who: Identity, log: bytes | None, locked: LockObject) -> bytes:
    """Return the payload of docs/specs/evidence-envelope.md, section 7."""
    return cbor.encode(
        {
            1: made.message,
            2: made.signature,
            3: who.key.public.area,
            4: [[bank.bank.value, [[*value] for value in bank.values]] for bank in made.pcrs],
            5: log,
            6: who.endorsement.certificate,
            7: who.ek_public,
            8: locked.created.public.area,
        }
    )


def _sized(secret: bytes) -> bytes:
    if len(secret) != SECRET_BYTES:
        raise AttesterUnavailable(
            f"The credential holds {len(secret)} bytes where {SECRET_BYTES} are the contract."
        )
    return secret


def from_settings(table: Mapping[str, object]) -> TpmAttester:
    """The entry point `tpm`; its settings are those of settings.py.

    Raises:
        AttesterUnavailable: a setting is unknown, of the wrong type, or cannot be used.
    """
    chosen = settings.read(table)

    def connect() -> AbstractContextManager[TpmTransport]:
        return CharacterDevice(chosen.device) if chosen.socket is None else Socket(*chosen.socket)

    return TpmAttester(chosen, connect, random_bytes=secrets.token_bytes, sleep=time.sleep)
