"""Whether certificates behind a device and its manifests were revoked, by OCSP answers held here.

NVIDIA's certificates name a responder, and no list is asked. Keys that a device makes for itself
name none: nobody can revoke them but through the certificate above. An answer that says revoked
refuses the evidence even when it has run out, for revocation is for good; one that says good and
has run out says nothing. "checked" is said only when every certificate that names a responder has
an answer in date; else "absent", and `missing` names what would have been asked.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealward.verifier.pki import ocsp
from sealward.verifier.pki.ocsp import Answer
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.pki.chain import Rules
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.rats.collateral import Source


@dataclass(frozen=True, slots=True)
class Revocation:
    """What is known.

    Attributes:
        not_after: the earliest end of an answer, or None when something is missing.
        missing: the answers that are not held, or have run out.
    """

    not_after: datetime | None
    missing: tuple[Key, ...]

    @property
    def checked(self) -> bool:
        """Whether every certificate that names a responder has a good answer in date."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class Revocable:
    """A certificate that names a responder, its issuer, and the name of the answer about it."""

    subject: Certificate
    issuer: Certificate
    key: Key


def revocable(path: tuple[Certificate, ...]) -> tuple[Revocable, ...]:
    """Return what can be revoked in a verified path, leaf first.

    Raises:
        MalformedEvidence: an authorityInfoAccess does not parse.
    """
    return tuple(
        Revocable(subject, issuer, Key(Kind.NVIDIA_OCSP, subject.fingerprint))
        for subject, issuer in itertools.pairwise(path)
        if ocsp.names_responder(subject)
    )


def check(
    every: tuple[Revocable, ...],
    *,
    rules: Rules,
    source: Source,
    now: datetime,
    cache: ChainCache,
) -> Revocation:
    """Look up the answers about certificates of verified paths, at `now` (aware UTC).

    Raises:
        MalformedEvidence: an answer that is held does not parse.
        RefusedEvidence: CERTIFICATE_REVOKED, or what is wrong with an answer that is held.
    """
    missing: list[Key] = []
    ends: list[datetime] = []
    for one in every:
        data = source.get(one.key)
        answer = None if data is None else _answer(data, one, rules, cache)
        if answer is not None and answer.revoked is not None:
            raise RefusedEvidence(
                Code.CERTIFICATE_REVOKED,
                f"the certificate of {one.subject.subject.text} is revoked",
                actual=f"since {answer.revoked.isoformat()}",
                hint="replace the device, or ask NVIDIA why",
            )
        if answer is None or not answer.is_current(now):
            missing.append(one.key)
        else:
            ends.append(answer.not_after)
    return Revocation(None if missing else min(ends, default=None), tuple(missing))


def _answer(data: bytes, one: Revocable, rules: Rules, cache: ChainCache) -> Answer:
    """Return a verified answer; the certificates are of a verified path, so they are the key."""
    key = ("nvidia-ocsp", data, one.key.name, one.issuer.der)
    found = cache.get(key, Answer)
    if found is None:
        found = ocsp.verify(data, one.subject, one.issuer, rules=rules)
        cache.put(key, found)
    return found
