"""One GPU is in one machine: a device that two live nodes show is held against both (F8c).

No evidence yet binds a GPU to the machine that shows it, so a machine without one could have its
nonce answered by another machine's. Only here both are seen.

    1. a decision reads who else holds the devices of the claims       elsewhere
    2. in its transaction the node takes its devices, and whoever has
       taken one of them since makes the decision begin again          take
    3. the other holders are fenced there, and swept afterwards:
       recorded claims meet what this transaction has left behind      take, sweeper.py

A node holds a device until the leases end that it was granted when it showed the device last, or
for `SHOWN_FOR` without any; not beyond its retirement. So after one of two has gone, the other
passes by itself. Nothing is taken at enrolment: a stranger's evidence takes nobody's keys away.

GPUs only: what a machine shares with others on one fabric, a switch, is no sign of a relay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.devices import SHOWN_FOR, DeviceHold
from sealward.controlplane.domain.errors import Code, Conflict
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.revocation import fence
from sealward.controlplane.services.submods import SUBMODS
from sealward.verifier.rats.claims import Tee
from sealward.verifier.wire import json


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A device that other live nodes hold too.

    Attributes:
        label: the verifier's name for it.
        nodes: ids of the others, sorted.
    """

    label: str
    nodes: tuple[str, ...]

    def reason(self) -> dict[str, json.Canonical]:
        """Return what is recorded of it."""
        return {
            "code": Code.device_elsewhere.value,
            "claim": f"claims.{SUBMODS}.{self.label}.platform_id",
            "expected": "a device of one live node",
            "actual": f"held by node {self.nodes[0]} too",
            "hint": "one of the nodes has not got it; no policy can lift this",
            "layer": "controlplane",
            "rule": "controlplane",
        }


def elsewhere(
    tx: Transaction, claims: ClaimsDocument, node_id: str, now: datetime
) -> tuple[Elsewhere, ...]:
    """Return those devices of the claims that other nodes hold at `now`; no cost without any."""
    found = (
        Elsewhere(label, tuple(n for n in tx.devices.holders(device, now) if n != node_id))
        for label, device in _shown(claims)
    )
    return tuple(one for one in found if one.nodes)


def take(
    tx: Transaction,
    claims: ClaimsDocument,
    node_id: str,
    *,
    seen: tuple[Elsewhere, ...],
    horizons: Sequence[datetime],
    now: datetime,
    random_bytes: RandomBytes,
) -> None:
    """Let a node hold the devices that it shows, and fence the others that hold them.

    Args:
        tx: the deciding transaction.
        claims: what was decided on.
        node_id: whose.
        seen: what `elsewhere` returned to the decision.
        horizons: ends of the leases that the node has after it.
        now: instant of the decision.
        random_bytes: for ids and salts.

    Raises:
        Conflict: `state_changed`, somebody has taken or freed a device since the decision read.
    """
    shown = tuple(_shown(claims))
    if not shown:
        return
    if elsewhere(tx, claims, node_id, now) != seen:
        raise Conflict(Code.state_changed, "a device was shown elsewhere meanwhile")
    until = max((now + SHOWN_FOR, *horizons))
    for _, device in shown:
        tx.devices.hold(DeviceHold(device=device, node_id=node_id, until=until))
    for other in sorted({other for one in seen for other in one.nodes}):
        if tx.nodes.get(other).posture.passing:  # else it is held against it already
            cause = {"code": Code.device_elsewhere.value, "node": other}
            scope = fences.node(other)
            fence(tx, scope=scope, cause=cause, now=now, random_bytes=random_bytes)


def _shown(claims: ClaimsDocument) -> Iterator[tuple[str, str]]:
    """Yield label and platform id of the GPUs in the claims."""
    submods = claims.values.get(SUBMODS)
    if not isinstance(submods, Mapping):
        return
    for label, device in submods.items():
        if isinstance(device, Mapping) and device.get("tee") == Tee.NVIDIA_GPU.value:
            platform_id = device.get("platform_id")
            if isinstance(platform_id, str):
                yield label, platform_id
