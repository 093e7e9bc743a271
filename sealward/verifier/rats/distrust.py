"""The distrust list: hardware whose genuine signature no longer proves anything.

A chip whose key was extracted signs perfectly; only a list can say so (security-requirements F6).
Entries are reference values with a life cycle of their own; here they are plain values, matched
against claims. A match is a verifier verdict, which no policy can express away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sealward.verifier.rats.result import Verdict, VerdictCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealward.verifier.rats.claims import Claims


@dataclass(frozen=True, slots=True, kw_only=True)
class DistrustEntry:
    """One known break. All criteria that are given must match; at least one must be given.

    Attributes:
        reason: what is known, with its public reference.
        product: product line, as in `Claims.product`.
        platform_id: one platform, as in `Claims.platform_id`.
        provider: one provider's signing identity, as in `Claims.provider`.
    """

    reason: str
    product: str | None = None
    platform_id: str | None = None
    provider: str | None = None

    def __post_init__(self) -> None:
        if self.product is None and self.platform_id is None and self.provider is None:
            raise ValueError("a distrust entry without criteria would match everything")

    def matches(self, claims: Claims) -> bool:
        """Whether the hardware behind `claims` is what this entry names."""
        return (
            self.product in (None, claims.product)
            and self.platform_id in (None, claims.platform_id)
            and self.provider in (None, claims.provider)
        )


def apply(claims: Claims, entries: Iterable[DistrustEntry]) -> Claims:
    """Return `claims` with one verdict for each entry that matches."""
    found = tuple(
        Verdict(
            code=VerdictCode.DISTRUSTED,
            claim="platform_id"
            if entry.platform_id
            else "provider"
            if entry.provider
            else "product",
            expected="hardware without a known break",
            actual=entry.reason,
        )
        for entry in entries
        if entry.matches(claims)
    )
    return replace(claims, verdicts=claims.verdicts + found) if found else claims
