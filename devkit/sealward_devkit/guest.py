"""A guest on a development platform: what its host fixed at launch, and the reports it can get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealward_devkit.snp.report import DEFAULT_POLICY, key_info, mint_report, typical_fields

if TYPE_CHECKING:
    from sealward_devkit.platform import Platform

MEASUREMENT_SIZE: Final = 48
HOST_DATA_SIZE: Final = 32
REPORT_ID_SIZE: Final = 32
REPORT_VERSIONS: Final = range(2, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The launch of one guest.

    `measurement` is 48 bytes, `host_data` 32 (the digest of the agent's trust configuration,
    security-requirements F15), `policy` the guest policy word, `report_version` 2..5.
    """

    measurement: bytes
    host_data: bytes
    policy: int = DEFAULT_POLICY
    report_version: int = max(REPORT_VERSIONS)


def report_of_guest(
    platform: Platform, guest: Guest, report_id: bytes, report_data: bytes
) -> bytes:
    """The report the platform's firmware would sign for this guest.

    `report_id` (32 bytes) is the guest instance, `report_data` (64 bytes) the guest's own words.

    Raises:
        ValueError: one of the values has another length.
    """
    typical = typical_fields(
        platform.product, platform.tcb, version=guest.report_version, chip_id=platform.chip_id
    )
    fields = replace(
        typical,
        policy=guest.policy,
        key_info=key_info(platform.signing_key),
        report_data=report_data,
        measurement=guest.measurement,
        host_data=guest.host_data,
        report_id=report_id,
    )
    return mint_report(fields, platform.key)
