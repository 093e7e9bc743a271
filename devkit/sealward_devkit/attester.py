"""The software attester: the agent's attester port on a development platform instead of hardware.

It plays the firmware for one guest. What a host fixes at launch (measurement, HOST_DATA, policy) is
configuration read once, so changing it takes a restart, as on hardware; REPORT_ID is drawn at
construction, so every start is a new guest instance (security-requirements F5). The evidence is
genuine in every byte and roots in a development root, which only a verifier told to trust
development roots accepts.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cbor2

from sealward.enclave_agent.attesters.port import (
    REPORT_DATA_SIZE,
    AttesterUnavailable,
    Availability,
    Evidence,
)
from sealward.verifier.rats.evidence import SNP_EVIDENCE, Record, encode
from sealward_devkit.directories import DevelopmentFilesError, load_platform
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

    from sealward_devkit.platform import Platform, RandomBytes


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
        if len(report_data) != REPORT_DATA_SIZE:
            raise ValueError(f"report_data takes {REPORT_DATA_SIZE} bytes, not {len(report_data)}")
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


def from_settings(settings: Mapping[str, object]) -> SoftwareAttester:
    """The entry point `software` of the group `sealward.attesters`.

    Settings: `platform` (directory), `measurement` (96 hex digits), `host_data` (64 hex digits),
    and optionally `policy` and `report_version` (integers).

    Raises:
        AttesterUnavailable: a setting is missing, unknown or of the wrong type or size.
    """
    known = {"platform", "measurement", "host_data", "policy", "report_version"}
    if unknown := sorted(set(settings) - known):
        raise AttesterUnavailable(f"[attester] has unknown settings: {', '.join(unknown)}.")
    guest = Guest(
        measurement=_digest(settings, "measurement", MEASUREMENT_SIZE),
        host_data=_digest(settings, "host_data", HOST_DATA_SIZE),
        policy=_integer(settings, "policy", DEFAULT_POLICY, range(1 << 64)),
        report_version=_integer(settings, "report_version", max(REPORT_VERSIONS), REPORT_VERSIONS),
    )
    return SoftwareAttester(Path(_text(settings, "platform")), guest, secrets.token_bytes)


def _text(settings: Mapping[str, object], name: str) -> str:
    value = settings.get(name)
    if not isinstance(value, str) or not value:
        raise AttesterUnavailable(f"[attester] {name} must be given, as text.")
    return value


def _digest(settings: Mapping[str, object], name: str, size: int) -> bytes:
    text = _text(settings, name)
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size or value.hex() != text:
        raise AttesterUnavailable(f"[attester] {name} must be {2 * size} lowercase hex digits.")
    return value


def _integer(settings: Mapping[str, object], name: str, default: int, allowed: range) -> int:
    value = settings.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
        raise AttesterUnavailable(f"[attester] {name} is not an integer this attester knows.")
    return value
