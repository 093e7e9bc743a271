"""Whether the intermediate of a chain was revoked, by a list of AMD's that is held.

AMD gives every VEK the serial number 0, so its list can only name intermediates (evidence-formats
section 2). A list that names ours refuses the chain even when it has run out, for revocation is for
good; one that does not, and has run out, says nothing. Without a list claims say "absent": whether
that is enough is the appraisal policy's to say.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealward.verifier.pki import certificate, crl
from sealward.verifier.pki.algorithms import SignatureAlgorithm
from sealward.verifier.pki.crl import RevocationList
from sealward.verifier.rats.collateral import Key, Kind

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.snp.endorsements import EndorsedKey, Endorsements
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.rats.claims import Claims
    from sealward.verifier.rats.collateral import Source

_ALGORITHMS: Final = frozenset({SignatureAlgorithm.RSA_PSS_SHA384})
_CHECKED: Final = "checked"


def key_of(endorsed: EndorsedKey) -> Key:
    """Return the name of the list that speaks of a chain's intermediate."""
    return Key(Kind.AMD_CRL, f"{endorsed.product.value}/{endorsed.vek.kind.value}")


def check(
    endorsements: Endorsements,
    endorsed: EndorsedKey,
    *,
    source: Source,
    now: datetime,
    cache: ChainCache,
) -> datetime | None:
    """Return until when a list in date clears a verified chain; None where none is held.

    Raises:
        MalformedEvidence: the list does not parse.
        RefusedEvidence: CERTIFICATE_REVOKED, or the list is not the root's.
    """
    data = source.get(key_of(endorsed))
    if data is None:
        return None
    key = ("snp-crl", hashlib.sha256(data).digest(), endorsements.digest())
    found = cache.get(key, RevocationList)
    if found is None:
        found = crl.parse(data)
        crl.verify(found, certificate.parse(endorsements.root), allowed=_ALGORITHMS)
        found.check(certificate.parse(endorsements.intermediate))
        cache.put(key, found)
    return found.next_update if found.this_update <= now <= found.next_update else None


def checked(claims: Claims, until: datetime) -> Claims:
    """Return claims of a chain that a list clears until an instant."""
    ends = claims.collateral.not_after
    collateral = replace(
        claims.collateral,
        not_after=min(ends, until),
        revocation=_CHECKED,
        limits=(("certificates", ends), ("crl", until)),
    )
    return replace(claims, collateral=collateral)
