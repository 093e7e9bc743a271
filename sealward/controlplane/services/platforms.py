"""Platforms: the hardware that an administrator says we accept, or no longer do (F6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.platforms import Platform, PlatformState
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page
from sealward.controlplane.services import inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction

# As the verifier writes them: the TEE, what kind of identity it is, and the identity. Two clouds
# name their instances as they do everywhere else: AWS by "i-" and digits, Google by a number.
_PLATFORM_ID: Final = re.compile(
    r"[a-z][a-z0-9-]{0,15}:[a-z][a-z0-9-]{0,15}:([0-9a-f]{2}){8,64}"
    r"|nitro:instance:i-[0-9a-f]{8,17}"
    r"|google:instance:[0-9]{1,20}"
)


@dataclass(frozen=True, slots=True)
class Platforms:
    """Use cases around platforms."""

    on: Dependencies

    def allow(self, principal: Principal, platform_id: str, *, note: str = "") -> Platform:
        """Accept a platform from now on.

        Raises:
            Refused: forbidden, invalid_request.
        """
        require(principal, Right.platform_allow)
        return self._put(principal, platform_id, PlatformState.allowed, note)

    def deny(self, principal: Principal, platform_id: str, *, note: str) -> Platform:
        """Deny a platform: nodes on it lose their leases and get no new ones.

        Raises:
            Refused: forbidden, invalid_request.
        """
        require(principal, Right.platform_deny)
        platform = self._put(principal, platform_id, PlatformState.denied, note)
        self.on.wake.sweeps()
        return platform

    def page(self, principal: Principal, *, limit: int, after: str | None) -> Page[Platform]:
        """List platforms by id."""
        require(principal, Right.platform_read)
        return self.on.database.read(lambda tx: tx.platforms.page(limit=limit, after=after))

    def _put(
        self, principal: Principal, platform_id: str, state: PlatformState, note: str
    ) -> Platform:
        # SNP CHIP_ID is 64 bytes, a TDX PPID 16, digests of endorsement keys 32 or 48.
        if _PLATFORM_ID.fullmatch(platform_id) is None:
            raise inputs.invalid(
                "the platform id is not of the form tee:kind:identity",
                "copy it as `sealward node show` shows it",
            )
        inputs.text(note, "the note")
        now = self.on.clock.now()

        def work(tx: Transaction) -> Platform:
            body: Body = {"platform": platform_id, "state": str(state), "note": note}
            entry_id = self.on.record(tx, AuditKind.platform_changed, body, by=principal, now=now)
            platform = Platform(
                platform_id=platform_id,
                state=state,
                note=note,
                by=principal.name,
                changed=now,
                entry_id=entry_id,
            )
            tx.platforms.put(platform)
            if state is PlatformState.denied:
                cause = {"code": "platform_denied", "platform": platform_id}
                self.on.fence(tx, fences.PLATFORM, cause, now)
            else:
                tx.epochs.bump(fences.PLATFORM)  # takes nothing away: nothing to sweep
            return platform

        return self.on.database.write(work)
