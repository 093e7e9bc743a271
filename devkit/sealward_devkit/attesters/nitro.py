"""An enclave in software: genuine Nitro attestation documents of a development instance.

What was measured at the start (PCRs) is configuration read once; the name of the enclave is drawn
at construction, so every start is a new instance (security-requirements F5). The stand-in for the
hypervisor renews the leaf in time, and says what time it is.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cbor2

from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Evidence,
    require_report_data,
)
from sealward.verifier.rats.evidence import NITRO_EVIDENCE, Record, encode
from sealward_devkit.attesters import settings
from sealward_devkit.clock import system_clock
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.nitro import image
from sealward_devkit.nitro.directories import load_instance
from sealward_devkit.nitro.document import Request, mint_document, start_enclave
from sealward_devkit.nitro.hierarchy import LEAF_LIFE, new_module_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sealward_devkit.nitro.document import Enclave
    from sealward_devkit.nitro.hierarchy import Instance
    from sealward_devkit.pki.keys import RandomBytes

_DIGEST: Final = 48
_MEASURED: Final = range(3)  # what an image gives; the rest is the instance's
_KNOWN: Final = frozenset({"platform", *(f"pcr{index}" for index in _MEASURED)})
_RENEWED_BEFORE: Final = timedelta(hours=1)


class SoftwareNitro:
    """An enclave in software on the instance of a directory."""

    kind: Final = "nitro"

    def __init__(
        self,
        directory: Path,
        pcrs: tuple[tuple[int, bytes], ...],
        random_bytes: RandomBytes,
        clock: Callable[[], datetime],
    ) -> None:
        self._directory: Final = directory
        self._pcrs: Final = pcrs
        self._random_bytes: Final = random_bytes
        self._clock: Final = clock
        self._instance: Instance | None = None
        self._module_id = ""
        self._enclave: Enclave | None = None
        self._renew_at: datetime | None = None

    def probe(self) -> Availability:
        """Available when the instance directory can be read."""
        try:
            self._load()
        except AttesterUnavailable as error:
            return Availability(available=False, why=str(error))
        name = f"development Nitro instance {self._directory}"
        return Availability(available=True, why=f"{name}: software, never for production.")

    def collect(self, report_data: bytes) -> Evidence:
        """A document whose user_data is `report_data` (64 bytes).

        Raises:
            AttesterUnavailable: the instance directory cannot be read.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        now = self._clock()
        document = mint_document(self._at(now), Request(user_data=report_data), now)
        return Evidence(encode(Record(NITRO_EVIDENCE, cbor2.dumps({1: document}))))

    def _at(self, now: datetime) -> Enclave:
        """The enclave with a leaf that is good for a while."""
        if self._enclave is None or self._renew_at is None or now >= self._renew_at:
            instance = self._load()
            pcrs = (*self._pcrs, *image.of_parent(instance.instance_id).items())
            self._enclave = start_enclave(instance, self._module_id, pcrs, now, self._random_bytes)
            self._renew_at = now + LEAF_LIFE - _RENEWED_BEFORE
        return self._enclave

    def _load(self) -> Instance:
        """The instance, read once, and with it the enclave's name."""
        if self._instance is None:
            try:
                self._instance = load_instance(self._directory)
            except DevelopmentFilesError as error:
                raise AttesterUnavailable(f"{error}.") from error
            self._module_id = new_module_id(self._instance, self._random_bytes)
        return self._instance


def from_settings(given: Mapping[str, object]) -> SoftwareNitro:
    """Build it from its settings: `platform` (directory), `pcr0` to `pcr2` (96 hex digits each).

    Raises:
        AttesterUnavailable: a setting is missing, unknown or of the wrong type or size.
    """
    settings.require_known(given, _KNOWN)
    pcrs = tuple((index, settings.digest(given, f"pcr{index}", _DIGEST)) for index in _MEASURED)
    directory = Path(settings.text(given, "platform"))
    return SoftwareNitro(directory, pcrs, secrets.token_bytes, system_clock)
