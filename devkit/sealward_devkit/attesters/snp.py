"""An SNP guest in software: genuine reports of a development platform.

What a host fixes at launch (measurement, HOST_DATA, policy) is configuration read once, so a change
takes a restart, as on hardware; REPORT_ID is drawn at construction, so every start is a new guest
instance (security-requirements F5).
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cbor2

from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Evidence,
    require_report_data,
)
from sealward.verifier.rats.evidence import SNP_EVIDENCE, Record, encode
from sealward_devkit.attesters import settings
from sealward_devkit.directories import load_platform
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.guest import (
    HOST_DATA_SIZE,
    MEASUREMENT_SIZE,
    REPORT_ID_SIZE,
    REPORT_VERSIONS,
    Guest,
    report_of_guest,
)
from sealward_devkit.snp.report import DEFAULT_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealward_devkit.pki.keys import RandomBytes
    from sealward_devkit.platform import Platform


_KNOWN: Final = frozenset({"platform", "measurement", "host_data", "policy", "report_version"})


class SoftwareAttester:
    """An SNP guest in software: the same platform files and `Guest`, one REPORT_ID per object."""

    kind: Final = "snp"

    def __init__(self, directory: Path, guest: Guest, random_bytes: RandomBytes) -> None:
        self._directory: Final = directory
        self._guest: Final = guest
        self._report_id: Final = random_bytes(REPORT_ID_SIZE)
        self._platform: Platform | None = None

    def probe(self) -> Availability:
        """Available when the platform directory can be read."""
        try:
            platform = self._load()
        except AttesterUnavailable as error:
            return Availability(available=False, why=str(error))
        name = f"development {platform.product.value} platform {self._directory}"
        return Availability(available=True, why=f"{name}: software, never for production.")

    def collect(self, report_data: bytes) -> Evidence:
        """A report over `report_data` (64 bytes) and its certificates, leaf first, root last.

        Raises:
            AttesterUnavailable: the platform directory cannot be read.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        platform = self._load()
        report = report_of_guest(platform, self._guest, self._report_id, report_data)
        chain = [platform.vek, platform.intermediate, platform.root]
        payload = cbor2.dumps({1: report, 2: chain}, canonical=True)
        return Evidence(encode(Record(SNP_EVIDENCE, payload)))

    def _load(self) -> Platform:
        """The platform, read once: firmware does not change under a running guest."""
        if self._platform is None:
            try:
                self._platform = load_platform(self._directory)
            except DevelopmentFilesError as error:
                raise AttesterUnavailable(f"{error}.") from error
        return self._platform


def from_settings(given: Mapping[str, object]) -> SoftwareAttester:
    """Build it from its settings.

    Settings: `platform` (directory), `measurement` (96 hex digits), `host_data` (64 hex digits),
    and optionally `policy` and `report_version` (integers).

    Raises:
        AttesterUnavailable: a setting is missing, unknown or of the wrong type or size.
    """
    settings.require_known(given, _KNOWN)
    guest = Guest(
        measurement=settings.digest(given, "measurement", MEASUREMENT_SIZE),
        host_data=settings.digest(given, "host_data", HOST_DATA_SIZE),
        policy=settings.integer(given, "policy", DEFAULT_POLICY, range(1 << 64)),
        report_version=settings.integer(
            given, "report_version", max(REPORT_VERSIONS), REPORT_VERSIONS
        ),
    )
    return SoftwareAttester(Path(settings.text(given, "platform")), guest, secrets.token_bytes)
