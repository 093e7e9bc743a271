"""The token's own fields as plain JSON, for people and tools.

Policies see the normalised claims instead (`rats.claims`). Byte fields are lower-case hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.verifier.formats.psa.claims import PsaSection

if TYPE_CHECKING:
    from sealward.verifier.formats.psa.token import Token
    from sealward.verifier.rats.claims import Json


def describe_token(token: Token) -> dict[str, Json]:
    """Return every claim, and how the token was put together."""
    return PsaSection(token).to_json() | {
        "nonce": token.nonce.hex(),
        "tag": token.message.tag,
        "algorithm": token.message.alg,
    }
