"""A machine with devices of its own: one verdict over evidence of all of them.

Numbered procedure of `combine`, for claims that were each authenticated already:

    (1) every device answered the machine's binding: what it signed is the first half of what the
        machine's evidence carries (docs/specs/evidence-binding.md section 2);
    (2) no device stands twice, under whatever label;
    (3) what is held against a device is held against the machine, under the device's claim path;
    (4) the machine's endorsements hold no longer than those of its devices, and count as checked
        for revocation only when all of theirs are; one development root makes it all development.
        What ends when is told per sort of device, the earliest of each.

One nonce for all shows that all answered this challenge. It does not show that they are in this
machine: that is a device's own claim (security-requirements F8c), with its own verdict.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.claims import Collateral
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.rats.claims import Claims
    from sealward.verifier.rats.result import Verdict

_HALF: Final = 64  # hex digits of the 32 bytes that a nonce carries
_CHECKED: Final = "checked"
_ABSENT: Final = "absent"


def combine(machine: Claims, devices: tuple[tuple[str, Claims], ...]) -> Claims:
    """Return the claims of `machine` with those of its devices, by label, as `submods`.

    Raises:
        RefusedEvidence: BINDING_MISMATCH (1) or DEVICE_REPEATED (2), naming the label.
    """
    seen: dict[str | None, str] = {}
    for label, claims in devices:
        _check_nonce(machine, label, claims)  # (1)
        if claims.platform_id in seen:  # (2)
            raise RefusedEvidence(
                Code.DEVICE_REPEATED,
                f"{seen[claims.platform_id]} and {label} are one and the same device",
                claim=f"submods.{label}.platform_id",
                expected="each device once",
                actual=claims.platform_id,
            )
        if claims.platform_id is not None:
            seen[claims.platform_id] = label
    lifted = tuple(_lifted(label, item) for label, claims in devices for item in claims.verdicts)
    return replace(
        machine,
        submods=devices,
        verdicts=machine.verdicts + lifted,  # (3)
        collateral=_collateral(machine, devices),  # (4)
        development=machine.development or any(claims.development for _, claims in devices),
    )


def _check_nonce(machine: Claims, label: str, claims: Claims) -> None:
    if len(machine.report_data) < _HALF or claims.report_data != machine.report_data[:_HALF]:
        raise RefusedEvidence(
            Code.BINDING_MISMATCH,
            f"{label} answered another binding than its machine",
            claim=f"submods.{label}.report_data",
            expected=machine.report_data[:_HALF],
            actual=claims.report_data,
            hint="collect evidence of the machine and of all its devices for one binding",
        )


def _lifted(label: str, verdict: Verdict) -> Verdict:
    return replace(verdict, claim=f"submods.{label}.{verdict.claim}")


def _collateral(machine: Claims, devices: tuple[tuple[str, Claims], ...]) -> Collateral:
    every = [machine.collateral, *(claims.collateral for _, claims in devices)]
    checked = all(one.revocation == _CHECKED for one in every)
    ends: dict[str, datetime] = {}
    for label, claims in devices:
        sort = label.partition("-")[0]
        for name, end in claims.collateral.limits:
            named = f"{sort}.{name}"
            ends[named] = min(end, ends.get(named, end))
    limits = machine.collateral.limits + tuple(ends.items())
    return Collateral(
        not_before=max(one.not_before for one in every),
        not_after=min(one.not_after for one in every),
        revocation=_CHECKED if checked else _ABSENT,
        limits=limits,
    )
