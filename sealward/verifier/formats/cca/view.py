"""The token's own fields as plain JSON, for people and tools.

Policies see the normalised claims instead (`rats.claims`). Byte fields are lower-case hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.verifier.formats.cca.claims import describe_platform, describe_realm

if TYPE_CHECKING:
    from sealward.verifier.formats.cca.token import Token
    from sealward.verifier.rats.claims import Json


def describe_token(token: Token) -> dict[str, Json]:
    """Return every claim of both parts, and how the token was put together."""
    platform = describe_platform(token.platform)
    realm = describe_realm(token.realm)
    return {
        "tag": token.tag,
        "platform": platform | {"algorithm": token.platform_message.alg},
        "realm": realm
        | {"challenge": token.realm.challenge.hex(), "algorithm": token.realm_message.alg},
    }
