"""Claims in the form that policies see and records keep, encoded once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self, cast

from sealward.verifier.rats.claims import Claims
from sealward.verifier.wire import json

_KEY: Final = "claims"
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ClaimsDocument:
    """`Claims.to_json()`, fresh or recorded.

    Attributes:
        values: the JSON object.
        encoded: its canonical form.
    """

    values: Mapping[str, json.Canonical]
    encoded: bytes = field(repr=False, compare=False)

    @classmethod
    def of(cls, claims: Claims) -> Self:
        """Return the document of verified claims."""
        values = claims.to_json()
        return cls(values, json.canonical(values))

    def with_ima(self, told: Mapping[str, json.Canonical]) -> Self:
        """Return these claims with what a runtime log tells (docs/specs/ima-claims.md 3)."""
        values = {**self.values, "ima": told}
        return replace(self, values=values, encoded=json.canonical(values))

    @classmethod
    def recorded(cls, text: str) -> Self:
        """Return what a decision recorded.

        Raises:
            MalformedEvidence: not a JSON object within the budget.
            TypeError: a JSON value of another kind.
        """
        values = json.decode(text, what="recorded claims", max_bytes=_MAX_BYTES)
        if not isinstance(values, dict):
            raise TypeError("recorded claims are an object")
        return cls(cast("Mapping[str, json.Canonical]", values), text.encode())

    @classmethod
    def empty(cls) -> Self:
        """Return a document that claims nothing."""
        return cls({}, b"{}")

    def beside(self, members: Mapping[str, json.Canonical]) -> bytes:
        """Return the canonical object of `members` and these claims under "claims".

        Every other name must sort after "claims", so that the parts can be joined as they are.
        """
        if not members or any(name <= _KEY for name in members):
            raise ValueError("other members are needed, and all of them sort after the claims")
        rest = json.canonical(members).removeprefix(b"{")
        return b'{"%b":%b,%b' % (_KEY.encode(), self.encoded, rest)
