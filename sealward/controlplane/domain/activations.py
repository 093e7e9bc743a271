"""Stored policy revisions and their activations.

What a bundle says is domain/policies' concern.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRevision:
    """An immutable, content-addressed bundle.

    `kind` and `layer` are values of PolicyKind and Layer.
    """

    digest: str
    kind: str
    layer: str
    name: str
    bundle: bytes = field(repr=False)
    uploaded_by: str
    uploaded: datetime


@unique
class ActivationMode(StrEnum):
    """Only `enforce` decides; `shadow` is evaluated and recorded.

    `canary` enforces for a keyed share of nodes.
    """

    enforce = "enforce"
    shadow = "shadow"
    canary = "canary"


@unique
class ActivationState(StrEnum):
    """One active activation at most for each (kind, layer, scope, mode)."""

    active = "active"
    ended = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyActivation:
    """The use of a revision in a scope.

    `replaces` is the activation it was made to follow, None for the first.
    """

    activation_id: str
    kind: str
    layer: str
    scope: str
    mode: ActivationMode
    digest: str
    replaces: str | None
    state: ActivationState
    by: str
    created: datetime
    ended: datetime | None = None
    entry_id: str
